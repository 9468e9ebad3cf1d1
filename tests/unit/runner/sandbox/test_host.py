"""Control groups, uids, directories, profile: the parts that look at the host, each on files of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lockgate.runner.sandbox import basedir, processes
from lockgate.runner.sandbox.bubblewrap import user_namespace_fix
from lockgate.runner.sandbox.cgroups import RunGroup, find_tree
from lockgate.runner.sandbox.port import InjectedFile, SandboxLimits, SandboxSpec, SandboxUnavailable
from lockgate.runner.sandbox.processes import Traces
from lockgate.runner.sandbox.profile import HostLayout, ProfileDescriptors, bwrap_arguments
from lockgate.runner.sandbox.teardown import proof
from lockgate.runner.sandbox.uids import UidPool, UidRange

HOST = HostLayout((("bin", "usr/bin"),), (), "/base/etc", ())


def v2_group(place):
    for name in ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cgroup.procs"):
        (place / name).write_text("")
    return RunGroup("v2", {"unified": place})


def test_version_2_groups_are_limited_and_read(tmp_path):
    group = v2_group(tmp_path)
    group.apply(SandboxLimits(memory_bytes=1000, processes=7))
    assert (tmp_path / "memory.max").read_text() == "1000"
    assert (tmp_path / "memory.swap.max").read_text() == "0"
    assert (tmp_path / "pids.max").read_text() == "7"
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    assert group.cpu_seconds() == 2.5
    (tmp_path / "memory.events").write_text("low 0\noom 0\noom_kill 0\n")
    assert not group.out_of_memory()
    (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert group.out_of_memory()
    (tmp_path / "cgroup.procs").write_text("12\n34\n")
    assert group.members() == [12, 34]


def test_a_group_that_cannot_be_removed_is_not_called_removed(tmp_path):
    group = v2_group(tmp_path)
    assert group.remove() is False
    assert RunGroup("v2", {"unified": tmp_path / "gone"}).remove() is True


@pytest.mark.parametrize(
    "mount",
    ["", "30 20 0:26 / {place} rw - cgroup2 cgroup2 rw\n", "30 20 0:26 / {place} rw - cgroup memory rw,memory\n"],
)
def test_a_tree_that_does_not_work_is_no_tree(tmp_path, mount):
    # plain directories accept a new one but have no limit files: believing the mount table would promise limits nobody holds
    place = tmp_path / "cgroup"
    place.mkdir()
    (place / "cgroup.controllers").write_text("cpu memory pids")
    (place / "cgroup.subtree_control").write_text("")
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "mountinfo").write_text(mount.format(place=place))
    (proc / "cgroup").write_text("4:memory:/\n0::/\n")
    assert find_tree("probe", proc) is None
    assert not (place / "probe").exists()


def test_uids_are_unique_on_the_host_and_free_when_their_holder_dies(tmp_path):
    uids = UidRange(1_000_000, 4)
    pool, other = UidPool(uids, tmp_path / "locks"), UidPool(uids, tmp_path / "locks")
    first, second = pool.take(), other.take()
    assert len({first.run, first.warden, second.run, second.warden}) == 4
    with pytest.raises(SandboxUnavailable, match="in use"):
        pool.take()
    assert not other.claim(first.run)
    pool.release(first.run)
    pool.release(first.run)
    assert other.take() == first
    other.release(second.run)
    holder = (
        f"import fcntl; file = open({str(tmp_path / 'locks' / str(second.run))!r}); fcntl.flock(file, fcntl.LOCK_EX)"
    )
    subprocess.run([sys.executable, "-c", holder], check=True)
    assert pool.claim(second.run)


def test_a_uid_range_outside_this_user_namespace_is_refused():
    UidRange(700_000, 4096).check("         0          0 4294967295\n")
    with pytest.raises(SandboxUnavailable, match="uid_base"):
        UidRange(700_000, 4096).check("         0     100000      65536\n")


def test_no_argument_names_a_secret_and_the_last_mounts_are_read_only():
    spec = SandboxSpec("ab" * 16, "plan", ("/usr/bin/true",), files=(InjectedFile("/run/credentials/x", b"hush"),))
    arguments = bwrap_arguments(spec, HOST, ProfileDescriptors(7, 8, 9, (10,)))
    assert "hush" not in " ".join(arguments) + repr(spec)
    mounts = [
        word for word in arguments if word.endswith("bind") or word in ("--tmpfs", "--remount-ro", "--ro-bind-data")
    ]
    assert mounts[-2:] == ["--remount-ro", "--remount-ro"]
    sizes = [arguments[at - 2] for at, word in enumerate(arguments) if word == "--tmpfs"]
    assert sizes and set(sizes) == {"--size"}
    for needed in (
        "--unshare-all",
        "--unshare-user",
        "--disable-userns",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
    ):
        assert needed in arguments


def test_a_proof_of_zero_checks_proves_nothing():
    assert proof("ab" * 16, {}, 0, 1).torn_down is False
    assert proof("ab" * 16, {"processes": True, "directory": False}, 0, 1).reason == "still there: directory"
    assert proof("ab" * 16, {"processes": True}, 0, 1).torn_down is True


def test_a_second_launcher_on_the_same_directory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(basedir, "_LOCK_SECONDS", 0.05)
    held = basedir.lock_base(tmp_path)
    with pytest.raises(SandboxUnavailable, match="another runner"):
        basedir.lock_base(tmp_path)
    os.close(held)
    os.close(basedir.lock_base(tmp_path))


def test_a_base_that_others_write_or_sandboxes_cannot_reach_is_refused(tmp_path):
    place = tmp_path / "base"
    place.mkdir()
    place.chmod(0o777)
    with pytest.raises(SandboxUnavailable, match="written by others"):
        basedir.check_base(place, False)
    place.chmod(0o700)
    with pytest.raises(SandboxUnavailable, match=r"chmod o\+x"):
        basedir.check_base(place, True)
    basedir.check_base(place, False)


@pytest.mark.parametrize(
    ("switch", "value", "fix"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "AppArmor profile"),
        ("kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "max_user_namespaces="),
        ("kernel/other", "0", "--security-opt"),
    ],
)
def test_the_fix_names_the_switch_that_is_off(tmp_path, switch, value, fix):
    (tmp_path / switch).parent.mkdir(parents=True)
    (tmp_path / switch).write_text(value + "\n")
    assert fix in user_namespace_fix(tmp_path)


def test_a_process_whose_first_thread_has_ended_is_no_zombie_while_others_run():
    """Its state says Z, and its own link to its namespaces is gone: a look that believed that would miss it."""
    program = (
        "import ctypes, os, threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.01), print('up', flush=True), time.sleep(600))).start()\n"
        "ctypes.CDLL(None).syscall(60 if os.uname().machine == 'x86_64' else 93, 0)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == b"up\n"
            while b"State:\tZ" not in Path(f"/proc/{child.pid}/status").read_bytes():
                pass
            assert child.pid in processes.find(Traces(session=child.pid))
            assert child.pid in processes.find(Traces(pid_namespace=Path("/proc/self/ns/pid").stat().st_ino))
        finally:
            child.kill()
    assert child.pid not in processes.find(Traces(session=child.pid))
