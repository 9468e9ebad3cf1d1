"""How an answer of the Wasm target is read: JSON, but for Rego's sets."""

from __future__ import annotations

import pytest

from lockgate.policy.failure import EvaluationFailed
from lockgate.policy.wasm import only_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{{"result":{"allow":true,"violations":set()}}}', {"allow": True, "violations": []}),
        (b'{{"result":{"a":"set()","b":set()}}}', {"a": "set()", "b": []}),
        (b'{{"result":{"a":"\\"set()","b":[set(),"\\\\"]}}}', {"a": '"set()', "b": [[], "\\"]}),
        (b'{{"result":{"set()":1}}}', {"set()": 1}),
        (b'{{"result":{"a":{"b","a"}}}}', {"a": ["a", "b"]}),
        (b'{{"result":{"a":{set(),"set()"}}}}', {"a": ["set()", []]}),
    ],
)
def test_an_empty_set_is_an_empty_array_and_a_string_stays_as_it_is(text: bytes, value: object) -> None:
    assert only_value(text, "lockgate/request/decision") == value


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"{set()}", b'{{"result":set(}}', b'{{"result":1},{"result":2}}', b"{{1:2}}"]
)
def test_what_is_no_single_result_denies(text: bytes) -> None:
    with pytest.raises(EvaluationFailed):
        only_value(text, "lockgate/request/decision")
