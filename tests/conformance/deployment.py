"""The gateway of the conformance run: bootstrapped, signed, durable and decided on as shipped; only the catalog and what its tools say are the suite's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mcp.server.subscriptions import InMemorySubscriptionBus
from tests.conformance.bodies import bodies
from tests.conformance.catalog import catalog
from tests.conformance.features import FEATURES
from tests.ports import free_ports

from lockgate.cli.bootstrap import Names, Ports, Samples, bootstrap
from lockgate.gateway.api.offers import NOTHING, Offers
from lockgate.gateway.app import builtin_issuer, serve
from lockgate.gateway.identity.issuer import TokenRequest
from lockgate.gateway.identity.port import Audience
from lockgate.gateway.settings import load_gateway_settings

ROOT = Path(__file__).resolve().parents[2]
POLICY_DATA = ROOT / "src/lockgate/policy/library/data.default.yaml"
CALLS_PER_SECOND = 1000
"""Raised from the shipped 20: the suite is one principal in a hurry."""


def suite_offers() -> Offers:
    """What the suite's tools, prompts and resources are, behind the product's doors."""
    bus = InMemorySubscriptionBus()
    return Offers(features=FEATURES, bodies=bodies(bus), changes=bus, asks_clients=True)


def make_home(home: Path, public: int, names: tuple[str, ...], **settings: Any) -> None:
    """A dev deployment below `home`, known by the public URL and by `names` (Host values; their origins too).

    `settings` are further ones of gateway.yaml.
    """
    bounds = {"calls_per_second": CALLS_PER_SECOND, "burst": CALLS_PER_SECOND}
    listens = {"allowed_hosts": list(names), "allowed_origins": [f"http://{name}" for name in names]}
    samples = Samples(
        files={"catalog/suite.yaml": catalog(), "policy/data.yaml": POLICY_DATA.read_bytes()},
        gateway={"bounds": bounds, "public": listens, **settings},
    )
    now = time.time_ns() // 1_000_000
    ports = Ports(public, free_ports(1)[0])
    bootstrap(home, Names("conformance"), dev=True, now=now, ports=ports, samples=samples)


def agent_token(home: Path, *roles: str, subject: str = "suite", ttl: int = 3600) -> str:
    """A token of the deployment's own issuer."""
    issuer = builtin_issuer(load_gateway_settings(home / "gateway.yaml"))
    assert issuer is not None
    request = TokenRequest(subject, Audience.AGENT, os.urandom(12).hex(), ttl=ttl, owner="alice", roles=roles)
    return issuer.issue(request, time.time())


@contextlib.asynccontextmanager
async def gateway(home: Path, offers: Offers = NOTHING) -> AsyncIterator[None]:
    """The gateway of `home`, as `lockgate gateway` runs it, in this process."""
    ready, stop = asyncio.Event(), asyncio.Event()
    settings = load_gateway_settings(home / "gateway.yaml")
    serving = asyncio.create_task(serve(settings, ready=ready, stop=stop, offers=offers))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        waiting.cancel()
        serving.result()
    try:
        yield
    finally:
        stop.set()
        await serving
