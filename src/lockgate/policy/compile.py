"""Compiles a Rego bundle to the form the embedded engine loads: the same sources give the same bytes. Decides nothing."""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, Final

from lockgate.contract.decision import Question
from lockgate.policy.opa import find_opa, run_opa
from lockgate.policy.purity import ALLOWED

WASM_NAME: Final = "policy.wasm"
MANIFEST_NAME: Final = "manifest.json"
MODULES_NAME: Final = "modules.json"
CAPABILITIES_NAME: Final = "capabilities.json"


def entrypoint(question: Question) -> str:
    """The rule that answers `question`."""
    return f"lockgate/{question.value}/decision"


def pure_capabilities(opa: Path) -> dict[str, Any]:
    """OPA's capabilities less all that reads clock, network, randomness or environment, and less what the embedded engine does not answer."""
    capabilities: dict[str, Any] = json.loads(run_opa(opa, ["capabilities", "--current"]))
    capabilities["builtins"] = [builtin for builtin in capabilities["builtins"] if builtin["name"] in ALLOWED]
    capabilities["allow_net"] = []
    return capabilities


def compile_bundle(opa: Path, source: Path) -> dict[str, bytes]:
    """Compile the bundle folder `source` (with its capabilities.json): file name → bytes. Raises OpaFailed."""
    wasm, _ = build_wasm(opa, source)
    manifest = {"version": 1, "opa": opa_version(opa), "rules": rule_texts(opa, source)}
    documents = {MANIFEST_NAME: manifest, MODULES_NAME: rego_modules(source)}
    texts = {name: (json.dumps(document, indent=1, sort_keys=True) + "\n") for name, document in documents.items()}
    capabilities = (source / CAPABILITIES_NAME).read_bytes()
    return {WASM_NAME: wasm, CAPABILITIES_NAME: capabilities, **{name: text.encode() for name, text in texts.items()}}


def build_wasm(opa: Path, source: Path, *, without_tests: bool = True) -> tuple[bytes, dict[str, Any]]:
    """The module of a bundle folder that answers every question, and what its data files hold together. Raises OpaFailed."""
    arguments = ["build", "--target", "wasm", "--bundle", ".", "--capabilities", CAPABILITIES_NAME]
    arguments += ["--ignore", "*_test.rego"] if without_tests else []
    for question in Question:
        arguments += ["--entrypoint", entrypoint(question)]
    with tempfile.TemporaryDirectory(prefix="lockgate-policy-") as folder:
        output = Path(folder) / "bundle.tar.gz"
        run_opa(opa, [*arguments, "--output", str(output)], folder=source)  # the module holds the paths it was given
        with tarfile.open(output) as archive:
            wasm, data = archive.extractfile("/" + WASM_NAME), archive.extractfile("/data.json")
            if wasm is None or data is None:  # pragma: no cover - opa always writes them
                raise RuntimeError("opa build wrote no policy.wasm or no data.json")
            return wasm.read(), json.load(data)


def rego_modules(source: Path) -> dict[str, str]:
    """The Rego of a folder less its tests, path → text: what an OPA server evaluates."""
    files = sorted(path for path in source.rglob("*.rego") if not path.name.endswith("_test.rego"))
    return {path.relative_to(source).as_posix(): path.read_text(encoding="utf-8") for path in files}


SEVERITIES: Final = ("low", "medium", "high", "critical")
RULES_PACKAGE: Final = ("data", "lockgate", "rules")


class RuleMetadataInvalid(ValueError):
    """A rule's `# METADATA` does not say what it must; the message names file, line and field."""


def rule_texts(opa: Path, source: Path) -> dict[str, dict[str, Any]]:
    """Rule id → title, message, fix, why, severity, from every `# METADATA` with a `custom.rule`.

    A rule that policy data configures (`custom.parameters`, a package below `lockgate.rules`) also brings its parameters, the questions it is asked,
    an example, and what it cannot see. Raises RuleMetadataInvalid, OpaFailed.
    """
    inspected = json.loads(run_opa(opa, ["inspect", "--annotations", "--format", "json", str(source)]))
    texts: dict[str, dict[str, Any]] = {}
    for entry in inspected.get("annotations", []):
        if "rule" in entry["annotations"].get("custom", {}):
            name, text = _rule_text(entry)
            texts[name] = text
    return texts


def _rule_text(entry: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    annotations, place = entry["annotations"], entry["location"]
    custom = annotations["custom"]
    where = f"{place['file']}:{place['row']}"
    said = {"title": annotations.get("title"), "message": annotations.get("description")}
    said |= {word: custom.get(word) for word in ("fix", "why", "severity")}
    for field, text in said.items():
        if not isinstance(text, str) or not text:
            name = {"message": "description", "title": "title"}.get(field, f"custom.{field}")
            raise RuleMetadataInvalid(f"{where}: {name}: is missing or no text; every rule says it")
    if said["severity"] not in SEVERITIES:
        raise RuleMetadataInvalid(f"{where}: custom.severity: must be one of {', '.join(SEVERITIES)}")
    if "parameters" in custom:
        path = tuple(part["value"] for part in entry["path"])
        if path != (*RULES_PACKAGE, custom["rule"]):
            raise RuleMetadataInvalid(
                f"{where}: custom.rule: a rule with parameters is the package lockgate.rules.{custom['rule']}, or the frame does not find it"
            )
        said |= {word: custom[word] for word in ("parameters", "questions", "example", "cannot_see") if word in custom}
    return custom["rule"], said


def opa_version(opa: Path) -> str:
    """The version of the program, as `1.22.2`. Raises OpaFailed."""
    first = run_opa(opa, ["version"]).splitlines()[0]
    return first.removeprefix("Version:").strip()


def main(arguments: list[str]) -> int:
    """`python -m lockgate.policy.compile SOURCE OUTPUT`: write the compiled form of SOURCE into OUTPUT."""
    source, output = (Path(argument) for argument in arguments)
    output.mkdir(parents=True, exist_ok=True)
    for name, content in compile_bundle(find_opa(), source).items():
        (output / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
