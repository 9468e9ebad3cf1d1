"""Brought rules on a real OPA and on the embedded engine: one answer, word for word, readings included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.opaservers import answering, opa_server
from tests.ownrules import AUTHZ, DATA, DENY, SCORE, changes, team_folder

from lockgate.contract.decision import Question
from lockgate.contract.reading import Verdict
from lockgate.policy.building import build_policy
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.opaserver.endpoint import Dialer
from lockgate.policy.opaserver.engine import OpaServer, ServerSettings
from lockgate.policy.port import PolicyEngine
from lockgate.policy.replay import UNHURRIED
from lockgate.testing.policy_engine import example_input

pytestmark = pytest.mark.opa
ODD = """package odd

text := input.text

number := input.number

many contains item if some item in input.many

keyed[key] := item if some key, item in input.keyed

yes if input.yes

told contains message if {
	some change in input.resource_changes
	parts := split(change.type, "_")
	message := sprintf("%v (%d of %v): %q", [change.type, count(parts), parts, upper(trim_prefix(change.address, "aws_"))])
}
"""
ODD_ENTRIES = """  - {name: text, path: odd.text, reads: denials, effect: approve}
  - {name: number, path: odd.number, reads: score, limit: 3, effect: approve}
  - {name: many, path: odd.many, reads: denials, effect: deny}
  - {name: keyed, path: odd.keyed, reads: denials, effect: deny}
  - {name: yes, path: odd.yes, reads: violated, effect: deny}
  - {name: told, path: odd.told, reads: denials, effect: approve}
"""
PLANS = [
    changes(),
    changes(("aws_instance", "create"), tags={"owner": "web"}),
    changes(("aws_autoscaling_group", "delete"), tags={"owner": "web"}),
    changes(("aws_iam", "create")),
    changes(*[("aws_instance", "create")] * 40),
    {**changes(), "text": "no", "number": "3", "many": [1], "yes": False},
    {
        **changes(),
        "text": [],
        "number": 3.5,
        "many": [["b", {"z": 1, "a": 2}], {"msg": "m"}, None, 1.5, "ü" * 600],
        "yes": True,
    },
    {**changes(), "text": {"k": {"msg": "v"}}, "number": -1e9, "keyed": {"b": [1, {"y": 1, "x": 2}], "a": "x"}},
    {**changes(), "number": 1e21, "keyed": {"long": "\u202e\x1b" * 400}, "many": [f"{n:04d}" for n in range(300)]},
]


@pytest.fixture
async def engines(opa: Path, tmp_path: Path) -> AsyncIterator[tuple[PolicyEngine, PolicyEngine]]:
    odd = tmp_path / "odd"
    odd.mkdir()
    (odd / "odd.rego").write_text(ODD)
    data = DATA + SCORE + AUTHZ + DENY + ODD_ENTRIES
    bundle = build_policy(data, "data.yaml", [team_folder(tmp_path), odd], opa)
    embedded = EmbeddedEngine(bundle, UNHURRIED)
    with opa_server(opa, tmp_path, bundle) as server:
        real = OpaServer(bundle, Dialer(server.endpoint, None, max_body=1 << 20), ServerSettings(deadline=30))
        await answering(server, real, bundle.revision)
        yield embedded, real
        await asyncio.gather(embedded.close(), real.close())


@pytest.mark.parametrize("question", [Question.PLAN, Question.APPLY])
async def test_both_engines_say_the_same_of_brought_rules(
    engines: tuple[PolicyEngine, PolicyEngine], question: Question
) -> None:
    seen: set[Verdict] = set()
    for plan in PLANS:
        document = example_input(question, plan=plan)
        one, other = [_comparable((await engine.decide(question, document)).to_document()) for engine in engines]
        assert one == other
        seen |= {Verdict(reading["verdict"]) for reading in one["readings"]}
    assert seen == set(Verdict), "the plans bring out every way to read"


def _comparable(decision: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in decision.items() if name not in {"id", "engine", "duration_us"}}
