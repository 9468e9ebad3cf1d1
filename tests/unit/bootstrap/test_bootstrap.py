import contextlib
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.cli.bootstrap import BootstrapRefused, Layout, Names, Ports, Samples, bootstrap
from lockgate.contract.keyset import KeyRole
from lockgate.gateway.settings import load_gateway_settings
from lockgate.keys.keysets import DAY_MS, KeysetRefused, load_keyset
from lockgate.keys.pki import certificate_der, runner_identity
from lockgate.keys.signer import FileSigner
from lockgate.keys.tls import runner_client, runner_facing_server
from lockgate.runner.settings import load_runner_settings

NOW = int(time.time() * 1000)
NAMES = Names("acme", region="eu-west")


@pytest.fixture
def home() -> Iterator[Path]:
    """Not pytest's own directory, which no other uid can reach: a root's sandboxes would go elsewhere."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place) / "home"


def made(home: Path, **options) -> Layout:
    return bootstrap(
        home, options.pop("names", NAMES), dev=options.pop("dev", False), now=options.pop("now", NOW), **options
    )


def contents(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize("dev", [True, False])
def test_everything_a_gateway_and_a_runner_need_is_made_and_fits_together(home: Path, dev: bool) -> None:
    layout = made(home, dev=dev, ports=Ports(1234, 1235))
    gateway, runner = load_gateway_settings(layout.gateway_settings), load_runner_settings(layout.runner_settings)
    assert (gateway.deployment, gateway.dev, gateway.public.port, gateway.runners.port) == ("acme", dev, 1234, 1235)
    assert runner.gateway == "https://127.0.0.1:1235"
    assert gateway.store == layout.store
    assert runner.sandbox.base_dir == layout.sandbox_base
    keyset = load_keyset(gateway.keys.keyset, gateway.keys.root_public, now=NOW, dev=dev)
    assert keyset.dev is dev
    keys = {KeyRole.GRANT: gateway.keys.grant, KeyRole.LOG: gateway.keys.log, KeyRole.RUNNER: runner.keys.signing}
    for role, path in keys.items():
        assert list(keyset.trusted(role)) == [FileSigner(path).keyid]
    assert FileSigner(layout.issuer_key).keyid in keyset.trusted(KeyRole.ISSUER)
    assert runner_identity(certificate_der(runner.keys.certificate.read_bytes())) == runner.identity
    runner_facing_server(gateway.runners.tls)
    runner_client(runner.keys.tls)


def test_a_second_run_keeps_every_byte_and_says_so(home: Path) -> None:
    first = made(home, samples=Samples({"catalog/a.yaml": b"mine"}))
    before = contents(first.home)
    second = made(home, now=NOW + DAY_MS, samples=Samples({"catalog/a.yaml": b"other"}))
    assert contents(first.home) == before
    assert first.created
    assert not second.created
    assert any("nothing was changed" in line for line in second.advice)


def test_only_public_files_can_be_read_by_others(home: Path) -> None:
    layout = made(home)
    public = {layout.root_public, layout.keyset, layout.ca_certificate}
    for path in layout.home.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_file() and path not in public:
            assert mode == 0o600, path
    for path in layout.private_directories:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path


def write_order(layout: Layout) -> list[Path]:
    keys = [
        layout.root_key,
        layout.root_public,
        layout.grant_key,
        layout.log_key,
        layout.issuer_key,
        layout.runner_key,
        layout.keyset,
    ]
    tls = [layout.ca, layout.gateway_tls, layout.runner_tls, layout.ca_certificate]
    return [*keys, *tls, layout.region_key, layout.gateway_settings, layout.runner_settings]


@pytest.mark.parametrize("cut", range(14))
def test_a_run_that_was_cut_off_is_completed_by_the_next(home: Path, cut: int) -> None:
    order = write_order(made(home))
    assert len(order) == 14
    for later in order[cut:]:
        later.unlink()
    layout = made(home)
    assert set(layout.created) == set(order[cut:])
    assert set(layout.kept) | set(layout.created) >= set(order) - {layout.root_key, layout.ca}
    keyset = load_keyset(layout.keyset, layout.root_public, now=NOW, dev=False)
    assert FileSigner(layout.runner_key).keyid in keyset.trusted(KeyRole.RUNNER)
    runner_facing_server(load_gateway_settings(layout.gateway_settings).runners.tls)
    runner_client(load_runner_settings(layout.runner_settings).keys.tls)


def test_with_the_offline_directory_moved_away_a_run_keeps_what_there_is(home: Path) -> None:
    layout = made(home)
    assert any("off this machine" in line for line in layout.advice)
    layout.offline.rename(home.parent / "safe")
    again = made(home)
    assert not again.created
    assert not any("off this machine" in line for line in again.advice)


@pytest.mark.parametrize("key", ["grant_key", "log_key", "issuer_key", "runner_key"])
def test_a_lost_key_that_the_keyset_names_is_not_replaced_in_silence(home: Path, key: str) -> None:
    layout = made(home)
    getattr(layout, key).unlink()
    with pytest.raises(BootstrapRefused, match="is missing"):
        made(home)


def test_a_certificate_cannot_be_made_again_without_the_ca(home: Path) -> None:
    layout = made(home)
    layout.offline.rename(home.parent / "safe")
    layout.runner_tls.unlink()
    with pytest.raises(BootstrapRefused, match="bring it back"):
        made(home)


@pytest.mark.parametrize("change", [{"names": Names("other")}, {"dev": True}])
def test_a_home_of_another_deployment_or_stamp_is_refused(home: Path, change: dict) -> None:
    made(home)
    with pytest.raises(BootstrapRefused, match="another directory"):
        made(home, **change)


def test_a_keyset_of_a_foreign_root_is_refused(home: Path) -> None:
    layout, foreign = made(home), made(home.parent / "foreign")
    layout.keyset.unlink()
    layout.keyset.write_bytes(foreign.keyset.read_bytes())
    with pytest.raises(KeysetRefused, match="not trusted"):
        made(home)


@pytest.mark.parametrize("bad", ["", "UPPER", "a/b", "a b", "ü", "-a", "a" * 64])
def test_a_name_that_cannot_stand_in_a_certificate_is_refused_before_anything_is_made(home: Path, bad: str) -> None:
    with pytest.raises(BootstrapRefused, match="runner"):
        made(home, names=Names("acme", runner=bad))
    assert not home.exists()


def test_samples_cannot_leave_the_home(home: Path) -> None:
    for name in ("../x", "/x", "catalog/../../x"):
        with pytest.raises(BootstrapRefused, match="below the home"):
            made(home, samples=Samples({name: b""}))
    assert not (home.parent / "x").exists()


def test_every_directory_above_the_sandboxes_lets_their_uids_pass(home: Path) -> None:
    layout = made(home)
    wanted = 0o001 if os.geteuid() == 0 else 0  # an ordinary user's sandboxes have the user's own uid
    for place in (layout.sandbox_base, *layout.sandbox_base.parents):
        assert place.stat().st_mode & wanted == wanted, place
    assert stat.S_IMODE(layout.sandbox_base.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)


def test_sandboxes_of_a_home_their_uids_cannot_reach_lie_elsewhere(home: Path) -> None:
    home.parent.chmod(0o700)
    layout = made(home)
    try:
        apart = os.geteuid() == 0
        assert layout.sandbox_base.is_relative_to(home) is not apart
        assert load_runner_settings(layout.runner_settings).sandbox.base_dir == layout.sandbox_base
        assert made(home).sandbox_base == layout.sandbox_base
    finally:
        layout.sandbox_base.rmdir()
        with contextlib.suppress(OSError):  # other homes may have theirs there
            layout.sandbox_base.parent.rmdir()
