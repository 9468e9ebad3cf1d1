"""What a real OPA server takes for the same decisions as the embedded engine, and that evaluating takes no memory that stays."""

from __future__ import annotations

import os
from pathlib import Path

from tests.bench.cloudplans import everything_on
from tests.bench.decisions import document, figures
from tests.bench.figures import Figure
from tests.conftest import tool_path
from tests.opaservers import answering, opa_server

from lockgate.contract.decision import Question
from lockgate.policy.bundle import library_with
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.opaserver.endpoint import Dialer
from lockgate.policy.opaserver.engine import OpaServer, ServerSettings

EVALUATIONS = 100_000
A_PLAN_EVERY = 200


async def measure(place: Path) -> list[Figure]:
    """A request decision at a time on one kept connection over a Unix socket; then the embedded engine's memory."""
    return [*await server_latencies(place), *await memory()]


async def server_latencies(place: Path, count: int = 1_000) -> list[Figure]:
    """Every rule of the library on; each document checked, encoded, sent over a Unix socket, evaluated by OPA, read."""
    bundle = library_with(everything_on(), "everything.json")
    with opa_server(tool_path("opa"), place, bundle) as server:
        engine = OpaServer(bundle, Dialer(server.endpoint, None, max_body=1 << 20), ServerSettings(deadline=30))
        await answering(server, engine)
        found = await figures(engine, place / "kept", "OPA server: ", count)
        await engine.close()
    return found


async def memory(count: int = EVALUATIONS) -> list[Figure]:
    """Resident memory of this process after a tenth of the evaluations and after all of them."""
    engine = EmbeddedEngine(library_with(everything_on(), "everything.json"))
    first = 0
    for number in range(count):
        question = Question.PLAN if number % A_PLAN_EVERY == 0 else Question.REQUEST
        await engine.decide(question, document(question, number, 5 if question is Question.PLAN else 0))
        if number == count // 10:
            first = resident()
    last = resident()
    await engine.close()
    note = f"{count:,} evaluations, one in {A_PLAN_EVERY} a plan of 5 changes; {first >> 20} MB to {last >> 20} MB"
    return [Figure("RSS, after all evaluations / after a tenth", last / first, "x", note=note)]


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
