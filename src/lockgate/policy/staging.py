"""Lays library, own Rego and glue into one folder that `opa` can check, test or build; the folder is gone afterwards. It decides nothing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lockgate.policy.bundle import library_modules
from lockgate.policy.compile import CAPABILITIES_NAME, pure_capabilities
from lockgate.policy.glue import GLUE_NAME, glue
from lockgate.policy.opa import run_opa
from lockgate.policy.own import OwnFile, OwnPolicy


@contextmanager
def staged(opa: Path, own: OwnPolicy, bring: Mapping[str, Any], *, tests: bool) -> Iterator[Path]:
    """A bundle folder of the library, what `own` holds (with its tests or without) as it was written, and the glue of derived `bring`.

    Each module is read as the Rego version it is written in. Raises OpaFailed.
    """
    with tempfile.TemporaryDirectory(prefix="lockgate-policy-") as place:
        top = Path(place)
        for name, text in library_modules().items():
            _write(top / name, glue(bring) if name == GLUE_NAME else text)
        kept = [file for file in own.files if tests or not file.is_test]
        for file in kept:
            _write(top / file.place, file.text)
        for name, text in own.data.items():
            _write(top / name, text)
        _write(top / CAPABILITIES_NAME, json.dumps(pure_capabilities(opa)))
        manifest = {
            "rego_version": 1,
            "roots": [""],
            "file_rego_versions": {"/" + file.place: file.rego_version for file in kept},
        }
        _write(top / ".manifest", json.dumps(manifest))
        yield top


def translated(opa: Path, file: OwnFile) -> str:
    """The module in Rego v1, by OPA's own formatter where it was written in v0. Raises OpaFailed."""
    if file.rego_version == 1:
        return file.text
    with tempfile.TemporaryDirectory(prefix="lockgate-policy-") as place:
        copy = Path(place) / Path(file.place).name
        copy.write_text(file.text, encoding="utf-8")
        return run_opa(opa, ["fmt", "--v0-v1", copy.name], folder=copy.parent)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
