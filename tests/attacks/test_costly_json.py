"""JSON made to be costly: it is read and canonicalised on the gateway's loop, where every other caller waits meanwhile."""

from __future__ import annotations

import contextlib
import gc
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785

from lockgate.contract.canonical import canonical
from lockgate.contract.strictjson import StrictJSONError, loads

MEGABYTE = 1 << 20
COSTLY = {
    "one long string beside many brackets": '{"a":"' + "x" * MEGABYTE + '","b":' + "[[1]," * 40 + "1" + "]" * 40 + "}",
    "quotes that never end": '["' * 40 + '\\"' * (MEGABYTE // 2),
    "backslashes that never end": "[" * 33 + '"' + "\\" * (MEGABYTE | 1),
    "openings only": "[" * MEGABYTE,
    "pairs only": "[" + "[]," * (MEGABYTE // 3) + "1]",
    "closings first": "][" * (MEGABYTE // 2),
}


@pytest.mark.parametrize("text", COSTLY.values(), ids=COSTLY.keys())
def test_a_megabyte_costs_no_more_than_a_few_walks_through_it(text: str) -> None:
    parsed = spent(lambda: json.loads(text))
    walked = spent(lambda: [char in "[]{}" for char in text])
    # What is quadratic in a megabyte takes minutes; the dearest of these is six walks, and a busy machine makes that twice as many.
    allowed = 20 * (parsed + walked) + 0.1
    read = spent(lambda: loads(text.encode(), max_bytes=4 * MEGABYTE))
    assert read < allowed, f"reading took {read:.3f} s of CPU, parsing {parsed:.3f}, one walk {walked:.3f}"


def spent(work: Callable[[], object]) -> float:
    """Seconds of this process's CPU; the least of three, whatever the work raises for what it reads."""
    times = []
    for _ in range(3):
        gc.collect()
        began = time.process_time()
        with contextlib.suppress(ValueError, RecursionError):
            work()
        times.append(time.process_time() - began)
    return min(times)


def test_the_depth_is_that_of_the_value_whatever_its_strings_hold() -> None:
    chosen = random.Random(5)

    def made(depth: int) -> Any:
        if depth == 0 or chosen.random() < 0.2:
            return chosen.choice(['a[{\\"]', ']}\n"', "é\\", '\\\\"[[[', None])
        many = range(chosen.randint(0, 3))
        if chosen.random() < 0.5:
            return [made(depth - 1) for _ in many]
        return {f'[{{"{index}': made(depth - 1) for index in many}

    def depth(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max((depth(item) for item in inner), default=0)

    for _ in range(1000):
        value, limit = made(chosen.randint(0, 9)), chosen.randint(1, 8)
        text = json.dumps(value, ensure_ascii=chosen.random() < 0.5).encode()
        if depth(value) <= limit:
            assert loads(text, max_depth=limit) == value
        else:
            with pytest.raises(StrictJSONError, match="nested deeper"):
                loads(text, max_depth=limit)


def test_keys_of_any_script_have_one_canonical_order() -> None:
    keys = [
        "é",
        "z",
        "ü",
        "\u05d0",
        "\ud7ff",
        "\ue000",
        "\uffff",
        "\U00010000",
        "\U0001f600",
        "a\U00010000",
        "a\uffff",
        "",
    ]
    for left in keys:
        for right in keys:
            value = {left: 1, right: 2, "m": {right: 1, left: 2}}
            assert canonical(value) == rfc8785.dumps(value)  # type: ignore[arg-type]
