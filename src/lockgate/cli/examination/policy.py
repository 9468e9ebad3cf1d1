"""Checks where policy comes from: it asks the source once, as a gateway would, and takes nothing up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lockgate.cli.examination.finding import Finding

if TYPE_CHECKING:
    from lockgate.gateway.settings import GatewaySettings
    from lockgate.policy.bundle import PolicyBundle

VERIFY = "lockgate policy bundle verify"


def check_policy(settings: GatewaySettings) -> Iterator[Finding]:
    """Source, signature, age and the choices that weaken them."""
    from lockgate.gateway.policykeeping import read_fetched
    from lockgate.gateway.policyopening import bundle_source, policy_trust
    from lockgate.keys.privatefile import KeyFileError
    from lockgate.policy.port import PolicyLoadError
    from lockgate.policy.sources.port import SourceUnavailable

    local = settings.policy.source == "library"
    try:
        trust = policy_trust(settings.policy, dev=settings.dev)
        fetched = asyncio.run(bundle_source(settings).look())
        assert fetched is not None  # noqa: S101  (the first look brings or raises)
        bundle = read_fetched(fetched, trust)
        trust.acceptance.check(bundle, None)
    except KeyFileError as error:
        yield Finding("fault", "policy keys", str(error), "correct policy.keys in gateway.yaml")
    except SourceUnavailable as error:
        yield Finding("fault", "policy", str(error), "correct policy.path or policy.url in gateway.yaml, or the server")
    except PolicyLoadError as error:
        fix = "correct that line, then: lockgate policy check" if local else f"build and sign it again, then: {VERIFY}"
        yield Finding("fault", "policy", str(error), fix)
    else:
        yield Finding("ok", "policy", f"revision {bundle.revision}, {_signed(bundle)}")
        yield from _age(settings, bundle)
    if settings.policy.allow_rollback:
        said = "older releases are taken up: whoever can serve an old one can bring it back"
        yield Finding(
            "warning", "policy rollback", said, "set policy.pin to the one wanted, and take policy.allow_rollback out"
        )


def _signed(bundle: PolicyBundle) -> str:
    if bundle.key is None or bundle.release is None:
        return "signed by nobody (dev)"
    at = datetime.fromtimestamp(bundle.release.signed_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"release {bundle.release.sequence}, signed by {bundle.key!r} on {at}"


def _age(settings: GatewaySettings, bundle: PolicyBundle) -> Iterator[Finding]:
    from lockgate.gateway.policyopening import CLOCKS
    from lockgate.policy.freshness import Freshness

    freshness = Freshness.of(bundle.release, settings.policy.max_age, CLOCKS)
    if bundle.key is None:
        return
    if freshness is None:
        said = "it never gets too old: whoever can hold back a newer release keeps this one in force"
        yield Finding(
            "note", "policy age", said, "lockgate policy bundle sign --max-age, or policy.max_age in gateway.yaml"
        )
    elif (problem := freshness.problem(CLOCKS)) is not None:
        yield Finding(
            "fault", "policy age", f"everything is denied: {problem}", "sign and serve a newer bundle; check the clock"
        )
    else:
        left = int(freshness.max_age - (time.time() - freshness.signed_at))
        yield Finding("ok", "policy age", f"too old in {left // 3600} hours")
