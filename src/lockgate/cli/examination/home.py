"""Checks of one deployment's home: settings, keys, ports, disk, catalog, policy, tokens. Private files are looked at, never shown."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.cli.examination.finding import Finding
from lockgate.cli.examination.policy import check_policy

if TYPE_CHECKING:
    from lockgate.gateway.settings import GatewaySettings
    from lockgate.runner.settings import RunnerSettings

LEAST_FREE = 512 << 20
DAY_MS = 24 * 3600 * 1000


def check_home(home: Path) -> Iterator[Finding]:
    """Everything below a home. Raises what reading it raises."""
    if not (home / "gateway.yaml").exists() and not (home / "runner.yaml").exists():
        yield Finding("note", "home", f"there is no deployment in {home}", "lockgate dev, or lockgate init")
        return
    yield from _disk(home)
    if (home / "gateway.yaml").exists():
        from lockgate.gateway.settings import load_gateway_settings

        yield from _gateway(home, load_gateway_settings(home / "gateway.yaml"))
    if (home / "runner.yaml").exists():
        from lockgate.runner.settings import load_runner_settings

        yield from _runner(load_runner_settings(home / "runner.yaml"))


def _disk(home: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(home).free
    level = "ok" if free >= LEAST_FREE else "warning"
    yield Finding(
        level, "disk", f"{free >> 20} MiB free", "" if level == "ok" else f"free at least {LEAST_FREE >> 20} MiB"
    )


def _gateway(home: Path, settings: GatewaySettings) -> Iterator[Finding]:
    stamp = "dev: throw-away keys, refused by production" if settings.dev else "production"
    yield Finding("ok", "gateway.yaml", f"deployment {settings.deployment}, {stamp}")
    for name in settings.unsafe_flags:
        yield Finding("warning", "unsafe", f"{name} is set", f"take unsafe.{name} out of gateway.yaml")
    keys = settings.keys
    private = (
        keys.grant,
        keys.log,
        settings.runners.key,
        *(path for path in (keys.issuer, settings.public.key) if path),
    )
    yield from _private("gateway keys", private)
    yield from _keyset(keys.keyset, keys.root_public, dev=settings.dev)
    yield from _listening(settings)
    yield from _catalog(settings.catalog)
    yield from check_policy(settings)
    tokens = home / "tokens"
    if tokens.is_dir():
        yield from _private("tokens", tuple(sorted(tokens.iterdir())))


def _runner(settings: RunnerSettings) -> Iterator[Finding]:
    targets = ", ".join(settings.targets) or "none; write some into runner.yaml"
    yield Finding("ok" if settings.targets else "warning", "runner.yaml", f"serves the targets {targets}")
    yield from _private("runner keys", (settings.keys.signing, settings.keys.region, settings.keys.tls_key))
    if settings.sandbox.sandbox_class == "process":
        said = (
            "none, by sandbox.provider: a job can do whatever the runner's user can; every receipt says so (dev only)"
        )
        yield Finding(
            "warning", "unsafe: no sandbox", said, "lockgate dev without --unsafe-no-sandbox in another --home"
        )
    for name, path in settings.sources.items():
        if not path.is_dir():
            yield Finding("fault", f"source {name}", f"{path} is no directory", "correct it in runner.yaml")
    for name, tool in settings.tools.items():
        if tool.any:
            yield Finding(
                "warning", f"tool {name}", "any build is trusted (dev)", f"list its digests under tools.{name}.sha256"
            )
    yield from _tools(settings)
    fix = "use a broker that issues only against the permit, when one of your targets allows it"
    yield Finding("note", "credentials", "broker: runner-trusted: the runner itself holds what writes to targets", fix)


def _tools(settings: RunnerSettings) -> Iterator[Finding]:
    """Programs and providers by digest, and the targets that lack theirs."""
    from lockgate.contract.drivers import declarations
    from lockgate.runner.toolbox import ToolboxError, open_toolbox

    declared = declarations()
    try:
        toolbox = open_toolbox(settings)
    except (ToolboxError, OSError) as error:
        yield Finding("fault", "tools", str(error), "correct that path in runner.yaml")
        return
    for program in toolbox.programs.values():
        yield Finding("ok", f"tool {program.name}", program.sha256)
    for provider, digest in toolbox.providers.items():
        yield Finding("ok", "provider", f"{provider} {digest}")
    for text in toolbox.untrusted:
        yield Finding("fault", "not trusted", text, "if you trust that build, add its digest there; else replace it")
    for name, target in settings.targets.items():
        for driver in target.drivers:
            programs = [need for need in declared[driver].tools if need.program] if driver in declared else []
            if programs and not any(need.name in toolbox.programs for need in programs):
                places = " or ".join(f"tools.{need.name}.path" for need in programs)
                what = f"its driver {driver} has no trusted program on this runner"
                yield Finding("fault", f"target {name}", what, f"name one in runner.yaml under {places}")


def _private(name: str, paths: tuple[Path, ...]) -> Iterator[Finding]:
    from lockgate.keys.privatefile import KeyFileError, check_closed

    faults = 0
    for path in paths:
        try:
            check_closed(path)
        except KeyFileError as error:
            faults += 1
            said, _, fix = str(error).partition("; run: ")
            yield Finding("fault", name, said, fix or "restore it from a backup, or make a new deployment")
    if not faults:
        yield Finding("ok", name, f"{len(paths)} files, for their owner only")


def _keyset(path: Path, root: Path, *, dev: bool) -> Iterator[Finding]:
    from lockgate.keys.keysets import load_keyset

    now = time.time_ns() // 1_000_000
    keyset = load_keyset(path, root, now=now, dev=dev)
    days = (keyset.not_after - now) // DAY_MS
    fix = "seal a new keyset with the root key" if days < 14 else ""
    yield Finding(
        "warning" if days < 14 else "ok", "keyset", f"version {keyset.version}, valid for {days} more days", fix
    )


def _listening(settings: GatewaySettings) -> Iterator[Finding]:
    from lockgate.cli.dev import port_free

    for name, listener in (("public.port", settings.public), ("runners.port", settings.runners)):
        free = port_free(listener.host, listener.port)
        said = "is free" if free else "is in use; good if it is this gateway"
        yield Finding("ok" if free else "note", name, f"{listener.host}:{listener.port} {said}")


def _catalog(directory: Path) -> Iterator[Finding]:
    from lockgate.contract.drivers import declarations
    from lockgate.gateway.catalog.errors import CatalogErrors
    from lockgate.gateway.catalog.load import load_directory

    try:
        found = load_directory(directory, declarations())
    except CatalogErrors as errors:
        for error in errors.errors[:20]:
            yield Finding("fault", "catalog", f"{directory}/{error}", "correct that line, then: lockgate catalog check")
    else:
        yield Finding("ok", "catalog", f"{len(found.actions)} actions, {len(found.targets)} targets")
