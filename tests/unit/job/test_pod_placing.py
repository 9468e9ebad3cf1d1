"""What a pod's first process puts where: new files only, within its bounds, by no link, and secrets in memory alone."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import pytest

from lockgate.contract import podchannel as pod
from lockgate.job.pod.placing import NotPlaced, Placing, in_memory


@pytest.fixture
def below():
    """A root in memory, as the volumes of secrets are."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        yield place


def at(below, path="/"):
    return Path(below + path)


def head(**said):
    return json.dumps({"mode": 0o400, "memory": True} | said).encode()


def place(placing, content=b"content", digest=None, **said):
    placing.take(pod.FILE, head(**said))
    placing.take(pod.CONTENT, content)
    placing.take(pod.DIGEST, digest or hashlib.sha256(content).digest())


def test_files_lie_where_they_were_sent_with_their_modes(below):
    placing = Placing(below)
    placing.take(pod.TREE, head(target="/work/source"))
    place(placing, path="deep/a", mode=0o555)
    place(placing, target="/run/credentials/token")
    placing.finish()
    assert at(below, "/work/source/deep/a").read_text() == "content"
    assert oct(at(below, "/work/source/deep/a").stat().st_mode) == "0o100555"
    assert oct(at(below, "/work/source/deep").stat().st_mode) == "0o40555"
    assert oct(at(below, "/run/credentials/token").stat().st_mode) == "0o100400"
    at(below, "/work/source/deep").chmod(0o755)
    at(below, "/work/source").chmod(0o755)


@pytest.mark.parametrize(
    "said",
    [
        {"target": "/run/../etc/x"},
        {"target": "relative"},
        {"target": "/run//x"},
        {"target": "/run/x/"},
        {"target": "/"},
        {"target": "/run/\x1b[2J"},
        {"target": 1},
        {"target": "/x/y", "mode": 0o4755},
        {"target": "/x/y", "mode": True},
        {"path": "a"},
        {},
    ],
)
def test_a_head_that_names_no_place_of_its_own_is_refused(below, said):
    with pytest.raises(NotPlaced):
        Placing(below).take(pod.FILE, head(**said))
    assert {each.name for each in at(below).iterdir()} <= {"run"}


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", "a//b", ".", ""])
def test_a_path_does_not_leave_its_directory(below, path):
    placing = Placing(below)
    placing.take(pod.TREE, head(target="/work/source"))
    with pytest.raises(NotPlaced):
        placing.take(pod.FILE, head(path=path))


def test_no_link_is_followed_on_the_way(below):
    at(below, "/elsewhere").mkdir()
    at(below, "/run").symlink_to(at(below, "/elsewhere"))
    with pytest.raises(NotPlaced):
        place(Placing(below), target="/run/token")
    assert not list(at(below, "/elsewhere").iterdir())


def test_what_is_there_is_never_replaced(below):
    placing = Placing(below)
    place(placing, target="/run/token")
    with pytest.raises(NotPlaced, match="File exists"):
        place(placing, b"other", target="/run/token")
    assert at(below, "/run/token").read_text() == "content"


def test_content_that_does_not_match_its_digest_is_named(below):
    with pytest.raises(NotPlaced, match="/run/token: what came does not match"):
        place(Placing(below), digest=bytes(32), target="/run/token")


@pytest.mark.parametrize(
    "frames",
    [
        [(pod.CONTENT, b"x")],
        [(pod.DIGEST, bytes(32))],
        [(pod.FILE, head(target="/run/a")), (pod.FILE, head(target="/run/b"))],
        [(pod.FILE, head(target="/run/a")), (pod.TREE, head(target="/work"))],
        [(pod.JOB, b"x")],
        [(pod.FILE, b"{]")],
        [(pod.FILE, b"[]")],
    ],
)
def test_a_delivery_out_of_order_is_refused(below, frames):
    placing = Placing(below)
    with pytest.raises(NotPlaced):
        for frame in frames:
            placing.take(*frame)


def test_a_volumes_own_directory_which_is_roots_is_left_as_it_is(below, monkeypatch):
    """The kubelet makes it for the pod's group; only its owner could change its mode, and what lies in it is no less closed."""
    placing = Placing(below)
    placing.take(pod.TREE, head(target="/lockgate-tool"))
    place(placing, path="deep/tofu")
    volume, ours = at(below, "/lockgate-tool"), os.geteuid()
    volume.chmod(0o2777)
    whose = os.stat
    roots = os.stat_result((*whose(volume)[:4], ours + 1, *whose(volume)[5:]))
    monkeypatch.setattr("os.stat", lambda path: roots if path == str(volume) else whose(path))
    placing.finish()
    monkeypatch.undo()
    assert oct(volume.stat().st_mode) == "0o42777"
    assert oct((volume / "deep").stat().st_mode) == "0o40555"
    (volume / "deep").chmod(0o755)


def test_a_file_that_did_not_come_whole_starts_nothing(below):
    placing = Placing(below)
    placing.take(pod.FILE, head(target="/run/token"))
    with pytest.raises(NotPlaced, match="not sent whole"):
        placing.finish()


def test_a_secret_is_written_to_nothing_but_memory(below, tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"proc / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\ndisk {below}/run ext4 rw 0 0\n")
    monkeypatch.setattr("lockgate.job.pod.placing._MOUNTS", str(mounts))
    with pytest.raises(NotPlaced, match="not in memory"):
        place(Placing(below), target="/run/token")
    assert not list(at(below, "/run").iterdir())
    place(Placing(below), target="/other/token")
    place(Placing(below), target="/run/no-secret", memory=False)


def test_a_mount_in_memory_is_told_by_the_mount_it_really_is():
    assert in_memory("/dev/shm/anything")
    assert not in_memory("/proc/anything")
    assert not in_memory("/dev/shmelsewhere")


def test_more_files_than_a_pod_is_ever_sent_are_refused(below, monkeypatch):
    monkeypatch.setattr(pod, "MAX_FILES", 2)
    monkeypatch.setattr(pod, "MAX_DELIVERED_BYTES", 20)
    placing = Placing(below)
    place(placing, target="/run/a")
    with pytest.raises(NotPlaced, match="MiB"):
        place(placing, bytes(14), target="/run/b")
    placing = Placing(below)
    place(placing, b"", target="/run/c")
    place(placing, b"", target="/run/d")
    with pytest.raises(NotPlaced, match="more than 2 files"):
        place(placing, b"", target="/run/e")


@pytest.fixture
def image(tmp_path):
    """Where an image would hold files."""
    return tmp_path


def holds(image, content, digest=""):
    digest = digest or hashlib.sha256(content).hexdigest()
    (image / digest).write_bytes(content)
    return digest


def links(below, image, digest, **said):
    placing = Placing(below, str(image))
    placing.take(pod.TREE, head(target="/lockgate-tool"))
    placing.take(pod.HELD, json.dumps({"path": "tofu", "digest": digest} | said).encode())
    placing.finish()


def test_a_file_that_the_image_holds_is_linked_and_takes_no_room(below, image):
    digest = holds(image, b"a tool")
    links(below, image, digest)
    assert at(below, "/lockgate-tool/tofu").readlink() == image / digest
    assert at(below, "/lockgate-tool/tofu").read_bytes() == b"a tool"


def test_what_the_image_holds_is_held_against_the_digest_that_is_demanded(below, image):
    digest = holds(image, b"another tool", hashlib.sha256(b"a tool").hexdigest())
    with pytest.raises(NotPlaced, match=r"/lockgate-tool/tofu: the image's .* is not what its name says"):
        links(below, image, digest)
    assert not at(below, "/lockgate-tool/tofu").is_symlink()


def test_what_the_image_does_not_hold_is_not_linked(below, image):
    with pytest.raises(NotPlaced, match="No such file"):
        links(below, image, hashlib.sha256(b"a tool").hexdigest())


def test_what_is_no_file_of_the_images_own_is_not_linked(below, image, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "tool"
    elsewhere.write_bytes(b"a tool")
    digest = hashlib.sha256(b"a tool").hexdigest()
    (image / digest).symlink_to(elsewhere)
    with pytest.raises(NotPlaced):
        links(below, image, digest)
    (image / digest).unlink()
    os.mkfifo(image / digest)
    with pytest.raises(NotPlaced, match="no regular file"):
        links(below, image, digest)


@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "/", 1, None])
def test_what_is_no_digest_names_nothing_in_the_image(below, image, digest):
    with pytest.raises(NotPlaced, match="digest: not one"):
        links(below, image, digest)


def test_a_link_takes_no_others_place_and_none_is_made_in_the_middle_of_a_file(below, image):
    digest = holds(image, b"a tool")
    placing = Placing(below, str(image))
    place(placing, target="/lockgate-tool/tofu")
    said = json.dumps({"target": "/lockgate-tool/tofu", "digest": digest}).encode()
    with pytest.raises(NotPlaced, match="File exists"):
        placing.take(pod.HELD, said)
    placing.take(pod.FILE, head(target="/lockgate-tool/other"))
    with pytest.raises(NotPlaced, match="out of order"):
        placing.take(pod.HELD, said)
