from __future__ import annotations

import pytest
import yaml
from ansible._internal._datatag._tags import TrustedAsTemplate
from ansible.parsing.utils.yaml import from_yaml
from hypothesis import given
from hypothesis import strategies as st

from lockgate.job.drivers.ansible.unsafe import variables_file
from lockgate.job.drivers.port import StageRefused

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.just("k" * 2000), inner, max_size=4),
    max_leaves=20,
)


def strings(value):
    if isinstance(value, str):
        yield value
    for inner in value if isinstance(value, list) else [*value, *value.values()] if isinstance(value, dict) else []:
        yield from strings(inner)


@given(VALUES)
def test_ansible_reads_any_json_value_back_and_trusts_no_string_of_it(value):
    text = variables_file({"x": value}, "variables")
    assert text.isascii()
    loaded = from_yaml(TrustedAsTemplate().tag(text))
    assert loaded == {"x": value}
    assert not any(TrustedAsTemplate.is_tagged_on(string) for string in strings(loaded["x"]))


@pytest.mark.parametrize("text", ["", "1", "0123", "true", "null", "~", "1.5", "yes"])
def test_a_text_that_looks_like_another_type_stays_text(text):
    assert from_yaml(TrustedAsTemplate().tag(variables_file({"x": text}, "variables"))) == {"x": text}


def test_the_test_would_see_a_trusted_string():
    loaded = from_yaml(TrustedAsTemplate().tag("x: [a, {b: c}]"))
    assert any(TrustedAsTemplate.is_tagged_on(string) for string in strings(loaded["x"]))


@pytest.mark.parametrize(
    "name", ["ansible_connection", "ANSIBLE_host", "environment", "hostvars", "a b", "a: b", "", "1a", "ünï"]
)
def test_a_name_that_steers_ansible_is_refused(name):
    with pytest.raises(StageRefused, match=r"variables\."):
        variables_file({name: "x"}, "variables")


def test_no_variables_are_an_empty_mapping():
    assert yaml.safe_load(variables_file({}, "variables")) == {}
