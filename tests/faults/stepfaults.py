"""Wraps the product's marked step functions, its commits and its calls, so that a process can die at a named moment; the product has no hooks.

Used only by `supervisor`, in a process that has imported the product and not yet started it.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

MOMENTS = (
    "before",
    "called",
    "waiting",
    "unsynced",
    "synced",
    "sending",
    "answered",
    "journalled",
    "sandboxed",
    "after",
)
"""before and after the function; called: in the first function it calls; waiting: at its first suspension;

unsynced and synced: around the COMMIT of the step's own transaction, nobody told yet; sending and answered: around the runner's call to the gateway;
journalled: the runner's journal has a fact of the step; sandboxed: the step's sandbox lives.
"""


@dataclass(slots=True)
class Fault:
    """What is to happen where: `step` is `module.function` below lockgate, `phase` read, plan, apply or None for any."""

    step: str
    phase: str | None
    moment: str
    signal: int = signal.SIGKILL

    @property
    def name(self) -> str:
        """As the tests and the table name it."""
        return f"{self.step}({self.phase or 'any'}) {self.moment}"


class Armed:
    """The one fault a process waits for; `hit` is told before the signal, so that the test knows that it was this one."""

    def __init__(self, hit: Callable[[Fault], None]) -> None:
        self._hit = hit
        self.fault: Fault | None = None

    def wants(self, step: str, arguments: tuple[Any, ...]) -> bool:
        """Whether the fault is in this call of this function."""
        fault = self.fault
        return fault is not None and fault.step == step and fault.phase in (None, phase_of(arguments))

    def at(self, moment: str) -> None:
        """Reached a moment of the step: strike if it is the one."""
        fault = self.fault
        if fault is not None and fault.moment == moment:
            self.fault = None
            self._hit(fault)
            os.kill(os.getpid(), fault.signal)


INSIDE: contextvars.ContextVar[bool] = contextvars.ContextVar("inside", default=False)
"""Whether the code that runs was called by the step the fault is in; follows into tasks and threads."""


def phase_of(arguments: tuple[Any, ...]) -> str | None:
    """The phase that a step's arguments speak of: an operation's, an attempt's or a grant's."""
    for item in arguments:
        for found in (item, getattr(item, "grant", None), getattr(getattr(item, "accepted", None), "grant", None)):
            phase = getattr(found, "phase", None)
            if phase is not None:
                return str(phase.value)
    return None


def install(armed: Armed, modules: list[ModuleType]) -> list[str]:
    """Wrap every marked function of these modules wherever it is named; answers their names."""
    wrapped = {}
    for module in modules:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and hasattr(function, "lockgate_steps"):
                step = f"{module.__name__.removeprefix('lockgate.')}.{name}"
                wrap = _suspending if inspect.iscoroutinefunction(function) else _calling
                wrapped[function] = (step, wrap(armed, step, function))
    for module in [module for name, module in sys.modules.items() if name.startswith("lockgate.")]:
        for name, value in list(vars(module).items()):
            if inspect.isfunction(value) and value in wrapped:
                setattr(module, name, wrapped[value][1])
    return sorted(step for step, _ in wrapped.values())


def _suspending(armed: Armed, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapped(*arguments: Any, **named: Any) -> Any:
        if not armed.wants(step, arguments):
            return await function(*arguments, **named)
        armed.at("before")
        token = INSIDE.set(True)
        try:
            return await _Watched(function(*arguments, **named), armed)
        finally:
            INSIDE.reset(token)
            armed.at("after")

    return wrapped


def _calling(armed: Armed, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if not armed.wants(step, arguments):
            return function(*arguments, **named)
        armed.at("before")
        try:
            with _first_call(armed):
                return function(*arguments, **named)
        finally:
            armed.at("after")

    return wrapped


@contextlib.contextmanager
def _first_call(armed: Armed) -> Iterator[None]:
    """Strike in the first function that is called from the next one."""
    if armed.fault is None or armed.fault.moment != "called":
        yield
        return
    depth = 0

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal depth
        depth += event == "call"
        if depth > 1:  # the first call is the step's own
            armed.at("called")

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


class _Watched:
    """Awaits a coroutine and says when it is suspended for the first time."""

    def __init__(self, coroutine: Any, armed: Armed) -> None:
        self._coroutine = coroutine
        self._armed = armed

    def __await__(self) -> Generator[Any, Any, Any]:
        resume, value = self._coroutine.send, None
        while True:
            try:
                with _first_call(self._armed):
                    waited = resume(value)
            except StopIteration as stop:
                return stop.value
            self._armed.at("waiting")
            try:
                value, resume = (yield waited), self._coroutine.send
            except BaseException as error:  # noqa: BLE001  (handed to the coroutine, as an await does)
                value, resume = error, self._coroutine.throw


def install_gateway(armed: Armed) -> None:
    """Around the COMMIT of a transaction that a step asked for, in the writer's own thread."""
    from lockgate.gateway.store.sqlite.provider import SqliteStore
    from lockgate.gateway.store.sqlite.writer import Writer

    commands: list[Any] = []
    commit, write = SqliteStore.commit, Writer._write

    async def committing(self: SqliteStore, command: Any) -> Any:
        if INSIDE.get() and armed.fault is not None:
            commands.append(command)
        return await commit(self, command)

    def writing(self: Writer, tickets: list[Any]) -> Any:
        due = any(ticket.item.command is command for ticket in tickets for command in commands)
        if due and not isinstance(self._db, _Committing):
            self._db = _Committing(self._db, armed)
        return write(self, tickets)

    SqliteStore.commit = committing  # type: ignore[method-assign]
    Writer._write = writing  # type: ignore[method-assign]


class _Committing:
    """The writer's connection; its next COMMIT is the step's own."""

    def __init__(self, db: Any, armed: Armed) -> None:
        self._db = db
        self._armed = armed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)

    def execute(self, sql: str, *arguments: Any) -> Any:
        if sql != "COMMIT":
            return self._db.execute(sql, *arguments)
        self._armed.at("unsynced")
        done = self._db.execute(sql, *arguments)
        self._armed.at("synced")
        return done


def install_runner(armed: Armed) -> None:
    """Around calls to the gateway, behind lines of the journal and behind a sandbox's start, where a step asked for them."""
    from lockgate.runner.journal import Journal
    from lockgate.runner.sandbox.bubblewrap import BubblewrapSandbox
    from lockgate.wire.client import GatewayClient

    post, note, start = GatewayClient.post, Journal._record, BubblewrapSandbox.start

    def inside(moment: str) -> None:
        if INSIDE.get():
            armed.at(moment)

    async def posting(self: GatewayClient, *arguments: Any, **named: Any) -> Any:
        inside("sending")
        answer = await post(self, *arguments, **named)
        inside("answered")
        return answer

    def recording(self: Journal, record: Any) -> None:
        note(self, record)
        inside("journalled")

    async def starting(self: BubblewrapSandbox, spec: Any) -> Any:
        running = await start(self, spec)
        inside("sandboxed")
        return running

    GatewayClient.post = posting  # type: ignore[method-assign]
    Journal._record = recording  # type: ignore[method-assign]
    BubblewrapSandbox.start = starting  # type: ignore[method-assign]
