"""A rule begun by `policy new-rule` is tested and attached as it stands, anywhere; nothing of an author's is overwritten."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.unit.cli.conftest import Ran

from lockgate.cli.deployment import Deployment, make_deployment
from lockgate.cli.exits import Exit

Run = Callable[..., Ran]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is not in this repository, and where the author is."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.mark.opa
def test_a_new_rule_is_green_at_once_and_fits_the_policy_data(
    run: Run, home: Path, elsewhere: Path, opa: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKGATE_OPA", str(opa))
    make_deployment(home, Deployment("dev", dev=True))
    begun = run("policy", "new-rule", "no_deletions", "--json")
    assert begun.exit == Exit.OK
    assert sorted(file.name for file in elsewhere.glob("policies/*")) == ["no_deletions.rego", "no_deletions_test.rego"]
    tested = run("policy", "test", "--min-coverage", "100", "--json")
    assert tested.exit == Exit.OK, tested.out
    assert tested.document["tests"] == 4
    assert tested.document["coverage"]["percent"] == 100.0
    with (home / "policy" / "data.yaml").open("a") as data:
        data.write(begun.document["entry"])
    checked = run("policy", "check", "--source", "policies", "--json")
    assert checked.exit == Exit.OK, checked.out
    assert yaml.safe_load(begun.document["entry"])["bring"][0]["path"] == begun.document["path"]


def test_the_next_commands_and_the_entry_are_told(run: Run, elsewhere: Path) -> None:
    told = run("policy", "new-rule", "no_deletions", "--folder", "mine").out
    assert "lockgate policy test mine --coverage" in told
    assert "lockgate policy check --source mine" in told
    assert "    path: data.rules.no_deletions.denials" in told


def test_nothing_is_overwritten(run: Run, elsewhere: Path) -> None:
    assert run("policy", "new-rule", "mine").exit == Exit.OK
    (elsewhere / "policies" / "mine.rego").unlink()
    written = (elsewhere / "policies" / "mine_test.rego").read_bytes()
    again = run("policy", "new-rule", "mine", "--json")
    assert again.exit == Exit.CONFLICT
    assert "mine_test.rego is there already; nothing was written" in again.document["error"]["message"]
    assert not (elsewhere / "policies" / "mine.rego").exists()
    assert (elsewhere / "policies" / "mine_test.rego").read_bytes() == written


@pytest.mark.parametrize("name", ["", "No", "a-b", "a.b", "../x", "1a", "a" * 49, "default", "x_test", "a\nb", "é"])
def test_a_name_that_is_none_is_refused_and_nothing_is_written(run: Run, elsewhere: Path, name: str) -> None:
    ran = run("policy", "new-rule", "--json", "--", name)
    assert ran.exit == Exit.USAGE
    assert list(elsewhere.iterdir()) == []


def test_the_librarys_own_folder_is_refused(run: Run, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    ran = run("policy", "new-rule", "mine", "--json")
    assert ran.exit == Exit.USAGE
    assert "--folder" in ran.document["error"]["message"]
