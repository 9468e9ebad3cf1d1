"""Arguments arrive in the plan unchanged, as data: whatever they hold, with both real engines."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockgate.job.drivers.opentofu.variables import variables_file

pytestmark = pytest.mark.tofu

COUNT = 20
ANY = "".join(f'variable "v{number}" {{\n  default = "unset"\n}}\n' for number in range(COUNT))
HOSTILE = [
    "-var-file=/etc/passwd", "--help", "-", "${7 * 7}", "%{ if true }x%{ endif }", "$${x}", "%%{x}", '${file("/etc/passwd")}',
    "a\nb", "a\r\nb", "a\0b", "\x1b]0;t\x07", "'\"\\`$(id)`", "{{ x }}", "<<EOT\nx\nEOT", "\u2028\u202e", "\U0001f512", "#", "//", "true", "1e3", "0x10",
    "null", "", " ", "x" * 1_000_000,
]  # fmt: skip
NFC = st.text(st.characters(exclude_categories=("Cs", "Cn"))).map(
    lambda text: __import__("unicodedata").normalize("NFC", text)
)
SCALARS = st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | NFC | st.sampled_from(HOSTILE[:-1])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NFC, inner, max_size=4), max_leaves=8
)


def arrived(site, values):
    derived = site.derive(site.plan({f"v{number}": value for number, value in enumerate(values)}))
    assert derived.status == "ok", derived.detail
    return [derived.document["variables"][f"v{number}"]["value"] for number in range(len(values))]


def test_every_hostile_text_arrives_as_it_was(site):
    site.write("main.tf", "".join(f'variable "v{number}" {{\n  type = string\n}}\n' for number in range(len(HOSTILE))))
    assert arrived(site, HOSTILE) == HOSTILE


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(VALUES, min_size=1, max_size=COUNT))
def test_any_value_arrives_as_it_was(site, values):
    site.write("main.tf", ANY)
    assert arrived(site, values) == values


def test_a_value_is_data_also_where_the_source_uses_it(site):
    site.write(
        "main.tf",
        'variable "x" {\n  type = string\n}\nresource "terraform_data" "x" {\n  input = "<${var.x}>"\n}\n',
    )
    (change,) = site.derive(site.plan({"x": "${7 * 7}%{ if true }"})).changes
    assert change["change"]["after"]["input"] == "<${7 * 7}%{ if true }>"


def test_the_agents_argument_wins_over_the_sources_own_variable_files(site):
    site.write("main.tf", 'variable "x" {}\nvariable "y" {}\n')
    for name in ("terraform.tfvars", "zzzz.auto.tfvars"):
        site.write(name, 'x = "theirs"\ny = "theirs"\n')
    derived = site.derive(site.plan({"x": "asked"}))
    assert derived.document["variables"] == {"x": {"value": "asked"}, "y": {"value": "theirs"}}


def test_the_variables_file_is_plain_ascii_json():
    text = variables_file({"b": "\u202e\0", "a": [1, None, True, {"k": 1.5}]})
    assert text.isascii()
    assert json.loads(text) == {"a": [1, None, True, {"k": 1.5}], "b": "\u202e\0"}
