"""What the stages of one attempt are given besides source and trust: the tool and its providers. It must not give what is not trusted here."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass

from lockgate.contract import jobchannel
from lockgate.contract.drivers import DriverDeclaration, ToolNeed, UnknownDriver, UnknownTool, declaration
from lockgate.contract.evidence import ToolIdentity
from lockgate.runner.acceptance import Accepted, GrantRefused
from lockgate.runner.parts import Parts
from lockgate.runner.sandbox.port import Bind

_DISTRIBUTIONS = {"ansible": "ansible-core"}


@dataclass(frozen=True, slots=True)
class Equipment:
    """`tool` is None where the source brings its own commands; `keeps_state`: the runner keeps the target's state."""

    driver: DriverDeclaration
    tool: ToolIdentity | None
    binds: tuple[Bind, ...]
    providers: Mapping[str, str]
    keeps_state: bool


def equip(parts: Parts, accepted: Accepted) -> Equipment:
    """What this attempt's stages may use, by this runner's own configuration. Raises GrantRefused naming what is missing or not trusted."""
    target = accepted.work.target
    try:
        driver = declaration(target.driver)
        need = driver.tool_for(target.settings)
    except (UnknownDriver, UnknownTool) as error:
        raise GrantRefused(f"target.{error}") from None
    keeps = driver.keeps_state(target.settings)
    if keeps and not accepted.target.keeps_state:
        raise GrantRefused(
            f"target.settings.{driver.state_setting}: this runner does not keep the state of {target.name!r};"
            f" say targets.{target.name}.keeps_state: true in the runner.yaml of exactly one runner"
        )
    tool, binds = _tool(parts, need) if need is not None else (None, ())
    providers: Mapping[str, str] = {}
    if need is not None and need.program is not None:
        providers = parts.toolbox.providers
        if parts.toolbox.mirror is not None:
            binds = (*binds, Bind(parts.toolbox.mirror, jobchannel.SANDBOX_PROVIDERS, contents=parts.toolbox.contents))
    return Equipment(driver, tool, binds, providers, keeps)


def _tool(parts: Parts, need: ToolNeed) -> tuple[ToolIdentity, tuple[Bind, ...]]:
    if need.program is not None:
        program = parts.toolbox.programs.get(need.name)
        if program is None:
            found = [text for text in parts.toolbox.untrusted if text.startswith(f"{need.name}:")]
            why = found[0] if found else f"{need.name}: no `tools.{need.name}.path` in runner.yaml"
            raise GrantRefused(f"tool: {why}; `lockgate doctor` names the fix")
        identity = ToolIdentity(need.name, program.version, program.sha256)
        contents = {need.program: program.sha256.removeprefix("sha256:")}
        return identity, (Bind(program.directory, jobchannel.SANDBOX_TOOL, contents=contents),)
    digest = parts.job_root.tool_digests.get(need.name)
    if digest is None:
        raise GrantRefused(f"tool: {need.name} is not installed on this runner; `lockgate doctor` names the fix")
    if not parts.settings.tool_allowed(need.name, "sha256:" + digest):
        raise GrantRefused(f"tool: this build of {need.name} (sha256:{digest}) is not among this runner's trusted ones")
    version = importlib.metadata.version(_DISTRIBUTIONS.get(need.name, need.name))
    return ToolIdentity(need.name, version, "sha256:" + digest), ()


def drivers_served(parts: Parts) -> tuple[str, ...]:
    """The drivers this runner can run: those of its targets for which it has a tool."""
    wanted = sorted({driver for target in parts.settings.targets.values() for driver in target.drivers})
    return tuple(driver for driver in wanted if _has_a_tool(parts, driver))


def _has_a_tool(parts: Parts, driver: str) -> bool:
    try:
        needs = [need for need in declaration(driver).tools if need.required]
    except UnknownDriver:
        return False
    had = {*parts.job_root.tool_digests, *parts.toolbox.programs}
    return not needs or any(need.name in had for need in needs)
