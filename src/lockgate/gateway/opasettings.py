"""Settings of an OPA server that decides in the gateway's place, documented where they are declared; it opens no file."""

# ruff: noqa: RUF009  `setting` makes a dataclasses.field, not a value

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lockgate.keys.tls import TlsFiles
from lockgate.policy.opaserver.endpoint import Endpoint, EndpointInvalid
from lockgate.wire.settingsfile import SettingInvalid, setting


@dataclass(frozen=True, slots=True)
class OpaSettings:
    """Where the OPA of `policy.engine: opa` listens, and how long it may take."""

    url: str = setting(
        "`unix:///path/of.sock`, or `https://host[:port]`; the server's certificate must be for that host.", ""
    )
    certificate: Path | None = setting("PEM certificate that the gateway shows to OPA (https).", None)
    key: Path | None = setting("PEM key of that certificate, mode 0600.", None)
    ca: Path | None = setting("PEM certificate of the only CA that may vouch for OPA.", None)
    deadline: float = setting(
        "How long one decision may take in all, in seconds, waiting for a connection included; then it is denied.", 1.0
    )
    connections: int = setting("Connections to OPA at once.", 8)
    waiting: int = setting("Decisions that may wait for a connection; one more is denied at once.", 256)
    takeover: float = setting(
        "How long OPA may go on answering under the bundle of before once a newer one was verified here, in seconds.",
        180.0,
    )
    publish: Path | None = setting(
        "Directory of its own into which each verified bundle is put (`bundle.tar.gz`), for an OPA on this machine that watches it. "
        "Nothing: OPA takes the bundle from where it comes.",
        None,
    )

    def __post_init__(self) -> None:
        for name, least, most in (
            ("deadline", 0.01, 30),
            ("connections", 1, 256),
            ("waiting", 0, 10_000),
            ("takeover", 1, 86_400),
        ):
            if not least <= getattr(self, name) <= most:
                raise SettingInvalid(name, f"must be {least:g} to {most:g}")
        if self.url:
            self._check_url()

    def _check_url(self) -> None:
        try:
            endpoint = Endpoint.parse(self.url)
        except EndpointInvalid as refused:
            raise SettingInvalid("url", str(refused)) from None
        for name in ("certificate", "key", "ca"):
            given = getattr(self, name) is not None
            if given and endpoint.socket is not None:
                raise SettingInvalid(name, "is for https: over a Unix socket nobody is asked for a certificate")
            if not given and endpoint.socket is None:
                raise SettingInvalid(name, "is needed for https: OPA and gateway know each other by certificates")

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens. Raises EndpointInvalid without a url."""
        return Endpoint.parse(self.url)

    @property
    def tls(self) -> TlsFiles | None:
        """The files of https; None for a socket."""
        if self.certificate is None or self.key is None or self.ca is None:
            return None
        return TlsFiles(self.certificate, self.key, self.ca)
