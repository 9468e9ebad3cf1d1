"""What answers where an OPA should be is down, slow, broken or hostile: each is a denial that says which, and the next question is asked again.

A real OPA cannot be made to do these; the server here is a fake. `test_real_servers.py` has the real one.
"""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.looptime import turns
from tests.unit.policy.opaserver.conftest import (
    ALLOW,
    BUNDLE,
    DEADLINE,
    Fake,
    Make,
    PassBy,
    Script,
    answer,
    ask,
    http,
    only_rule,
)

from lockgate.contract.decision import ENGINE_FAULTS, Question
from lockgate.policy.opaserver.endpoint import Dialer, Endpoint
from lockgate.testing.policy_engine import example_input


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def within(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(answer()[:40])
    await writer.drain()
    writer.close()


async def endless_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-A: b\r\n" * 1000)
        await writer.drain()


def too_late(pass_by: PassBy, seconds: float = DEADLINE + 1) -> Script:
    """Says yes once so many seconds have gone by, and those who wait no longer have left."""

    async def said(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass_by(seconds)
        await turns()
        writer.write(answer())

    return said


async def test_what_the_gateway_sends_is_one_question_and_asks_for_the_revision(fake: Fake, make: Make) -> None:
    fake.says = [answer()]
    decision = await ask(make(), Question.PLAN)
    assert decision.allow
    assert (decision.engine, decision.revision) == ("opa/1.22.2", BUNDLE.revision)
    head, body = fake.requests[0].split(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/data/lockgate/plan/decision?provenance=true HTTP/1.1\r\n")
    assert json.loads(body) == {"input": example_input(Question.PLAN)}


OUTPUT = "lockgate.engine.output"
UNAVAILABLE = "lockgate.engine.unavailable"
EVAL = {"code": "internal_error", "message": "error(s) occurred while evaluating query"}
TWICE = (
    answer()
    .split(b"\r\n\r\n")[1]
    .replace(b'"result": ', b'"result": {"allow": true, "violations": [], "obligations": {}}, "result": ')
)


@pytest.mark.parametrize(
    ("says", "rule"),
    [
        pytest.param(says, rule, id=name)
        for name, says, rule in [
            ("500", http(b"{}", "500 Internal Server Error"), UNAVAILABLE),
            ("503", http(b"", "503 Service Unavailable"), UNAVAILABLE),
            ("not allowed to ask", http(b"{}", "401 Unauthorized"), UNAVAILABLE),
            ("404", http(b"{}", "404 Not Found"), UNAVAILABLE),
            ("204", http(b"", "204 No Content"), UNAVAILABLE),
            ("redirect", http(b"", "307 Temporary Redirect", "Location: unix:///other.sock"), UNAVAILABLE),
            ("redirect with a yes", answer().replace(b"200 OK", b"302 Found"), UNAVAILABLE),
            ("a failed function", http(json.dumps({**EVAL, "errors": [{"code": "eval_builtin_error", "message": "x"}]}).encode(), "500 E"), "lockgate.engine.builtin"),
            ("a zone it has not", http(json.dumps({**EVAL, "errors": [{"code": "eval_builtin_error", "message": "time.clock: unknown time zone X"}]}).encode(), "500 E"), "lockgate.engine.time_zones"),
            ("two values", http(json.dumps({**EVAL, "errors": [{"code": "eval_conflict_error"}]}).encode(), "500 E"), "lockgate.engine.trap"),
            ("errors of another kind", http(b'{"errors": [1, {"code": {}}, "x"]}', "500 E"), UNAVAILABLE),
            ("no HTTP", b"SSH-2.0-OpenSSH_9.6\r\n", OUTPUT),
            ("nothing but a new line", b"\r\n\r\n\r\n\r\n" + b"x" * 100, OUTPUT),
            ("another protocol", http(b"", "101 Switching Protocols", "Upgrade: h2c", "Connection: Upgrade"), OUTPUT),
            ("an interim answer", b"HTTP/1.1 100 Continue\r\n\r\n" + answer(), OUTPUT),
            ("two answers", answer() + answer(), OUTPUT),
            ("garbage", http(b"\xff\xfe\x00garbage"), OUTPUT),
            ("no JSON", http(b"{'result': true}"), OUTPUT),
            ("cut JSON", http(b'{"result": {"allow": true'), OUTPUT),
            ("empty", http(b""), OUTPUT),
            ("a list", http(b"[]"), OUTPUT),
            ("NaN", http(b'{"result": NaN}'), OUTPUT),
            ("two JSON values", http(answer().split(b"\r\n\r\n")[1] * 2), OUTPUT),
            ("a key that stands twice", http(TWICE), OUTPUT),
            ("deep nesting", http(b"[" * 2000 + b"]" * 2000), OUTPUT),
            ("an answer without an end", http(b"x" * 5000), OUTPUT),
            ("a head without an end", endless_head, OUTPUT),
            ("no provenance", http(json.dumps({"result": ALLOW}).encode()), OUTPUT),
            ("no version", http(json.dumps({"provenance": {"bundles": {"b": {"revision": BUNDLE.revision}}}, "result": ALLOW}).encode()), OUTPUT),
            ("a version that is none", answer().replace(b"1.22.2", b"1 2\\u002"), OUTPUT),
            ("undefined", answer(...), "lockgate.engine.undefined"),
            ("a bare yes", answer(True), OUTPUT),
            ("null", answer(None), OUTPUT),
            ("a string", answer("allow"), OUTPUT),
            ("a list of answers", answer([ALLOW]), OUTPUT),
            ("a yes that is no boolean", answer({**ALLOW, "allow": "true"}), OUTPUT),
            ("an unknown obligation", answer({**ALLOW, "obligations": {"pray": 1}}), "lockgate.engine.obligation"),
            ("neither yes nor why", answer({**ALLOW, "allow": False}), "lockgate.engine.no_allow"),
            ("another revision", answer(revision="sha256:" + "0" * 64), "lockgate.engine.revision"),
            ("no revision", answer(revision=""), "lockgate.engine.revision"),
            ("a bundle beside ours", answer(provenance={"version": "1", "bundles": {"a": {"revision": BUNDLE.revision}, "b": {}}}), "lockgate.engine.revision"),
            ("two bundles of our revision", answer(provenance={"version": "1", "bundles": {"a": {"revision": BUNDLE.revision}, "b": {"revision": BUNDLE.revision}}}), "lockgate.engine.revision"),
            ("no bundle", answer(provenance={"version": "1", "bundles": {}}), "lockgate.engine.revision"),
            ("bundles of another kind", answer(provenance={"version": "1", "bundles": [BUNDLE.revision]}), "lockgate.engine.revision"),
            ("a revision of the old style", answer(provenance={"version": "1", "revision": BUNDLE.revision}), "lockgate.engine.revision"),
            ("closed without a word", hang_up, UNAVAILABLE),
            ("closed within its answer", within, UNAVAILABLE),
        ]
    ],
)  # fmt: skip
async def test_an_answer_that_is_not_exactly_a_yes_denies_by_name_and_the_next_is_asked_again(
    fake: Fake, make: Make, says: bytes | Script, rule: str
) -> None:
    engine = make()
    fake.says = [says]
    decision = await ask(engine)
    assert only_rule(decision) == rule
    assert rule in ENGINE_FAULTS or rule == "lockgate.engine.no_allow"
    assert len(fake.requests) == 1, "it was asked twice"
    fake.says = [answer()]
    assert (await ask(engine)).allow


async def test_an_opa_that_is_not_there_denies_and_is_found_when_it_is(fake: Fake, make: Make) -> None:
    await fake.stop()
    engine = make()
    assert only_rule(await ask(engine)) == UNAVAILABLE
    fake.place.write_bytes(b"")
    assert only_rule(await ask(engine)) == UNAVAILABLE
    fake.place.unlink()
    fake.says = [answer()]
    await fake.start()
    assert (await ask(engine)).allow


async def test_one_that_never_answers_is_given_up_at_the_deadline_and_its_connection_with_it(
    fake: Fake, make: Make, pass_by: PassBy
) -> None:
    engine = make()
    fake.says = [too_late(pass_by), answer()]
    assert only_rule(await ask(engine)) == "lockgate.engine.timeout"
    assert (await ask(engine)).allow
    assert (fake.connections, len(fake.requests)) == (2, 2)


async def test_waiting_for_a_connection_counts_towards_the_deadline(fake: Fake, make: Make, pass_by: PassBy) -> None:
    engine = make(connections=1)
    fake.says = [too_late(pass_by), answer()]
    first, second = await asyncio.gather(ask(engine), ask(engine))
    assert {only_rule(first), only_rule(second)} == {"lockgate.engine.timeout"}
    assert len(fake.requests) == 1, "the second one had no time left when its turn came"


async def test_more_than_may_wait_are_denied_at_once(fake: Fake, make: Make) -> None:
    engine = make(connections=2, waiting=3)
    asked = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked.wait()
        writer.write(answer())

    fake.says = [hold]
    held = [asyncio.create_task(ask(engine)) for _ in range(6)]
    done, pending = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
    assert [only_rule(task.result()) for task in done] == ["lockgate.engine.busy"]
    asked.set()
    assert [(await task).allow for task in pending] == [True] * 5
    assert fake.connections == 2


async def test_connections_are_kept_and_never_more_than_allowed(fake: Fake, make: Make) -> None:
    engine = make(connections=4)
    fake.says = [answer()]
    for _ in range(3):
        assert all(decision.allow for decision in await asyncio.gather(*(ask(engine) for _ in range(20))))
    assert fake.connections <= 4
    assert len(fake.requests) == 60


async def test_a_kept_connection_that_the_server_closed_is_replaced_once(fake: Fake, make: Make) -> None:
    engine = make(connections=1)
    fake.says = [answer(), hang_up, answer()]
    assert (await ask(engine)).allow
    assert (await ask(engine)).allow
    assert (fake.connections, len(fake.requests)) == (2, 3)
    fake.says = [hang_up]
    assert only_rule(await ask(engine)) == UNAVAILABLE
    assert len(fake.requests) == 5, "the kept one, and one more"


async def test_a_new_connection_is_never_tried_twice(fake: Fake, make: Make) -> None:
    fake.says = [hang_up, answer()]
    assert only_rule(await ask(make())) == UNAVAILABLE
    assert len(fake.requests) == 1


async def test_the_second_attempt_has_what_is_left_of_the_one_deadline(fake: Fake, make: Make, pass_by: PassBy) -> None:
    async def hang_up_late(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass_by(DEADLINE * 2 / 3)
        writer.transport.abort()

    engine = make(connections=1)
    fake.says = [answer(), hang_up_late, too_late(pass_by, DEADLINE * 2 / 3)]
    assert (await ask(engine)).allow
    assert only_rule(await ask(engine)) == "lockgate.engine.timeout"
    assert len(fake.requests) == 3


async def test_an_answer_that_nobody_asked_for_is_nobodys(fake: Fake, make: Make) -> None:
    engine = make(connections=1)
    first_read, dropped = asyncio.Event(), asyncio.Event()

    async def and_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer({**ALLOW, "allow": False}))
        await first_read.wait()
        writer.write(answer())
        assert await reader.read() == b"", "another question came instead of the end"
        dropped.set()

    fake.says = [and_more, answer({**ALLOW, "allow": False})]
    assert only_rule(await ask(engine)) == "lockgate.engine.no_allow"
    first_read.set()
    await dropped.wait()
    assert only_rule(await ask(engine)) == "lockgate.engine.no_allow"
    assert fake.connections == 2


async def test_what_the_answer_quotes_of_the_input_stays_out_of_the_denial(fake: Fake, make: Make) -> None:
    failed = {
        **EVAL,
        "errors": [{"code": "eval_builtin_error", "message": "parsing hunter2", "location": {"file": "x"}}],
    }
    for says in (http(json.dumps(failed).encode(), "500 E"), http(b'{"hunter2": '), http(b"hunter2", "500 E")):
        fake.says = [says]
        assert "hunter2" not in json.dumps((await ask(make())).to_document())


async def test_a_proxy_of_the_environment_is_not_used(fake: Fake, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    fake.says = [answer()]
    assert (await ask(make())).allow


@pytest.mark.parametrize(
    "url",
    ["", "opa", "http://127.0.0.1:8181", "unix://opa.sock", "unix:opa.sock", "unix:///a?b", "unix:///" + "a" * 200,
     "https://", "https://host/v1", "https://user@host", "https://host:0", "https://host:99999", "https://host?x", "ftp://host"],
)  # fmt: skip
def test_an_address_that_is_neither_a_socket_nor_tls_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be|at most"):
        Endpoint.parse(url)


def test_https_without_certificates_is_refused() -> None:
    with pytest.raises(ValueError, match="certificate, key and ca"):
        Dialer(Endpoint.parse("https://opa.internal:8181"), None, max_body=1)
