"""Holds what the engine will do against what was sealed: backend, modules, configuration, providers; any difference refuses."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from lockgate.contract.strictjson import StrictJSONError, loads
from lockgate.job.drivers.opentofu.left import contents
from lockgate.job.drivers.opentofu.planfile import Backend, PlanFile
from lockgate.job.drivers.opentofu.workplace import OVERRIDE, STATE_FILE, Workplace, locked_providers
from lockgate.job.drivers.port import StageContext, StageRefused

_MAX_BYTES = 8 << 20
_ELSEWHERE = ("cloud", "remote")
_RUNNERS_STATE = re.compile(rf"(?:\.\./)+[^/]+/{re.escape(STATE_FILE)}")
_NATIVE = (".tf", ".tf.json")
_OPENTOFU = (".tofu", ".tofu.json")


def check_backend(ctx: StageContext, place: Workplace) -> Backend:
    """The backend that is in force after `init`, whatever files the source brought. Raises StageRefused."""
    found = _read(place.data / "terraform.tfstate", "the backend in force")
    backend = found.get("backend") if isinstance(found, dict) else None
    if backend is None:
        backend = {"type": "local", "config": {}}
    if not isinstance(backend, dict) or not isinstance(backend.get("config"), dict):
        raise StageRefused("backend: the engine does not say which one is in force")
    force = Backend(str(backend.get("type")), backend["config"], "default")
    if place.state is not None:
        _check_runners(force, {"path": place.state, "workspace_dir": None})
    else:
        _check_declared(force)
    return force


def _check_runners(force: Backend, wanted: dict[str, Any]) -> None:
    if (force.type, force.config) != ("local", wanted):
        raise StageRefused(
            f"backend: {force.type!a} is in force where the runner keeps the state (settings.state is runner); the root module must not "
            f"override the backend in a file that comes after {OVERRIDE}"
        )


def _check_declared(force: Backend) -> None:
    if force.type in _ELSEWHERE:
        raise StageRefused(
            f"backend: {force.type} runs the tool elsewhere, out of the sandbox; declare a backend that only keeps state"
        )
    path = force.config.get("path")
    if force.type == "local" and not (isinstance(path, str) and path.startswith("/")):
        raise StageRefused(
            "backend: the root module declares none that outlives the sandbox, so the state would be lost; declare one, or set settings.state to runner"
        )


def check_derived_backend(ctx: StageContext, backend: Backend) -> None:
    """The plan's own backend is of the kind the target declares; which one exactly is compared at apply. Raises StageRefused."""
    if ctx.inputs.settings.get("state") == "runner":
        path = backend.config.get("path")
        if not (isinstance(path, str) and _RUNNERS_STATE.fullmatch(path)):
            path = None
        _check_runners(backend, {"path": path or "", "workspace_dir": None})
    else:
        _check_declared(backend)


def check_plan(ctx: StageContext, place: Workplace, plan: PlanFile, force: Backend) -> None:
    """The plan is of this very source: its backend, providers, modules and every file of its configuration. Raises StageRefused (TRUST §2: the file
    came out of a sandbox in which hostile code may have run; the copy in this one may be changed by code that `init` ran, so it does not count)."""
    if plan.backend != force:
        raise StageRefused(
            f"plan: it would keep its state in another backend ({plan.backend.type!a}, workspace {plan.backend.workspace!a}) than the source does; plan again"
        )
    if plan.providers != locked_providers(place):
        raise StageRefused("plan: it was made with other providers than the source's lock file pins; plan again")
    if plan.modules != check_modules(place):
        raise StageRefused("plan: its modules are not those of the source; plan again")
    for key, directory in sorted(plan.modules.items()):
        where = "the root module" if not key else f"module {key[:100]!a}"
        sealed = Path(os.path.normpath((place.sealed or ctx.source) / directory))
        if not sealed.is_relative_to(ctx.source) or not sealed.is_dir():
            raise StageRefused(f"plan: {where} does not lie in the source; plan again")
        own = {OVERRIDE: place.override} if not key and place.override else {}
        if plan.files.get(key, {}) != _configuration(sealed, place.program.name) | own:
            raise StageRefused(
                f"plan: its configuration of {where} is not the sealed source's; plan again, and find out who changed it"
            )
    if set(plan.files) - set(plan.modules):
        raise StageRefused("plan: it carries configuration of modules that the source does not call; plan again")


def check_modules(place: Workplace) -> dict[str, str]:
    """Directory by module key, as `init` found them; each within the source. Raises StageRefused for one that came from elsewhere."""
    listed = _read(place.data / "modules" / "modules.json", "the list of modules")
    found: dict[str, str] = {"": "."}
    modules = listed.get("Modules", []) if isinstance(listed, dict) else []
    for item in modules if isinstance(modules, list) else []:
        key, directory = (str(item.get(name, "")) if isinstance(item, dict) else "" for name in ("Key", "Dir"))
        inside = Path(os.path.normpath(place.root / directory)).is_relative_to(place.top)
        if PurePosixPath(directory).is_absolute() or not inside:
            raise StageRefused(
                f"modules: {key[:100]!a} does not lie in the source; copy the module into it and call it by a local path"
            )
        found[key] = directory
    return found


def _configuration(directory: Path, program: str) -> dict[str, bytes]:
    """The files of a module that the engine reads: OpenTofu takes x.tofu in place of x.tf."""
    names = [item.name for item in os.scandir(directory) if item.is_file(follow_symlinks=False)]
    own = [name for name in names if name.endswith(_OPENTOFU)] if program == "tofu" else []
    instead = {name.replace(".tofu", ".tf") for name in own}
    native = [name for name in names if name.endswith(_NATIVE) and name not in instead]
    return {name: (directory / name).read_bytes() for name in [*own, *native] if not _ignored(name)}


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.endswith("~") or (name.startswith("#") and name.endswith("#"))


def _read(path: Path, what: str) -> Any:
    """A JSON file of the engine's own, or None when there is none. Raises StageRefused."""
    data = contents(path, _MAX_BYTES, what)
    try:
        return None if data is None else loads(data, max_bytes=_MAX_BYTES)
    except StrictJSONError as error:
        raise StageRefused(f"{what} cannot be read: {error}"[:300]) from None
