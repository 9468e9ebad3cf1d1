"""What a real OPA server takes for the same decisions as the embedded engine, how much of it is no policy, and that evaluating takes no memory that stays."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench.cloudplans import everything_on
from tests.bench.decisions import document, figures
from tests.bench.figures import Figure
from tests.bench.machine import cpu_seconds
from tests.conftest import tool_path
from tests.opaservers import Opa, answering, opa_server

from lockgate.contract.decision import Question
from lockgate.policy.bundle import PolicyBundle, library_with
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.opaserver.endpoint import Dialer
from lockgate.policy.opaserver.engine import OpaServer, ServerSettings

EVALUATIONS = 100_000
A_PLAN_EVERY = 200

COSTS = (
    ("request decision", Question.REQUEST, 0, 800),
    ("plan decision, 5 changes", Question.PLAN, 5, 200),
    ("plan decision, 200 changes", Question.PLAN, 200, 40),
)
"""Whose processor time is measured: its name, question, changes, and how many such decisions."""

SAYS_YES = """package lockgate.{question}

decision := {{"allow": true, "violations": [], "obligations": {{}}}}
"""


async def measure(place: Path) -> list[Figure]:
    """A decision at a time on one kept connection over a Unix socket, with every rule and with none; then the embedded engine's memory."""
    bundle = library_with(everything_on(), "everything.json")
    found = await server_latencies(place / "every-rule", bundle, "OPA server: ")
    found += await server_latencies(place / "only-yes", only_yes(bundle), "OPA server that only says yes: ")
    return [*found, *await memory()]


def only_yes(bundle: PolicyBundle) -> PolicyBundle:
    """The same bundle with no rule in it but who may ask: what is left of a decision is what any policy would cost."""
    answers = {f"lockgate/{question.value}.rego": SAYS_YES.format(question=question.value) for question in Question}
    authz = {path: text for path, text in bundle.modules.items() if path.startswith("system/")}
    return replace(bundle, modules=authz | answers)


async def server_latencies(place: Path, bundle: PolicyBundle, name: str, count: int = 1_000) -> list[Figure]:
    """Each document checked, encoded, sent over a Unix socket, authorized and evaluated by OPA, read."""
    place.mkdir(parents=True)
    with opa_server(tool_path("opa"), place, bundle) as server:
        engine = OpaServer(bundle, Dialer(server.endpoint, None, max_body=1 << 20), ServerSettings(deadline=30))
        await answering(server, engine)
        found = await figures(engine, place / "kept", name, count)
        for kind, question, changes, number in COSTS:
            found.append(
                await processor(
                    server,
                    engine,
                    f"{name}{kind}, CPU",
                    [document(question, index, changes) for index in range(number)],
                )
            )
        await engine.close()
    return found


async def processor(server: Opa, engine: OpaServer, name: str, documents: list[dict[str, Any]]) -> Figure:
    """Milliseconds of processor time a decision, both processes: unlike the latencies it hardly depends on what else runs."""
    if server.process is None:
        raise RuntimeError("OPA was not started")
    theirs, ours = cpu_seconds(server.process.pid), time.thread_time()
    for item in documents:
        await engine.decide(Question(item["question"]), item)
    ours, theirs = time.thread_time() - ours, cpu_seconds(server.process.pid) - theirs
    each = 1000 / len(documents)
    note = f"OPA {theirs * each:.2f}; check, encode, send and read {ours * each:.2f}; mean of {len(documents)}"
    return Figure(name, (theirs + ours) * each, "ms", note)


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
