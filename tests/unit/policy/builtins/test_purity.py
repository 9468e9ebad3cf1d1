"""A policy may use exactly what is a function of its operands and answered by both engines; what it may not use is named with file, line and why."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lockgate.policy.builtins import OFFERED
from lockgate.policy.bundle import LIBRARY
from lockgate.policy.opa import OpaFailed, run_opa
from lockgate.policy.purity import ALLOWED, COMPILED, NATIVE, explained, why_not
from lockgate.policy.testing import check_policies
from lockgate.policy.wasm import Bounds, PolicyInstance, PolicyModule


@pytest.mark.opa
def test_what_is_not_ours_wasm_has_itself(opa: Path, tmp_path: Path) -> None:
    """One rule for each: a module that asks its host for anything we do not offer would deny when it is evaluated."""
    known = {item["name"]: item for item in json.loads(run_opa(opa, ["capabilities", "--current"]))["builtins"]}
    assert NATIVE | COMPILED | set(OFFERED) <= set(known)
    names = sorted(name for name in NATIVE | set(OFFERED) if not known[name].get("deprecated"))
    rules = []
    for number, name in enumerate(names):
        arguments = ", ".join(f"input[{index}]" for index in range(len(known[name]["decl"].get("args", ()))))
        if known[name].get("relation"):
            rules.append(f"r[{number}] := x if {name}({arguments}, x)")
        else:
            rules.append(f"r[{number}] := {name}({arguments})")
    (tmp_path / "all.rego").write_text("\n".join(["package all", *rules]) + "\n")
    run_opa(
        opa,
        ["build", "--target", "wasm", "--entrypoint", "all/r", "--output", "out.tar.gz", "all.rego"],
        folder=tmp_path,
    )
    with tarfile.open(tmp_path / "out.tar.gz") as archive:
        member: Any = archive.extractfile("/policy.wasm")
        module = PolicyModule(member.read())
    asked = PolicyInstance(module, b"{}", Bounds(seconds=60)).host_functions
    module.close()
    assert asked == set(OFFERED)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("time.now_ns", "clock"),
        ("http.send", "network"),
        ("net.lookup_ip_addr", "network"),
        ("rand.intn", "random"),
        ("uuid.rfc4122", "random"),
        ("opa.runtime", "environment"),
        ("io.jwt.decode_verify", "clock"),
        ("rego.parse_module", "parses"),
        ("regex.replace", "regular expressions"),
        ("yaml.unmarshal", "both engines"),
    ],
)
def test_each_that_is_left_out_says_why(name: str, word: str) -> None:
    assert word in (why_not(name) or "")
    assert name not in ALLOWED
    line = f"x.rego:3: rego_type_error: undefined function {name}"
    assert explained(f"1 error occurred: {line}").startswith(f"1 error occurred: {line}: not allowed in a policy: ")


def test_what_may_be_used_and_what_is_no_built_in_needs_no_reason() -> None:
    assert [why_not(name) for name in ("sprintf", "net.cidr_contains", "nope", "my.own")] == [None] * 4


def test_the_shipped_capabilities_are_those_of_the_library() -> None:
    policies = Path(__file__).parents[4] / "policies"
    assert LIBRARY.joinpath("capabilities.json").read_bytes() == (policies / "capabilities.json").read_bytes()


@pytest.mark.opa
def test_a_folder_without_capabilities_of_its_own_is_held_to_the_shipped_ones(opa: Path, tmp_path: Path) -> None:
    (tmp_path / "x.rego").write_text("package x\n\nnow := time.now_ns()\n\ngot := http.send({})\n")
    with pytest.raises(OpaFailed) as refused:
        check_policies(tmp_path, opa)
    assert (
        "x.rego:3: rego_type_error: undefined function time.now_ns: not allowed in a policy: it reads the clock"
        in str(refused.value)
    )
    assert "x.rego:5: rego_type_error: undefined function http.send: not allowed in a policy: it reaches" in str(
        refused.value
    )
