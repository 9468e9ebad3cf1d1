"""CPU and latency of a governed `tools/call` beside the bare SDK echo of the same run: same client, same bodies, turn by turn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Figure, median, percentile
from tests.bench.load import Check, Outcome, drive, post
from tests.bench.machine import SyncCount, cpu_seconds, resident_bytes
from tests.bench.processes import TARGETS, Home, Served, echo, gateway, make_home

CLIENTS = 64
VERSION = "2026-07-28"
DENIED_EVERY = 10
LAG = "lockgate_loop_lag_max_seconds"
COMMITS = "lockgate_store_commits"
META = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
REASON = "the service is slow under the load of this week"


BUDGETS = """
budgets:
  - {name: operations of an agent an hour, per: principal, counts: operations, window_seconds: 3600, limit: 1000000, effect: deny}
  - {name: changes of a target a day, per: target, counts: changes, window_seconds: 86400, limit: 1000000, effect: deny}
history: {window_seconds: 3600}
"""
"""Policy data that wants to be told of the past, and to claim: two budgets that are never used up, and an hour of history."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    stored: int = 10_000
    rounds: int = 7
    calls: int = 1_000
    latency_seconds: float = 3.0
    latency_rounds: int = 7


class Caller:
    """Makes requests: distinct keys and arguments, one token a client, every tenth by an agent whom no policy allows anything."""

    def __init__(self, home: Home) -> None:
        self._tokens = [home.token(f"agent-{number}", "operator") for number in range(CLIENTS)]
        self._stranger = home.token("stranger")
        self._number = 0

    def requests(self, port: int, count: int) -> list[bytes]:
        """`count` whole requests that were never made before."""
        return list(self._make(port, count))

    def stream(self, port: int, count: int) -> Iterator[bytes]:
        """The same, made one by one: for loads that would not fit into memory together."""
        return self._make(port, count)

    def _make(self, port: int, count: int) -> Iterator[bytes]:
        for number in range(self._number, self._number + count):
            denied = number % DENIED_EVERY == 0
            token = self._stranger if denied else self._tokens[number % CLIENTS]
            headers = {
                "Accept": "application/json, text/event-stream",
                "Authorization": f"Bearer {token}",
                "MCP-Protocol-Version": VERSION,
                "Mcp-Method": "tools/call",
                "Mcp-Name": "set_replicas",
            }
            yield post("/mcp", port, json.dumps(message(number)).encode(), headers)
        self._number += count


def message(number: int) -> dict[str, object]:
    """A tools/call with arguments of about 400 bytes."""
    arguments = {
        "target": f"web-{number % TARGETS}",
        "service": f"service-{number}",
        "replicas": number % 21,
        "note": f"change {number}: " + "x" * 120,
        "reason": REASON,
        "idempotency_key": f"bench-{number}",
    }
    params = {"name": "set_replicas", "arguments": arguments, "_meta": META}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


class Governed:
    """Accepts only answers of operations, and counts those that were denied."""

    def __init__(self) -> None:
        self.calls = 0
        self.denied = 0

    def __call__(self, answer: bytes) -> bool:
        self.calls += 1
        self.denied += b'"status":"denied"' in answer
        return b'"operation_id":"op_' in answer


def echoed(answer: bytes) -> bool:
    """An echo's answer has its arguments."""
    return b"idempotency_key" in answer


async def measure(place: Path, size: Size) -> list[Figure]:
    """All figures of the gateway process. Raises CallFailed when an answer is not what was asked for."""
    home, past = make_home(place / "home"), make_home(place / "past", BUDGETS)
    with echo(place) as bare, gateway(home) as ours, gateway(past) as told:
        idle = resident_bytes(ours.pid)
        caller, check = Caller(home), Governed()
        await drive(bare.port, caller.requests(bare.port, 500), echoed, clients=CLIENTS)
        await drive(ours.port, caller.requests(ours.port, 200), check, clients=CLIENTS)
        await drive(ours.port, caller.requests(ours.port, size.stored), check, clients=CLIENTS)
        before = home.metric(COMMITS)
        turns = [await _turn(ours, bare, caller, size.calls, check) for _ in range(size.rounds)]
        commits = (home.metric(COMMITS) - before) / (size.rounds * size.calls)
        figures = _costs(turns, check)
        figures += await _with_the_past((told, Caller(past)), (ours, caller), check, size)
        figures += await _latencies(home, (ours, bare), caller, check, size)
        syncs = await _syncs(home, ours, caller, check, place)
        figures += [
            syncs,
            Figure(
                "fsyncs per governed tools/call",
                commits * syncs.value,
                "",
                f"{commits:.3f} commits a call, {CLIENTS} clients",
            ),
        ]
        loaded = resident_bytes(ours.pid)
    note = "one process, default library and store open, before the first call"
    figures.append(Figure("gateway idle RSS", idle / 2**20, "MB", note=note))
    note = f"with {check.calls:,} operations stored"
    return [*figures, Figure("gateway RSS after the load", loaded / 2**20, "MB", note=note)]


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of the server, in seconds a call, and the calls a second it answered."""

    cpu: float
    rate: float


async def _cpu(server: Served, caller: Caller, count: int, check: Check) -> Cost:
    requests = caller.requests(server.port, count)
    before = cpu_seconds(server.pid)
    outcome = await drive(server.port, requests, check, clients=CLIENTS)
    return Cost((cpu_seconds(server.pid) - before) / count, count / outcome.seconds)


async def _turn(ours: Served, bare: Served, caller: Caller, count: int, check: Check) -> tuple[Cost, Cost]:
    """One round each, one right after the other, so that what else the machine does weighs on both."""
    return await _cpu(ours, caller, count, check), await _cpu(bare, caller, count, echoed)


def _costs(turns: list[tuple[Cost, Cost]], check: Governed) -> list[Figure]:
    governed, echoes = [turn[0] for turn in turns], [turn[1] for turn in turns]
    ratio = median([ours.cpu / bare.cpu for ours, bare in turns])
    allowed = 1 - check.denied / check.calls
    spread = f"{min(item.cpu for item in governed) * 1e6:.0f} to {max(item.cpu for item in governed) * 1e6:.0f}"
    note = f"{spread} in {len(turns)} rounds; {allowed:.0%} allowed"
    bare = "low-level server, uvloop, httptools, JSON answers"
    return [
        Figure("CPU per bare SDK echo", median([item.cpu for item in echoes]) * 1e6, "µs", note=bare),
        Figure("CPU per governed tools/call", median([item.cpu for item in governed]) * 1e6, "µs", note=note),
        Figure("governed / echo, CPU", ratio, "x", note="median of the rounds' ratios"),
        Figure("echo calls per second", median([item.rate for item in echoes]), "/s", note=f"{CLIENTS} clients"),
        Figure("governed calls per second", median([item.rate for item in governed]), "/s", note=f"{CLIENTS} clients"),
    ]


async def _with_the_past(
    told: tuple[Served, Caller], ours: tuple[Served, Caller], check: Governed, size: Size
) -> list[Figure]:
    """Calls whose policy has budgets and history, beside plain ones, turn by turn."""
    await _cpu(*told, size.calls, check)
    ratios, costs = [], []
    for _ in range(size.rounds):
        cost, plain = await _cpu(*told, size.calls, check), await _cpu(*ours, size.calls, check)
        costs.append(cost.cpu)
        ratios.append(cost.cpu / plain.cpu)
    note = f"two budgets and an hour of history are read, and what is allowed is claimed; up to {size.calls * (size.rounds + 1):,} operations of 64 agents on 8 targets add up"
    return [
        Figure("CPU per governed tools/call, budgets and history", median(costs) * 1e6, "µs", note),
        Figure("with budgets and history / plain, CPU", median(ratios), "x", "median of the rounds' ratios"),
    ]


async def _latencies(
    home: Home, servers: tuple[Served, Served], caller: Caller, check: Check, size: Size
) -> list[Figure]:
    """Both servers at the same rate: half of what the gateway can, found right before, so that a machine that slows down is no overload.

    In turns, and each figure the median of the turns: one p99 hangs on whatever the machine did in a few hundredths of a second.
    """
    ours, bare = servers
    rate = (await _cpu(ours, caller, size.calls, check)).rate / 2
    count = int(rate * size.latency_seconds)
    turns, lag = [], 0.0
    for _ in range(size.latency_rounds):
        home.metric(LAG)  # reading it starts it anew
        governed = await drive(ours.port, caller.requests(ours.port, count), check, clients=CLIENTS, rate=rate)
        lag = max(lag, home.metric(LAG))
        turns.append(
            (governed, await drive(bare.port, caller.requests(bare.port, count), echoed, clients=CLIENTS, rate=rate))
        )
    ratios = [_ms(governed, 0.99) / _ms(echoes, 0.99) for governed, echoes in turns]
    note = f"at {rate:.0f} calls/s, half of the gateway's capacity; median of {len(turns)} turns of {count} calls"
    spread = f"{min(ratios):.1f} to {max(ratios):.1f} in {len(turns)} turns"
    return [
        Figure("governed tools/call p50", median([_ms(turn[0], 0.5) for turn in turns]), "ms", note),
        Figure("governed tools/call p99", median([_ms(turn[0], 0.99) for turn in turns]), "ms", note),
        Figure("echo p99", median([_ms(turn[1], 0.99) for turn in turns]), "ms", note),
        Figure("governed / echo, p99 at half capacity", median(ratios), "x", spread),
        Figure("event loop lag of the gateway, longest", lag * 1000, "ms", note),
    ]


def _ms(outcome: Outcome, share: float) -> float:
    return percentile(outcome.latencies, share) * 1000


async def _syncs(home: Home, ours: Served, caller: Caller, check: Check, place: Path) -> Figure:
    """How often a commit makes something durable: a few calls one by one, since a traced process is too slow for more."""
    before = home.metric(COMMITS)
    with SyncCount(ours.pid, place / "syncs.txt") as syncs:
        await drive(ours.port, caller.requests(ours.port, 30), check, clients=1)
    commits = home.metric(COMMITS) - before
    if syncs.count is None:
        return Figure("fsyncs per commit", float("nan"), "", "not counted: there is no strace")
    note = f"{syncs.count} fsyncs, counted by strace, in {commits:.0f} commits of 30 calls one by one"
    return Figure("fsyncs per commit", syncs.count / commits, "", note)
