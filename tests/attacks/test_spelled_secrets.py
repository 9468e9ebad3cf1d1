"""A known secret leaves the target spelt in another way: wrapped, separated, in capitals. And text made to be costly to search."""

from __future__ import annotations

import base64
import contextlib
import gc
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.invariants.gate import Gate
from tests.invariants.parties import human
from tests.invariants.region import TOOL, Region

from lockgate.contract.canonical import canonical
from lockgate.contract.redaction import MASK, Redactor
from lockgate.contract.shown import flat, oddities
from lockgate.contract.strictjson import loads
from lockgate.gateway.api.rest import details_view
from lockgate.gateway.operations.views import agent_view, human_view, summary_line
from lockgate.job.drivers.runbook.changes import read_changes
from lockgate.wire.frames import decode

SECRET = "pa55/Wört+with=odd&chars-4711"
RAW = SECRET.encode()


def wrapped(text: str, width: int, end: str = "\n") -> str:
    return end.join(text[at : at + width] for at in range(0, len(text), width))


SPELT: dict[str, str] = {
    "hexadecimal in capitals": RAW.hex().upper(),
    "hexadecimal by bytes": RAW.hex(" "),
    "hexadecimal with colons": RAW.hex(":").upper(),
    "hexadecimal wrapped": wrapped(RAW.hex(), 20),
    "hexadecimal of C": "".join(f"\\x{byte:02x}" for byte in RAW),
    "hexadecimal of a list": ", ".join(f"0x{byte:02X}" for byte in RAW),
    "every byte percent-escaped": "".join(f"%{byte:02x}" for byte in RAW),
    "percent escapes in small letters": quote(SECRET, safe="").replace("%2F", "%2f").replace("%C3%B6", "%c3%b6").replace(
        "%2B", "%2b").replace("%3D", "%3d").replace("%26", "%26"),
    "percent escapes without slashes": quote(SECRET),
    "HTML escapes": html.escape(SECRET),
    "base64 wrapped at 16": wrapped(base64.b64encode(RAW).decode(), 16),
    "base64 wrapped at 3, indented": wrapped(base64.b64encode(RAW).decode(), 3, "\r\n    "),
    "base64 wrapped inside a JSON text": json.dumps(wrapped(base64.b64encode(b"x" + RAW).decode(), 19))[1:-1],
    "base64 for URLs, wrapped": wrapped(base64.urlsafe_b64encode(b"xy" + RAW + b"z").decode(), 7),
}  # fmt: skip


@pytest.mark.parametrize("way", SPELT)
def test_a_secret_is_masked_however_it_is_spelt(way: str) -> None:
    spelt = SPELT[way]
    shown = Redactor([SECRET]).text(f"before {spelt} after")
    assert MASK in shown and shown.startswith("before ") and shown.endswith(" after")
    # No run of what was spelt is left by which the secret could be told.
    assert not [spelt[at : at + 12] for at in range(4, len(spelt) - 16) if spelt[at : at + 12] in shown]


@given(
    st.binary(max_size=9), st.binary(max_size=9), st.integers(1, 40), st.sampled_from(["\n", " ", "\r\n", "\\n", "\t"])
)
def test_a_wrapped_coding_never_gives_the_secret_back(before: bytes, after: bytes, width: int, end: str) -> None:
    secret = b"correct-horse-battery"
    for coded in (base64.b64encode(before + secret + after).decode(), (before + secret + after).hex().upper()):
        shown = Redactor([secret.decode()]).text(wrapped(coded, width, end))
        assert MASK in shown
        left = "".join(char for char in shown.replace("\\n", "") if char.isascii() and not char.isspace())
        assert secret.hex().upper() not in left
        assert secret not in _decoded(left)


def _decoded(text: str) -> bytes:
    with contextlib.suppress(ValueError):
        return base64.b64decode(text + "=" * (-len(text) % 4))
    return b""


@given(st.text(alphabet="pa5/W+ \n:0x\\ñé", max_size=60))
def test_text_without_the_secret_is_left_as_it_is(text: str) -> None:
    assert Redactor(["hunter2-hunter2"]).text(text) == text


LEAK = """
secret=$(cat "$LOCKGATE_CREDENTIALS"/*)
leak() {
  printf '%s' "$secret" | base64 -w 12
  printf '%s' "$secret" | od -An -v -tx1
  printf '%s' "$secret" | od -An -v -tx1 | tr -d ' \\n' | tr a-f A-F; echo
}
"""
CHANGE = (
    'echo "[{\\"address\\": \\"a\\", \\"type\\": \\"t\\", \\"name\\": \\"n\\", \\"change\\": {\\"actions\\": [\\"update\\"],'
    ' \\"before\\": null, \\"after\\": {\\"x\\": \\"$(leak | tr \'\\n\' \' \')\\"}}}]"; leak >&2; exit 2'
)


async def test_what_a_tool_prints_of_its_credential_is_masked_in_plan_output_and_error(
    gate: Gate, region: Region
) -> None:
    for name in ("viewer", "token"):
        region.write_secret(name, SECRET)
    text = TOOL.replace("set -eu\n", "set -eu\n" + LEAK)
    # Last words are one line: what is before them goes nowhere.
    failing = 'printf "%s " $(leak) >&2; exit 9'
    region.write_source(
        "tool", text.replace("check)\n", f"check)\n  {CHANGE}\n").replace("status)\n", "status)\n  leak\n")
    )
    planned = await gate.ask(dry_run=True)
    await region.work()
    read = await gate.ask(action="service_status")
    await region.work()
    region.write_source("tool", text.replace("check)\n", f"check)\n  {failing}\n"))
    failed = await gate.ask()
    await region.work()
    ends = []
    for operation, state in ((planned, "planned"), (read, "succeeded"), (failed, "failed")):
        found = await gate.operation(operation)
        assert found.state.value == state, found.message
        shown = details_view(await gate.desk.show(human("root", "admin"), found.id))
        ends.append(
            json.dumps([agent_view(found), human_view(found), summary_line(found), shown["plan"]], ensure_ascii=False)
        )
    assert all(MASK in end for end in ends)
    said = "".join([*ends, *(text for _, text in region.line.said)])
    closed = "".join(char for char in said.replace("\\\\n", "").replace("\\n", "") if not char.isspace())
    for coded in (RAW.hex(), RAW.hex().upper(), base64.b64encode(RAW).decode()[:-4]):
        assert coded not in closed


KNOWN = Redactor([SECRET, "correct-horse-battery", "a" * 40 + "b"])
PARSERS: dict[str, Callable[[str], object]] = {
    "the redactor": KNOWN.text,
    "strict JSON": lambda text: loads(text.encode(), max_bytes=1 << 30),
    "frames": lambda text: decode(text.encode()),
    "a runbook's changes": read_changes,
    "what is shown": lambda text: flat(text, limit=1 << 30),
    "what is odd": oddities,
    "canonical JSON": lambda text: canonical({"a": text}),
}
CLASSES = ["a", '"', "\\", "[", "1", "\n", "0x", "\\n", "\u202e", "а", "a\u0301", '["', "a "]
SMALL, LARGE = 16 << 10, 512 << 10


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("char", CLASSES, ids=ascii)
def test_thirty_times_the_text_costs_about_thirty_times_as_much(parser: str, char: str) -> None:
    """Quadratic would be 1,000 times; the CPU of this process is measured, which others' load changes little."""
    small, large = (spent(PARSERS[parser], (char * size)[:size]) for size in (SMALL, LARGE))
    assert large < 8 * 32 * max(small, 0.001)


@pytest.mark.parametrize("char", ["a", " "], ids=ascii)
def test_ten_megabytes_are_searched_in_time_that_grows_as_they_do(char: str) -> None:
    small, large = (spent(KNOWN.text, (char * size)[:size]) for size in (16 << 10, 10 << 20))
    assert large < 8 * 640 * max(small, 0.001)


def spent(work: Callable[[str], object], text: str) -> float:
    """CPU seconds; of a short text the least of three."""
    found = []
    for _ in range(3 if len(text) <= SMALL else 1):
        gc.collect()
        began = time.process_time()
        with contextlib.suppress(ValueError, RecursionError):
            work(text)
        found.append(time.process_time() - began)
    return min(found)
