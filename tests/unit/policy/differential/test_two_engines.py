"""Two engines, one answer: the whole library on OPA's Wasm in this process and on a real OPA server, over generated inputs and the library's own tests.

What is compared is the decision: allow, violations with their details, obligations, byte for byte.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from tests.bench.decisions import document as cloud_question
from tests.opaservers import answering, opa_server
from tests.unit.policy.differential.inputs import TYPES, inputs

from lockgate.contract.decision import Decision, Question
from lockgate.policy.bundle import PolicyBundle, library_with, load_library
from lockgate.policy.characters import require_whole_characters
from lockgate.policy.embedded import EmbeddedEngine, EngineSettings
from lockgate.policy.input import encode_input, validate_input
from lockgate.policy.opaserver.endpoint import Dialer
from lockgate.policy.opaserver.engine import OpaServer, ServerSettings
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.rules import library_rules
from lockgate.policy.schemas import DocumentRefused
from lockgate.policy.testing import run_policy_tests
from lockgate.policy.wasm import Bounds, PolicyInstance, PolicyModule
from lockgate.testing.policy_engine import example_input, example_plan

ROOT = Path(__file__).parents[4]
POLICIES = ROOT / "policies"
EACH = 550
PATIENT = Bounds(memory_bytes=256 << 20, input_bytes=16 << 20, seconds=60)
LISTED = [name for name, rule in library_rules().items() if "parameters" in rule]
"""The rules that policy data switches on."""
EVERYWHERE = "everything-everywhere"


def parameter_sets() -> dict[str, PolicyBundle]:
    """The library with several data: the example as it stands, every rule on everywhere (denying; asking), and that of `lockgate dev`."""
    example = yaml.safe_load((POLICIES / "data.example.yaml").read_text())
    sets = {"example": (POLICIES / "data.example.yaml").read_text(), "dev": load_library().data_text}
    for effect, unknown in (("deny", "deny"), ("approve", "deny")):
        data = {**example, "rules": {name: entries_of(name, example, effect, unknown) for name in LISTED}}
        data["roles"] = {**example["roles"], EVERYWHERE: {"questions": [question.value for question in Question]}}
        data["bindings"] = [{"subject": {"issuer": issuer, "id": "*"}, "roles": [EVERYWHERE]} for issuer in ISSUERS]
        sets[f"every rule: {effect}"] = yaml.safe_dump(data, allow_unicode=True)
    return {name: library_with(text, name) for name, text in sets.items()}


ISSUERS = ["https://id.example.com", "https://issuer.test"]


def entries_of(rule: str, example: dict[str, Any], effect: str, unknown: str) -> list[dict[str, Any]]:
    """The example's entries of a rule, for every target; a rule that the example does not show is taken as it is by itself."""
    written = example["rules"].get(rule, [{}])
    left_out = {"targets", "exceptions", "effect", "unknown", "require"}
    entries = [
        {**{k: v for k, v in entry.items() if k not in left_out}, "effect": effect, "unknown": unknown}
        for entry in written
    ]
    try:
        library_with(yaml.safe_dump({**example, "rules": {rule: entries}}), rule)
    except PolicyLoadError as refused:
        if "unknown" not in str(refused):
            raise AssertionError(
                f"{rule} needs parameters: show it in policies/data.example.yaml ({refused})"
            ) from None
        entries = [{key: value for key, value in entry.items() if key != "unknown"} for entry in entries]
    return entries


def generated() -> list[tuple[Question, dict[str, Any]]]:
    """EACH valid inputs, the same in every run."""
    found: list[tuple[Question, dict[str, Any]]] = []

    @settings(
        max_examples=2 * EACH,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(inputs())
    def collect(drawn: tuple[Question, dict[str, Any]]) -> None:
        try:
            validate_input(drawn[1])
            require_whole_characters(drawn[1], encode_input(drawn[1]))
        except DocumentRefused:
            return
        found.append(drawn)

    collect()
    return found[:EACH]


SPEAK = {
    "role",
    "region",
    "change_limit",
    "freeze",
    "approvals",
    "allowed_providers",
    "allowed_instance_types",
    "residency",
}
COMPARED = ("allow", "violations", "obligations", "readings", "exceptions", "input_sha256")


def said(decision: Decision) -> bytes:
    """What policy said, without who said it and when."""
    document = decision.to_document()
    return orjson.dumps(
        {name: document.get(name) for name in COMPARED},
        option=orjson.OPT_SORT_KEYS,
    )


@pytest.mark.opa
@pytest.mark.slow
async def test_every_generated_input_has_one_answer(opa: Path, tmp_path: Path) -> None:
    asked = generated()
    assert len(asked) == EACH
    # What is drawn depends on more than the seed; these make the rules on clouds speak in every run.
    asked += [(Question.PLAN, cloud_question(Question.PLAN, number, 40)) for number in range(8)]
    assert len(TYPES) > 30
    rules: Counter[str] = Counter()
    compared = 0
    for number, (name, bundle) in enumerate(parameter_sets().items()):
        place = tmp_path / str(number)
        place.mkdir()
        embedded = EmbeddedEngine(bundle, EngineSettings(loop=PATIENT, worker=PATIENT))
        with opa_server(opa, place, bundle) as server:
            served = OpaServer(bundle, Dialer(server.endpoint, None, max_body=4 << 20), ServerSettings(deadline=60))
            await answering(server, served)
            for question, document in asked:
                one, other = await asyncio.gather(
                    embedded.decide(question, document), served.decide(question, document)
                )
                assert said(one) == said(other), (name, question, json.dumps(document))
                refused = [
                    (item.rule, item.details)
                    for item in one.violations
                    if item.rule.startswith("lockgate.engine.") and item.rule != "lockgate.engine.no_allow"
                ]
                assert not refused, (refused, name, question, json.dumps(document))
                rules.update({item.rule for item in one.violations} or {"allowed"})
                compared += 1
            await served.close()
        await embedded.close()
    print(
        f"\n{compared} inputs on both engines, one answer each; {len(rules)} rules spoke: {dict(rules.most_common())}"
    )
    assert compared >= 2_000
    assert rules["allowed"] > 50
    assert rules.keys() >= SPEAK


@pytest.mark.opa
async def test_half_a_character_inside_a_json_text_has_one_answer(opa: Path, tmp_path: Path) -> None:
    """OPA's `json.unmarshal` makes U+FFFD of it and the Wasm traps, where a rule reads the text: so neither is asked."""
    bundle = parameter_sets()["every rule: deny"]
    embedded = EmbeddedEngine(bundle, EngineSettings(loop=PATIENT, worker=PATIENT))
    found: dict[str, list[str]] = {}
    with opa_server(opa, tmp_path, bundle) as server:
        served = OpaServer(bundle, Dialer(server.endpoint, None, max_body=4 << 20), ServerSettings(deadline=60))
        await answering(server, served)
        for text in (r"\ud83d\ude00", r"\ud83d"):
            policy = '{"Statement": [{"Sid": "' + text + '", "Effect": "Allow", "Action": "*", "Resource": "*"}]}'
            change = {
                "actions": ["create"],
                "before": None,
                "after": {"name": "p", "policy": policy},
                "after_unknown": {},
            }
            address = {"address": "aws_iam_policy.p", "type": "aws_iam_policy", "name": "p", "mode": "managed"}
            plan = example_plan(resource_changes=[{**address, "change": change}])
            document = example_input(Question.PLAN, plan=plan)
            one, other = [await engine.decide(Question.PLAN, document) for engine in (embedded, served)]
            assert said(one) == said(other), (one.violations, other.violations)
            found[text] = [item.rule for item in one.violations]
        await served.close()
    await embedded.close()
    assert "iam_wildcard" in found[r"\ud83d\ude00"], "the text is read as JSON"
    assert found[r"\ud83d"] == ["lockgate.engine.input"]


@pytest.mark.opa
@pytest.mark.slow
def test_the_librarys_own_tests_pass_on_the_embedded_engine_too(opa: Path, tmp_path: Path) -> None:
    """Each is an entry point of one module: its inputs, its data and what it expects are those of `opa test`."""
    tests = run_policy_tests([POLICIES], opa).tests
    entries = [f"{test.package.removeprefix('data.').replace('.', '/')}/{test.name}" for test in tests]
    output = tmp_path / "tests.tar.gz"
    argv = [
        str(opa),
        "build",
        "--target",
        "wasm",
        "--bundle",
        ".",
        "--capabilities",
        "capabilities.json",
        "--output",
        str(output),
    ]
    for entry in entries:
        argv += ["--entrypoint", entry]
    subprocess.run(argv, cwd=POLICIES, check=True, capture_output=True)
    with tarfile.open(output) as archive:
        member = archive.extractfile("/policy.wasm")
        assert member is not None
        module = PolicyModule(member.read())
    instance = PolicyInstance(module, b"{}", PATIENT)
    failed = [entry for entry in entries if instance.evaluate(entry, b"{}") is not True]
    module.close()
    print(f"\n{len(entries)} of the library's own tests, on both engines")
    assert failed == []
    assert len(entries) > 150
