"""OCI archives: the same files are the same bytes, and the digest names all that a container will see."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lockgate.runner.image.archive import Entry, Image, RunAs, write_image

RUN = RunAs(user="1000:1000", entrypoint=("/bin/job",), environment={"B": "2", "A": "1"}, directory="/work")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_text("#!/bin/sh\n")
    return path


def made(tmp_path: Path, program: Path, name: str = "one.tar", **changes: Any) -> Image:
    below = [Entry("bin"), Entry("etc/passwd", 0o644, text="root\n"), Entry("sh", 0o777, link="bin/sh")]
    layers = changes.get("layers", [below, [Entry("bin/job", source=program)]])
    return write_image(tmp_path / name, "here.test/job", layers, changes.get("run", RUN), changes.get("tag", ""))


def blob(image: Image, digest: str) -> bytes:
    with tarfile.open(image.archive) as archive:
        content = archive.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
        assert content is not None
        return content.read()


def read(image: Image) -> dict[str, Any]:
    with tarfile.open(image.archive) as archive:
        content = archive.extractfile("index.json")
        assert content is not None
        index: dict[str, Any] = json.load(content)
    return index


def test_the_same_files_are_the_same_bytes_whoever_owns_them_and_whenever_they_were_written(
    tmp_path: Path, program: Path
) -> None:
    first = made(tmp_path, program)
    os.utime(program, (1, 1))
    second = made(tmp_path, program, "two.tar")
    assert first.archive.read_bytes() == second.archive.read_bytes()
    with tarfile.open(first.archive) as archive:
        assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one in archive} == {(0, 0, "", "", 0)}


def test_every_blob_has_the_digest_that_names_it_down_to_the_image_itself(tmp_path: Path, program: Path) -> None:
    image = made(tmp_path, program)
    assert image.pinned == f"here.test/job@{image.digest}"
    (listed,) = read(image)["manifests"]
    assert listed["digest"] == image.digest
    manifest = json.loads(blob(image, image.digest))
    config = json.loads(blob(image, manifest["config"]["digest"]))
    assert [each["digest"] for each in manifest["layers"]] == config["rootfs"]["diff_ids"]
    for each in [listed, manifest["config"], *manifest["layers"]]:
        content = blob(image, each["digest"])
        assert (len(content), f"sha256:{hashlib.sha256(content).hexdigest()}") == (each["size"], each["digest"])


def test_a_container_starts_as_the_image_says(tmp_path: Path, program: Path) -> None:
    image = made(tmp_path, program)
    config = json.loads(blob(image, json.loads(blob(image, image.digest))["config"]["digest"]))["config"]
    assert config == {"User": "1000:1000", "Entrypoint": ["/bin/job"], "Env": ["A=1", "B=2"], "WorkingDir": "/work"}


def test_a_layer_holds_files_links_and_folders_as_they_were_given(tmp_path: Path, program: Path) -> None:
    image = made(tmp_path, program)
    lower, upper = json.loads(blob(image, image.digest))["layers"]
    (tmp_path / "lower").write_bytes(blob(image, lower["digest"]))
    with tarfile.open(tmp_path / "lower") as layer:
        found = {each.name: (each.type, each.mode, each.linkname) for each in layer}
    assert found == {
        "bin": (tarfile.DIRTYPE, 0o755, ""),
        "etc/passwd": (tarfile.REGTYPE, 0o644, ""),
        "sh": (tarfile.SYMTYPE, 0o777, "bin/sh"),
    }
    (tmp_path / "upper").write_bytes(blob(image, upper["digest"]))
    with tarfile.open(tmp_path / "upper") as layer:
        content = layer.extractfile("bin/job")
        assert content is not None
        assert content.read() == program.read_bytes()


@pytest.mark.parametrize("what", ["content", "place", "user"])
def test_another_content_place_or_user_is_another_image(tmp_path: Path, program: Path, what: str) -> None:
    before = made(tmp_path, program).digest
    changes: dict[str, Any] = {}
    if what == "content":
        program.write_text("#!/bin/sh\nexit 1\n")
    elif what == "place":
        changes["layers"] = [[Entry("bin/other", source=program)]]
    else:
        changes["run"] = RunAs(user="0:0")
    assert made(tmp_path, program, **changes).digest != before


def test_importers_find_the_name_with_its_digest_or_with_the_tag_that_was_asked_for(
    tmp_path: Path, program: Path
) -> None:
    image = made(tmp_path, program)
    assert read(image)["manifests"][0]["annotations"]["io.containerd.image.name"] == image.pinned
    tagged = made(tmp_path, program, tag="1")
    assert read(tagged)["manifests"][0]["annotations"]["io.containerd.image.name"] == "here.test/job:1"
    assert tagged.digest == image.digest
