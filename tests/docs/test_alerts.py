"""The alert rules that pages show are rules of Prometheus' form, over numbers that this program really counts.

Their expressions were parsed once by Prometheus' own grammar; what can rot here are the names, the labels and the objective.
"""

from __future__ import annotations

import re

import pytest
import yaml
from tests.docs.pages import ROOT, read_page

from lockgate.gateway.audit.entries import EntryKind
from lockgate.gateway.friction import OBJECTIVE
from lockgate.telemetry.metrics import Metrics

PAGES = [read_page(ROOT / "docs" / "how-to" / name) for name in ("watch-denial-friction.md", "watch-the-gateway.md")]
RULES = {
    "groups": [
        group
        for page in PAGES
        for block in page.blocks
        if block.language == "yaml" and "groups:" in block.text
        for group in yaml.safe_load(block.text)["groups"]
    ]
}
EXPRESSIONS = {
    rule.get("record") or rule.get("alert"): rule["expr"] for group in RULES["groups"] for rule in group["rules"]
}


def test_the_groups_have_the_form_that_prometheus_reads():
    assert set(RULES) == {"groups"}
    for group in RULES["groups"]:
        assert set(group) == {"name", "rules"}
        for rule in group["rules"]:
            assert ("record" in rule) != ("alert" in rule)
            assert set(rule) <= {"record", "alert", "expr", "for", "labels", "annotations"}
            assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", rule.get("record") or rule["alert"])


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_every_number_an_expression_names_is_counted(name):
    expression = EXPRESSIONS[name]
    counted = re.findall(r"^# TYPE (\S+)", Metrics().text().decode(), flags=re.M)
    known = set(counted) | {one.removesuffix("_total") + "_total" for one in counted} | set(EXPRESSIONS)
    named = re.findall(r"lockgate[a-zA-Z0-9_:]*", expression)
    assert named and set(named) <= known
    assert set(re.findall(r'kind="([^"]+)"', expression)) <= {kind.value for kind in EntryKind}
    for one, other in ("()", "[]", "{}"):
        assert expression.count(one) == expression.count(other)


def test_the_alert_is_the_objective():
    threshold = re.search(r">= ([0-9.]+)\s*$", EXPRESSIONS["LockgateDenialFriction"])
    assert threshold is not None and float(threshold.group(1)) == OBJECTIVE
