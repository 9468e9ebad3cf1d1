"""Makes a deployment below a home: keys, settings, samples, sample targets; it must not start a process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lockgate.cli.bootstrap import Layout, Names, Ports, bootstrap, sandbox_base
from lockgate.cli.home import now_ms
from lockgate.cli.samples import Wish, make_targets, samples


@dataclass(frozen=True, slots=True)
class Deployment:
    """What to make. `dev` stamps everything as throw-away and makes sample targets."""

    name: str
    dev: bool
    ports: Ports | None = None
    no_sandbox: bool = False


def make_deployment(home: Path, wanted: Deployment) -> Layout:
    """Make what is missing and keep what is there. Raises BootstrapRefused, KeyFileError, KeysetRefused, PolicyLoadError, OSError."""
    home = home.absolute()
    home.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    place = targets_place(home) if wanted.dev else None
    if place is not None:
        make_targets(place)
    made = bootstrap(
        home,
        Names(wanted.name),
        dev=wanted.dev,
        now=now_ms(),
        ports=wanted.ports,
        samples=samples(Wish(place and place.resolve(), wanted.no_sandbox)),
    )
    for path in made.created:
        if path.parent.name == "bin":
            path.chmod(0o755)
    if wanted.dev:
        return made
    from lockgate.cli.bootstrap.policyrelease import first_release

    return first_release(made)


def targets_place(home: Path) -> Path:
    """Where the sample targets of a home are: beside its sandboxes, which other uids reach."""
    base = sandbox_base(home)
    return base.with_name(base.name + "-targets")
