"""A real OPA, started as the docs say: over a socket and over TLS, restarted, with loops in its policy, and asked what it must not answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import ssl
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.halting import halt
from tests.looptime import comes_about
from tests.opaservers import Opa, answering, opa_server
from tests.ports import free_ports
from tests.unit.policy.opaserver.conftest import DEADLINE, PassBy

from lockgate.contract.decision import Decision, Question
from lockgate.keys.pki import CertificateAuthority, Issued, RunnerIdentity
from lockgate.keys.privatefile import write_private, write_public
from lockgate.keys.tls import TlsFiles, pinned_client
from lockgate.policy.bundle import PolicyBundle, load_library
from lockgate.policy.opaserver.connection import Connection
from lockgate.policy.opaserver.endpoint import Dialer, Endpoint
from lockgate.policy.opaserver.engine import OpaServer, ServerSettings
from lockgate.testing.policy_engine import example_input

pytestmark = pytest.mark.opa
BODY = 1 << 20
QUESTIONS = sorted(question.value for question in Question)


def policy(decision: str, *more: str) -> PolicyBundle:
    """A bundle whose `request` is `decision`, and whose `list` says yes."""
    authz = load_library().modules["system/authz.rego"]
    yes = '{"allow": true, "violations": [], "obligations": {}}'
    modules = {
        "system/authz.rego": authz,
        "list.rego": f"package lockgate.list\n\ndecision := {yes}\n",
        "request.rego": "\n\n".join(["package lockgate.request", *more, f"decision := {decision}", ""]),
    }
    return replace(load_library(), modules=modules)


@pytest.fixture
def serve(opa: Path, tmp_path: Path) -> Iterator[Callable[[PolicyBundle], Opa]]:
    with contextlib.ExitStack() as stack:
        yield lambda bundle: stack.enter_context(opa_server(opa, tmp_path, bundle))


@pytest.fixture
async def ask_of() -> AsyncIterator[Callable[..., OpaServer]]:
    engines: list[OpaServer] = []

    def made(server: Opa, bundle: PolicyBundle, files: TlsFiles | None = None) -> OpaServer:
        dialer = Dialer(server.endpoint, files, max_body=BODY)
        engines.append(OpaServer(bundle, dialer, ServerSettings(deadline=DEADLINE)))
        return engines[-1]

    yield made
    for engine in engines:
        await engine.close()


Serve = Callable[[PolicyBundle], Opa]
AskOf = Callable[..., OpaServer]


async def ask(engine: OpaServer, question: Question = Question.REQUEST) -> Decision:
    return await engine.decide(question, example_input(question))


def rules(decision: Decision) -> list[str]:
    return [violation.rule for violation in decision.violations]


YES = '{"allow": true, "violations": [], "obligations": {}}'
LOOP = "count([1 | some a in numbers.range(1, 99999); some b in numbers.range(1, 99999); a == b])"


async def test_a_policy_that_loops_denies_at_the_deadline_and_opa_goes_on(
    serve: Serve, ask_of: AskOf, pass_by: PassBy
) -> None:
    bundle = policy(LOOP)
    server = serve(bundle)
    engine = ask_of(server, bundle)
    await answering(server, engine)
    before = cpu_seconds(server)
    asking = asyncio.gather(*(ask(engine) for _ in range(8)))
    async with comes_about("OPA loops"):
        while cpu_seconds(server) < before + 0.3:  # noqa: ASYNC110 (it is another process)
            await asyncio.sleep(0.02)
    assert not asking.done(), await asking
    pass_by(DEADLINE + 1)
    async with comes_about("the deadline ends the questions"):
        assert [rules(decision) for decision in await asking] == [["lockgate.engine.timeout"]] * 8
    # OPA stops what nobody waits for any more: it is not left with eight loops of hours each.
    assert (await ask(engine, Question.LIST)).allow
    async with comes_about("OPA rests, and no longer evaluates what nobody waits for"):
        while await spent_in_a_second(server) > 0.05:
            pass


async def spent_in_a_second(server: Opa) -> float:
    """Of a loop it would be more, however many others want the processor."""
    before = cpu_seconds(server)
    await asyncio.sleep(1)
    return cpu_seconds(server) - before


def cpu_seconds(server: Opa) -> float:
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.parametrize(
    ("decision", "rule"),
    [
        (f"{YES} if input.nothing", "lockgate.engine.undefined"),
        ("true", "lockgate.engine.output"),
        ('["allow"]', "lockgate.engine.output"),
        (f"{YES} if to_number(input.tenant) > 0", "lockgate.engine.undefined"),
        (f'{YES} if time.clock([0, "Europe/Atlantis"])', "lockgate.engine.undefined"),
        ('{"allow": x, "violations": [], "obligations": {}} if some x in [true, false]', "lockgate.engine.trap"),
        ('concat("", ["x" | some _ in numbers.range(1, 2000000)])', "lockgate.engine.output"),
    ],
)
async def test_a_policy_that_does_not_answer_denies_by_name(
    serve: Serve, ask_of: AskOf, decision: str, rule: str
) -> None:
    bundle = policy(decision)
    server = serve(bundle)
    engine = ask_of(server, bundle)
    await answering(server, engine)
    assert rules(await ask(engine)) == [rule]
    assert (await ask(engine, Question.LIST)).allow


async def test_an_opa_that_dies_and_comes_back_denies_meanwhile_and_needs_no_restart_of_ours(
    serve: Serve, ask_of: AskOf
) -> None:
    bundle = policy(YES)
    server = serve(bundle)
    engine = ask_of(server, bundle)
    await answering(server, engine)
    for how in (signal.SIGKILL, signal.SIGTERM):
        server.stop(how)
        assert rules(await ask(engine)) == ["lockgate.engine.unavailable"]
        (server.folder / "opa.sock").unlink(missing_ok=True)
        server.start()
        await answering(server, engine)
        assert (await ask(engine)).allow


async def test_an_opa_that_hangs_denies_at_the_deadline_and_is_asked_again_when_it_goes_on(
    serve: Serve, ask_of: AskOf, pass_by: PassBy
) -> None:
    bundle = policy(YES)
    server = serve(bundle)
    engine = ask_of(server, bundle)
    await answering(server, engine)
    assert server.process is not None
    halt(server.process.pid)
    for _ in range(3):
        asking = asyncio.create_task(ask(engine))
        await asyncio.sleep(0)  # it has begun, and its deadline with it
        pass_by(DEADLINE + 1)
        async with comes_about("the deadline ends the question"):
            assert rules(await asking) == ["lockgate.engine.timeout"]
    server.process.send_signal(signal.SIGCONT)
    await answering(server, engine)


async def test_a_broken_bundle_leaves_the_last_good_one_in_force(serve: Serve, ask_of: AskOf) -> None:
    bundle = policy(YES)
    server = serve(bundle)
    engine = ask_of(server, bundle)
    await answering(server, engine)
    server.put(policy("}{"))
    async with comes_about("OPA says in its log that the bundle is broken"):
        while "rego_parse_error" not in server.log.read_text():  # noqa: ASYNC110 (OPA says it in its log alone)
            await asyncio.sleep(0.02)
    decision = await ask(engine)
    assert (decision.allow, decision.revision) == (True, bundle.revision)


async def test_while_opa_takes_up_a_new_bundle_every_question_is_answered_under_exactly_one(
    serve: Serve, ask_of: AskOf
) -> None:
    """`allow` says which bundle it was evaluated under: it must be the one that the decision names."""
    bundles = [policy(YES), policy(YES.replace("true", "false"))]
    server = serve(bundles[0])
    engine = ask_of(server, bundles[0])
    await answering(server, engine)
    expected = {bundles[0].revision: True, bundles[1].revision: False}
    seen: list[str] = []

    async def caller(until: str) -> None:
        while seen[-1:] != [until]:
            decision = await ask(engine)
            assert rules(decision) in ([], ["lockgate.engine.no_allow"]), decision
            assert decision.allow is expected[decision.revision]
            seen.append(decision.revision)

    for turn in (1, 0, 1):
        engine.expect(bundles[turn])
        server.put(bundles[turn])
        async with comes_about("OPA takes up the new bundle"):
            await asyncio.gather(*(caller(bundles[turn].revision) for _ in range(6)))
        assert engine.revision == bundles[turn].revision


async def test_a_bundle_that_this_gateway_has_not_verified_is_not_believed(serve: Serve, ask_of: AskOf) -> None:
    ours, theirs = policy(YES.replace("true", "false")), policy(YES)
    server = serve(theirs)
    await answering(server, ask_of(server, theirs))
    assert rules(await ask(ask_of(server, ours))) == ["lockgate.engine.revision"]


ASK = "/v1/data/lockgate/request/decision"


async def raw(server: Opa, method: str, path: str, body: bytes = b"", files: TlsFiles | None = None) -> int:
    """The status of one request."""
    connection: Connection = await Dialer(server.endpoint, files, max_body=BODY).connect()
    try:
        head = f"{method} {path} HTTP/1.1\r\nhost: {server.endpoint.authority}\r\ncontent-length: {len(body)}\r\n\r\n"
        return (await connection.ask(head.encode() + body)).status
    finally:
        connection.abort()


async def test_callers_of_opas_own_api_may_ask_decisions_and_its_health_and_nothing_else(
    serve: Serve, ask_of: AskOf
) -> None:
    bundle = load_library()
    server = serve(bundle)
    engine = ask_of(server, bundle)
    await answering(server, engine)
    document = json.dumps({"input": example_input(Question.REQUEST)}).encode()
    assert await raw(server, "POST", ASK, document) == 200
    assert await raw(server, "GET", "/health") == 200
    everything = json.dumps({"lockgate": {"parameters": {}}}).encode()
    for method, path, body in [
        ("GET", "/v1/data", b""),
        ("GET", "/v1/data/lockgate/parameters", b""),
        ("GET", ASK, b""),
        ("POST", "/v1/data/lockgate", document),
        ("POST", "/v1/data/lockgate/parameters", document),
        ("POST", "/v1/data/system", document),
        ("POST", ASK + "?explain=full", document),
        ("POST", ASK + "/../parameters", document),
        ("POST", "/v1/data/lockgate/request%2fdecision", document),
        ("POST", "//v1/data/lockgate/parameters", document),
        ("PUT", "/v1/data/lockgate/parameters", everything),
        ("PATCH", "/v1/data", b'[{"op": "add", "path": "/lockgate/parameters", "value": {}}]'),
        ("DELETE", "/v1/data/lockgate/parameters", b""),
        ("PUT", "/v1/policies/evil", b"package lockgate.request\ndecision := true"),
        ("DELETE", "/v1/policies/system%2Fauthz.rego", b""),
        ("GET", "/v1/policies", b""),
        ("POST", "/v1/query", b'{"query": "data"}'),
        ("GET", "/v1/query?q=data", b""),
        ("POST", "/v1/compile", b'{"query": "data.lockgate"}'),
        ("POST", "/v0/data/lockgate/request/decision", document),
        ("POST", "/", document),
        ("GET", "/v1/config", b""),
        ("GET", "/v1/status", b""),
        ("GET", "/metrics", b""),
        ("GET", "/debug/pprof/", b""),
    ]:
        assert await raw(server, method, path, body) in (301, 401, 404, 405), (method, path)
    decision = await ask(engine)
    assert decision.revision == bundle.revision
    assert rules(decision) == rules(await ask(ask_of(server, bundle)))


async def test_a_bundle_that_does_not_say_who_may_ask_answers_nobody(serve: Serve, ask_of: AskOf) -> None:
    open_to_all = policy(YES)
    modules = {path: text for path, text in open_to_all.modules.items() if path != "system/authz.rego"}
    bundle = replace(open_to_all, modules=modules)
    server = serve(bundle)
    async with comes_about("OPA listens"):
        while not (server.endpoint.socket and server.endpoint.socket.exists()):  # noqa: ASYNC110 (it is another process)
            await asyncio.sleep(0.02)
    assert rules(await ask(ask_of(server, bundle))) == ["lockgate.engine.unavailable"]


async def test_the_socket_is_its_owners_alone(serve: Serve, ask_of: AskOf) -> None:
    bundle = policy(YES)
    server = serve(bundle)
    await answering(server, ask_of(server, bundle))
    assert server.endpoint.socket is not None
    assert stat.S_IMODE(server.endpoint.socket.stat().st_mode) == 0o600


# TLS: one CA for both sides here; each is refused what another CA, another name or no certificate brings.


class Authority:
    def __init__(self, folder: Path) -> None:
        self.now = int(time.time() * 1000)  # TLS itself reads the wall clock
        self._folder, self._authority = folder, CertificateAuthority.create("acme", self.now)

    def server(self, name: str, ca: Authority | None = None) -> TlsFiles:
        return self._files(name, self._authority.gateway(self.now), ca)

    def client(self, name: str, ca: Authority | None = None) -> TlsFiles:
        identity = RunnerIdentity("acme", "default", "eu", "gateway")
        return self._files(name, self._authority.runner(identity, self.now), ca)

    def _files(self, name: str, issued: Issued, ca: Authority | None) -> TlsFiles:
        place = self._folder / name
        place.mkdir()
        files = TlsFiles(place / "cert.pem", place / "key.pem", place / "ca.pem")
        write_public(files.certificate, issued.certificate)
        write_private(files.key, issued.key)
        write_public(files.ca, (ca or self)._authority.issued.certificate)
        return files


@pytest.fixture
def tls(opa: Path, tmp_path: Path) -> Iterator[Callable[[PolicyBundle, TlsFiles], Opa]]:
    servers: list[Opa] = []

    def serve(bundle: PolicyBundle, files: TlsFiles) -> Opa:
        server = Opa(opa, tmp_path, Endpoint.parse(f"https://127.0.0.1:{free_ports(1)[0]}"), files)
        server.put(bundle)
        server.start()
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.stop()


async def test_over_tls_each_side_knows_the_other_by_the_pinned_ca(
    tls: Callable[[PolicyBundle, TlsFiles], Opa], ask_of: AskOf, tmp_path: Path
) -> None:
    ours, other = Authority(tmp_path), Authority(tmp_path)
    bundle = load_library()
    server = tls(bundle, ours.server("opa"))
    good = ours.client("gateway")
    engine = ask_of(server, bundle, good)
    await answering(server, engine)
    assert (await ask(engine)).engine.startswith("opa/")
    assert await raw(server, "GET", "/v1/data", files=good) == 401

    refused = ["lockgate.engine.unavailable"]
    by_another_ca = ask_of(server, bundle, other.client("stranger", ca=ours))
    assert rules(await ask(by_another_ca)) == refused
    believing_another_ca = ask_of(server, bundle, ours.client("mistaken", ca=other))
    assert rules(await ask(believing_another_ca)) == refused
    elsewhere = replace(server, endpoint=Endpoint.parse(f"https://127.0.0.2:{server.endpoint.port}"))
    assert rules(await ask(ask_of(elsewhere, bundle, good))) == refused
    context = pinned_client(good)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", server.endpoint.port)) as plain:
        context.wrap_socket(plain, server_hostname="127.0.0.1")
    assert (await ask(engine)).revision == bundle.revision


async def test_a_server_of_another_name_is_not_asked(
    tls: Callable[[PolicyBundle, TlsFiles], Opa], ask_of: AskOf, tmp_path: Path
) -> None:
    """The certificate says 127.0.0.1, and the gateway was told `opa.internal`, which leads to the same port."""
    ours, bundle = Authority(tmp_path), load_library()
    server = tls(bundle, ours.server("opa"))
    files = ours.client("gateway")
    await answering(server, ask_of(server, bundle, files))
    loop = asyncio.get_running_loop()
    with pytest.raises(ssl.SSLCertVerificationError, match=r"opa\.internal"):
        await loop.create_connection(
            lambda: Connection(BODY),
            "127.0.0.1",
            server.endpoint.port,
            ssl=pinned_client(files),
            server_hostname="opa.internal",
        )
