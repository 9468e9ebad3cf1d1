"""Code that planned swaps the variables inside the plan file: what is applied would run on other words than those that were approved (TRUST §2)."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.job.opentofu.conftest import Site, site
from tests.unit.job.opentofu.repack import changed, members

from lockgate.job.drivers.port import StageRefused

__all__ = ["site"]

pytestmark = pytest.mark.tofu

SOURCE = """
variable "text" {}
variable "more" { default = null }
resource "terraform_data" "x" {
  provisioner "local-exec" {
    command = "printf %s '${var.text} ${jsonencode(var.more)}' > OUT"
  }
}
"""
VALUES: list[Any] = [
    "plain ${not.a.template}",
    0,
    -7,
    1.1,
    1e-7,
    2**63,
    1e300,
    True,
    False,
    [],
    {},
    [1, "1", True, None, [2.5]],
    {"a": {"b": [{"c": "é"}]}, "d": 255},
]


def swapped(plan: bytes, old: bytes, new: bytes) -> bytes:
    tfplan = members(plan)["tfplan"]
    assert old in tfplan
    return changed(plan, tfplan=tfplan.replace(old, new))


def test_other_variables_in_the_plan_file_are_not_applied(site: Site) -> None:
    """The command of a provisioner is evaluated at apply, by the plan file's variables: no change of any resource shows it."""
    out = site.base / "out"
    site.write("main.tf", SOURCE.replace("OUT", str(out)))
    plan = swapped(site.plan({"text": "good"}), b"good", b"evil")
    with pytest.raises(StageRefused, match="variable 'text' is not what was asked for"):
        site.apply(plan, {"text": "good"})
    assert not out.exists()


def test_nor_are_variables_that_nobody_gave(site: Site) -> None:
    site.write("main.tf", SOURCE)
    with pytest.raises(StageRefused, match="variable 'more' is not what was asked for"):
        site.apply(site.plan({"text": "good", "more": "evil"}), {"text": "good"})
    with pytest.raises(StageRefused, match="variable 'more' is not what was asked for"):
        site.apply(site.plan({"text": "good"}), {"text": "good", "more": "asked for"})


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_was_asked_for_is_applied_whatever_kind_of_value_it_is(site: Site, value: Any) -> None:
    site.write("main.tf", SOURCE.replace("OUT", "/dev/null"))
    given = {"text": "good", "more": value}
    result = site.apply(site.plan(given), given)
    assert result.status == "ok", result.detail


@pytest.mark.parametrize(
    ("name", "text"), [("terraform.tfvars", 'more = "own"\n'), ("x.auto.tfvars.json", '{"more": "own"}')]
)
def test_what_the_source_sets_itself_is_its_own(site: Site, name: str, text: str) -> None:
    site.write("main.tf", SOURCE.replace("OUT", "/dev/null"))
    site.write(name, text)
    result = site.apply(site.plan({"text": "good"}), {"text": "good"})
    assert result.status == "ok", result.detail


def test_a_value_the_source_sets_in_json_cannot_be_swapped(site: Site) -> None:
    site.write("main.tf", SOURCE)
    site.write("x.auto.tfvars.json", '{"more": "good"}')
    plan = swapped(site.plan({"text": "t"}), b"good", b"evil")
    with pytest.raises(StageRefused, match="variable 'more'"):
        site.apply(plan, {"text": "t"})
