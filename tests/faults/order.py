"""One operation as its people drive it: the agent's human asks and repeats, an approver votes on what is shown, an operator resolves by looking."""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.conftest import END_STATES
from tests.faults.plant import PATIENCE, Plant

REASON = "scale for the launch"
WANTED = 3
TROUBLES = (OSError, urllib.error.URLError, http.client.HTTPException, ValueError)
"""What a caller of a killed gateway sees: no connection, a cut one, half an answer."""


@dataclass
class Order:
    """One call with its idempotency key, followed to its end in a thread of its own."""

    plant: Plant
    service: str
    target: str = "web-prod"
    patience: float = PATIENCE
    id: str | None = None
    answers: list[str] = field(default_factory=list)
    final: dict[str, Any] | None = None
    resolved: str | None = None
    fault: str | None = None
    seen: dict[str, Any] = field(default_factory=dict)
    """The last answer that had a status in it."""

    def __post_init__(self) -> None:
        token = self.plant.deployment.token
        self._asker, self._voter = token("alice"), token("bob", roles=("approver",))
        self._admin = token("carol", roles=("admin",))
        self._pause = threading.Event()  # never set: the deadline ends this thread
        self._deadline = time.monotonic() + self.patience
        self._thread = threading.Thread(target=self._follow, daemon=True, name=self.service)

    def begin(self) -> Order:
        """Start to ask."""
        self._thread.start()
        return self

    def over(self) -> bool:
        """Whether it has come to its end."""
        return not self._thread.is_alive()

    def join(self) -> None:
        """Wait until it has come to its end, or given up."""
        self._thread.join()

    def result(self) -> dict[str, Any]:
        """Wait for the end."""
        self._thread.join(self.patience)
        assert self.final is not None, f"no end in {self.patience:g} s: {self.story()}\n{self.plant.logs()}"
        return self.final

    def story(self) -> str:
        """All that is known of it, in one line: CI shows one of a failure."""
        seen = self.final or self.seen
        where = "unasked" if not seen else f"{seen.get('status')}({seen.get('effect')}) in {seen.get('phase')}"
        waits, message = seen.get("waiting_for"), seen.get("message")
        lasts = "; ".join(
            f"{what.what} said last: {what.last_line()}" for what in (self.plant.runner, self.plant.gateway)
        )
        return (
            f"{self.service} {self.id} is {where}, waits for {waits}: {message!r}; applied {self.applies} times, resolved {self.resolved}, "
            f"trouble {self.fault}; {lasts}"
        )

    @property
    def applies(self) -> int:
        """How often the target was changed for it, as the target counts."""
        path = self.plant.deployment.targets[self.target] / f"{self.service}.applies"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def _follow(self) -> None:
        while self.final is None and time.monotonic() < self._deadline:
            try:
                document = self._look() if self.id else self._ask()
            except TROUBLES as error:
                self.fault = repr(error)
                document = {}
            status = document.get("status")
            self.seen = document if status else self.seen
            if status in END_STATES:
                self.final = document
            elif status == "pending_approval":
                self._try("votes", self._voter, self._vote(document))
            elif status == "indeterminate":
                self._resolve()
            self._pause.wait(0.05)

    def _ask(self) -> dict[str, Any]:
        arguments = {"service": self.service, "replicas": WANTED, "target": self.target, "reason": REASON}
        body = {"action": "set_replicas", "arguments": {**arguments, "idempotency_key": f"key-{self.service}"}}
        status, document = self.plant.deployment.rest("POST", "/api/v1/operations", self._asker, body)
        if status >= 300:
            self.fault = f"{status} {document}"
            return {}
        self.id = str(document.get("operation_id") or document["id"])
        self.answers.append(self.id)
        return dict(document)

    def _look(self) -> dict[str, Any]:
        path = f"/api/v1/operations/{self.id}?wait_seconds=1"
        status, document = self.plant.deployment.rest("GET", path, self._asker)
        self.fault = None if status == 200 else f"{status} {document}"
        return dict(document) if status == 200 else {}

    def _vote(self, document: dict[str, Any]) -> dict[str, Any]:
        shown = {name: document["plan"]["digests"][name] for name in ("semantic_sha256", "inputs_sha256")}
        return {"verdict": "approve", "digests": shown, "comment": ""}

    def _resolve(self) -> None:
        """An operator looks at the target, which is honest only once the writer is dead: until then the gateway refuses the word."""
        outcome = "succeeded" if self.applies else "failed_none"
        if self._try("resolve", self._admin, {"outcome": outcome, "reason": "I looked at the target"}):
            self.resolved = outcome

    def _try(self, what: str, token: str, body: dict[str, Any]) -> bool:
        try:
            status, document = self.plant.deployment.rest("POST", f"/api/v1/operations/{self.id}/{what}", token, body)
        except TROUBLES as error:
            self.fault = repr(error)
            return False
        self.fault = None if status < 300 else f"{what}: {status} {document}"
        return status < 300
