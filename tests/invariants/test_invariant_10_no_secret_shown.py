"""Invariant 10: known secrets of a run appear in no answer, log, trace, error, plan view or evidence."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from tests.invariants.gate import Gate
from tests.invariants.parties import human
from tests.invariants.region import TOOL, Region

from lockgate.contract import jobchannel
from lockgate.contract.codec import to_document
from lockgate.contract.redaction import Redactor
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.views import agent_view, human_view, summary_line
from lockgate.gateway.store.port import EnvelopesOf
from lockgate.runner.sandbox.runtime_root import JobRoot

SECRET = "pa55/Wört+with=odd&chars-4711"
TRICKS = """
secret=$(cat "$LOCKGATE_CREDENTIALS"/*)
say() {
  printf '%s %s\\n' "$1" "$secret"
  printf '%s' "$secret" | base64 -w 0; echo
  printf 'x%s' "$secret" | base64 -w 0; echo
  printf 'xy%s' "$secret" | base64 -w 0 | tr '+/' '-_'; echo
  printf '%s' "$secret" | od -An -v -tx1 | tr -d ' \\n'; echo
}
"""


def tool(check: str = "", apply: str = "", status: str = "") -> str:
    """The tool with more lines at the head of its modes, and `say` to print the secret in many forms."""
    text = TOOL.replace("set -eu\n", "set -eu\n" + TRICKS)
    for mode, more in {"check": check, "apply": apply, "status": status}.items():
        text = text.replace(f"{mode})\n", f"{mode})\n  {more or ':'}\n")
    return text


def forms(secret: str) -> dict[str, str]:
    """How a secret may be spelled, worked out here without the redactor."""
    raw = secret.encode()
    found = {
        "plain": secret,
        "hex": raw.hex(),
        "url": quote(secret, safe=""),
        "json": json.dumps(secret)[1:-1],
    }
    for lead in range(3):
        whole = base64.b64encode(b"x" * lead + raw + b"\0" * (-(lead + len(raw)) % 3)).decode()
        middle = whole[4 if lead else 0 : -4]
        found[f"base64+{lead}"] = middle
        found[f"base64url+{lead}"] = middle.replace("+", "-").replace("/", "_")
    return found


async def places(gate: Gate, region: Region, operation: Operation) -> dict[str, str]:
    """Every place that outlives the run, or that somebody sees, as text; payloads of signed envelopes opened."""
    operation = await gate.operation(operation)
    details = await gate.desk.show(human("root", "admin"), operation.id)
    found = {
        "agent": json.dumps(agent_view(operation), ensure_ascii=False) + summary_line(operation),
        "human": json.dumps(human_view(operation), ensure_ascii=False),
        "details": json.dumps(to_document(details), ensure_ascii=False, default=str),
        "said": "".join(text for _, text in region.line.said),
        "journal": (region.home / "state" / "journal.jsonl").read_text(),
    }
    for record in await gate.store.read(EnvelopesOf(operation.id)):
        payload = base64.b64decode(json.loads(record.envelope)["payload"])
        found[f"payload {record.kind}"] = payload.decode()
    for path in gate.path.parent.iterdir():
        found[path.name] = path.read_bytes().decode("latin-1")
    return found


async def shown(gate: Gate, region: Region, operation: Operation, secret: str = SECRET) -> list[str]:
    """Where the secret is found, and how spelled; empty is what must be."""
    found = []
    for place, text in (await places(gate, region, operation)).items():
        for form, spelled in forms(secret).items():
            # The store's file is read as latin-1, byte by byte.
            if spelled in text or spelled.encode().decode("latin-1") in text:
                found.append(f"{form} in {place}")
    return found


@pytest.fixture
def leaky(region: Region) -> Region:
    for name in ("viewer", "token"):
        region.write_secret(name, SECRET)
    return region


CHANGE = (
    'echo "[{\\"address\\": \\"$secret\\", \\"type\\": \\"t\\", \\"name\\": \\"n\\", \\"change\\": {\\"actions\\": [\\"update\\"],'
    ' \\"before\\": {\\"$secret\\": 1}, \\"after\\": {\\"nested\\": [\\"a $secret b\\"],'
    ' \\"coded\\": \\"$(printf %s "$secret" | base64 -w 0)\\"}}}]"; say "on stderr:" >&2; exit 2'
)


async def test_a_secret_in_a_plan_is_masked(gate: Gate, leaky: Region) -> None:
    leaky.write_source("tool", tool(check=CHANGE))
    operation = await gate.ask(dry_run=True)
    await leaky.work()
    assert (await gate.operation(operation)).state.value == "planned"
    (plan,) = leaky.reports("plan")
    assert "•••" in plan
    assert await shown(gate, leaky, operation) == []


async def test_a_secret_in_the_error_of_a_plan_is_masked(gate: Gate, leaky: Region) -> None:
    leaky.write_source("tool", tool(check='say out; say err >&2; echo "cannot log in with $secret" >&2; exit 9'))
    operation = await gate.ask()
    await leaky.work()
    ended = await gate.operation(operation)
    assert ended.state.value == "failed"
    assert "cannot log in with •••" in ended.message
    assert await shown(gate, leaky, operation) == []


async def test_a_secret_in_a_read_is_masked(gate: Gate, leaky: Region) -> None:
    leaky.write_source("tool", tool(status='say out; say err >&2; touch "$TMPDIR/made-$(echo "$secret" | tr / _)"'))
    operation = await gate.ask(action="service_status")
    await leaky.work()
    ended = await gate.operation(operation)
    assert ended.state.value == "succeeded", ended.message
    assert ended.output is not None
    assert "out •••" in ended.output
    assert "replicas: null" in ended.output
    assert await shown(gate, leaky, operation) == []


async def test_a_secret_in_the_output_and_error_of_an_apply_is_masked(
    gate: Gate, leaky: Region, capfd: pytest.CaptureFixture[str]
) -> None:
    leaky.write_source("tool", tool(apply='say out; say err >&2; ls "/nowhere/$secret" >&2 || exit 4'))
    operation = await gate.ask()
    await leaky.work()
    await leaky.work()
    ended = await gate.operation(operation)
    assert (ended.state.value, ended.effect_shown) == ("failed", "none"), ended.message
    assert "•••" in ended.message
    assert await shown(gate, leaky, operation) == []
    out, err = capfd.readouterr()
    assert [form for form, spelled in forms(SECRET).items() if spelled in out + err] == []


class Dying(JobRoot):
    """A job that dies with its secret on its lips instead of speaking on the channel."""

    def argv(self, entry: str = "") -> tuple[str, ...]:
        return ("/bin/sh", "-c", f'printf "last words: "; cat {jobchannel.SANDBOX_CREDENTIALS}/*; exit 9')


async def test_a_secret_a_dying_job_leaves_behind_is_masked(gate: Gate, leaky: Region) -> None:
    """Without a result what is left to report is the tail of the sandbox's raw output."""
    root = leaky.parts.job_root
    leaky.parts.job_root = Dying(root.path, root.digest, root.tool_digests)
    operation = await gate.ask()
    await leaky.work()
    ended = await gate.operation(operation)
    assert ended.state.value == "failed"
    assert "last words" in ended.message
    assert await shown(gate, leaky, operation) == []


async def test_every_secret_of_a_credential_file_is_known_by_line_too(gate: Gate, leaky: Region) -> None:
    leaky.write_secret("viewer", "user=bob\npassword=hunter2-hunter2\n")
    leaky.write_source("tool", tool(check='grep password "$LOCKGATE_CREDENTIALS"/viewer >&2; exit 9'))
    operation = await gate.ask()
    await leaky.work()
    assert (await gate.operation(operation)).state.value == "failed"
    assert await shown(gate, leaky, operation, "password=hunter2-hunter2") == []


@pytest.mark.parametrize("lead", [b"", b"x", b"xy"])
@pytest.mark.parametrize("tail", [b"", b"z", b"zz"])
def test_every_form_is_masked_wherever_it_stands(lead: bytes, tail: bytes) -> None:
    data = lead + SECRET.encode() + tail
    spelled = [
        data.decode(),
        data.hex(),
        quote(data.decode(), safe=""),
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode(),
    ]
    masked = Redactor([SECRET]).value({f"k {text} k": [f"a{text}b", {"x": text}] for text in spelled})
    text = json.dumps(masked, ensure_ascii=False)
    assert [form for form, one in forms(SECRET).items() if one in text] == []
