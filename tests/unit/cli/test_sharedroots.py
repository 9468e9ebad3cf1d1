"""Where dev deployments share job roots: nobody else can write there, and production shares nothing unasked."""

import os
import stat
from pathlib import Path

import pytest
import yaml

from lockgate.cli.bootstrap import Names, bootstrap
from lockgate.cli.bootstrap.sharedroots import SYSTEM_PLACE, SharedRootsRefused, roots_place, shared_roots
from lockgate.runner.app import make_job_root
from lockgate.runner.sandbox.port import SandboxUnavailable
from lockgate.runner.settings import load_runner_settings

ROOT = os.geteuid() == 0


def test_root_shares_where_its_sandboxes_reach_and_a_user_in_the_cache() -> None:
    assert roots_place({"XDG_CACHE_HOME": "/somewhere"}, root=True) == SYSTEM_PLACE / "roots"
    assert roots_place({"XDG_CACHE_HOME": "/somewhere"}, root=False) == Path("/somewhere/lockgate/roots")
    for environment in ({}, {"XDG_CACHE_HOME": "relative"}):
        assert roots_place(environment, root=False) == Path.home() / ".cache/lockgate/roots"


def test_what_is_made_is_for_its_owner_whatever_the_umask(tmp_path: Path) -> None:
    place = tmp_path / "cache" / "lockgate" / "roots"
    old = os.umask(0)
    try:
        assert shared_roots(place, root=False) == place
    finally:
        os.umask(old)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (place, place.parent)] == [0o700, 0o700]
    assert shared_roots(place, root=False) == place, "and used again"


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_place_that_others_write_is_refused(tmp_path: Path, mode: int) -> None:
    place = tmp_path / "lockgate" / "roots"
    assert shared_roots(place, root=False)
    for directory in (place, place.parent):
        directory.chmod(mode)
        with pytest.raises(SharedRootsRefused, match=f"^{directory}: can be written by others"):
            shared_roots(place, root=False)
        directory.chmod(0o700)


def test_a_link_in_its_place_or_a_way_that_everybody_writes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir(mode=0o700)
    (tmp_path / "lockgate").mkdir(mode=0o700)
    (tmp_path / "lockgate" / "roots").symlink_to(tmp_path / "other")
    with pytest.raises(SharedRootsRefused, match="not a directory of its own"):
        shared_roots(tmp_path / "lockgate" / "roots", root=False)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(SharedRootsRefused, match="written by everybody"):
        shared_roots(tmp_path / "open" / "lockgate" / "roots", root=False)


def test_where_none_can_be_made_everybody_builds_their_own(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert shared_roots(tmp_path / "file" / "lockgate" / "roots", root=False) is None


def test_only_dev_shares_without_being_told(home: Path) -> None:
    bootstrap(home / "dev", Names("dev"), dev=True, now=0)
    made = yaml.safe_load((home / "dev" / "runner.yaml").read_text())["sandbox"]
    assert made["roots_dir"] == str(roots_place(os.environ, root=ROOT))
    bootstrap(home / "production", Names("acme"), dev=False, now=0)
    assert "roots_dir" not in yaml.safe_load((home / "production" / "runner.yaml").read_text())["sandbox"]


def test_a_runner_looks_again_at_every_start(home: Path) -> None:
    layout = bootstrap(home, Names("dev"), dev=True, now=0)
    roots = home / "roots"
    roots.mkdir()
    roots.chmod(0o777)
    document = yaml.safe_load(layout.runner_settings.read_text())
    document["sandbox"]["roots_dir"] = str(roots)
    layout.runner_settings.write_text(yaml.safe_dump(document))
    with pytest.raises(SandboxUnavailable, match="can be written by others"):
        make_job_root(load_runner_settings(layout.runner_settings))
    assert list(roots.iterdir()) == []
