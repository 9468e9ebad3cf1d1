"""The throw-away deployment the demo plays on, and how its people and its agent speak. It must use the front doors only."""

from __future__ import annotations

import asyncio
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate.cli.agent import Answer, call_tool
from lockgate.cli.bootstrap import Ports
from lockgate.cli.client import PeopleClient
from lockgate.cli.demo.telling import Telling
from lockgate.cli.deployment import Deployment, make_deployment, targets_place
from lockgate.cli.dev import Running, running
from lockgate.cli.exits import Exit
from lockgate.cli.home import gateway_settings
from lockgate.cli.issuing import issue_dev_tokens
from lockgate.cli.problem import Problem

PATIENCE = 180.0
PORTS = range(10_240, 20_000)
"""Below those that the kernel gives to whoever asks for any."""

RESTING = ("pending_approval", "indeterminate")
LOOK = "lockgate_get_operation"


@dataclass
class Stage:
    """Everything a scene may touch: both servers, the doors, the target's directories, the sources, the telling."""

    home: Path
    targets: Path
    sources: Path
    url: str
    tokens: dict[str, str]
    both: Running
    tell: Telling

    def agent(self, tool: str, **arguments: Any) -> Answer:
        """The agent calls a tool over MCP and waits until it rests, as a model would."""
        answer = asyncio.run(call_tool(self.url, self.tokens["agent"], tool, arguments))
        end = time.monotonic() + PATIENCE
        # Also a denied call has a next one: to have it explained. Only what says to look again is not over.
        while looks_again(answer.view) and answer.view["status"] not in RESTING and time.monotonic() < end:
            follow = {"operation_id": answer.view["operation_id"], "wait_seconds": 20}
            answer = asyncio.run(call_tool(self.url, self.tokens["agent"], LOOK, follow))
        return answer

    def person(self, name: str) -> PeopleClient:
        """Somebody's REST client."""
        return PeopleClient(self.url, self.tokens[name])

    def details(self, operation: str) -> dict[str, Any]:
        """Everything about an operation, as bob sees it."""
        return self.person("bob").get(f"/operations/{operation}/details")

    def vote(self, name: str, operation: str, details: dict[str, Any]) -> dict[str, Any]:
        """Approve with the digests of what was displayed. Raises Problem."""
        digests = details["operation"]["plan"]["digests"]
        shown = {key: digests[key] for key in ("semantic_sha256", "inputs_sha256")}
        return self.person(name).post(f"/operations/{operation}/votes", {"verdict": "approve", "digests": shown})

    def until(self, operation: str, *states: str, newer_than: int = 0) -> dict[str, Any]:
        """The operation once it is in one of these states (and was planned after `newer_than`, Unix ms), or final, or patience is over."""
        end = time.monotonic() + PATIENCE
        while True:
            found = self.person("bob").get(f"/operations/{operation}", wait_seconds=1)
            planned_at = found["plan"]["planned_at"] if found["plan"] else 0
            if (found["status"] in states and planned_at > newer_than) or found["final"] or time.monotonic() > end:
                return found

    @contextmanager
    def frozen(self, target: str) -> Iterator[None]:
        """A target under the kill switch, so that what is approved waits."""
        for held in (True, False):
            body = {"scope": f"target:{target}", "frozen": held, "reason": "the demo holds this target for a moment"}
            self.person("admin").post("/freezes", body)
            if held:
                yield

    def motd(self, target: str) -> str | None:
        """What really stands at a target; None when there is nothing."""
        path = self.targets / target / "motd"
        return path.read_text("utf-8").rstrip("\n") if path.exists() else None


@contextmanager
def stage(home: Path, tell: Telling) -> Iterator[Stage]:
    """Make the deployment, start both servers, issue tokens. Raises Problem."""
    made = make_deployment(home, Deployment("demo", dev=True, ports=free_ports()))
    with running(made.home, tell.screen) as both:
        files = issue_dev_tokens(made.home)
        tokens = {name: path.read_text("ascii").strip() for name, path in files.items()}
        url = gateway_settings(made.home).public.url
        yield Stage(made.home, targets_place(made.home), made.home / "sources", url, tokens, both, tell)


def looks_again(view: dict[str, Any]) -> bool:
    """Whether an answer's next call is to look at the same operation."""
    following = view.get("next")
    return following is not None and following["tool"] == LOOK


def free_ports() -> Ports:
    """Two ports that nobody listens on now, and that the kernel gives to nobody by itself before the servers have started, or while one starts again."""
    found: list[int] = []
    for port in secrets.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == 2:
            return Ports(*found)
    raise Problem(Exit.UNAVAILABLE, f"no two ports are free from {PORTS.start} on", fix="end what listens on so many")


def throw_away_home() -> Path:
    """A directory of our own that the sandboxes' uids can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="lockgate-demo-"))
    folder.chmod(0o711)
    return folder / "home"
