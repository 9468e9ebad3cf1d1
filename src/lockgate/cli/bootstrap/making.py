"""The steps of `lockgate init`, each of which keeps what is there; it must not print, and never replaces a file."""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from lockgate.cli.bootstrap.configs import gateway_yaml, runner_yaml
from lockgate.cli.bootstrap.layout import Layout, Names, Ports, Samples, fallback_base
from lockgate.cli.bootstrap.sharedroots import roots_place, shared_roots
from lockgate.contract.keyset import KeyEntry, KeyRole, Keyset
from lockgate.keys.keysets import DAY_MS, key_entry, load_keyset, seal_keyset
from lockgate.keys.pki import CertificateAuthority, CertificateRefused, Issued, RunnerIdentity
from lockgate.keys.privatefile import read_private, write_private, write_public
from lockgate.keys.signer import FileSigner, generate_key, read_public_key, write_public_key

KEYSET_DAYS = 365
DEV_KEYSET_DAYS = 90


class BootstrapRefused(ValueError):
    """This home cannot be completed without putting keys at odds; the message says which file and what to do."""


@dataclass(slots=True)
class _Making:
    layout: Layout
    names: Names
    dev: bool
    now: int
    created: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)

    def missing(self, path: Path) -> bool:
        """Whether a file has to be made; notes either."""
        there = os.path.lexists(path)
        (self.kept if there else self.created).append(path)
        return not there


def bootstrap(
    home: Path, names: Names, *, dev: bool, now: int, ports: Ports | None = None, samples: Samples | None = None
) -> Layout:
    """Make whatever is missing of a deployment below `home`; a second run keeps everything. `now` is Unix ms.

    Raises BootstrapRefused; SharedRootsRefused, KeyFileError, KeysetRefused, ValueError when what is there does not fit; OSError.
    """
    try:
        identity = RunnerIdentity(names.deployment, names.tenant, names.region, names.runner)
    except CertificateRefused as error:
        raise BootstrapRefused(str(error)) from None
    home = home.absolute()
    _directory(home, 0o711 if os.geteuid() == 0 else 0o700)
    with _locked(home):
        making = _Making(Layout(home, sandbox_base(home)), names, dev, now)
        _directories(making)
        _keyset(making)
        _certificates(making, identity)
        _region_key(making)
        _settings(making, ports or Ports(), samples or Samples())
    return replace(making.layout, created=tuple(making.created), kept=tuple(making.kept), advice=_advice(making))


def _directories(making: _Making) -> None:
    layout = making.layout
    for path in layout.private_directories:
        _directory(path, 0o700)
    for path in layout.public_directories:
        _directory(path, 0o755)
    # The sandboxes' uids pass through to what is theirs; as an ordinary user there is one uid only.
    if layout.sandbox_base.parent != layout.home:
        _directory(layout.sandbox_base.parent, 0o711)
    _directory(layout.sandbox_base, 0o711 if os.geteuid() == 0 else 0o700)


def _keyset(making: _Making) -> None:
    layout = making.layout
    sealed = os.path.lexists(layout.keyset)
    if not os.path.lexists(layout.root_public):
        root = _signer(making, layout.root_key, replaceable=not sealed)
        write_public_key(layout.root_public, root.public)
        making.created.append(layout.root_public)
    else:
        making.kept.append(layout.root_public)
    entries = _entries(making, replaceable=not sealed)
    if making.missing(layout.keyset):
        _seal(making, entries)
        return
    keyset = load_keyset(layout.keyset, layout.root_public, now=making.now, dev=True)
    if (keyset.deployment, keyset.dev) != (making.names.deployment, making.dev):
        stamp = "dev " if keyset.dev else ""
        raise BootstrapRefused(
            f"{layout.keyset}: is of the {stamp}deployment {keyset.deployment!r}; choose another directory for this one"
        )
    missing = {entry.keyid for entry in entries} - {entry.keyid for entry in keyset.keys}
    if missing:
        raise BootstrapRefused(
            f"{layout.keyset}: does not name the keys {sorted(missing)} found in {layout.home / 'keys'}"
        )


def _entries(making: _Making, *, replaceable: bool) -> tuple[KeyEntry, ...]:
    layout, names = making.layout, making.names
    roles = {KeyRole.GRANT: layout.grant_key, KeyRole.LOG: layout.log_key, KeyRole.ISSUER: layout.issuer_key}
    entries = [key_entry(role, _signer(making, path, replaceable=replaceable).public) for role, path in roles.items()]
    runner = _signer(making, layout.runner_key, replaceable=replaceable)
    entries.append(
        key_entry(KeyRole.RUNNER, runner.public, holder=names.runner, region=names.region, tenant=names.tenant)
    )
    return tuple(entries)


def _signer(making: _Making, path: Path, *, replaceable: bool) -> FileSigner:
    if not making.missing(path):
        return FileSigner(path, dev=making.dev)
    if not replaceable:
        raise BootstrapRefused(
            f"{path}: is missing, and the keyset names it; restore it from a backup, or start in an empty directory"
        )
    return generate_key(path)


def _seal(making: _Making, entries: tuple[KeyEntry, ...]) -> None:
    layout = making.layout
    if not os.path.lexists(layout.root_key):
        raise BootstrapRefused(f"{layout.root_key}: is needed to sign a keyset; bring it back for this run")
    root = FileSigner(layout.root_key, dev=making.dev)
    if root.public != read_public_key(layout.root_public):
        raise BootstrapRefused(f"{layout.root_public}: is not the public half of {layout.root_key}")
    days = DEV_KEYSET_DAYS if making.dev else KEYSET_DAYS
    keyset = Keyset(1, making.names.deployment, making.dev, making.now, making.now + days * DAY_MS, entries)
    write_public(layout.keyset, seal_keyset(keyset, root))


def _certificates(making: _Making, identity: RunnerIdentity) -> None:
    layout = making.layout
    wanted = [path for path in (layout.gateway_tls, layout.runner_tls) if making.missing(path)]
    if making.missing(layout.ca_certificate) or wanted:
        authority = _authority(making)
        if layout.gateway_tls in wanted:
            _write_pair(layout.gateway_tls, authority.gateway(making.now))
        if layout.runner_tls in wanted:
            _write_pair(layout.runner_tls, authority.runner(identity, making.now))
        if not os.path.lexists(layout.ca_certificate):
            write_public(layout.ca_certificate, authority.issued.certificate)


def _authority(making: _Making) -> CertificateAuthority:
    path = making.layout.ca
    if making.missing(path):
        if os.path.lexists(making.layout.ca_certificate):
            raise BootstrapRefused(f"{path}: is needed to make a certificate; bring it back for this run")
        _write_pair(path, CertificateAuthority.create(making.names.deployment, making.now).issued)
    pair = read_private(path, dev=making.dev)
    return CertificateAuthority.load(Issued(pair, pair))


def _write_pair(path: Path, issued: Issued) -> None:
    # One file, so that a crash cannot leave a certificate without its key.
    write_private(path, issued.key + issued.certificate)


def _region_key(making: _Making) -> None:
    if making.missing(making.layout.region_key):
        write_private(making.layout.region_key, base64.b64encode(secrets.token_bytes(32)) + b"\n")


def _settings(making: _Making, ports: Ports, samples: Samples) -> None:
    layout = making.layout
    if making.missing(layout.gateway_settings):
        write_private(layout.gateway_settings, gateway_yaml(layout, making.names, making.dev, ports, samples))
    if making.missing(layout.runner_settings):
        # In production a runner shares nothing that it was not told to share.
        roots = _shared_roots() if making.dev else None
        write_private(layout.runner_settings, runner_yaml(layout, making.names, making.dev, ports, samples, roots))
    for name, content in samples.files.items():
        path = layout.home / name
        if ".." in path.parts or not path.is_relative_to(layout.home):
            raise BootstrapRefused(f"{name}: must be a path below the home directory")
        _directory(path.parent, 0o755)
        if making.missing(path):
            write_public(path, content)


def _shared_roots() -> Path | None:
    root = os.geteuid() == 0
    return shared_roots(roots_place(os.environ, root=root), root=root)


def _advice(making: _Making) -> tuple[str, ...]:
    layout = making.layout
    advice = []
    if not making.dev and os.path.lexists(layout.offline / "root.pem"):
        advice.append(
            f"Move {layout.offline} off this machine: its keys make every other key; nothing here needs it until a keyset changes."
        )
    if not making.dev:
        advice.append(
            f"Give {layout.runner_keys} and {layout.runner_settings} to the runner's own user or machine, not to the gateway's."
        )
    if not making.dev:
        advice.append(
            f"The built-in token issuer is off; to let it make agents' tokens, set keys.issuer in {layout.gateway_settings}."
        )
    if not making.created:
        advice.append("Everything was there already; nothing was changed.")
    return tuple(advice)


def _directory(path: Path, mode: int) -> None:
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        if not path.is_dir():
            raise BootstrapRefused(f"{path}: is not a directory") from None
        return
    path.chmod(mode)


def sandbox_base(home: Path) -> Path:
    """Where the sandboxes of an existing home lie: below it, unless it is root's and other uids cannot pass through to it."""
    reachable = all(stat.S_IMODE(place.stat().st_mode) & 0o001 for place in (home.resolve(), *home.resolve().parents))
    return home / "sandbox" if os.geteuid() != 0 or reachable else fallback_base(home)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
