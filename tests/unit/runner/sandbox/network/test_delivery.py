"""What a pod is sent of a specification, what is refused, and where it can be put."""

import hashlib
import os

import pytest

from lockgate.contract import podchannel as pod
from lockgate.runner.sandbox.network import delivery
from lockgate.runner.sandbox.network.volumes import Volume, most_bytes, volumes
from lockgate.runner.sandbox.port import Bind, InjectedFile, SandboxLimits, SandboxSpec, SpecRefused

MIB = 1 << 20


def spec(*binds, files=(), **changes):
    return SandboxSpec("ab" * 16, "apply", ("/bin/true",), binds=binds, files=files, **changes)


def sent(*binds, files=()):
    return b"".join(delivery.frames(spec(*binds, files=files)))


def test_the_job_root_is_the_images_own_and_not_sent(tmp_path):
    assert sent(Bind(tmp_path, "/lockgate")) == b""


def test_a_directory_that_would_have_to_come_back_is_refused(tmp_path):
    with pytest.raises(SpecRefused, match="cannot write to a directory"):
        delivery.check_binds(spec(Bind(tmp_path, "/srv/x", writable=True)))
    (tmp_path / "file").touch()
    delivery.check_binds(spec(Bind(tmp_path / "file", "/srv/x", writable=True), Bind(tmp_path, "/srv/y")))


@pytest.mark.parametrize("make", [lambda p: p.symlink_to("/etc/passwd"), os.mkfifo], ids=["a link", "a pipe"])
def test_what_is_neither_file_nor_directory_is_refused_by_name(tmp_path, make):
    make(tmp_path / "odd")
    with pytest.raises(SpecRefused, match="/work/source: 'odd'"):
        sent(Bind(tmp_path, "/work/source"))


def test_more_than_a_pod_is_ever_sent_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pod, "MAX_FILES", 2)
    monkeypatch.setattr(pod, "MAX_DELIVERED_BYTES", 10)
    (tmp_path / "a").write_bytes(bytes(11))
    with pytest.raises(SpecRefused, match="MiB"):
        sent(Bind(tmp_path, "/work/source"))
    with pytest.raises(SpecRefused, match="files"):
        sent(files=[InjectedFile(f"/run/credentials/{name}", b"") for name in "abc"])


def test_an_order_larger_than_a_frame_is_refused():
    with pytest.raises(SpecRefused, match="argv, env"):
        delivery.order(spec(env={"A": "x" * pod.MAX_FRAME_BYTES}), egress=False)


def test_a_large_file_is_read_in_pieces(tmp_path):
    (tmp_path / "plan").write_bytes(bytes(5 * MIB))
    pieces = list(delivery.batches(delivery.frames(spec(Bind(tmp_path / "plan", "/lockgate-plan/plan")))))
    assert max(map(len, pieces)) < 2 * delivery.BATCH_BYTES
    assert len(pieces) > 4


def test_every_injected_file_has_a_volume_in_memory_and_every_bind_room_for_what_is_sent(tmp_path):
    (tmp_path / "state").touch()
    (tmp_path / "tool/deep").mkdir(parents=True)
    (tmp_path / "tool/deep/program").write_bytes(bytes(3 * MIB))
    files = (InjectedFile("/run/credentials/token", bytes(10)), InjectedFile("/work/state/.kept", b""))
    binds = (
        Bind(tmp_path, "/lockgate"),
        Bind(tmp_path / "tool", "/work/source"),
        Bind(tmp_path / "tool", "/lockgate-tool"),
        Bind(tmp_path / "state", "/srv/app/state", writable=True),
    )
    sent_bytes = 3 * MIB + 3 * 4096
    limits = SandboxLimits(disk_bytes=4 * MIB, file_bytes=8 * MIB)
    assert volumes(spec(*binds, files=files, limits=limits)) == (
        Volume("/dev/shm", True, 4 * MIB),
        Volume("/lockgate-tool", False, MIB + sent_bytes),
        Volume("/run/credentials", True, MIB + 10),
        Volume("/srv/app", False, 9 * MIB),
        Volume("/tmp", False, 4 * MIB),
        Volume("/work", False, 4 * MIB + sent_bytes),
        Volume("/work/state", True, MIB),
    )


def test_no_stage_needs_more_than_what_its_attempt_was_given_room_for(tmp_path):
    """The namespace is bounded when its first stage begins; the last one may be sent all that a pod is ever sent, in the smallest files."""
    limits = SandboxLimits(disk_bytes=4 * MIB, file_bytes=8 * MIB)
    (tmp_path / "state").touch()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(pod.MAX_DELIVERED_BYTES - pod.MAX_FILES)
    for number in range(200):
        (tmp_path / f"tree/{number}").mkdir(parents=True)
        (tmp_path / f"tree/{number}/file").write_bytes(b"x")
    trees = (Bind(tmp_path / "tree", f"/lockgate-{number}") for number in range(32))
    state = Bind(tmp_path / "state", "/work/state/kept", writable=True)
    found = volumes(spec(*trees, Bind(tmp_path / "large", "/lockgate-plan/plan"), state, limits=limits))
    assert pod.MAX_DELIVERED_BYTES < sum(volume.size_bytes for volume in found) <= most_bytes(limits)


TOOL = b"a tool" * 1000
DIGEST = hashlib.sha256(TOOL).hexdigest()


def tool_bind(folder, contents):
    (folder / "tofu").write_bytes(TOOL)
    (folder / "tofu").chmod(0o555)
    return Bind(folder, "/lockgate-tool", contents=contents)


def test_of_what_the_image_has_the_digest_that_the_runner_demands_is_sent_alone(tmp_path):
    bind = tool_bind(tmp_path, {"tofu": DIGEST})
    frames = b"".join(delivery.frames(spec(bind), {DIGEST}))
    assert len(frames) < 300
    assert DIGEST.encode() in frames
    assert TOOL not in frames


@pytest.mark.parametrize(
    ("contents", "had"),
    [({"tofu": DIGEST}, ()), ({"tofu": DIGEST}, {"0" * 64}), ({}, {DIGEST}), ({"other": DIGEST}, {DIGEST})],
    ids=["an image without", "another one's", "nobody knows its digest", "of another file"],
)
def test_everything_else_is_sent_whole(tmp_path, contents, had):
    assert TOOL in b"".join(delivery.frames(spec(tool_bind(tmp_path, contents)), had))


def test_what_the_image_has_counts_as_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(pod, "MAX_FILES", 0)
    with pytest.raises(SpecRefused, match="files"):
        list(delivery.frames(spec(tool_bind(tmp_path, {"tofu": DIGEST})), {DIGEST}))
