"""The pod's first process, from its first connection to its last word, in numbered steps; it must not start anything before the runner says so.

Whatever the job's tools do, they do it after that: what this process says before is our image's own word, what it says after is a claim (TRUST §2).
"""

from __future__ import annotations

import binascii
import os
import stat
import sys

from lockgate.contract import jobplaces, strictjson
from lockgate.contract import podchannel as pod
from lockgate.job.pod.child import Child, Order
from lockgate.job.pod.line import Line, LineError, connected, pinned
from lockgate.job.pod.looks import Looks
from lockgate.job.pod.placing import NotPlaced, Placing, is_digest
from lockgate.job.pod.relay import ENDED_EXIT, Hearing, Relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

EXIT_REFUSED = 70
ORDER_SECONDS = 300
"""How long a pod that has arrived waits for the runner to hear of it from the API."""
_DELIVERY_SECONDS = 60
_BYE_SECONDS = 5
_PR_SET_DUMPABLE = 4
_SIGXCPU = 24


def main() -> int:
    """Exit codes: 0 the end of a job was told, 70 there was none or nobody to tell (one line on stderr says why), 143 ended by SIGTERM.

    Also where the end was told: of an evicted pod that ends with 0, the kubelet says that it succeeded, and forgets why it ended it.
    """
    hearing = Hearing()
    try:
        told = serve(os.environ, hearing)
    except (LineError, NotPlaced) as error:
        sys.stderr.write(f"lockgate pod: {ascii(str(error))[1:-1][:2000]}\n")
        return EXIT_REFUSED
    if hearing.told_to_end:
        return ENDED_EXIT
    return 0 if told else EXIT_REFUSED


def serve(environment: Mapping[str, str], hearing: Hearing) -> bool:
    """One stage; whether the runner was told its end. Raises LineError, NotPlaced."""
    below = environment.get(jobplaces.UNSAFE_ROOT_VARIABLE, "")
    ticket = _ticket(environment)
    # 1. The runner, at the address it gave; that this port is open is what every other look is held against.
    sock = connected(environment.get(pod.ADDRESS_VARIABLE, ""))
    looks = Looks(environment)
    # 2. Whoever answers there has the pinned certificate's key; only then is the ticket shown.
    line = Line(pinned(sock, environment.get(pod.PIN_VARIABLE, "")))
    line.send_raw(ticket)
    hide_from_tracers()
    # 3. Which pod this is, and what it could reach; the runner decides.
    line.send(pod.ARRIVAL, _arrival(environment, looks.checks()))
    # 4. What to run, and with what.
    try:
        order = _take(line, below)
        if name := looks.reached():
            return _unconfined(line, name)
        beside = _way_out(environment, ticket)
        hearing.started = True
        child = Child(order, below, beside)
    except (NotPlaced, OSError) as error:
        _last_word(line, pod.REFUSED, str(error).encode("utf-8", "replace")[: pod.MAX_WHY])
        raise NotPlaced(str(error)) from None
    line.send(pod.PLACED)
    # 5. The job, until nothing of it is left; looks that nobody has answered go on beside it.
    relay = Relay(child, line, hearing, order, looks)
    try:
        relay.run()
    finally:
        child.end_all()
    if relay.reached:
        return _unconfined(line, relay.reached)
    if not relay.connected:
        return False
    # 6. What it leaves: files that come back, and how it ended.
    for target in order.back:
        _send_back(line, target, below)
    line.send(pod.ENDED, _end(child, relay))
    return _heard(line)


def _ticket(environment: Mapping[str, str]) -> bytes:
    path = environment.get(pod.TICKET_VARIABLE, pod.TICKET_FILE)
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 -- pathlib costs 5 ms of the start
            ticket = stream.read(pod.TICKET_BYTES + 1)
    except OSError as error:
        raise NotPlaced(f"{pod.TICKET_VARIABLE}={path}: {error.strerror}") from None
    if len(ticket) != pod.TICKET_BYTES:
        raise NotPlaced(f"{pod.TICKET_VARIABLE}={path}: must hold exactly {pod.TICKET_BYTES} bytes")
    return ticket


def hide_from_tracers() -> None:
    """No process of the same uid may read this one's memory, where the channel's keys are. Raises NotPlaced."""
    import ctypes

    if ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise NotPlaced("prctl: this process cannot be made undumpable")


def _arrival(environment: Mapping[str, str], checks: Mapping[str, bool]) -> bytes:
    """Written by hand: an encoder would cost 11 ms of the start. Names that would need escaping are left out, and so do not pass."""
    told = ",".join(f'"{name}":{"true" if passed else "false"}' for name, passed in checks.items() if _plain(name))
    uid = environment.get(pod.POD_VARIABLE, "")
    if not _plain(uid):
        raise NotPlaced(f"{pod.POD_VARIABLE}={uid!a}: must be this pod's own uid")
    return f'{{"version":{pod.VERSION},"pod":"{uid}","checks":{{{told}}},"had":[{_had()}]}}'.encode()


def _had() -> str:
    """What files the image says it holds; each is held against its digest before it is used."""
    try:
        names = sorted(os.listdir(pod.IMAGE_FILES))  # noqa: PTH208 -- pathlib costs 5 ms of the start
    except FileNotFoundError:
        return ""
    return ",".join(f'"{name}"' for name in names[: pod.MAX_HAD] if is_digest(name))


def _plain(text: str) -> bool:
    return text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def _take(line: Line, below: str) -> Order:
    tag, payload = line.receive(ORDER_SECONDS)
    if tag != pod.ORDER:
        raise NotPlaced("the runner's first word is no order")
    try:
        order = Order(strictjson.loads(payload, max_bytes=pod.MAX_FRAME_BYTES))
    except (strictjson.StrictJSONError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotPlaced(f"order: {type(error).__name__}: {error}") from None
    placing = Placing(below)
    while True:
        tag, payload = line.receive(_DELIVERY_SECONDS)
        if tag == pod.START:
            placing.finish()
            return order
        placing.take(tag, payload)


def _way_out(environment: Mapping[str, str], ticket: bytes) -> int | None:
    address = environment.get(pod.EGRESS_ADDRESS_VARIABLE)
    if address is None:
        return None
    from lockgate.job.pod import egress

    return egress.begin(address, environment.get(pod.PIN_VARIABLE, ""), pod.egress_ticket(ticket))


def _unconfined(line: Line, name: str) -> bool:
    """Something could be reached after all: nothing runs here any more, and the runner is told so."""
    _last_word(line, pod.REACHED, name.encode())
    return False


def _last_word(line: Line, tag: bytes, payload: bytes) -> None:
    """Say why this is the end, and read on until the runner has hung up: were anything of its left unread, the kernel would take the word back (RFC 2525, 2.17)."""
    line.send(tag, payload)
    _heard(line)


def _send_back(line: Line, target: str, below: str) -> None:
    """A regular file of its own name, at most so large; one that is not simply does not come, and the runner knows what that means."""
    from lockgate.contract.hashing import new_sha256
    from lockgate.wire.frames import HEADER_BYTES, encode

    try:
        reading = os.open(below + target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        found = os.fstat(reading)
        if not stat.S_ISREG(found.st_mode) or found.st_size > pod.MAX_RETURNED_BYTES:
            return
        line.send(pod.FILE, encode({"target": target})[HEADER_BYTES:])
        total = new_sha256(found.st_size)
        while chunk := os.read(reading, pod.MAX_FRAME_BYTES):
            total.update(chunk)
            line.send(pod.CONTENT, chunk)
        line.send(pod.DIGEST, total.digest())
    finally:
        os.close(reading)


def _end(child: Child, relay: Relay) -> bytes:
    from lockgate.wire.frames import HEADER_BYTES, encode

    code = os.waitstatus_to_exitcode(child.status or 0)
    number = -code if code < 0 else None
    end = {
        "cause": relay.cause or ("exit" if number is None else "cpu" if number == _SIGXCPU else "signal"),
        "exit_code": 128 + number if number is not None else code,
        "signal": number,
        "output_bytes": relay.output_bytes,
        "tail": binascii.b2a_base64(relay.tail, newline=False).decode(),
    }
    return encode(end)[HEADER_BYTES:]


def _heard(line: Line) -> bool:
    """Whether the runner says goodbye: only then is it sure that it has heard everything."""
    try:
        while line.receive(_BYE_SECONDS)[0] != pod.BYE:
            continue
    except LineError:
        return False
    return True
