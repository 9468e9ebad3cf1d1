"""An installation's name: made once, kept, and no other directory's."""

import os
from pathlib import Path

import pytest

from lockgate.keys.privatefile import KeyFileError
from lockgate.runner.installation import FILE, installation


def test_it_stays_the_same_and_another_directory_has_another(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    name = installation(first, os.urandom, dev=False)
    assert installation(first, os.urandom, dev=False) == name
    assert installation(second, os.urandom, dev=False) != name


def test_of_two_that_make_it_at_once_both_have_the_one_that_was_kept(tmp_path: Path) -> None:
    """The slower one finds the faster one's file there when it has drawn its own name."""
    names: list[str] = []

    def slow(count: int) -> bytes:
        names.append(installation(tmp_path, os.urandom, dev=False))
        return os.urandom(count)

    assert installation(tmp_path, slow, dev=False) == names[0]


def test_what_is_no_name_is_refused_with_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("../other")
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(KeyFileError, match="32 hexadecimal"):
        installation(tmp_path, os.urandom, dev=False)
