"""A disk is full, read-only or slow, or its sync fails, under the gateway's store and under the runner's journal.

Full and read-only at start are a real small file system of the process's own; a failing sync and a file system that turns read-only under way are the
kernel's answers to these system calls (seccomp). One deployment for all, one scenario after the other.
"""

from __future__ import annotations

import errno
import inspect
import itertools
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.faults.checker import Ledger, check
from tests.faults.order import TROUBLES, Order
from tests.faults.plant import PATIENCE, Gone, Plant, Supervised, plant

pytestmark = pytest.mark.faults
DISK = 24 << 20
PAUSE = threading.Event()
"""Never set: every waiting has a condition and a deadline."""


@dataclass
class Site:
    """The shared deployment with what was asked of it."""

    plant: Plant
    ledger: Ledger
    orders: list[Order] = field(default_factory=list)
    names: Iterator[int] = field(default_factory=itertools.count)

    def order(self) -> Order:
        """A new operation, being asked for."""
        self.orders.append(Order(self.plant, f"d-{next(self.names)}", "web-dev").begin())
        return self.orders[-1]

    def held(self, stage: str) -> tuple[Order, Path]:
        """An operation whose tool waits in that stage, and the file that holds it."""
        order = Order(self.plant, f"d-{next(self.names)}", "web-dev")
        hold = self.plant.deployment.targets["web-dev"] / f"{order.service}.hold-{stage}"
        hold.touch()
        self.orders.append(order.begin())
        self.until(
            lambda: hold.with_suffix(".in-apply").exists() if stage == "apply" else self.status(order) == "running"
        )
        return order, hold

    def status(self, order: Order) -> str:
        """The operation's status as its asker sees it; empty where nobody answers."""
        try:
            return str((order._look() if order.id else {}).get("status", ""))
        except TROUBLES:
            return ""

    def stories(self) -> str:
        """Where the last two operations are, in one line."""
        return "; ".join(order.story() for order in self.orders[-2:])

    def until(self, what: Callable[[], bool]) -> None:
        """Wait for it; the deadline only keeps a broken test from waiting for ever."""
        deadline = time.monotonic() + PATIENCE
        wanted = inspect.getsource(what).strip().splitlines()[0]
        while not what():
            assert time.monotonic() < deadline, f"{wanted} never came: {self.stories()}\n{self.plant.logs()}"
            PAUSE.wait(0.05)


@pytest.fixture(scope="module")
def site(ledger: Ledger) -> Iterator[Site]:
    with plant(disk=DISK) as made:
        made.up("gateway")
        made.up("runner")
        yield Site(made, ledger)


@pytest.fixture(autouse=True)
def nothing_stays_broken(site: Site, request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails leaves its trouble to no other one: both processes begin anew, with disks that are writable and have room."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        for hold in site.plant.deployment.home.rglob("*.hold-*"):
            hold.unlink()
        for what in ("gateway", "runner"):
            process = getattr(site.plant, what)
            process.close_child()
            process.remount(read_only=False)
            (process.seen(process.state) / "ballast").unlink(missing_ok=True)
            site.plant.up(what)


def fill(process: Supervised) -> Path:
    """Leave no byte on the process's disk; answers what to remove for that to pass."""
    ballast = process.seen(process.state) / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return ballast


def test_a_full_disk_of_the_gateway_refuses_and_passes(site: Site) -> None:
    """Nobody is answered what was not written; when there is room again, the same processes go on."""
    gateway = site.plant.gateway
    held, hold = site.held("plan")
    ballast = fill(gateway)
    refused = site.order()
    site.until(lambda: "503" in (refused.fault or ""))
    assert refused.id is None and "nothing was" in (refused.fault or ""), refused.fault
    hold.unlink()
    ballast.unlink()
    for order in (held, refused):
        ended = order.result()
        assert (ended["status"], ended["effect"], order.applies) == ("succeeded", "full", 1), order.story()
    assert gateway.pid, "the gateway was never restarted"


@pytest.mark.parametrize("trouble", [{"sync": errno.EIO}, {"write": errno.EROFS}], ids=["sync fails", "read-only"])
@pytest.mark.parametrize("stage", ["plan", "apply"])
def test_a_gateway_that_cannot_write_says_so_and_waits_for_its_restart(
    site: Site, trouble: dict[str, int], stage: str
) -> None:
    """After a failed sync nobody knows what is on the disk: it takes nothing more until it has read it again."""
    gateway, deployment = site.plant.gateway, site.plant.deployment
    held, hold = site.held(stage)
    gateway.trouble(**trouble)
    refused = site.order()
    site.until(lambda: not deployment.healthy())
    site.until(lambda: "503" in (refused.fault or ""))
    hold.unlink()
    gateway.kill()
    site.plant.kills.append("gateway that cannot write")
    site.plant.up("gateway")
    for order in (held, refused):
        ended = order.result()
        assert (ended["status"], ended["effect"], order.applies) == ("succeeded", "full", 1), order.story()


@pytest.mark.parametrize(
    "trouble",
    [{"sync": errno.EIO}, {"write": errno.EROFS}, {"write": errno.ENOSPC}],
    ids=["sync fails", "read-only", "full"],
)
@pytest.mark.parametrize("stage", ["plan", "apply"])
def test_a_runner_that_cannot_keep_its_journal_ends_and_settles_all_when_it_is_back(
    site: Site, trouble: dict[str, int], stage: str
) -> None:
    """What it cannot note it does not do; what it had begun it does not remember as done."""
    runner = site.plant.runner
    held, hold = site.held(stage)
    runner.trouble(**trouble)
    hold.unlink()
    assert runner.ended() not in (0, -9), "it ends by itself, and says why"
    said = runner.said()
    assert "journal.jsonl: cannot be written" in said and "start again when it can" in said, said
    site.plant.up("runner")
    ended = held.result()
    if stage == "plan":
        assert (ended["status"], ended["effect"], held.applies) == ("succeeded", "full", 1), held.story()
    else:
        assert ended["status"] in (
            "succeeded",
            "failed",
        )  # what the target shows decides; the check at the end compares


@pytest.mark.parametrize("what", ["gateway", "runner"])
def test_a_process_on_a_read_only_disk_does_not_start_and_says_why(site: Site, what: str) -> None:
    process = getattr(site.plant, what)
    process.kill()
    site.plant.kills.append(f"{what} before its disk turned read-only")
    process.remount(read_only=True)
    with pytest.raises(Gone) as refused:
        site.plant.up(what)
    assert "Read-only file system" in str(refused.value) and "Traceback" not in process.said(), process.said()
    process.remount(read_only=False)
    site.plant.up(what)
    order = site.order()
    assert order.result()["status"] == "succeeded", order.story()


@pytest.mark.parametrize("what", ["gateway", "runner"])
def test_a_slow_disk_is_slow_and_no_more(site: Site, what: str) -> None:
    getattr(site.plant, what).trouble(slow=0.3)
    order = site.order()
    ended = order.result()
    getattr(site.plant, what).trouble()
    assert (ended["status"], ended["effect"], order.applies) == ("succeeded", "full", 1), order.story()


def test_afterwards_all_is_accounted_for(site: Site) -> None:
    """The last of this module."""

    def bring_home() -> None:
        for process in (site.plant.gateway, site.plant.runner):
            shutil.copytree(process.seen(process.state), process.state, dirs_exist_ok=True)

    found = check(site.plant, site.orders, bring_home)
    site.ledger.add(found)
    assert not found.faults, "\n".join(found.faults)
    assert (found.lost, found.doubled, found.unproven) == (0, 0, 0)
