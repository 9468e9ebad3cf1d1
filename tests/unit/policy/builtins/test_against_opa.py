"""Built-ins of ours against OPA itself, on hostile and on ordinary values: the same value, or none where OPA has none. A refusal may be stricter."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lockgate.policy.builtins import BuiltinRefused, call_builtin
from lockgate.policy.builtins.values import RegoObject, RegoSet, is_json, order, plain, read, write
from lockgate.policy.opa import run_opa

Call = tuple[str, list[Any]]

NUMBERS = [
    0, 1, -1, 5, 12345678901, 2**63 - 1, -(2**63), 2**63, 2**70, -(2**80), 1.5, 0.1, 100.0, 1e6, 1234567.0, 123456.0, 999999.5,
    1e-4, 1e-5, 1.5e300, 5e-324, -0.0, 1e21, 1e20, 123456789.25, 0.30000000000000004, 2.5,
]  # fmt: skip
TEXTS = ["", "a", "hi", "ü€", "\0\x1b", "\u2028", "😀", '"q"\\', "日本語", "e\u0301", "\xa0", "a\tb\n", "aaa", "abcabc"]
VERBS = [
    "x", " ", "%v", "%s", "%d", "%q", "%f", "%.2f", "%5d", "%-5d|", "%05d", "%+d", "%g", "%.3g", "%e", "%.1e", "%6.2f", "%x", "%X", "%t", "%%",
    "%c", "%08.3f", "%10s", "%-10s|", "%.2s", "%b", "%o", "%3c", "% d", "%z", "%", "%+v", "%+.1f", "%G", "%5t", "%5q",
]  # fmt: skip
AMOUNTS = [
    "1", "10k", "1.5Ki", "100m", "2M", "0.5Gi", "1e3", "1e3k", "1E", "1Ei", "5e", "1eb", "3kb", "3KB", "3kib", "3mb", "", "k", "1 k", "1.",
    "1.2.3", "-5k", "+5", "1e-3", "1e-3k", "0.001", "7Z", "1K", '"10k"', "1.23456789012345", "100mB", "1MI", "4mI", "1gI", ".5", "1e", "1e+",
]  # fmt: skip
VERSIONS = [
    "1.2.3", "v1.2.3", "1.2", "1.2.3-alpha", "1.2.3-alpha.1", "1.2.3-alpha.01", "1.2.3+b", "1.2.3-a+b.c", "01.2.3", "1.2.3-", "1.2.3-rc.10",
    "1.2.3-rc.9", "99999999999999999999.1.1", "1.2.3-Alpha", "1.2.3-1", "1.2.3-a.b.c.d",
]  # fmt: skip
DURATIONS = [
    "1d", "2w", "1.5d", "1y2w3d4h", "0.1d", "1d1d", "-1.25w", "1d ", "1dd", ".5d", "1.d", "1h", "1h30m", "1.5h", "-2m", "0", "+5s", "1", "", "h",
    "1us", "1µs", "100ns", ".5s", "1.s", "1e3s", "9999999h", "2562047h", "2562048h", "1h1h", "1 h", "-0",
]  # fmt: skip
ZONES = ["", "UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]
EDGES = [1774742400, 1792886400, 1774739000, 1774746000]
"""Around the nights in which Berlin's clocks are moved in 2026."""
NETWORKS = [
    "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "::/0", "0.0.0.0/0", "fe80::/10", "fe80::1", "::ffff:10.0.0.0/104", "::ffff:10.1.2.3", "10.0.0.0/33",
    "x", "10.0.0.1/8", "2001:db8::/32", "2001:db8::1/128", "1.2.3.4/32", "010.0.0.0/8", "::/80", "fe80::1%eth0", "10.0.0.0/08", "::ffff:0:0/96",
]  # fmt: skip


def value(source: random.Random, depth: int = 0) -> Any:
    """Any Rego value."""
    kind = source.random()
    if kind < 0.35:
        return source.choice(NUMBERS)
    if kind < 0.65:
        return source.choice(TEXTS)
    if kind < 0.75 or depth > 2:
        return source.choice([True, False, None])
    members = [value(source, depth + 1) for _ in range(source.randrange(4))]
    if kind < 0.85:
        return members
    return RegoSet(members) if kind > 0.93 else {source.choice(TEXTS): member for member in members}


def calls(source: random.Random) -> Iterator[Call]:
    """Calls of every built-in compared here."""
    for _ in range(500):
        template = "".join(source.choice(VERBS) for _ in range(source.randrange(1, 5)))
        yield "sprintf", [template, [value(source) for _ in range(source.randrange(4))]]
        pair = [value(source), value(source)]
        if is_json(pair):
            yield "object.subset", pair
    yield from texts()
    yield from times(source)
    for text in AMOUNTS:
        yield from (("units.parse", [text]), ("units.parse_bytes", [text]))
    for one in VERSIONS:
        yield "semver.is_valid", [one]
        yield from (("semver.compare", [one, other]) for other in VERSIONS)
    for one in NETWORKS:
        yield "net.cidr_is_valid", [one]
        yield from (("net.cidr_contains_matches", [one, other]) for other in NETWORKS)
    yield "net.cidr_contains_matches", [["10.0.0.0/8", "::/0"], {"a": "10.1.1.1", "b": ["fe80::1", 3]}]
    yield "net.cidr_contains_matches", [RegoSet(["10.0.0.0/8", "::/0"]), RegoSet(["10.1.1.1"])]
    for whole, part in STRUCTURES:
        yield "object.subset", [whole, part]
    for numbers in ([1, 10, 3], [10, 1, 3], [1, 1, 1], [1, 5, 0], [1, 5, -1], [-5, 5, 2], [1, 2, 1.0]):
        yield "numbers.range_step", list(numbers)


STRUCTURES: list[tuple[Any, Any]] = [
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}),
    ([1, 2, 3], [2, 3]),
    ([1, 1, 2], [1, 2]),
    ([1, 2, 3], RegoSet([3, 1])),
    (RegoSet([1, 2]), RegoSet([1])),
    ({"a": RegoSet([1, 2])}, {"a": RegoSet([2])}),
    ({"a": [1, 2]}, {"a": [2]}),
    ([1], []),
    ([], [1]),
    ([1, 2], RegoSet()),
    ([], RegoSet()),
    ({}, {}),
]


def texts() -> Iterator[Call]:
    for one in TEXTS:
        for other in (*TEXTS, "ab", "aa"):
            for name in ("strings.count", "indexof_n", "crypto.hmac.equal"):
                yield name, [one, other]
            for name in ("md5", "sha1", "sha256", "sha512"):
                yield f"crypto.hmac.{name}", [one, other]
            for name in ("strings.any_prefix_match", "strings.any_suffix_match"):
                yield name, [one, other]
                yield name, [[one, "z"], [other]]
                yield name, [RegoSet([one]), RegoSet([other, "q"])]
        for name in (
            "glob.quote_meta",
            "hex.encode",
            "base64url.encode_no_pad",
            "crypto.md5",
            "crypto.sha1",
            "crypto.sha256",
        ):
            yield name, [one]
    for text in ("", "00", "0g", "abc", "6869", "FF", "c3bc"):
        yield "hex.decode", [text]
    for text in ("*?[]{}\\", "a-b!c,d"):
        yield "glob.quote_meta", [text]


def times(source: random.Random) -> Iterator[Call]:
    def moment() -> Any:
        if source.random() < 0.2:
            return source.randrange(-(10**18), 4 * 10**18)
        return [source.randrange(0, 2 * 10**18), source.choice(ZONES)]

    for text in DURATIONS:
        yield "time.parse_duration_ns", [text]
    for _ in range(200):
        yield "time.add_date", [moment(), source.randrange(-3, 4), source.randrange(-14, 15), source.randrange(-40, 40)]
        yield "time.diff", [moment(), moment()]
        yield from ((name, [moment()]) for name in ("time.clock", "time.date", "time.weekday"))
    for edge in EDGES:
        for zone in ZONES:
            for half in range(6):
                at = [(edge + half * 1800) * 10**9, zone]
                yield from (("time.add_date", [at, 0, month, day]) for month in (0, 1, -1) for day in (-1, 0, 1, 7))
                yield from ((name, [at]) for name in ("time.clock", "time.date", "time.weekday"))
    for text in (
        "2026-11-23T12:00:00Z",
        "2026-11-23T12:00:00.123456789+05:30",
        "2026-02-29T00:00:00Z",
        "2300-01-01T00:00:00Z",
        "x",
    ):
        yield "time.parse_rfc3339_ns", [text]


COMPARED = {name for name, _ in calls(random.Random(0))}


@pytest.mark.opa
@pytest.mark.parametrize("seed", [1, 2])
def test_every_value_is_opas_and_what_is_refused_is_seldom_answered_there(opa: Path, tmp_path: Path, seed: int) -> None:
    asked = list(calls(random.Random(seed)))
    expected = opa_values(opa, tmp_path, asked)
    stricter: Counter[str] = Counter()
    for (name, operands), wanted in zip(asked, expected, strict=True):
        try:
            found = json.loads(json.dumps(plain(call_builtin(name, read(write(operands))))))
        except BuiltinRefused:
            stricter[name] += wanted is not None
            continue
        assert [found] == [wanted], (name, operands)
    assert set(stricter.elements()) <= {"sprintf", "hex.decode"}, "only forms of numbers and bytes that nobody prints"
    assert stricter["sprintf"] < 50
    assert len(asked) > 5_000


def opa_values(opa: Path, folder: Path, asked: list[Call]) -> list[Any]:
    """What OPA says of each; None where it is undefined. Values that JSON cannot say are written into the policy."""
    lines = ["package t", ""]
    for number, (name, operands) in enumerate(asked):
        written = [
            f"input[{number}][{index}]" if is_json(operands) else write(operand).decode()
            for index, operand in enumerate(operands)
        ]
        lines.append(f"r[{number}] := {name}({', '.join(written)})")
    (folder / "t.rego").write_text("\n".join(lines) + "\n")
    given = [operands if is_json(operands) else None for _, operands in asked]
    (folder / "input.json").write_bytes(write(given))
    arguments = ["eval", "--format", "json", "--data", "t.rego", "--input", "input.json", "data.t.r"]
    answers = json.loads(run_opa(opa, arguments, folder=folder))["result"][0]["expressions"][0]["value"]
    return [answers.get(str(number)) for number in range(len(asked))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{1,2,"a"}', RegoSet([1, 2, "a"])),
        (b"set()", RegoSet()),
        (b"{}", {}),
        (b'[{"a":1.50},{1:2}]', [{"a": 1.5}, RegoObject([(1, 2)])]),
        (b"{{1,2}:set()}", RegoObject([(RegoSet([1, 2]), RegoSet())])),
        (b".5", 0.5),
        (b'"\\u00fc"', "ü"),
    ],
)
def test_a_term_is_read_and_written_as_rego_has_it(text: bytes, expected: Any) -> None:
    assert order(read(text)) == order(expected)
    assert order(read(write(read(text)))) == order(expected)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[1", b"{1:}", b"{1:2,3}", b"[1 2]", b"nul", b"1 2", b"{,}", b"--1", b'"', b"\xff"]
)
def test_what_is_no_term_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        read(text)
