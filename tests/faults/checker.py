"""What must hold after every fault, looked for with other eyes than the product's: files, process table, mounts, sockets, and the store's own rows."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pysqlite3
import yaml
from tests.e2e.conftest import ROOT
from tests.faults.order import Order
from tests.faults.plant import PATIENCE, SECRET, Plant


@dataclass
class Ledger:
    """Counts over many scenarios; `faults` are sentences about what does not hold."""

    kills: int = 0
    operations: int = 0
    lost: int = 0
    doubled: int = 0
    unproven: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, other: Ledger) -> None:
        """Take another's counts in."""
        for name in ("kills", "operations", "lost", "doubled", "unproven"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.faults += other.faults


def check(plant: Plant, orders: Iterable[Order], stopped: Callable[[], None] = lambda: None) -> Ledger:
    """Stop both processes and look at everything they leave. The runner was started again after its last death. `stopped` is called when both are."""
    orders = list(orders)
    ledger = Ledger(kills=len(plant.kills), operations=len(orders))
    finals = [(order, order.result()) for order in orders]
    rest(plant)
    still = [what for what in ("runner", "gateway") if getattr(plant, what).kill(15) != 0]
    ledger.faults += [f"{what} did not end well on SIGTERM" for what in still]
    stopped()
    with store(plant.deployment.home) as rows:
        for order, final in finals:
            outcome(ledger, rows, order, final)
        ledger.unproven += unproven(ledger, rows)
    ledger.faults += left_behind(plant)
    ledger.faults += log_faults(plant.deployment.home)
    return ledger


def rest(plant: Plant) -> None:
    """Wait until the runner has told all: an operation ends with its report, and a receipt that met something else on its way is sent once more.

    What is open for longer is found by what follows.
    """
    from lockgate.runner.journal import _read

    pause, deadline = threading.Event(), time.monotonic() + PATIENCE  # never set
    (journal,) = plant.runner.seen(plant.runner.state).rglob("journal.jsonl")
    while _read(journal)[0].open and time.monotonic() < deadline:
        pause.wait(0.05)


def outcome(ledger: Ledger, rows: Rows, order: Order, final: dict[str, Any]) -> None:
    """Exactly one operation of that key, one honest end, applied at most once and only with a vote and a start behind it."""
    name = f"{order.service} {order.id}"
    there = rows.all("SELECT body FROM operation WHERE id = ?", order.id)
    if len(there) != 1 or set(order.answers) != {order.id}:
        ledger.lost += 1
        ledger.faults.append(f"{name}: answered {order.answers}, stored {len(there)}")
        return
    stored = json.loads(there[0][0])
    if stored["state"] != final["status"]:
        ledger.faults.append(f"{name}: was {final['status']}, is {stored['state']}")
    asked = rows.all("SELECT body FROM operation WHERE body LIKE ?", f'%"{order.service}"%')
    if len(asked) != 1:
        ledger.doubled += 1
        ledger.faults.append(f"{name}: its one key made {len(asked)} operations")
    applies = order.applies
    if applies > 1:
        ledger.doubled += 1
        ledger.faults.append(f"{name}: applied {applies} times")
    honest = applies == 1 if (final["status"], final["effect"]) == ("succeeded", "full") else applies == 0
    if not honest:
        ledger.lost += 1
        ledger.faults.append(
            f"{name}: {final['status']}({final['effect']}) but applied {applies} times: {final['message']}"
        )
    kinds = [kind for (kind,) in rows.all("SELECT kind FROM audit_entry WHERE operation = ? ORDER BY seq", order.id)]
    ends = [kind for kind in kinds if kind == "operation.ended"]
    if len(ends) != 1:
        ledger.faults.append(f"{name}: {len(ends)} ends in the log")
    if applies:
        votes = rows.all("SELECT 1 FROM vote WHERE operation = ?", order.id)
        started = rows.all(
            "SELECT 1 FROM attempt WHERE operation = ? AND body LIKE '%\"apply\"%' AND body NOT LIKE '%\"started_at\":null%'",
            order.id,
        )
        if not started or (order.target == "web-prod" and not votes):
            ledger.faults.append(f"{name}: applied with {len(votes)} votes and {len(started)} starts")


def unproven(ledger: Ledger, rows: Rows) -> int:
    """Attempts that may have made something and whose teardown nobody has proven; and locks that are not free."""
    for name, state, attempt in rows.all("SELECT name, state, attempt FROM target_lock WHERE state <> 'free'"):
        ledger.faults.append(f"lock {name} is {state} for {attempt}")
    found = rows.all("SELECT id, state FROM attempt WHERE state NOT IN ('torn_down')")
    never = {row[0] for row in rows.all("SELECT id FROM attempt WHERE body LIKE '%\"started_at\":null%'")}
    open_ends = [(attempt, state) for attempt, state in found if attempt not in never]
    ledger.faults += [f"attempt {attempt} started and is {state}" for attempt, state in open_ends]
    return len(open_ends)


def left_behind(plant: Plant) -> list[str]:
    """Processes, mounts, cgroups, sockets, workspaces, secrets of the deployment, and what the journal still holds open."""
    home = plant.deployment.home
    mine = str(home)
    faults = [
        f"process {pid}: {said}" for pid, said in processes(mine, {plant.gateway.supervisor, plant.runner.supervisor})
    ]
    for place, table in (("mount", "/proc/self/mountinfo"), ("socket", "/proc/net/unix")):
        faults += [f"{place} {line}" for line in Path(table).read_text().splitlines() if mine in line]
    for directory, _, names in os.walk(home):
        for path in (Path(directory, name) for name in names):
            if path.is_socket():
                faults.append(f"socket {path}")
            elif path.is_file() and path != home / "secrets" / "web" / "token" and SECRET.encode() in path.read_bytes():
                faults.append(f"the secret is in {path}")
    settings = yaml.safe_load((home / "runner.yaml").read_text())
    runs, workspaces = Path(settings["sandbox"]["base_dir"]) / "runs", home / "state" / "runner" / "workspaces"
    for kept in (runs, workspaces):
        faults += [f"left {path}" for path in (kept.iterdir() if kept.is_dir() else ())]
    boxes = set(re.findall(r'"k":"box","attempt":"[^"]+","id":"([0-9a-f]+)"', journal_file(home).read_text()))
    groups = (Path(directory) for directory, _, _ in os.walk("/sys/fs/cgroup"))
    faults += [f"cgroup {path}" for path in groups if any(box in path.name for box in boxes)]
    return faults + journal_faults(home)


def processes(mine: str, known: set[int]) -> list[tuple[int, str]]:
    """Processes that name the deployment's home in their arguments, or that see a part of it mounted, as every sandbox does."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in known | {os.getpid()}:
            try:
                said = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                seen = said + (entry / "mountinfo").read_text()
            except OSError:
                continue  # it ended while we looked, or is another user's
            if mine in seen:
                found.append((int(entry.name), said[:200]))
    return found


def journal_file(home: Path) -> Path:
    """The runner's journal of this home."""
    (path,) = home.rglob("journal.jsonl")
    return path


def journal_faults(home: Path) -> list[str]:
    """Attempts, sandboxes and credentials that the runner's journal still holds open, read with the product's reader."""
    from lockgate.runner.journal import Journal

    journal = Journal(journal_file(home))
    try:
        return [
            *(f"journal: attempt {item.attempt} is open" for item in journal.open_attempts),
            *(f"journal: sandbox {item} lives" for item in journal.live_sandboxes),
            *(f"journal: credential {item.accessor} lives" for item in journal.live_credentials),
        ]
    finally:
        journal.close()


def log_faults(home: Path) -> list[str]:
    """What `audit verify` says, as people run it."""
    command = [sys.executable, "-m", "lockgate.cli", "audit", "verify", "--home", str(home)]
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=ROOT)
    complete = "complete" in done.stdout and "witnessed" in done.stdout
    return [] if done.returncode == 0 and complete else [f"audit verify: {done.returncode} {done.stdout}{done.stderr}"]


class Rows:
    """Reads a store with a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._db = pysqlite3.connect(f"file:{path}?mode=ro", uri=True)

    def all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Every row."""
        return list(self._db.execute(sql, values).fetchall())

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()


def store(home: Path) -> Rows:
    """The gateway's store of this home."""
    return Rows(home / "state" / "gateway" / "store.db")
