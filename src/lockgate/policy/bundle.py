"""Loads a compiled policy and its data into one immutable bundle with a revision; it evaluates nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import rfc8785

from lockgate.policy.compile import MANIFEST_NAME, WASM_NAME
from lockgate.policy.needs import Needs, read_needs
from lockgate.policy.parameters import MAX_DATA_BYTES, read_parameters
from lockgate.policy.port import PolicyLoadError

DEFAULT_DATA_NAME: Final = "data.default.yaml"
LIBRARY: Final = files("lockgate.policy").joinpath("library")


@dataclass(frozen=True, slots=True)
class PolicyBundle:
    """`data` is the RFC 8785 form of what `data` is in Rego; `rules` is rule → title, message, fix."""

    wasm: bytes
    data: bytes
    rules: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    source: str = "policy"

    @property
    def revision(self) -> str:
        """ "sha256:…" over module, rule texts and data: what two gateways must share to decide alike."""
        texts = rfc8785.dumps({name: dict(text) for name, text in self.rules.items()})
        parts = b"".join(hashlib.sha256(part).digest() for part in (self.wasm, texts, self.data))
        return "sha256:" + hashlib.sha256(b"lockgate policy v1\0" + parts).hexdigest()

    @property
    def needs(self) -> Needs:
        """What the data wants to be told of the past. Raises PolicyLoadError when it says so in no way that is known."""
        try:
            return read_needs(json.loads(self.data).get("lockgate", {}).get("parameters", {}))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PolicyLoadError(self.source, f"its budgets or history are not of a known form: {error}") from None


def load_library(data_file: Path | None = None) -> PolicyBundle:
    """The default library with the user's data file; without one, the data of `lockgate dev`. Raises PolicyLoadError."""
    if data_file is None:
        text, name = LIBRARY.joinpath(DEFAULT_DATA_NAME).read_text(encoding="utf-8"), DEFAULT_DATA_NAME
    else:
        text, name = _read_text(data_file), str(data_file)
    manifest = json.loads(LIBRARY.joinpath(MANIFEST_NAME).read_text(encoding="utf-8"))
    return library_bundle(LIBRARY.joinpath(WASM_NAME).read_bytes(), manifest, read_parameters(text, name))


def library_bundle(wasm: bytes, manifest: Mapping[str, Any], parameters: Mapping[str, Any]) -> PolicyBundle:
    """A bundle of compiled library, its manifest, and derived parameters."""
    return PolicyBundle(
        wasm=wasm,
        data=rfc8785.dumps({"lockgate": {"parameters": dict(parameters)}}),
        rules=manifest["rules"],
        source="policy library",
    )


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_DATA_BYTES + 1).decode("utf-8")
    except FileNotFoundError:
        raise PolicyLoadError(str(file), "does not exist") from None
    except OSError as error:
        raise PolicyLoadError(str(file), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise PolicyLoadError(str(file), f"is not UTF-8 at byte {error.start}") from None
