"""Wires one gateway process from its settings: keys, store, policy, catalog, identity, doors, listeners. It chooses parts and decides nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import structlog
import uvicorn

import lockgate
from lockgate.contract.drivers import declarations
from lockgate.contract.intent import Principal
from lockgate.gateway.api.app import WebSettings, public_app, runner_app
from lockgate.gateway.api.offers import NOTHING, Offers
from lockgate.gateway.catalog.watch import CatalogHolder
from lockgate.gateway.core import Caps, Core, Retention, Timing
from lockgate.gateway.dispatch import RunnerDesk
from lockgate.gateway.errors import Refusal
from lockgate.gateway.identity.configured import issuer_settings
from lockgate.gateway.identity.issuer import BuiltinIssuer, same_roles
from lockgate.gateway.identity.jwt import JwtVerifier
from lockgate.gateway.identity.port import Audience
from lockgate.gateway.identity.settings import IdentitySettings
from lockgate.gateway.observing import Observer
from lockgate.gateway.operations.masking import Masking
from lockgate.gateway.operations.states import State
from lockgate.gateway.policydesk import PolicyDesk
from lockgate.gateway.policyopening import open_keeper
from lockgate.gateway.reloading import Reloader
from lockgate.gateway.scheduling.forgetting import forget
from lockgate.gateway.scheduling.presence import Presence, note_unserved
from lockgate.gateway.scheduling.rates import Rates
from lockgate.gateway.scheduling.sweep import sweep
from lockgate.gateway.scheduling.wakeups import Wakeups
from lockgate.gateway.settings import GatewaySettings, TelemetrySettings
from lockgate.gateway.shadowing import Shadowing, shadow_loader
from lockgate.gateway.store.port import QueueDepth, StoreError
from lockgate.gateway.store.sqlite import SqliteStore
from lockgate.keys.keysets import load_keyset
from lockgate.keys.signer import FileSigner, read_private_key
from lockgate.keys.tls import public_server, runner_facing_server
from lockgate.telemetry.lag import watch_lag
from lockgate.telemetry.names import Level
from lockgate.telemetry.scrape import metrics_app
from lockgate.telemetry.tracing import open_tracing
from lockgate.wire.connection import ConnectionBounds, bounded
from lockgate.wire.peer import runner_facing_config

LOG = structlog.get_logger("lockgate.gateway")
SWEEP_SECONDS = 1.0
DEV_ROLES = ("operator", "approver", "admin")


class PortBusy(RuntimeError):
    """Another process listens on that address; stop it, or choose another port in gateway.yaml (`public.port`, `runners.port`)."""

    def __init__(self, field: str, host: str, port: int) -> None:
        super().__init__(
            f"{field}: {host}:{port} is in use; stop what listens there, or set another {field} in gateway.yaml"
        )


@dataclass(slots=True)
class Built:
    """The parts of one gateway before it listens."""

    core: Core
    store: SqliteStore
    wakeups: Wakeups
    reloader: Reloader
    doors: Doors
    runners: RunnerDesk
    verifier: JwtVerifier
    shadowing: Shadowing

    def verify(self, token: str, audience: Audience) -> Principal:
        """Verify a bearer token at a door, revocation looked up every time. Raises Unauthenticated."""
        return self.verifier.verify(token, audience=audience, now=time.time())

    async def metrics(self) -> bytes:
        """Everything that is counted, with what is only looked at when it is asked for."""
        observer, metrics = self.core.observer, self.core.observer.metrics
        depth = dict(await self.store.read(QueueDepth()))
        for state in (State.QUEUED, State.LEASED, State.RUNNING):
            metrics.level(Level.QUEUE_DEPTH, depth.get(state.value, 0), state.value)
        metrics.level(Level.STORE_WAITING, self.store.waiting)
        metrics.level(Level.STORE_COMMITS, self.store.commits)
        self.reloader.policy.measure(metrics)
        metrics.level(Level.LOOP_LAG_MAX, observer.longest_lag)
        observer.longest_lag = 0.0
        return metrics.text()


class Doors(PolicyDesk):
    """Agents' and humans' doors of this process, with its health."""

    def __init__(
        self,
        core: Core,
        wakeups: Wakeups,
        reloader: Reloader,
        store: SqliteStore,
        rates: Rates,
        unsafe: tuple[str, ...],
    ) -> None:
        super().__init__(core, wakeups, rates)
        self._reloader = reloader
        self._store = store
        self._unsafe = unsafe

    async def health(self) -> dict[str, Any]:
        """See HumanDoor.health. Anybody may ask: MUST hold no path and no word of a file (tests/e2e/test_processes.py); the log does."""
        core, catalog = self._core, self._reloader.catalog
        return {
            "ready": self._store.failure is None and self._reloader.policy.ready,
            "store": "ok" if self._store.failure is None else "failed",
            "policy": self._reloader.policy.told(),
            "catalog": {
                "revision": core.catalog.current.revision,
                "reasons": ["catalog_refused"] if catalog.last_error is not None else [],
            },
            "epoch": core.standing.epoch,
            "version": lockgate.__version__,
            "dev": core.dev,
            "unsafe": list(self._unsafe),
        }


async def build(settings: GatewaySettings) -> Built:
    """Open everything. Raises what the parts raise: each message names the file or field. Closes the store again on failure."""
    keys, telemetry = settings.keys, settings.telemetry
    tracing = open_tracing("lockgate-gateway", telemetry.otlp_endpoint, telemetry.trace_share)
    keyset = load_keyset(keys.keyset, keys.root_public, now=now_ms(), dev=settings.dev)
    observer = Observer(tracing=tracing)
    policy = open_keeper(settings, observer)
    if settings.policy.source == "library":
        await policy.begin()  # a laptop is told of its own file at once; a bundle may be mended where it comes from
    catalog = CatalogHolder(settings.catalog, declarations())
    store = SqliteStore(settings.store, queue_limit=settings.bounds.store_queue)
    await store.migrate()
    try:
        timing, kept = settings.timing, settings.records
        core = Core(
            observer=observer,
            store=store,
            policy=policy.in_force,
            catalog=catalog,
            keyset=keyset,
            grant_signer=FileSigner(keys.grant, dev=settings.dev),
            log_signer=FileSigner(keys.log, dev=settings.dev),
            clock=now_ms,
            random=os.urandom,
            dev=settings.dev,
            least_sandbox="process" if settings.unsafe.no_sandbox else "bubblewrap",
            caps=Caps(settings.bounds.queued_per_tenant, settings.bounds.running_per_tenant),
            masking=Masking(os.urandom(32), settings.records.hidden_pointers, settings.records.masked_pointers),
            retention=Retention(kept.input_days, kept.record_days, kept.policies),
            timing=Timing(timing.operation_deadline, timing.lease, approval_expiry=timing.approval_expiry),
        )
        await core.refresh()
        if policy.bundle is None:
            await policy.remember(core)
            await policy.look()
            await policy.resume()
        reloader = Reloader(core, catalog, policy, keys.keyset.read_text())
        await reloader.record()
        wakeups = Wakeups()
        core.on_standing = wakeups.wake_all
        rates = Rates(settings.bounds.calls_per_second, settings.bounds.burst, now_ms)
        shadowing = Shadowing(core, shadow_loader(settings.policy.shadow))
        await shadowing.look()
        doors = Doors(core, wakeups, reloader, store, rates, unsafe_choices(settings))
        doors.shadowing = shadowing
        runners, verifier = RunnerDesk(core, wakeups), make_verifier(settings, core)
        return Built(core, store, wakeups, reloader, doors, runners, verifier, shadowing)
    except BaseException:
        await store.close()
        raise


async def serve(
    settings: GatewaySettings,
    *,
    ready: asyncio.Event | None = None,
    stop: asyncio.Event | None = None,
    offers: Offers = NOTHING,
) -> None:
    """Run until `stop` is set; `offers` is for programs that embed the gateway. Raises PortBusy, StoreLocked, SettingsError, PolicyLoadError, CatalogErrors."""
    public, runners = settings.public, settings.runners
    with (
        listening("public.port", public.host, public.port) as public_socket,
        listening("runners.port", runners.host, runners.port) as runner_socket,
        _metrics_socket(settings.telemetry) as metrics_socket,
    ):
        built = await build(settings)
        servers = [
            (public_listener(settings, built, offers), public_socket),
            (runner_listener(settings, built), runner_socket),
        ]
        if metrics_socket is not None:
            servers.append((metrics_listener(built), metrics_socket))
        await _run(settings, built, servers, ready, stop or asyncio.Event())


async def _run(
    settings: GatewaySettings,
    built: Built,
    servers: list[tuple[Listener, socket.socket]],
    ready: asyncio.Event | None,
    stop: asyncio.Event,
) -> None:
    serving = [asyncio.create_task(server.serve(sockets=[sock])) for server, sock in servers]
    background = [
        asyncio.create_task(built.wakeups.run(built.store)),
        asyncio.create_task(sweeping(built.core, built.runners.presence)),
        asyncio.create_task(built.reloader.run(settings.timing.reload)),
        asyncio.create_task(built.reloader.policy.run(built.core)),
        asyncio.create_task(built.shadowing.run(settings.timing.reload)),
        asyncio.create_task(watch_lag(built.core.observer.lagged)),
    ]
    stopped = asyncio.create_task(stop.wait())
    LOG.info("gateway", url=settings.public.url, dev=settings.dev, unsafe=list(unsafe_choices(settings)))
    if ready is not None:
        ready.set()
    try:
        # Any of these ending before `stop` is a fault: end as a whole rather than half alive.
        done, _ = await asyncio.wait({*serving, *background, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for server, _socket in servers:
            server.should_exit = True
        await asyncio.gather(*serving)
        for task in done:
            task.result()
    finally:
        for task in (*background, stopped, *serving):
            task.cancel()
        await built.shadowing.close()
        await built.store.close()
        await built.core.policy.close()
        await asyncio.to_thread(built.core.observer.tracing.close)


async def sweeping(core: Core, presence: Presence) -> None:
    """Sweep for ever; a store that is busy or down is tried again at the next turn."""
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            await sweep(core)
            await note_unserved(core, presence)
            await forget(core)
        except (Refusal, StoreError) as error:
            LOG.warning("sweep", error=str(error))


class Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to whoever runs the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None are captured."""
        yield


def public_listener(settings: GatewaySettings, built: Built, offers: Offers = NOTHING) -> Listener:
    """MCP, REST and metadata."""
    public = settings.public
    web = WebSettings(
        public_url=public.url.rstrip("/"),
        allowed_hosts=public.allowed_hosts,
        allowed_origins=public.allowed_origins,
        max_body=settings.bounds.max_body_bytes,
        authorization_servers=tuple(str(entry.get("issuer")) for entry in settings.issuers),
        dev=settings.dev,
        unsafe=unsafe_choices(settings),
    )
    config = uvicorn.Config(
        public_app(built.doors, web, built.verify, built.core.observer.unauthenticated, offers),
        http=bounded(ConnectionBounds(settings.bounds.head_seconds, settings.bounds.connections)),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    if public.certificate is not None and public.key is not None:
        config.load()
        config.ssl = public_server(public.certificate, public.key, dev=settings.dev)
    return Listener(config)


def runner_listener(settings: GatewaySettings, built: Built) -> Listener:
    """The runner-facing API over mTLS."""
    context = runner_facing_server(settings.runners.tls, dev=settings.dev)
    app = runner_app(built.runners, settings.deployment)
    config = runner_facing_config(app, host=settings.runners.host, port=settings.runners.port, context=context)
    config.timeout_graceful_shutdown = 1
    return Listener(config)


def metrics_listener(built: Built) -> Listener:
    """GET /metrics, on its own."""
    app = metrics_app(built.metrics)
    return Listener(uvicorn.Config(app, ws="none", lifespan="off", access_log=False, log_config=None))


def _metrics_socket(
    telemetry: TelemetrySettings,
) -> contextlib.AbstractContextManager[socket.socket | None]:
    if telemetry.metrics_port is None:
        return contextlib.nullcontext()
    return listening("telemetry.metrics_port", telemetry.metrics_host, telemetry.metrics_port)


@contextlib.contextmanager
def listening(field: str, host: str, port: int) -> Iterator[socket.socket]:
    """A bound socket, so that a busy port is said before anything else is opened. Raises PortBusy."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Inherited by every accepted connection; without it a small answer waits for the client's delayed acknowledgement.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        try:
            sock.bind((host, port))
        except OSError:
            raise PortBusy(field, host, port) from None
        yield sock
    finally:
        sock.close()


def builtin_issuer(settings: GatewaySettings) -> BuiltinIssuer | None:
    """The built-in issuer, where the settings give it a key; its name is `lockgate:DEPLOYMENT`."""
    if settings.keys.issuer is None:
        return None
    public = settings.public
    return BuiltinIssuer(
        issuer=f"lockgate:{settings.deployment}",
        agent_audience=public.agent_audience,
        human_audience=public.human_audience,
        key=read_private_key(settings.keys.issuer, dev=settings.dev),
        dev=settings.dev,
    )


def make_verifier(settings: GatewaySettings, core: Core) -> JwtVerifier:
    """The identity verifier over the built-in issuer and those of the settings. Raises IdentitySettingsError."""
    issuers = [
        issuer_settings(entry, settings.home, f"issuers[{index}]") for index, entry in enumerate(settings.issuers)
    ]
    builtin = builtin_issuer(settings)
    if builtin is not None:
        # Its agents' owners are humans of the others: in production it has none of its own.
        people = tuple(issuer.issuer for issuer in issuers)
        roles = same_roles(DEV_ROLES) if settings.dev else {}
        issuers.insert(0, builtin.settings(roles=roles, owner_issuers=people))
    public = settings.public
    identity = IdentitySettings(
        agent_audience=public.agent_audience,
        human_audience=public.human_audience,
        issuers=tuple(issuers),
        dev=settings.dev,
    )
    return JwtVerifier(identity, Revoked(core))


class Revoked:
    """The revocations as the core has them now; a new standing is seen at once."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def is_revoked(self, token_id: str, principal_id: str, issued_at: int) -> bool:
        """See RevocationView."""
        return self._core.standing.is_revoked(token_id, principal_id, issued_at)


def unsafe_choices(settings: GatewaySettings) -> tuple[str, ...]:
    """The unsafe settings in force, shown on every screen."""
    return settings.unsafe_flags


def now_ms() -> int:
    """Unix ms."""
    return time.time_ns() // 1_000_000
