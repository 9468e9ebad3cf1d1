"""A process of its own that forks the three guardians of each stage's channel: porter, warden, egress proxy; it holds no key and reads no pod's bytes.

It is started fresh, with the standard library and this package only, and loads once what all of them are made of: a fork takes two milliseconds, a
fresh interpreter with TLS two hundred. Secrets of a stage pass through it as sealed memory files that it does not open.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lockgate.runner.egress.process import become_proxy
from lockgate.runner.egress.rules import EgressRules
from lockgate.runner.sandbox.control import ControlReader, rules_from_message
from lockgate.runner.sandbox.network.link import Patience
from lockgate.runner.sandbox.network.porter import Doors, Terms, become_porter
from lockgate.runner.sandbox.port import SandboxUnavailable
from lockgate.runner.sandbox.teardown import ChildProcess
from lockgate.runner.sandbox.uids import UidPool, UidRange
from lockgate.runner.sandbox.warden import become_warden
from lockgate.wire.frames import FrameError, encode

STAGE_DESCRIPTORS: Final = 5
"""The warden's link, the porter's link, its secrets, the channel's listener and the canary's; with egress also the egress listener and its notes."""


@dataclass
class _Brood:
    """The processes of one stage."""

    uid: int | None
    children: dict[str, ChildProcess] = field(default_factory=dict)


class Nursery:
    """Takes orders on its control socket until the runner hangs up, then ends every child."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._reader = ControlReader(control)
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._broods: dict[str, _Brood] = {}
        self._pool: UidPool | None = None

    def run(self) -> None:
        """Serve until the runner hangs up."""
        alive = True
        while alive:
            for key, _ in self._selector.select():
                if key.fileobj is self._control:
                    alive = self._hear()
                else:
                    self._ended(*key.data)
        for brood_id in list(self._broods):
            self._end(brood_id)

    def _hear(self) -> bool:
        try:
            alive = self._reader.read()
            while (message := self._reader.take()) is not None:
                self._obey(message)
        except (OSError, FrameError):
            return False
        return alive

    def _obey(self, message: dict[str, Any]) -> None:
        answer: dict[str, Any]
        try:
            if message["op"] == "configure":
                self._configure(message)
            elif message["op"] == "open":
                self._open(message)
            else:
                self._end(str(message["id"]))
            answer = {"ok": {}}
        except SandboxUnavailable as unavailable:
            answer = {"unavailable": unavailable.reason, "fix": unavailable.fix}
        except OSError as error:
            answer = {"unavailable": str(error), "fix": "see the message"}
        self._say({"seq": message["seq"]} | answer)

    def _say(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the runner is gone: the next read says so
            self._control.sendall(encode(message))

    def _configure(self, message: dict[str, Any]) -> None:
        if os.geteuid() == 0:
            uids = UidRange(message["uid_base"], message["uid_count"])
            uids.check(Path("/proc/self/uid_map").read_text())
            self._pool = UidPool(uids, Path(message["uid_locks"]))

    def _open(self, message: dict[str, Any]) -> None:
        egress = message["egress"]
        count = STAGE_DESCRIPTORS + (2 if egress is not None else 0)
        given = [self._reader.descriptors.popleft() for _ in range(count)]
        try:
            pair = self._pool.take() if self._pool is not None else None
            brood = self._broods[message["id"]] = _Brood(pair.run if pair is not None else None)
            self._fork_all(message, brood, given, pair.warden if pair is not None else None)
        except OSError:
            self._end(message["id"])
            raise
        finally:
            for descriptor in given:
                os.close(descriptor)

    def _fork_all(self, message: dict[str, Any], brood: _Brood, given: list[int], second_uid: int | None) -> None:
        """The warden beside its end of a socket pair to the porter; the proxy behind the porter's egress door."""
        stage, parent = str(message["stage"]), os.getpid()
        warden_link, porter_link, secrets, listener, canary, *more = given
        rules: EgressRules | None = rules_from_message(message["egress"]) if message["egress"] is not None else None
        with contextlib.ExitStack() as ours:
            relayed, warden_side = map(ours.enter_context, socket.socketpair())
            door, proxy_side = map(ours.enter_context, socket.socketpair())
            output, tail = os.pipe()
            ours.callback(os.close, output)
            ours.callback(os.close, tail)
            terms = Terms(message["seconds"], Patience(**message["patience"]))
            doors = Doors(secrets, listener, canary, porter_link, relayed.fileno(), tail)
            if rules is not None:
                doors.egress, doors.proxy = more[0], door.fileno()
            self._fork(
                message["id"],
                "warden",
                lambda: become_warden(
                    stage, warden_side, socket.socket(fileno=warden_link), output, second_uid, parent
                ),
            )
            if rules is not None:
                kept = rules
                self._fork(
                    message["id"],
                    "proxy",
                    lambda: become_proxy(kept, proxy_side, socket.socket(fileno=more[1]), second_uid, parent),
                )
            self._fork(message["id"], "porter", lambda: become_porter(doors, terms, brood.uid, parent))

    def _fork(self, brood_id: str, name: str, become: Callable[[], None]) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                become()
            finally:
                os._exit(70)
        try:
            child = ChildProcess(pid, os.pidfd_open(pid))
        except OSError:
            os.kill(pid, signal.SIGKILL)  # nobody would ever end it
            os.waitpid(pid, 0)
            raise
        self._broods[brood_id].children[name] = child
        self._selector.register(child.pidfd, selectors.EVENT_READ, (brood_id, name))

    def _ended(self, brood_id: str, name: str) -> None:
        """One of them is over; a warden that ended otherwise than well says that the job broke a rule."""
        brood = self._broods.get(brood_id)
        child = brood.children.pop(name, None) if brood is not None else None
        if child is None:  # an order to end it came with the same waking
            return
        self._selector.unregister(child.pidfd)
        child.poll()
        self._say({"event": "ended", "id": brood_id, "who": name, "well": child.status == 0})
        os.close(child.pidfd)

    def _end(self, brood_id: str) -> None:
        brood = self._broods.pop(brood_id, None)
        if brood is None:
            return
        for child in brood.children.values():
            self._selector.unregister(child.pidfd)
            child.kill()
            os.waitpid(child.pid, 0)
            os.close(child.pidfd)
        if self._pool is not None and brood.uid is not None:
            self._pool.release(brood.uid)


def main(arguments: list[str]) -> int:
    """``nursery FD``: serve the control socket FD."""
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner decides; when it is gone the socket says so
    signal.signal(signal.SIGTERM, lambda *_: control.shutdown(socket.SHUT_RD))
    gc.freeze()  # what is loaded now is every child's: no collection may write to it
    Nursery(control).run()
    return 0
