"""The policy in force as one immutable object with a revision, from which either engine is made; it evaluates nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import rfc8785

from lockgate.policy.brought import rule_texts, unbuilt
from lockgate.policy.compile import MANIFEST_NAME, MODULES_NAME, WASM_NAME
from lockgate.policy.needs import Needs, read_needs
from lockgate.policy.parameters import MAX_DATA_BYTES, read_parameters
from lockgate.policy.port import PolicyLoadError

DEFAULT_DATA_NAME: Final = "data.default.yaml"
LIBRARY: Final = files("lockgate.policy").joinpath("library")
ROOT: Final = "lockgate"
"""The root that every bundle owns: whoever owns `data.lockgate` decides."""
AUTHZ_ROOT: Final = "system/authz"
"""What an OPA that serves a bundle may be asked; the library's says: the decisions, and nothing else."""


@dataclass(frozen=True, slots=True)
class Release:
    """What a bundle's maker said when it was signed, in `.manifest` under `metadata.lockgate`.

    `sequence` orders revisions; `signed_at` is Unix seconds; beyond `max_age` seconds after it the bundle denies everything.
    """

    sequence: int
    signed_at: int
    max_age: int | None = None


@dataclass(frozen=True, slots=True)
class PolicyBundle:
    """`wasm` is for the embedded engine, `modules` (path → Rego) for an OPA server; both are compiled from the same text.

    `data` is the RFC 8785 form of what `data` is in Rego; `data_text` is the file people wrote, from which its parameters are derived. `rules`
    is rule → its metadata: title, message, fix, and more (`compile.rule_texts`). `key` names the key whose signature was verified; None: nobody's was.
    """

    wasm: bytes
    data: bytes
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: str = "policy"
    modules: Mapping[str, str] = field(default_factory=dict)
    roots: tuple[str, ...] = (ROOT,)
    data_text: str = ""
    opa: str = ""
    release: Release | None = None
    key: str | None = None

    @property
    def revision(self) -> str:
        """ "sha256:…" over module, rule texts, data and Rego: what two gateways must share to decide alike."""
        texts = rfc8785.dumps({name: dict(text) for name, text in self.rules.items()})
        rego = rfc8785.dumps(dict(self.modules))
        parts = b"".join(hashlib.sha256(part).digest() for part in (self.wasm, texts, self.data, rego))
        return "sha256:" + hashlib.sha256(b"lockgate policy v2\0" + parts).hexdigest()

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
        text, name = read_data(data_file), str(data_file)
    return library_with(text, name)


def library_with(text: str, name: str) -> PolicyBundle:
    """The default library with this data, of a file called `name`. Raises PolicyLoadError with line and field.

    It knows no rule of anybody's own: data that brings one is for a policy that was built with it (policy.building).
    """
    manifest = library_manifest()
    parameters = read_parameters(text, name, manifest["rules"])
    if parameters["bring"]:
        raise unbuilt(text, name)
    return library_bundle(LIBRARY.joinpath(WASM_NAME).read_bytes(), manifest, parameters, text)


def library_manifest() -> dict[str, Any]:
    """What was written when the library was compiled: its rules with their metadata, and by which OPA."""
    manifest: dict[str, Any] = json.loads(LIBRARY.joinpath(MANIFEST_NAME).read_text(encoding="utf-8"))
    return manifest


def library_modules() -> dict[str, str]:
    """The library's Rego: path → text."""
    modules: dict[str, str] = json.loads(LIBRARY.joinpath(MODULES_NAME).read_text(encoding="utf-8"))
    return modules


def library_bundle(
    wasm: bytes, manifest: Mapping[str, Any], parameters: Mapping[str, Any], data_text: str = ""
) -> PolicyBundle:
    """A bundle of compiled library, its manifest, and the parameters derived from `data_text`."""
    return PolicyBundle(
        wasm=wasm,
        data=policy_data(parameters),
        rules={**manifest["rules"], **rule_texts(parameters)},
        source="policy library",
        modules=library_modules(),
        roots=(ROOT, AUTHZ_ROOT),
        data_text=data_text,
        opa=manifest["opa"],
    )


def policy_data(parameters: Mapping[str, Any]) -> bytes:
    """What `data` is in Rego, for derived parameters."""
    return rfc8785.dumps({ROOT: {"parameters": dict(parameters)}})


def read_data(file: Path) -> str:
    """The text of a data file. Raises PolicyLoadError."""
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_DATA_BYTES + 1).decode("utf-8")
    except FileNotFoundError:
        raise PolicyLoadError(str(file), "does not exist") from None
    except OSError as error:
        raise PolicyLoadError(str(file), f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise PolicyLoadError(str(file), f"is not UTF-8 at byte {error.start}") from None
