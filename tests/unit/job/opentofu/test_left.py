"""Files where code of the source may have run."""

from __future__ import annotations

import os

import pytest

from lockgate.job.drivers.opentofu.left import contents
from lockgate.job.drivers.port import StageRefused


def test_a_regular_file_is_read_and_a_missing_one_is_none(tmp_path):
    (tmp_path / "there").write_bytes(b"x" * 9)
    assert contents(tmp_path / "there", 9, "it") == b"x" * 9
    assert contents(tmp_path / "missing", 9, "it") is None


@pytest.mark.parametrize("kind", ["link", "pipe", "directory", "large", "device"])
def test_whatever_else_stands_there_is_refused_without_waiting(tmp_path, kind):
    path = tmp_path / "it"
    if kind == "link":
        (tmp_path / "other").write_bytes(b"secret")
        path.symlink_to(tmp_path / "other")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "large":
        path.write_bytes(b"x" * 10)
    else:
        path = type(path)("/dev/zero")
    with pytest.raises(StageRefused, match=r"^the plan "):
        contents(path, 9, "the plan")
