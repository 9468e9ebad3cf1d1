"""Holds a grant against the runner's own configuration: it may narrow it, never widen it (TRUST §3); pure, and nothing here can be waived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lockgate.contract.decision import SANDBOX_ORDER
from lockgate.contract.grant import Grant
from lockgate.contract.intent import Phase
from lockgate.contract.work import Work
from lockgate.runner.settings import RunnerSettings, TargetSettings


class OutsideConfiguration(Exception):
    """A grant asks for more than this runner's configuration gives; nothing was started. `field` names what, in the grant's own words."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class _Asked:
    settings: RunnerSettings
    target: TargetSettings
    grant: Grant
    work: Work


def admit(settings: RunnerSettings, grant: Grant, work: Work) -> TargetSettings:
    """The configuration of the target a verified grant is for. Raises OutsideConfiguration at the first thing that is wider.

    The caller has verified the grant's signature and that `work` is what its digests name.
    """
    _ours(settings, grant)
    target = settings.targets.get(work.target.name)
    if target is None:
        raise OutsideConfiguration("target", f"{work.target.name[:100]!r} is not served by this runner")
    for check in CHECKS:
        check(_Asked(settings, target, grant, work))
    return target


def _ours(settings: RunnerSettings, grant: Grant) -> None:
    own = {
        "deployment": settings.deployment,
        "tenant": settings.tenant,
        "region": settings.region,
        "runner": settings.id,
    }
    for field, expected in own.items():
        if getattr(grant, field) != expected:
            raise OutsideConfiguration(
                field, f"this runner is of {expected!r}, not of {str(getattr(grant, field))[:100]!r}"
            )
    if grant.dev and not settings.dev:
        raise OutsideConfiguration("dev", "the grant is stamped dev, and this runner is not")


def _region(asked: _Asked) -> None:
    if asked.work.target.region != asked.settings.region:
        raise OutsideConfiguration("target.region", f"must be {asked.settings.region!r}")


def _driver(asked: _Asked) -> None:
    driver = asked.work.target.driver
    if driver not in asked.target.drivers:
        raise OutsideConfiguration("target.driver", f"{driver[:100]!r} is not allowed for this target here")
    if asked.work.action.driver != driver:
        raise OutsideConfiguration("action.driver", "is not the target's driver")


def _source(asked: _Asked) -> None:
    source = asked.work.target.source
    if source not in asked.target.sources or source not in asked.settings.sources:
        raise OutsideConfiguration("target.source", f"{source[:100]!r} is not allowed for this target here")


def _limits(asked: _Asked) -> None:
    wider = asked.grant.limits.within(asked.target.limits.limits)
    if wider:
        raise OutsideConfiguration(f"limits.{wider[0]}", "is wider than this runner gives")
    for name in asked.grant.limits.__slots__:
        if getattr(asked.grant.limits, name) < 1:
            raise OutsideConfiguration(f"limits.{name}", "must be at least 1")


def _egress(asked: _Asked) -> None:
    for place in asked.grant.egress:
        if place not in asked.target.egress:
            raise OutsideConfiguration("egress", f"{place[:100]!r} is not reachable from this target's sandboxes")


def _credential_scope(asked: _Asked) -> None:
    scope = asked.grant.credential_scope
    if scope != "none" and scope not in asked.target.credential_scopes:
        raise OutsideConfiguration("credential_scope", f"{scope[:100]!r} is not given for this target here")
    if scope == "write" and asked.grant.phase is not Phase.APPLY:
        raise OutsideConfiguration("credential_scope", "`write` belongs to the apply phase only")


def _sandbox(asked: _Asked) -> None:
    named = asked.grant.sandbox
    if named not in SANDBOX_ORDER:
        raise OutsideConfiguration("sandbox", f"{named[:100]!r} is no sandbox class this version knows")
    floor = max(map(SANDBOX_ORDER.index, (asked.settings.sandbox.floor, asked.target.min_sandbox)))
    if SANDBOX_ORDER.index(named) < floor:
        raise OutsideConfiguration(
            "sandbox",
            f"{named!r} is weaker than the floor {SANDBOX_ORDER[floor]!r} here; let policy demand that: limits.sandbox",
        )
    if asked.settings.sandbox.class_for(named) is None:
        made = ", ".join(asked.settings.sandbox.classes)
        raise OutsideConfiguration("sandbox", f"{named!r} is demanded, and this runner makes {made}")


def _image(asked: _Asked) -> None:
    own = asked.settings.sandbox.image_digest
    if asked.grant.image != own:
        raise OutsideConfiguration(
            "image", f"the grant is for {str(asked.grant.image)[:100]!r}, and this runner runs {own!r}"
        )


CHECKS: Final[tuple[Callable[[_Asked], None], ...]] = (
    _region,
    _driver,
    _source,
    _limits,
    _egress,
    _credential_scope,
    _sandbox,
    _image,
)
