"""A look around before anything is let in: what must not be reached is not, and the kubelet refuses. It must not call silence what it did not ask.

A check counts only when it was made after the channel's own port was seen open: before that, a network that lets nothing through yet would pass as
one that is held. So `Looks` is made then, and everything that has not answered within its time could not be reached, as far as anybody knows then.
"""

from __future__ import annotations

import errno
import select
import socket
import time

from lockgate.contract import podchannel as pod
from lockgate.job.pod import linklocal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

KUBELET_SECONDS = 2.0
SETTLE_SECONDS = 5.0
"""An address that the kernel has not tried out by then never will be, and is looked by as it is."""
WHOLE_SECONDS = 1.5
"""How long an answer along the cable is waited for in a whole look: the node's own end may be tried out as long as ours, and is asked for once a second."""
_PAUSE_SECONDS = 0.02
_MAX_PORT = 65535
_KUBELET_ASKED = b"GET /pods HTTP/1.1\r\nHost: kubelet\r\nConnection: close\r\n\r\n"
_REFUSALS = (b"HTTP/1.1 401 ", b"HTTP/1.1 403 ")
_NO_WAY = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.ETIMEDOUT, errno.EACCES, errno.EPERM})
_NOT_REACHED = _NO_WAY | {errno.ECONNREFUSED, errno.ECONNRESET, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENODEV}
"""Answers that say that no connection came about. Any other (no descriptor left, say) is no look at all, and fails the check."""


class Looks:
    """Every look of one pod, begun when made. `checks` tells how they stand when the time for an answer is over; none is given up then: what answers
    later was reached as well, and `reached` tells of it.

    The look along the pod's own cable begins when the kernel has tried out its address, which takes up to two seconds: before that no process here can
    send by it either. So only a `whole` look waits for it; any other goes on beside the job.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        now = time.monotonic()
        self._until = now + _milliseconds(environment) / 1000
        self._settles = now + SETTLE_SECONDS
        self._whole = environment.get(pod.LOOK_WHOLE_VARIABLE) == "1"
        self._beside = False
        self._found: dict[str, bool] = {}
        self._kubelets: list[str] = []
        self._open: dict[int, tuple[socket.socket, str, str]] = {}
        self._poller = select.poll()
        for name, place in _places(environment):
            self._begin(name, place)
        self._look_beside()

    @property
    def settled(self) -> bool:
        """Whether every look has begun: until then `reached` must be asked again before anything happens."""
        return self._beside

    def numbers(self) -> list[int]:
        """Descriptors of what may still answer; each can be written to then."""
        return list(self._open)

    def checks(self) -> dict[str, bool]:
        """Each check by name, when the time for answers is over. Blocks until then."""
        while self._whole and not self._beside:
            time.sleep(_PAUSE_SECONDS)
            if self._look_beside():
                self._until = max(self._until, time.monotonic() + WHOLE_SECONDS)
        while self._open and (left := self._until - time.monotonic()) > 0:
            self._take(left)
        self._take(0)  # this process may have been out of breath when its time was over
        self._ask_kubelet()
        silent = [name for _, name, _ in self._open.values()] + ([] if self._beside else [pod.LINK_LOCAL])
        found = dict.fromkeys(silent, True) | self._found
        return {name: found.get(name, False) for name in (*pod.CHECKS, *found)}

    def reached(self) -> str:
        """The name of something that could be reached after all, or nothing. Does not wait, but for a kubelet that has just taken a connection."""
        self._look_beside()
        self._take(0)
        self._ask_kubelet()
        return next((name for name, passed in self._found.items() if not passed), "")

    def _take(self, seconds: float) -> None:
        for number, _ in self._poller.poll(seconds * 1000):
            self._poller.unregister(number)
            sock, name, place = self._open.pop(number)
            self._settle(name, place, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            sock.close()

    def _ask_kubelet(self) -> None:
        while self._kubelets:
            refuses = kubelet_refuses(self._kubelets.pop())
            self._found[pod.KUBELET] = refuses and self._found.get(pod.KUBELET, True)

    def _look_beside(self) -> bool:
        """The node's end of this pod's own cable, by IPv6: no address of it need be known to be reached. Whether that began just now."""
        if self._beside or (linklocal.tried_out() and time.monotonic() < self._settles):
            return False
        self._beside = True
        hosts = linklocal.hosts()
        if hosts is None:
            self._found[pod.LINK_LOCAL] = False
        elif not hosts:
            self._found[pod.LINK_LOCAL] = True
        for host in hosts or ():
            for port in (pod.KUBELET_PORT, linklocal.UNUSED_PORT):
                self._begin(pod.LINK_LOCAL, f"{host}:{port}")
        return True

    def _begin(self, name: str, place: str) -> None:
        host, _, port = place.rpartition(":")
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        if not (
            port.isdecimal() and 0 < int(port[:6]) <= _MAX_PORT
        ):  # getaddrinfo takes what is left of a larger number
            self._settle(name, place, errno.EINVAL)
            return
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)[0]
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except socket.gaierror:
            self._settle(name, place, errno.EINVAL)
            return
        except OSError as error:
            self._settle(name, place, error.errno or errno.EINVAL)
            return
        number = sock.connect_ex(address)
        if number == errno.EINPROGRESS:
            self._open[sock.fileno()] = sock, name, place
            self._poller.register(sock, select.POLLOUT)
        else:
            sock.close()
            self._settle(name, place, number)

    def _settle(self, name: str, place: str, number: int) -> None:
        """What an attempt came to. One name may stand for several places: all must pass."""
        # On the pod's own cable a refusal is an answer of the node itself, past whatever holds the network.
        passed = number in (_NO_WAY if name == pod.LINK_LOCAL else _NOT_REACHED)
        if name == pod.KUBELET and number == 0:
            passed = True  # it may be there, if it refuses: asked at the end
            self._kubelets.append(place)
        self._found[name] = passed and self._found.get(name, True)


def kubelet_refuses(place: str) -> bool:
    """Whether the kubelet turns away who asks it for its pods. One that takes a connection and cannot be spoken to in time does not count as such."""
    from lockgate.job.pod.line import client_context

    host, _, port = place.rpartition(":")
    try:
        with (
            socket.create_connection((host, int(port)), KUBELET_SECONDS) as plain,
            client_context().wrap_socket(plain) as sock,
        ):
            sock.sendall(_KUBELET_ASKED)
            return sock.recv(64).startswith(_REFUSALS)
    except OSError:
        return False


def _milliseconds(environment: Mapping[str, str]) -> int:
    told = environment.get(pod.LOOK_VARIABLE, "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 6 else pod.LOOK_MS


def _places(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """What to look at. A name without a place is not looked at, and so does not pass."""
    words = environment.get(pod.UNREACHABLE_VARIABLE, "").split()
    places = [(name, place) for name, _, place in (word.partition("=") for word in words)]
    for node in filter(None, environment.get(pod.NODE_VARIABLE, "").split(",")):
        places.append((pod.KUBELET, f"{node}:{pod.KUBELET_PORT}"))
        places.append((pod.KUBELET_READ_ONLY, f"{node}:{pod.KUBELET_READ_ONLY_PORT}"))
    host, port = (environment.get(name, "") for name in pod.SERVICE_VARIABLES)
    return [*places, (pod.API_SERVER, f"{host}:{port}")] if host else places
