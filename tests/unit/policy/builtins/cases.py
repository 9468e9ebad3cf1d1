"""OPA's own conformance cases on the embedded engine: many cases are one module, each below a root of its own. It judges nothing."""

from __future__ import annotations

import json
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lockgate.policy.builtins.values import plain, read
from lockgate.policy.failure import EvaluationFailed
from lockgate.policy.opa import OpaFailed, run_opa
from lockgate.policy.wasm import Bounds, PolicyInstance, PolicyModule

FOLDER = "/v1/test/cases/testdata/v1/"
PATIENT = Bounds(memory_bytes=256 << 20, seconds=60)


@dataclass(frozen=True)
class Case:
    """One case. `code` is the error that OPA ends in, `strict` says that it does so only where errors of built-ins are errors."""

    note: str
    query: str
    modules: tuple[str, ...]
    data: Any
    given: Any
    results: tuple[dict[str, Any], ...] | None
    defined: bool | None
    code: str | None
    strict: bool
    unsorted: bool

    @property
    def text(self) -> str:
        return "\n".join((self.query, *self.modules))


@dataclass(frozen=True)
class Outcome:
    """What the embedded engine made of a case: `failed` is the engine's rule, or what `opa build` said."""

    answers: list[Any] | None = None
    failed: str = ""


def read_cases(archive: Path) -> list[Case]:
    """Every case of the module's zip, in its order."""
    cases = []
    with zipfile.ZipFile(archive) as module:
        for name in sorted(name for name in module.namelist() if FOLDER in name and name.endswith(".yaml")):
            document = yaml.load(module.read(name), Loader=yaml.CSafeLoader)
            cases += [_case(item) for item in document["cases"]]
    return cases


def _case(item: dict[str, Any]) -> Case:
    results = item.get("want_result")
    return Case(
        note=item["note"],
        query=item["query"],
        modules=tuple(item.get("modules", ())),
        data=item.get("data") or {},
        given=_given(item),
        results=None if results is None else tuple(results),
        defined=item.get("want_defined"),
        code=item.get("want_error_code") or ("any" if item.get("want_error") else None),
        strict=bool(item.get("strict_error")),
        unsorted=bool(item.get("sort_bindings")),
    )


def _given(item: dict[str, Any]) -> Any:
    """The input as JSON; an `input_term` may hold what JSON cannot say, and is then given as OPA would write it."""
    term = item.get("input_term")
    return item.get("input") if term is None else plain(read(term.encode()))


def run_cases(opa: Path, capabilities: Path, cases: Sequence[Case]) -> Iterator[tuple[Case, Outcome]]:
    """Each case with what became of it; what does not compile together is compiled in halves."""
    with tempfile.TemporaryDirectory(prefix="lockgate-cases-") as folder:
        try:
            wasm = _build(opa, capabilities, Path(folder), cases)
        except OpaFailed as failed:
            if len(cases) == 1:
                yield cases[0], Outcome(failed=str(failed))
                return
            half = len(cases) // 2
            yield from run_cases(opa, capabilities, cases[:half])
            yield from run_cases(opa, capabilities, cases[half:])
            return
    module = PolicyModule(wasm)
    data = json.dumps({f"c{number}": case.data for number, case in enumerate(cases)}).encode()
    for number, case in enumerate(cases):
        instance = PolicyInstance(module, data, PATIENT)
        try:
            yield case, Outcome(instance.evaluate(f"q{number}/answers", json.dumps(case.given).encode()))
        except EvaluationFailed as failed:
            yield case, Outcome(failed=str(failed))
    module.close()


def _build(opa: Path, capabilities: Path, folder: Path, cases: Sequence[Case]) -> bytes:
    arguments = ["build", "--target", "wasm", "--capabilities", str(capabilities.absolute())]
    for number, case in enumerate(cases):
        for index, text in enumerate(case.modules):
            (folder / f"c{number}_{index}.rego").write_text(_below(number, text))
        names = sorted({name for result in case.results or () for name in result})
        bound = "{" + ", ".join(f'"{name}": {name}' for name in names) + "}"
        query = _below(number, case.query).strip()
        (folder / f"q{number}.rego").write_text(f"package q{number}\n\nanswers := [{bound} |\n{query}\n]\n")
        arguments += ["--entrypoint", f"q{number}/answers"]
    run_opa(opa, [*arguments, "--output", "out.tar.gz", "."], folder=folder)
    with tarfile.open(folder / "out.tar.gz") as archive:
        member = archive.extractfile("/policy.wasm")
        assert member is not None
        return member.read()


def _below(number: int, text: str) -> str:
    """The same module under a root of its own."""
    text = re.sub(r"^package (?!\[)", f"package c{number}.", text, flags=re.MULTILINE)
    return re.sub(r"(?<![\w.\"])data\.(?=[a-zA-Z_])", f"data.c{number}.", text)
