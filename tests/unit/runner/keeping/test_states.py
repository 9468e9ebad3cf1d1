"""A kept state is durable, goes forward only, is out with one apply at a time, and comes back after any crash."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from lockgate.contract.state import StateMark
from lockgate.runner.keeping.handing import HandedOut, hand_out, still_out, take_back
from lockgate.runner.keeping.states import VERSIONS_KEPT, StateKeeper, StateRefused

WHO = ("default", "web")


def state(serial: int, lineage: str = "l-1", **more: object) -> bytes:
    return json.dumps(
        {"version": 4, "serial": serial, "lineage": lineage, "secret": "hunter2-hunter2", **more}
    ).encode()


@pytest.fixture
def keeper(tmp_path: Path) -> StateKeeper:
    return reopened(tmp_path)


def reopened(tmp_path: Path) -> StateKeeper:
    return StateKeeper(tmp_path / "states", b"r" * 32, os.urandom)


def test_there_is_no_state_before_the_first(keeper: StateKeeper) -> None:
    assert keeper.current(*WHO) is None


def test_a_version_is_there_for_the_next_process_and_in_clear_nowhere(keeper: StateKeeper, tmp_path: Path) -> None:
    assert keeper.keep(*WHO, state(3)).mark == StateMark("l-1", 3)
    found = reopened(tmp_path).current(*WHO)
    assert found is not None
    assert (found.data, found.version) == (state(3), 1)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert all(b"hunter2" not in path.read_bytes() and path.stat().st_mode & 0o077 == 0 for path in files)


def test_only_a_bounded_number_of_versions_is_kept_the_newest_among_them(keeper: StateKeeper, tmp_path: Path) -> None:
    for serial in range(1, VERSIONS_KEPT + 6):
        keeper.keep(*WHO, state(serial))
    assert len(list(keeper.place(*WHO).iterdir())) == VERSIONS_KEPT
    found = reopened(tmp_path).current(*WHO)
    assert found is not None
    assert found.mark.serial == VERSIONS_KEPT + 5


def test_the_same_bytes_again_are_no_new_version(keeper: StateKeeper) -> None:
    assert keeper.keep(*WHO, state(3)).version == keeper.keep(*WHO, state(3)).version == 1


@pytest.mark.parametrize(
    ("brought", "why"),
    [
        (state(4), "serial 4 does not come after 5"),
        (state(5, more=1), "serial 5 does not come after 5"),
        (state(6, "l-2"), "lineage 'l-2', where 'l-1' is kept"),
        (state(6)[:-1], "not a whole state"),
        (b"\0" * 200, "not a whole state"),
        (b"[]", "not a whole state"),
        (b'{"serial": 6, "serial": 7, "lineage": "l-1"}', "repeats a key"),
        (b'{"serial": "6", "lineage": "l-1"}', "serial a number"),
        (b'{"serial": -1, "lineage": "l-1"}', "serial must be"),
        (b'{"serial": 6, "lineage": ""}', "lineage must be"),
        (b"\xff\xfe", "not a whole state"),
    ],
)
def test_what_is_no_later_version_is_refused_set_aside_and_stops_the_target(
    keeper: StateKeeper, tmp_path: Path, brought: bytes, why: str
) -> None:
    keeper.keep(*WHO, state(5))
    with pytest.raises(StateRefused, match=why):
        keeper.keep(*WHO, brought)
    with pytest.raises(StateRefused, match="could not be taken"):
        reopened(tmp_path).current(*WHO)
    assert keeper.rejected(*WHO) == [brought]
    assert keeper.current("default", "other") is None


def test_one_targets_version_in_anothers_place_is_refused(keeper: StateKeeper) -> None:
    keeper.keep(*WHO, state(5))
    keeper.keep("default", "other", state(9))
    (mine,), (theirs,) = (list(keeper.place("default", name).iterdir()) for name in ("web", "other"))
    theirs.write_bytes(mine.read_bytes())
    with pytest.raises(StateRefused, match="sealed for something else"):
        keeper.current("default", "other")


def test_an_older_version_in_the_newest_ones_place_is_refused(keeper: StateKeeper) -> None:
    keeper.keep(*WHO, state(5))
    keeper.keep(*WHO, state(6))
    old, new = sorted(keeper.place(*WHO).iterdir())
    new.write_bytes(old.read_bytes())
    with pytest.raises(StateRefused, match="sealed for something else"):
        keeper.current(*WHO)


class TestLending:
    def lent(self, keeper: StateKeeper, tmp_path: Path, attempt: str = "at_1") -> HandedOut:
        return hand_out(keeper, *WHO, attempt, tmp_path / attempt)

    def test_what_the_tool_left_is_the_newest_version_and_the_plain_file_is_gone(
        self, keeper: StateKeeper, tmp_path: Path
    ) -> None:
        keeper.keep(*WHO, state(1))
        out = self.lent(keeper, tmp_path)
        assert out.file.read_bytes() == state(1)
        out.file.write_bytes(state(2))
        back = take_back(keeper, out)
        assert back is not None
        assert (back.mark.serial, out.file.exists(), still_out(keeper)) == (2, False, [])

    def test_a_tool_that_wrote_nothing_leaves_what_was(self, keeper: StateKeeper, tmp_path: Path) -> None:
        assert take_back(keeper, self.lent(keeper, tmp_path)) is None
        keeper.keep(*WHO, state(1))
        back = take_back(keeper, self.lent(keeper, tmp_path, "at_2"))
        assert back is not None
        assert back.version == 1

    def test_while_it_is_out_no_other_apply_gets_it_and_plans_still_see_the_last(
        self, keeper: StateKeeper, tmp_path: Path
    ) -> None:
        keeper.keep(*WHO, state(1))
        self.lent(keeper, tmp_path)
        with pytest.raises(StateRefused, match="still with the attempt at_1"):
            self.lent(reopened(tmp_path), tmp_path, "at_2")
        assert keeper.current(*WHO) is not None

    def test_after_a_crash_the_next_process_finds_and_takes_it(self, keeper: StateKeeper, tmp_path: Path) -> None:
        keeper.keep(*WHO, state(1))
        self.lent(keeper, tmp_path).file.write_bytes(state(2))
        next_process = reopened(tmp_path)
        (out,) = still_out(next_process)
        back = take_back(next_process, out)
        assert back is not None
        assert back.mark.serial == 2

    def test_taking_back_may_be_cut_at_any_write_and_repeated(
        self, keeper: StateKeeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keeper.keep(*WHO, state(1))
        out = self.lent(keeper, tmp_path)
        out.file.write_bytes(state(2))
        for name in ("fsync", "replace", "unlink", "pwrite"):
            with monkeypatch.context() as cut:
                cut.setattr(os, name, _dies)
                with pytest.raises(KeyboardInterrupt):
                    take_back(keeper, out)
        (found,) = still_out(keeper)
        back = take_back(keeper, found)
        assert back is not None
        assert (back.mark.serial, back.version, still_out(keeper)) == (2, 2, [])

    def test_a_truncated_file_is_kept_aside_whole_and_stops_the_target(
        self, keeper: StateKeeper, tmp_path: Path
    ) -> None:
        keeper.keep(*WHO, state(1))
        out = self.lent(keeper, tmp_path)
        out.file.write_bytes(state(2)[:-10])
        with pytest.raises(StateRefused, match="not a whole state"):
            take_back(keeper, out)
        assert keeper.rejected(*WHO) == [state(2)[:-10]]
        with pytest.raises(StateRefused, match="could not be taken"):
            self.lent(keeper, tmp_path, "at_2")

    def test_a_link_in_its_place_is_not_followed(self, keeper: StateKeeper, tmp_path: Path) -> None:
        out = self.lent(keeper, tmp_path)
        out.file.unlink()
        (tmp_path / "other").write_bytes(state(9))
        out.file.symlink_to(tmp_path / "other")
        with pytest.raises(OSError, match="symbolic"):
            take_back(keeper, out)
        assert keeper.current(*WHO) is None


def _dies(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
