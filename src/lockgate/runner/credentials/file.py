"""The broker of secrets in files of the runner's own; it cannot make them expire, so it says `runner-trusted` and must not claim more."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lockgate.contract.keyset import Keyset
from lockgate.keys.privatefile import KeyFileError, read_private
from lockgate.runner.credentials.permits import check_permit
from lockgate.runner.credentials.port import BrokerRefused, BrokerUnavailable, Credential, CredentialRequest, Trust

MAX_FILES: Final = 16
MAX_LIVE: Final = 1024
_REFERENCE: Final = re.compile(r"secret://((?:[a-z0-9][a-z0-9._-]{0,62}/)+[a-z0-9][a-z0-9._-]{0,62})")
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LINE_LEAST: Final = 8


class FileBroker:
    """`secret://a/b` is the file `a/b` below `directory`, mode 0600. `keyset` gives the keyset in force; `random` gives n random bytes."""

    name = "file"
    trust: Trust = "runner-trusted"
    read_scope_enforced = False

    def __init__(
        self, directory: Path, keyset: Callable[[], Keyset], random: Callable[[int], bytes], *, dev: bool
    ) -> None:
        self._directory = directory
        self._keyset = keyset
        self._random = random
        self._dev = dev
        self._live: set[str] = set()
        self._used: set[str] = set()

    async def issue(self, request: CredentialRequest) -> Credential:
        """Read the referenced files: a write credential against its permit, once; a read one if it is said to be read-only.

        Raises BrokerRefused, BrokerUnavailable.
        """
        self._check(request)
        permit = check_permit(request, self._keyset()) if request.scope == "write" else None
        if permit is not None and permit.id in self._used:
            raise BrokerRefused("permit: was used already")
        if permit is not None:
            self._used.add(permit.id)
        files = await asyncio.to_thread(self._read_all, request)
        accessor = f"file:{base64.b32encode(self._random(10)).decode().lower()}"
        self._live.add(accessor)
        secrets = tuple(sorted({text for content in files.values() for text in secret_texts(content)}))
        return Credential(accessor, files, secrets, None)

    async def revoke(self, accessor: str) -> bool:
        """Forget it. The secret itself lives on in its file and wherever the run may have sent it: that is what runner-trusted means."""
        self._live.discard(accessor)
        return True

    async def revoke_unheard(self, attempt: str, scope: str) -> bool:
        """What was read for it was in the memory of the process that died, and went with it."""
        return True

    def _check(self, request: CredentialRequest) -> None:
        if request.scope == "read" and not request.read_is_read_only:
            raise BrokerRefused(
                "scope: read-only secrets are not enforced here; set credential.read_is_read_only if they cannot write"
            )
        if not 1 <= len(request.references) <= MAX_FILES:
            raise BrokerRefused(f"references: must be 1 to {MAX_FILES}")
        if len(self._live) >= MAX_LIVE:
            raise BrokerUnavailable(f"{MAX_LIVE} credentials are live; revoke some first")
        for name, reference in request.references.items():
            if not _FILE_NAME.fullmatch(name):
                raise BrokerRefused(f"references.{name[:80]!r}: must be a plain file name")
            if not _REFERENCE.fullmatch(reference):
                raise BrokerRefused(f"references.{name}: must be secret://prefix/name")
            if not any(prefix.endswith("/") and reference.startswith(prefix) for prefix in request.prefixes):
                raise BrokerRefused(f"references.{name}: is not under this target's prefixes")

    def _read_all(self, request: CredentialRequest) -> dict[str, bytes]:
        return {name: self._read(name, reference) for name, reference in request.references.items()}

    def _read(self, name: str, reference: str) -> bytes:
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise BrokerRefused(f"references.{name}: must be secret://prefix/name")
        path = self._directory
        for part in match[1].split("/"):
            path = path / part
            if path.is_symlink():
                raise BrokerRefused(f"references.{name}: {reference} leads over a link")
        if not os.path.lexists(path):
            raise BrokerUnavailable(f"references.{name}: {reference} does not exist")
        try:
            return read_private(path, dev=self._dev)
        except KeyFileError as error:
            raise BrokerRefused(f"references.{name}: {error}") from None


def secret_texts(content: bytes) -> list[str]:
    """The texts by which a secret file's content would show up in output: whole, by line, or encoded when it is not text."""
    try:
        text = content.decode("utf-8").strip()
    except UnicodeDecodeError:
        return [content.hex(), base64.b64encode(content).decode()]
    lines = [line.strip() for line in text.splitlines()]
    return [found for found in {text, *(line for line in lines if len(line) >= _LINE_LEAST)} if found]
