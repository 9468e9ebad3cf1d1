"""Compiles a bundle's Rego again and compares it with the module that lies beside it; a signature says only that one maker vouched for both. It decides nothing."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.bundles.archive import check_path
from lockgate.policy.bundles.layout import WASM
from lockgate.policy.compile import CAPABILITIES_NAME, build_wasm, opa_version, pure_capabilities
from lockgate.policy.opa import OpaFailed
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.purity import explained


class OtherCompiler(Exception):
    """The bundle says that another OPA compiled it, whose bytes are others: nothing can be compared. Use that version."""

    def __init__(self, said: str, here: str) -> None:
        super().__init__(
            f"{WASM} cannot be compared: the bundle says OPA {said[:40]!r} compiled it, and this is OPA {here}. "
            f"Name that version in LOCKGATE_OPA, or build the bundle again with this one"
        )


def check_module(bundle: PolicyBundle, opa: Path) -> None:
    """The bundle's Wasm is, to the byte, what `opa` compiles its Rego to.

    Every module counts, also one with the name of a test: an OPA server would load it. Raises PolicyLoadError naming `lockgate.wasm`, or the Rego that
    does not compile; OtherCompiler; OpaFailed when `opa` cannot be run at all.
    """
    here = opa_version(opa)
    if bundle.opa != here:
        raise OtherCompiler(bundle.opa, here)
    with tempfile.TemporaryDirectory(prefix="lockgate-policy-") as place:
        _lay(bundle, Path(place), opa)
        try:
            wasm, _ = build_wasm(opa, Path(place), without_tests=False)
        except OpaFailed as failed:
            raise PolicyLoadError(
                bundle.source, f"its Rego does not compile: {explained(str(failed))[:2000]}", field="*.rego"
            ) from None
    if wasm != bundle.wasm:
        problem = "is not what the bundle's Rego compiles to: the embedded engine would decide by another policy than people read and OPA evaluates"
        raise PolicyLoadError(bundle.source, problem, field=WASM)


def _lay(bundle: PolicyBundle, top: Path, opa: Path) -> None:
    for name, text in bundle.modules.items():
        check_path(name, bundle.source)
        file = top / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        except OSError as error:  # one name that is a file and a folder, say
            raise PolicyLoadError(
                bundle.source, f"cannot lie beside the others: {error.strerror}", field=name
            ) from None
    (top / CAPABILITIES_NAME).write_text(json.dumps(pure_capabilities(opa)))
    (top / ".manifest").write_text(json.dumps({"rego_version": 1, "roots": [""]}))
