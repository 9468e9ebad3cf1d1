"""Makes the engine of an OPA server: one for the life of the gateway, which expects each bundle that was verified here. It verifies none."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from lockgate.gateway.opasettings import OpaSettings
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.bundles.archive import pack
from lockgate.policy.bundles.layout import bundle_files
from lockgate.policy.embedded import complete_engine
from lockgate.policy.opaserver.endpoint import Dialer
from lockgate.policy.opaserver.engine import OpaServer, ServerSettings
from lockgate.policy.sources.port import SourceUnavailable

BUNDLE_NAME = "bundle.tar.gz"


class ServedEngine:
    """Called with a bundle it gives the one engine. `look` is how the gateway looks for a newer bundle at once; set it before the first call."""

    def __init__(self, settings: OpaSettings, *, dev: bool) -> None:
        """Reads the certificates. Raises KeyFileError, EndpointInvalid."""
        self._settings = settings
        self._bounds = ServerSettings(
            deadline=settings.deadline,
            connections=settings.connections,
            waiting=settings.waiting,
            takeover=settings.takeover,
        )
        self._dialer = Dialer(settings.endpoint, settings.tls, max_body=self._bounds.output_bytes, dev=dev)
        self._engine: OpaServer | None = None
        self.look: Callable[[], Awaitable[None]] | None = None

    def __call__(self, bundle: PolicyBundle) -> OpaServer:
        """The engine, which believes answers under this bundle from now on. Blocks. Raises PolicyLoadError, SourceUnavailable."""
        complete_engine(bundle).shut_down()  # what does not answer every question is no policy, whichever engine asks
        if self._settings.publish is not None:
            # First: a bundle that OPA cannot get must not put an end to the one before. An answer under it that comes too early waits for this to end.
            publish(bundle, self._settings.publish)
        if self._engine is None:
            self._engine = OpaServer(bundle, self._dialer, self._bounds, look=self.look)
        else:
            self._engine.expect(bundle)
        return self._engine


def publish(bundle: PolicyBundle, folder: Path) -> None:
    """Put the bundle into `folder`, whole or not at all. Raises SourceUnavailable: the bundle is good, and is to be tried again."""
    place, written = folder / BUNDLE_NAME, folder / f".{BUNDLE_NAME}.new"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(written, "wb", opener=_private) as file:
            file.write(pack(bundle_files(bundle)))
            file.flush()
            os.fsync(file.fileno())
        written.replace(place)
    except OSError as error:
        raise SourceUnavailable(f"{place}: cannot be written for OPA: {error.strerror}") from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
