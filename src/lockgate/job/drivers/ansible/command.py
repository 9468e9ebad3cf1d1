"""Builds the command line and environment of one Ansible run; it must not let configuration or plugins from outside the source in."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lockgate.job.drivers.ansible.unsafe import variables_file
from lockgate.job.drivers.port import StageContext, StageRefused
from lockgate.job.places import places

_PLUGIN_KINDS = "ACTION BECOME CACHE CLICONF CONNECTION DOC_FRAGMENT FILTER HTTPAPI INVENTORY LOOKUP NETCONF STRATEGY TERMINAL TEST VARS"
_SETTINGS = {"inventory", "limit", "variables"}
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CALLBACKS = Path(__file__).parent / "callback"


@dataclass(frozen=True, slots=True)
class AnsibleTool:
    """Where Ansible is: the interpreter, and the directory of its packages when they are not the interpreter's own."""

    python: Path
    path: Path | None


@dataclass(frozen=True, slots=True)
class Run:
    """One Ansible run as prepared on disk: `events` is where the callback plugin writes."""

    argv: list[str]
    env: dict[str, str]
    events: Path


def find_tool() -> AnsibleTool:
    """Ansible in the job root, or in this very interpreter when there is no job root. Raises StageRefused with the fix."""
    root = Path(places(os.environ).root)
    packages = root / "tools" / "ansible"
    if (packages / "ansible" / "cli" / "playbook.py").is_file():
        return AnsibleTool(root / "python" / "bin" / "python3", packages)
    if importlib.util.find_spec("ansible") is not None:
        return AnsibleTool(Path(sys.executable), None)
    raise StageRefused("tool: ansible-core is not here; install the extra lockgate[ansible] where the runner runs")


def prepare(ctx: StageContext, tool: AnsibleTool, *, check: bool) -> Run:
    """Write the variables and the empty configuration into scratch and build the command. Raises StageRefused naming the field."""
    settings = ctx.inputs.settings
    for name in settings:
        if name not in _SETTINGS:
            raise StageRefused(f"settings.{name[:80]}: is not known; known are {', '.join(sorted(_SETTINGS))}")
    playbook = _inside(ctx.source, ctx.inputs.entry, "entry")
    if not playbook.is_file():
        raise StageRefused(f"entry: the source has no playbook {ctx.inputs.entry!r}")
    inventory = _inside(ctx.source, settings.get("inventory"), "settings.inventory")
    variables = variables_file(_variables(ctx), "variables")
    if not tool.python.exists():
        raise StageRefused(f"tool: there is no interpreter {tool.python}")
    work = ctx.scratch / "lockgate-ansible"
    work.mkdir(mode=0o700)
    (work / "ansible.cfg").touch(mode=0o600)
    (work / "variables.yml").touch(mode=0o600)
    (work / "variables.yml").write_text(variables, "ascii")
    argv = [
        str(tool.python),
        "-m",
        "ansible.cli.playbook",
        f"--inventory={inventory}",
        f"--extra-vars=@{work / 'variables.yml'}",
    ]
    argv += ["--check"] if check else []
    argv += ["--diff", *_limit(settings.get("limit")), "--", str(playbook)]
    return Run(argv, _environment(ctx, tool, work), work / "events.jsonl")


def _variables(ctx: StageContext) -> dict[str, Any]:
    fixed = ctx.inputs.settings.get("variables", {})
    if not isinstance(fixed, dict):
        raise StageRefused("settings.variables: must be an object")
    for name in ctx.inputs.variables:
        if name in fixed:
            raise StageRefused(
                f"variables.{name}: the target's settings fix this variable; an argument cannot change it"
            )
    return {**fixed, **ctx.inputs.variables}


def _inside(source: Path, given: Any, field: str) -> Path:
    if not isinstance(given, str) or not given:
        raise StageRefused(f"{field}: must be a path relative to the top of the source")
    pure = PurePosixPath(given)
    if pure.is_absolute() or ".." in pure.parts or given.startswith("-") or not given.isprintable() or "," in given:
        raise StageRefused(f"{field}: {given[:200]!a} must be a plain relative path: no .., no comma, no leading dash")
    if not (source / pure).exists():
        raise StageRefused(f"{field}: the source has no {given[:200]!r}")
    return source / pure


def _limit(limit: Any) -> list[str]:
    if limit is None:
        return []
    if not isinstance(limit, str) or not limit or limit[0] in "-@" or ",@" in limit or not limit.isprintable():
        raise StageRefused("settings.limit: must be a host pattern, not an option and not a file")
    return [f"--limit={limit}"]


def _environment(ctx: StageContext, tool: AnsibleTool, work: Path) -> dict[str, str]:
    home, nowhere = work / "home", str(work / "nowhere")
    home.mkdir(mode=0o700)
    env = {
        "PATH": f"{tool.python.parent}:{_SYSTEM_PATH}",
        "HOME": str(home),
        "TMPDIR": str(ctx.scratch),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LOCKGATE_EVENTS": str(work / "events.jsonl"),
        "LOCKGATE_SOURCE": str(ctx.source),
        "LOCKGATE_STAGE": ctx.stage.value,
        # An own, empty configuration: neither the source's ansible.cfg nor the system's counts.
        "ANSIBLE_CONFIG": str(work / "ansible.cfg"),
        "ANSIBLE_HOME": str(home / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(home / "tmp"),
        "ANSIBLE_CALLBACK_PLUGINS": str(_CALLBACKS),
        "ANSIBLE_STDOUT_CALLBACK": "lockgate_events",
        "ANSIBLE_COLLECTIONS_PATH": str(ctx.source / "collections"),
        "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "0",
        "ANSIBLE_ROLES_PATH": str(ctx.source / "roles"),
        "ANSIBLE_LIBRARY": nowhere,
        "ANSIBLE_MODULE_UTILS": nowhere,
        "ANSIBLE_CACHE_PLUGIN": "memory",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
        "ANSIBLE_INVENTORY_UNPARSED_FAILED": "1",
        "ANSIBLE_HOST_KEY_CHECKING": "1",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_NOCOWS": "1",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
        "ANSIBLE_LOCALHOST_WARNING": "0",
    }
    env |= {f"ANSIBLE_{kind}_PLUGINS": nowhere for kind in _PLUGIN_KINDS.split()}
    if tool.path is not None:
        env["PYTHONPATH"] = str(tool.path)
        # The job root's interpreter may bring its own shared library; modules on the local connection start it again.
        env["LD_LIBRARY_PATH"] = str(tool.python.parent.parent / "lib")
    env |= ctx.proxy_environment
    if ctx.credentials is not None:
        env["LOCKGATE_CREDENTIALS"] = str(ctx.credentials)
    return env
