"""The launcher: the small process that does what needs root, and nothing else (TRUST §3).

Started fresh by the runner, it takes orders on one socket (start, destroy, reap), holds no keys and parses no job's bytes. When the
runner dies the socket ends, and it destroys everything it made; when it dies itself, the kernel kills its sandboxes and wardens.
"""

from __future__ import annotations

import hashlib
import os
import platform
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lockgate.runner.sandbox import linux
from lockgate.runner.sandbox.basedir import check_base, lock_base
from lockgate.runner.sandbox.cgroups import RunGroup, find_tree
from lockgate.runner.sandbox.control import ControlReader, proof_to_message, spec_from_message
from lockgate.runner.sandbox.hostlayout import host_layout
from lockgate.runner.sandbox.live import LiveSandbox, Place
from lockgate.runner.sandbox.port import SandboxUnavailable, SpecRefused, TeardownProof
from lockgate.runner.sandbox.processes import Traces
from lockgate.runner.sandbox.profile import check_groups, check_id, check_spec
from lockgate.runner.sandbox.rundir import RunDirectory, boot_id
from lockgate.runner.sandbox.spawn import limits_in_force
from lockgate.runner.sandbox.standby import Bench
from lockgate.runner.sandbox.teardown import ChildProcess, Remains, proof
from lockgate.runner.sandbox.uids import UidPool, UidRange
from lockgate.wire.frames import FrameError, encode

PROOF_SECONDS: Final = 5.0
_WATCH_SECONDS: Final = 0.25
_RETRY_SECONDS: Final = 0.001
_MAX_RETRY_SECONDS: Final = 0.05


@dataclass
class _Teardown:
    """One sandbox on its way out, and who waits to hear."""

    remains: Remains
    began_ms: int
    waiting: list[int]
    retry: float = _RETRY_SECONDS
    next_try: float = 0.0


@dataclass
class _Reap:
    """A reap that answers when all its teardowns have."""

    left: set[str]
    proofs: list[TeardownProof]


class Launcher:
    """The event loop around live sandboxes and teardowns; single-threaded, so that forking is safe."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._reader = ControlReader(control)
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._live: dict[str, LiveSandbox] = {}
        self._teardowns: dict[str, _Teardown] = {}
        self._reaps: dict[int, _Reap] = {}
        self._place: Place | None = None
        self._pool: UidPool | None = None
        self._stopping = False

    def run(self) -> None:
        """Serve until the runner hangs up and everything is gone (or proved stuck)."""
        while not self._stopping or self._live or self._teardowns:
            for key, _ in self._selector.select(self._timeout()):
                if key.fileobj is self._control:
                    self._hear()
                elif isinstance(key.data, LiveSandbox):
                    self._hear_sandbox(key.data, key.fd)
            self._watch()
            self._advance_teardowns()
            self._renew()

    def _renew(self) -> None:
        """A new standby, once nobody waits for a start."""
        starting = any(sandbox.start_seq is not None for sandbox in self._live.values())
        if self._place is not None and not self._stopping and not starting:
            self._place.bench.renew()

    def _timeout(self) -> float | None:
        waits = [teardown.next_try - time.monotonic() for teardown in self._teardowns.values()]
        if self._live:
            first = min(sandbox.deadline_ms for sandbox in self._live.values())
            waits.append((first - linux.boottime_ms()) / 1000)
            waits.append(_WATCH_SECONDS)
        return max(0.0, min(waits)) if waits else None

    def _hear(self) -> None:
        try:
            alive = self._reader.read()
            while (message := self._reader.take()) is not None:
                self._obey(message)
        except (ConnectionError, FrameError):
            alive = False
        if not alive:
            self.stop()

    def stop(self) -> None:
        """Take no more orders; destroy everything."""
        if self._stopping:
            return
        self._stopping = True
        if self._place is not None:
            self._place.bench.close()
        self._selector.unregister(self._control)
        for sandbox_id in list(self._live):
            self._begin_teardown(sandbox_id, None)

    def _obey(self, message: dict[str, Any]) -> None:
        seq = int(message["seq"])
        orders = {"configure": self._configure, "start": self._start, "destroy": self._destroy, "reap": self._reap}
        try:
            answer = orders[message["op"]](seq, message)
        except SpecRefused as refused:
            answer = {"refused": str(refused)}
        except SandboxUnavailable as unavailable:
            answer = {"unavailable": unavailable.reason, "fix": unavailable.fix}
        except OSError as error:
            answer = {"unavailable": str(error), "fix": ""}
        if answer is not None:
            self._say({"seq": seq} | answer)

    def _say(self, message: dict[str, Any]) -> None:
        try:
            self._control.sendall(encode(message))
        except OSError:
            self.stop()

    def _configure(self, _: int, message: dict[str, Any]) -> dict[str, Any]:
        base = Path(message["base"])
        root = os.geteuid() == 0
        check_base(base, root)
        self._lock = lock_base(base)
        tag = hashlib.sha256(str(base).encode()).hexdigest()[:8]
        if root:
            uids = UidRange(message["uid_base"], message["uid_count"])
            uids.check(Path("/proc/self/uid_map").read_text())
            self._pool = UidPool(uids, Path(message["uid_locks"]))
        tree = find_tree(f"lockgate-{tag}-probe{os.getpid()}") if message["cgroups"] else None
        self._place = Place(
            bwrap=message["bwrap"],
            machine=platform.machine(),
            host=host_layout(base),
            runs=RunDirectory(base),
            boot=boot_id(),
            tag=tag,
            tree=tree,
            bench=Bench(tree, f"lockgate-{tag}-"),
        )
        group = RunGroup(tree.version, dict(tree.parents)) if tree is not None else None
        limits = limits_in_force(group, own_uid=root, has_prlimit=self._place.has_prlimit())
        return {"ok": {"uid_shared": not root, "limits": limits}}

    def _start(self, seq: int, message: dict[str, Any]) -> dict[str, Any] | None:
        place = self._configured()
        spec = spec_from_message(message["spec"])
        count = 1 + len(spec.files) + (spec.egress is not None)
        descriptors = [self._reader.descriptors.popleft() for _ in range(count)]
        try:
            check_spec(spec)
            check_groups(spec, can_give=self._pool is not None)
            if spec.id in self._live or spec.id in self._teardowns or place.runs.path(spec.id).exists():
                raise SpecRefused(f"id {spec.id}: a sandbox of this id exists or left something; destroy it first")
            uids = self._pool.take() if self._pool is not None else None
            sandbox = LiveSandbox(spec, place, uids, seq)
            self._live[spec.id] = sandbox
            try:
                sandbox.launch(place.bench.take(), descriptors[0], descriptors[1:])
            except OSError as error:
                sandbox.error = str(error)
                self._begin_teardown(spec.id, None)
                return None
            self._register(sandbox)
            return None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _register(self, sandbox: LiveSandbox) -> None:
        for descriptor in (sandbox.status_fd, *(child.pidfd for child in sandbox.remains.children)):
            self._selector.register(descriptor, selectors.EVENT_READ, sandbox)

    def _destroy(self, seq: int, message: dict[str, Any]) -> None:
        sandbox_id = str(message["id"])
        check_id(sandbox_id)
        self._configured()
        self._begin_teardown(sandbox_id, seq)

    def _reap(self, seq: int, message: dict[str, Any]) -> dict[str, Any] | None:
        place = self._configured()
        known = set(place.runs.ids()) | set(self._live) | set(self._teardowns)
        left = (known | self._grouped(place, known)) - set(message["keep"])
        if not left:
            return {"ok": []}
        self._reaps[seq] = _Reap(set(left), [])
        for sandbox_id in sorted(left):
            self._begin_teardown(sandbox_id, None)
        return None

    def _grouped(self, place: Place, known: set[str]) -> set[str]:
        """Groups that belong to no sandbox of `known` and to no standby: all that a dead launcher left of a standby."""
        named = [place.runs.read(sandbox_id) for sandbox_id in known]
        taken = {Path(path).name for marker in named if marker is not None for path in marker.cgroups.values()}
        taken |= place.bench.group_names
        prefix = place.group_name("")
        parents = place.tree.parents if place.tree is not None else ()
        names = {entry.name for _, parent in parents for entry in parent.iterdir() if entry.name.startswith(prefix)}
        return {name.removeprefix(prefix) for name in names - taken}

    def _configured(self) -> Place:
        if self._place is None:
            raise SandboxUnavailable("the launcher was not configured", "start the provider anew")
        return self._place

    def _hear_sandbox(self, sandbox: LiveSandbox, descriptor: int) -> None:
        if descriptor == sandbox.status_fd:
            self._hear_status(sandbox)
            return
        self._selector.unregister(descriptor)
        if sandbox.bwrap is not None and descriptor == sandbox.bwrap.pidfd:
            self._bwrap_ended(sandbox, sandbox.bwrap)
            return
        if sandbox.warden is not None and descriptor == sandbox.warden.pidfd:
            sandbox.warden.poll()
            # Exit 0 says the sandbox closed its output: its end is about to be seen here too, with a cause of its own.
            if sandbox.warden.status != 0 and sandbox.bwrap is not None and sandbox.bwrap.status is None:
                sandbox.end("channel")
        self._give_up(sandbox)

    def _hear_status(self, sandbox: LiveSandbox) -> None:
        descriptor = sandbox.status_fd
        said = sandbox.read_status()
        if sandbox.status_fd != descriptor:
            self._selector.unregister(descriptor)
        if said is not None and sandbox.start_seq is not None:
            self._answer_start(sandbox, started="child-pid" in said)

    def _bwrap_ended(self, sandbox: LiveSandbox, bwrap: ChildProcess) -> None:
        if sandbox.status_fd >= 0:
            self._hear_status(sandbox)
        sandbox.kill_half_made()
        bwrap.poll()
        self._tell_exit(sandbox)
        self._give_up(sandbox)

    def _answer_start(self, sandbox: LiveSandbox, *, started: bool) -> None:
        seq, sandbox.start_seq = sandbox.start_seq, None
        if started:
            self._say({"seq": seq, "ok": {"limits": sandbox.limits_in_force(), "uid_shared": self._pool is None}})
            return
        sandbox.start_seq, sandbox.failed = seq, True
        sandbox.end_egress()
        self._give_up(sandbox)

    def _give_up(self, sandbox: LiveSandbox) -> None:
        """A failed start is torn down once its warden has passed on why: bubblewrap's complaint is in its output."""
        if sandbox.failed and sandbox.spec.id in self._live and not sandbox.remains.running():
            self._begin_teardown(sandbox.spec.id, None)

    def _tell_exit(self, sandbox: LiveSandbox) -> None:
        if (
            not sandbox.told
            and sandbox.start_seq is None
            and sandbox.bwrap is not None
            and sandbox.bwrap.status is not None
        ):
            sandbox.told = True
            self._say(sandbox.exit_event())

    def _watch(self) -> None:
        now = linux.boottime_ms()
        for sandbox in self._live.values():
            if sandbox.bwrap is not None and sandbox.bwrap.status is None:
                cause = sandbox.overrun(now)
                if cause is not None:
                    sandbox.end(cause)
            elif now >= sandbox.deadline_ms:
                # it has ended and waits for its destroy; nothing is left to watch
                sandbox.deadline_ms = now + 3_600_000

    def _begin_teardown(self, sandbox_id: str, seq: int | None) -> None:
        teardown = self._teardowns.get(sandbox_id)
        if teardown is None:
            sandbox = self._live.get(sandbox_id)
            remains = sandbox.remains if sandbox is not None else self._leftover(sandbox_id)
            if sandbox is not None:
                sandbox.end("destroyed")
            else:
                remains.kill()
            teardown = self._teardowns[sandbox_id] = _Teardown(remains, linux.boottime_ms(), [])
        if seq is not None:
            teardown.waiting.append(seq)

    def _leftover(self, sandbox_id: str) -> Remains:
        """What a dead launcher (or nobody) left under this id."""
        place = self._configured()
        remains = Remains(sandbox_id)
        if place.tree is not None:
            paths = {name: parent / place.group_name(sandbox_id) for name, parent in place.tree.parents}
            remains.group = RunGroup(place.tree.version, paths)
        marker = place.runs.read(sandbox_id)
        if marker is None or marker.boot != place.boot:
            return remains
        if marker.cgroup_version:
            remains.group = RunGroup(marker.cgroup_version, {name: Path(path) for name, path in marker.cgroups.items()})
        remains.traces = Traces(init=(marker.init_pid, marker.init_started))
        if self._pool is not None and marker.uid is not None and self._pool.claim(marker.uid):
            remains.uid = marker.uid
            remains.traces = Traces(uids=(marker.uid, marker.uid + 1), init=remains.traces.init)
        return remains

    def _advance_teardowns(self) -> None:
        for sandbox_id, teardown in list(self._teardowns.items()):
            if time.monotonic() < teardown.next_try and teardown.remains.running():
                continue
            now = linux.boottime_ms()
            remains = teardown.remains
            overdue = now - teardown.began_ms > PROOF_SECONDS * 1000
            checks = (
                {"processes": False} if remains.running() and not overdue else remains.check(self._configured().runs)
            )
            if all(checks.values()) or overdue:
                self._finish(sandbox_id, teardown, proof(sandbox_id, checks, teardown.began_ms, now))
                continue
            remains.kill()
            teardown.next_try = time.monotonic() + teardown.retry
            teardown.retry = min(teardown.retry * 2, _MAX_RETRY_SECONDS)

    def _finish(self, sandbox_id: str, teardown: _Teardown, shown: TeardownProof) -> None:
        del self._teardowns[sandbox_id]
        sandbox = self._live.get(sandbox_id)
        if shown.torn_down:
            self._live.pop(sandbox_id, None)
            self._forget(sandbox)
            if self._pool is not None and teardown.remains.uid is not None:
                self._pool.release(teardown.remains.uid)
            teardown.remains.release()
        elif self._stopping:
            self._live.pop(sandbox_id, None)
        if sandbox is not None and sandbox.start_seq is not None:
            self._say({"seq": sandbox.start_seq} | sandbox.why_not_started())
            sandbox.start_seq = None
        for seq in teardown.waiting:
            self._say({"seq": seq, "ok": proof_to_message(shown)})
        self._tell_reaps(sandbox_id, shown)

    def _tell_reaps(self, sandbox_id: str, shown: TeardownProof) -> None:
        for seq, reap in list(self._reaps.items()):
            if sandbox_id in reap.left:
                reap.left.discard(sandbox_id)
                reap.proofs.append(shown)
            if not reap.left:
                del self._reaps[seq]
                self._say({"seq": seq, "ok": [proof_to_message(each) for each in reap.proofs]})

    def _forget(self, sandbox: LiveSandbox | None) -> None:
        """Drop what is still watched of a sandbox that is gone."""
        if sandbox is None:
            return
        watched = [child.pidfd for child in sandbox.remains.children]
        for descriptor in (*watched, sandbox.status_fd):
            if descriptor >= 0 and descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
        if sandbox.status_fd >= 0:
            os.close(sandbox.status_fd)
            sandbox.status_fd = -1
        self._tell_exit(sandbox)


def main(arguments: list[str]) -> int:
    """``launcher FD``: serve the control socket FD."""
    os.umask(0o022)
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    launcher = Launcher(control)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner decides; when it is gone the socket says so
    signal.signal(signal.SIGTERM, lambda *_: control.shutdown(socket.SHUT_RD))
    launcher.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
