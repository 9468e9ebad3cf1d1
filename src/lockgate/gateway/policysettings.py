"""Settings of where policy comes from and what of it is believed, documented where they are declared; it opens no file."""

# ruff: noqa: RUF009  `setting` makes a dataclasses.field, not a value

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from lockgate.gateway.opasettings import OpaSettings
from lockgate.wire.settingsfile import SettingInvalid, setting

_REVISION: Final = re.compile(r"sha256:[0-9a-f]{64}")
MAX_KEYS: Final = 16
MAX_AGE_SECONDS: Final = 10 * 366 * 24 * 3600


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Where policy comes from, and who may have signed it."""

    source: Literal["library", "directory", "file", "http"] = setting(
        "`library`: the built-in one with the data of `policy_data` (dev only, since nobody signs it); `directory` and `file`: a bundle at `path`; "
        "`http`: a bundle server at `url`.",
        "library",
    )
    path: Path | None = setting("The bundle: a `.tar.gz` file, or the directory of an unpacked one.", None)
    url: str | None = setting("URL of the bundle; `https`, or a server on this machine.", None)
    ca: Path | None = setting("PEM certificate of the only CA that may vouch for that server.", None)
    certificate: Path | None = setting("PEM certificate shown to that server; with `key`.", None)
    key: Path | None = setting("PEM key of that certificate, mode 0600.", None)
    token_file: Path | None = setting("File, mode 0600, with the bearer token for that server.", None)
    poll: float = setting("How often the server is asked, in seconds; after failures less often, with jitter.", 30.0)
    deadline: float = setting("How long one answer of the server may take, in seconds.", 10.0)
    persist: bool = setting(
        "Source `http`: keep a copy of the last good signed bundle beside the store; a gateway that is started while the server is away goes on with it.",
        True,
    )
    keys: Mapping[str, Path] = setting(
        "Key id: PEM file of a public key that may sign bundles (P-256, Ed25519, RSA). Several: one follows another.",
        factory=dict,
    )
    scope: str = setting("The scope that signatures must be for; empty: none.", "")
    max_age: int | None = setting(
        "Seconds after its signature from which on a bundle denies everything, if its maker did not set fewer.", None
    )
    allow_rollback: bool = setting("Take up releases that are older than the one that was in force.", False)
    pin: str | None = setting("Take up this revision alone (`sha256:…`), also if it is older.", None)
    shadow: Path | None = setting(
        "A second policy that decides along and never enforces: a data file or its directory for the library, or a bundle (a `.tar.gz` file, or the "
        "directory of an unpacked one). It costs about as much CPU as the first, in a thread of its own.",
        None,
    )

    engine: Literal["embedded", "opa"] = setting(
        "`embedded`: OPA's Wasm target in the gateway itself; `opa`: the OPA server of `opa.url`, which must have the same bundle.",
        "embedded",
    )
    opa: OpaSettings = setting("The OPA server, for `engine: opa`.", factory=OpaSettings)

    def __post_init__(self) -> None:
        if bool(self.opa.url) != (self.engine == "opa"):
            said = (
                "engine opa needs it: unix:///path/of.sock or https://host[:port]"
                if not self.opa.url
                else "is for engine: opa"
            )
            raise SettingInvalid("opa.url", said)
        self._check_place()
        if self.source == "http":
            self._check_server()
        if len(self.keys) > MAX_KEYS:
            raise SettingInvalid("keys", f"must be at most {MAX_KEYS}")
        if self.pin is not None and not _REVISION.fullmatch(self.pin):
            raise SettingInvalid("pin", "must be a revision: sha256: and 64 hexadecimal digits")
        if self.max_age is not None and not 1 <= self.max_age <= MAX_AGE_SECONDS:
            raise SettingInvalid("max_age", f"must be 1 to {MAX_AGE_SECONDS}")
        for name, least, most in (("poll", 1, 86_400), ("deadline", 0.5, 120)):
            if not least <= getattr(self, name) <= most:
                raise SettingInvalid(name, f"must be {least:g} to {most:g}")

    def _check_place(self) -> None:
        wanted = {"library": None, "directory": "path", "file": "path", "http": "url"}[self.source]
        for name in ("path", "url"):
            if (getattr(self, name) is not None) != (name == wanted):
                said = f"source {self.source} needs it" if name == wanted else f"source {self.source} has none"
                raise SettingInvalid(name, said)

    def _check_server(self) -> None:
        parts = urlsplit(self.url or "")
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.fragment:
            raise SettingInvalid("url", "must be http(s)://host[:port]/path; secrets go into token_file")
        if parts.scheme == "http":
            if not _is_loopback(parts.hostname):
                raise SettingInvalid("url", "must be https: whoever is on the way could hold back a newer bundle")
            if self.ca or self.certificate:
                raise SettingInvalid("ca", "is for https")
        if (self.certificate is None) != (self.key is None):
            raise SettingInvalid("key", "certificate and key are given together or not at all")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
