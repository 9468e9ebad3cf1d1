"""The sandbox contract on every provider and in every way it can run here: as root, as an ordinary user, with and without cgroups."""

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.jobroots import PROVIDER_PACKAGES

from lockgate.runner.sandbox.bubblewrap import INSTALL_FIX, BubblewrapSandbox, BubblewrapSettings
from lockgate.runner.sandbox.port import Bind, SandboxSpec, SandboxUnavailable, SpecRefused
from lockgate.runner.sandbox.runtime_root import JobRoot, build_job_root
from lockgate.runner.sandbox.unsafe import UnsafeNoSandbox
from lockgate.testing.sandbox import CHECKS, Bench, converse, host_processes, outcomes

ORDINARY_UID = 64_900
IS_ROOT = os.geteuid() == 0
LIMIT_CHECKS = ("a_fork_bomb_stays_within_its_cap", "memory_beyond_the_cap_ends_it", "endless_computing_ends",
                "empty_files_are_counted_too", "what_resists_its_end_is_gone")  # fmt: skip
# mode: (runs as an ordinary user, may use control groups, the checks to run)
MODES = {
    "root": (False, True, tuple(CHECKS)),
    "root without control groups": (False, False, LIMIT_CHECKS),
    "ordinary user": (True, True, tuple(CHECKS)),
    "ordinary user without control groups": (True, False, LIMIT_CHECKS),
}
CASES = [(mode, name) for mode, (ordinary, _, names) in MODES.items() if ordinary or IS_ROOT for name in names]
CHANNEL_CHECKS = (
    "a_flood_of_output_fills_nothing",
    "a_silent_job_ends_at_the_wall",
    "every_fault_on_the_channel_ends_the_run",
    "nothing_may_follow_the_result",
    "a_large_result_arrives_whole",
    "go_belongs_to_apply_alone",
    "nothing_outlives_the_run",
    "destroy_may_be_called_at_any_time",
    "reap_spares_what_is_kept",
)

SUITE = """
import asyncio, json, sys
from pathlib import Path
sys.path.append(sys.argv[1])
from lockgate.runner.sandbox.bubblewrap import BubblewrapSandbox, BubblewrapSettings
from lockgate.runner.sandbox.runtime_root import JobRoot
from lockgate.testing.sandbox import Bench, outcomes
async def main(root, base, cgroups, names):
    provider = BubblewrapSandbox(BubblewrapSettings(Path(base), cgroups=cgroups))
    capabilities = await provider.probe()
    found = await outcomes(Bench(provider, JobRoot(Path(root), "", {}), Path(base)), names)
    await provider.close()
    left = [str(path) for path in (Path(base) / "runs").iterdir()]
    return {"found": found, "limits": dict(capabilities.limits), "uid_shared": capabilities.uid_shared, "left": left}
print(json.dumps(asyncio.run(main(*json.loads(sys.argv[2])))))
"""

CRASHING = """
import asyncio, sys
from pathlib import Path
sys.path.append(sys.argv[1])
from lockgate.runner.egress.rules import EgressRules
from lockgate.runner.sandbox.bubblewrap import BubblewrapSandbox, BubblewrapSettings
from lockgate.runner.sandbox.port import SandboxSpec
async def main(base, canary):
    provider = BubblewrapSandbox(BubblewrapSettings(Path(base)))
    rules = EgressRules(("localhost:1",), (), ("127.0.0.1",))
    argv = ("/bin/sh", "-c", "setsid sleep 600 & sleep 600 # " + canary)
    await provider.start(SandboxSpec("ab" * 16, "plan", argv, egress=rules))
    print("started", provider._client._process.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main(*sys.argv[2:]))
"""


@contextlib.contextmanager
def reachable_directory():
    """Unlike pytest's own, a directory that the sandboxes' uids can reach."""
    place = Path(tempfile.mkdtemp(prefix="lockgate-test-"))
    place.chmod(0o711)
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def job_root():
    with reachable_directory() as place:
        yield build_job_root(place, packages=PROVIDER_PACKAGES)


@pytest.fixture
def base():
    with reachable_directory() as place:
        yield place


@pytest.fixture
async def provider(base):
    made = BubblewrapSandbox(BubblewrapSettings(base))
    yield made
    await made.close()


def command(job_root: JobRoot, program: str, *arguments: str, ordinary: bool = False) -> list[str]:
    """The job root's interpreter, which every uid can read, with the code of this work tree."""
    drop = (
        ["setpriv", f"--reuid={ORDINARY_UID}", f"--regid={ORDINARY_UID}", "--clear-groups"]
        if ordinary and IS_ROOT
        else []
    )
    python = [str(job_root.path / "python/bin/python3"), "-I", "-S", "-B", "-c", program, str(job_root.path / "lib")]
    return [*drop, *python, *arguments]


def environment(job_root: JobRoot) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(job_root.path / "python/lib")}


@pytest.fixture(scope="module")
def suite(job_root):
    """The outcomes of each mode's suite, run once, in a process of its own."""
    done: dict[str, dict] = {}

    def run(mode: str) -> dict:
        if mode not in done:
            ordinary, cgroups, names = MODES[mode]
            with reachable_directory() as place:
                if ordinary and IS_ROOT:
                    os.chown(place, ORDINARY_UID, ORDINARY_UID)
                given = json.dumps([str(job_root.path), str(place), cgroups, names])
                ran = subprocess.run(
                    command(job_root, SUITE, given, ordinary=ordinary),
                    env=environment(job_root),
                    stdout=subprocess.PIPE,
                    cwd="/",
                    check=True,
                )
                done[mode] = json.loads(ran.stdout)
        return done[mode]

    return run


@pytest.mark.parametrize(("mode", "name"), CASES)
def test_sandbox_withstands(suite, mode, name):
    assert suite(mode)["found"][name] == ""


@pytest.mark.parametrize("mode", sorted({mode for mode, _ in CASES}))
def test_a_closed_provider_leaves_nothing_and_said_what_held(suite, mode):
    ran = suite(mode)
    assert ran["left"] == []
    assert ran["uid_shared"] is (mode.startswith("ordinary") or not IS_ROOT)
    assert "none" not in ran["limits"].values()
    if "without" in mode:
        assert not any("cgroup" in how for how in ran["limits"].values())


async def test_the_unsafe_provider_keeps_the_channel_and_says_it_isolates_nothing(base, job_root):
    made = UnsafeNoSandbox(base, i_accept_no_isolation=True)
    assert (await made.probe()).isolated is False
    found = await outcomes(Bench(made, job_root, base), CHANNEL_CHECKS)
    await made.close()
    assert {name: failure for name, failure in found.items() if failure} == {}


async def test_the_unsafe_provider_is_never_made_by_accident(base):
    with pytest.raises(SandboxUnavailable, match="not asked for"):
        UnsafeNoSandbox(base, i_accept_no_isolation=False)


async def test_without_bubblewrap_the_fix_is_one_line(base):
    made = BubblewrapSandbox(BubblewrapSettings(base, bwrap="bwrap-that-is-not-installed"))
    with pytest.raises(SandboxUnavailable) as refused:
        await made.probe()
    assert refused.value.fix == INSTALL_FIX
    assert "\n" not in str(refused.value)


async def test_a_bubblewrap_that_cannot_is_explained_and_leaves_nothing(base, tmp_path):
    broken = base / "bwrap"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && { echo bubblewrap 0.9.0; exit; }\n'
        "echo 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n"
    )
    broken.chmod(0o755)
    place = base / "place"
    made = BubblewrapSandbox(BubblewrapSettings(place, bwrap=str(broken)))
    with pytest.raises(SandboxUnavailable, match="setting up uid map") as refused:
        await made.probe()
    await made.close()
    assert "user" in refused.value.fix
    assert list((place / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": "../../etc"}, "id"),
        ({"argv": ("true",)}, "argv"),
        ({"argv": ("/usr/bin/true", "a\0b")}, "argv"),
        ({"env": {"A=B": "c"}}, "env"),
        ({"binds": (Bind(Path("/usr"), "/etc/passwd"),)}, "binds.target"),
        ({"binds": (Bind(Path("/usr"), "/work/../x"),)}, "binds.target"),
        ({"binds": (Bind(Path("usr"), "/work/x"),)}, "binds.source"),
        ({"binds": (Bind(Path("/there-is-no-such-path"), "/work/x"),)}, "binds.source"),
        ({"binds": (Bind(Path("/usr"), "/work/x", gid=0),)}, "binds.gid"),
    ],
)
async def test_a_specification_that_cannot_be_meant_is_refused_by_field(provider, base, changes, field):
    given = {"id": secrets.token_hex(16), "stage": "plan", "argv": ("/usr/bin/true",)} | changes
    with pytest.raises(SpecRefused, match=field.replace(".", r"\.")):
        await provider.start(SandboxSpec(**given))
    assert await provider.reap([]) == []


async def test_an_id_is_used_once(provider):
    spec = SandboxSpec("cd" * 16, "plan", ("/bin/sleep", "600"))
    await provider.start(spec)
    with pytest.raises(SpecRefused, match="id"):
        await provider.start(spec)
    assert (await provider.destroy(spec.id)).torn_down


@contextlib.contextmanager
def stuck(base: Path, sandbox_id: str):
    """Make the run directory impossible to remove, by the means this user has."""
    directory = base / "runs" / sandbox_id
    if IS_ROOT:
        # the launcher's mount namespace is ours, so it finds the mount
        subprocess.run(["mount", "-t", "tmpfs", "stuck", directory], check=True)
    else:
        directory.parent.chmod(0o500)
    try:
        yield
    finally:
        if IS_ROOT:
            subprocess.run(["umount", directory], check=True)
        else:
            directory.parent.chmod(0o700)


async def test_a_proof_is_false_while_something_is_left_and_true_after(provider, base):
    run = await provider.start(SandboxSpec(secrets.token_hex(16), "plan", ("/bin/sleep", "600")))
    with stuck(base, run.id):
        shown = await provider.destroy(run.id)
    assert shown.torn_down is False
    assert shown.checks["directory"] is False and shown.checks["processes"] is True
    assert "directory" in shown.reason
    again = await provider.destroy(run.id)
    assert again.torn_down is True and all(again.checks.values())


async def test_a_directory_nobody_knows_is_reaped(provider, base):
    await provider.open()
    left = base / "runs" / ("ef" * 16)
    left.mkdir()
    (left / "marker.json").write_text("{not json")
    proofs = await provider.reap([])
    assert [(shown.sandbox_id, shown.torn_down) for shown in proofs] == [("ef" * 16, True)]
    assert not left.exists()


async def gone(canary: str, runs: Path) -> None:
    """Wait until no process and no run directory is left; the test's own time limit is the bound."""
    while host_processes(canary) or any(runs.iterdir()):  # noqa: ASYNC110 - nothing tells of a stranger's end
        await asyncio.sleep(0.02)


async def crashing_runner(job_root: JobRoot, base: Path, canary: str) -> tuple[asyncio.subprocess.Process, int]:
    """A runner with a live sandbox, and its launcher's pid."""
    runner = await asyncio.create_subprocess_exec(
        *command(job_root, CRASHING, str(base), canary), env=environment(job_root), stdout=asyncio.subprocess.PIPE
    )
    assert runner.stdout is not None
    said = await runner.stdout.readline()
    return runner, int(said.split()[1])


async def test_a_runner_that_is_killed_leaves_nothing(job_root, base):
    canary = secrets.token_hex(16)
    runner, _ = await crashing_runner(job_root, base, canary)
    runner.kill()
    await runner.wait()
    await asyncio.wait_for(gone(canary, base / "runs"), 120)


async def test_what_a_killed_launcher_leaves_dies_and_is_reaped(job_root, base):
    canary = secrets.token_hex(16)
    runner, launcher = await crashing_runner(job_root, base, canary)
    served = children_of(launcher)
    assert len(served) >= 3  # sandbox, warden, proxy
    os.kill(launcher, signal.SIGKILL)
    runner.kill()
    await runner.wait()
    later = BubblewrapSandbox(BubblewrapSettings(base))
    proofs = {shown.sandbox_id: shown for shown in await later.reap([])}
    await later.close()
    assert all(shown.torn_down for shown in proofs.values())
    left = proofs.pop("ab" * 16)
    assert left.checks["cgroup"] and left.checks["processes"] and left.checks["egress"]
    assert list((base / "egress").iterdir()) == []
    while any(Path(f"/proc/{pid}").exists() for pid in served):  # noqa: ASYNC110 - nothing tells of a stranger's end
        await asyncio.sleep(0.02)
    assert len(proofs) <= 1  # the groups of what stood by for the next sandbox
    await asyncio.wait_for(gone(canary, base / "runs"), 120)


async def test_a_launcher_that_dies_ends_its_runs_and_is_started_anew(provider, job_root, base):
    bench = Bench(provider, job_root, base)
    run = await provider.start(bench.spec("begin()\nimport time\ntime.sleep(600)\n"))
    os.kill(provider._client._process.pid, signal.SIGKILL)
    assert (await run.wait()).cause == "lost"
    assert (await provider.destroy(run.id)).torn_down
    assert (await bench.ask("begin()\nresult(x=1)\n"))["x"] == 1


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_what_reads_a_job_is_no_root_has_a_filter_and_holds_nothing(provider, job_root, base):
    bench = Bench(provider, job_root, base)
    program = "begin()\nresult(x=1)\nchannel.recv(1)\n"
    async with bench.running(program) as one, bench.running(program) as two:
        for run in (one, two):
            await run.channel.receive()
        launcher = provider._client._process.pid
        seen = {pid: status_of(pid) for pid in children_of(launcher)}
        # besides: a child that stands by for the next sandbox, and holds nothing yet
        seen = {pid: status for pid, status in seen.items() if status["Seccomp"] == "2" or status["Name"] == "bwrap"}
        wardens = {pid: status for pid, status in seen.items() if status["Name"].startswith("python")}
        assert len(wardens) == 2 and len(seen) == 4
        for pid, status in wardens.items():
            assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
            assert set(status["CapEff"]) == {"0"}
            if IS_ROOT:  # only root may look into an undumpable process
                assert len(list(Path(f"/proc/{pid}/fd").iterdir())) == 6
        uids = [status["Uid"].split()[0] for status in seen.values()]
        if IS_ROOT:
            assert len(set(uids)) == 4 and "0" not in uids
        for run in (one, two):
            await run.channel.send({"type": "inputs"})
            await run.channel.receive()


async def test_limits_that_held_are_told_for_the_receipt(provider, job_root, base):
    run = await provider.start(Bench(provider, job_root, base).spec("begin()\nresult(x=1)\n"))
    assert (await converse(run, {}))["x"] == 1
    assert {"memory", "processes", "cpu", "files", "disk", "inodes", "wall", "output"} == set(run.limits_in_force)
    assert run.uid_shared is not IS_ROOT
    assert (await provider.destroy(run.id)).torn_down


def test_the_same_root_is_built_once_and_by_two_at_once(base):
    program = (
        "import sys; from pathlib import Path; from lockgate.runner.sandbox.runtime_root import build_job_root; "
        "print(build_job_root(Path(sys.argv[1])).path)"
    )
    builders = [
        subprocess.Popen([sys.executable, "-c", program, base], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    paths = {builder.communicate()[0].strip() for builder in builders}
    assert len(paths) == 1
    assert [entry.name for entry in (base / "roots").iterdir()] == [Path(paths.pop()).name]


def test_a_job_root_holds_no_more_than_it_must_and_nobody_else_can_write_it(job_root):
    names = {entry.name for entry in (job_root.path / "lib").iterdir()}
    assert "pydantic" not in names and "mcp" not in names
    assert not (job_root.path / "lib/lockgate/gateway").exists()
    for directory, _, files in os.walk(job_root.path):
        modes = [Path(directory, name).stat().st_mode for name in files] + [Path(directory).stat().st_mode]
        assert all(mode & 0o022 == 0 and mode & 0o004 for mode in modes)
