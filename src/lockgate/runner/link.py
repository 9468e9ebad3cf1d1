"""An attempt's line to the gateway: heartbeats, start, reports, receipt. It must not decide what a lost line means for the world."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from lockgate.contract.codec import DocumentError, from_document, to_document
from lockgate.contract.runnerapi import (
    Ack,
    CredentialNote,
    Heartbeat,
    HeartbeatAnswer,
    ReceiptNote,
    Report,
    StageReport,
    StartAnswer,
    StartRequest,
    Stop,
)
from lockgate.runner.acceptance import Accepted
from lockgate.runner.parts import Parts
from lockgate.wire.client import GatewayRefused, GatewayUnavailable

LOG = structlog.get_logger("lockgate.runner")
CALL_SECONDS = 15.0
REPORT_TRIES = 6


class AttemptLink:
    """One attempt's calls. `deadline` (CLOCK_BOOTTIME ms) is when the lease runs out unless a heartbeat moves it."""

    def __init__(self, parts: Parts, accepted: Accepted, lease_seconds: int, task: asyncio.Task[Any] | None) -> None:
        self._parts = parts
        self._accepted = accepted
        self._task = task
        self._committed = False
        self.fence = accepted.grant.fence
        self.deadline = parts.clock() + lease_seconds * 1000

    def note(self, message: str) -> None:
        """One log line about this attempt."""
        grant = self._accepted.grant
        LOG.info("attempt", operation=grant.operation, attempt=grant.attempt, phase=grant.phase.value, message=message)

    def point_of_no_return(self) -> None:
        """From now on the attempt is not stopped from outside: an apply that has begun is finished and reported, however late."""
        self._committed = True

    async def keep_alive(self) -> None:
        """Heartbeats until cancelled; stops the attempt when the gateway says so or the lease is over, unless it has begun to apply."""
        while True:
            left = (self.deadline - self._parts.clock()) / 1000
            await asyncio.sleep(max(0.5, left / 3))
            try:
                answer = await self._post("heartbeat", Heartbeat(self.fence), HeartbeatAnswer)
            except GatewayUnavailable:
                over = self._parts.clock() >= self.deadline
            except GatewayRefused as error:
                # Of what is not the gateway's own word the lease ends no sooner.
                over = error.said or self._parts.clock() >= self.deadline
            else:
                over = answer.cancel
                if answer.lease_seconds > 0:
                    self.deadline = self._parts.clock() + answer.lease_seconds * 1000
            if over and not self._committed and self._task is not None:
                self.note("stopped: cancelled, or the lease is over")
                self._task.cancel()
                return

    async def start(self, request: StartRequest) -> StartAnswer:
        """*Start*. Not repeated on silence: whether it was committed is then unknown, and only its own answer carries the permit."""
        answer: StartAnswer = await self._post("start", request, StartAnswer)
        return answer

    async def report(self, stages: tuple[StageReport, ...]) -> None:
        """Tell what happened, until the gateway has it or refuses it in its own words. Raises GatewayRefused; after the last try GatewayUnavailable, too."""
        for attempt in range(REPORT_TRIES):
            try:
                ack = await self._post("report", Report(self.fence, stages), Ack)
            except (GatewayUnavailable, GatewayRefused) as error:
                if attempt == REPORT_TRIES - 1 or (isinstance(error, GatewayRefused) and error.said):
                    raise
                asked = error.retry_after if isinstance(error, GatewayUnavailable) else None
                await asyncio.sleep(asked or min(2.0**attempt, 10.0))
            else:
                self.note(f"reported: {ack.state}")
                return

    async def credential(self, event: str, scope: str, accessor: str | None, expires_in: int | None) -> None:
        """Journal a credential's life with the gateway. Raises GatewayUnavailable, GatewayRefused."""
        await self._post("credential", CredentialNote(self.fence, event, scope, accessor, expires_in), Ack)

    async def try_credential(self, event: str, scope: str, accessor: str) -> None:
        """As `credential`, where the deed is done whether or not the gateway hears of it now: the receipt says it again."""
        try:
            await self.credential(event, scope, accessor, None)
        except (GatewayUnavailable, GatewayRefused) as error:
            self.note(f"credential {event} not journalled: {error}")

    async def try_receipt(self, receipt: str) -> bool:
        """Send the receipt; False leaves it in the journal for later."""
        try:
            await self._post("receipt", ReceiptNote(receipt), Ack)
        except (GatewayUnavailable, GatewayRefused) as error:
            self.note(f"receipt kept for later: {error}")
            return False
        return True

    async def refuse(self, reason: str) -> None:
        """Tell the gateway that this grant is not acceptable."""
        await self._stop("refuse", reason)

    async def give_back(self, reason: str) -> None:
        """Tell the gateway that it cannot be done here now."""
        await self._stop("give-back", reason)

    async def _stop(self, how: str, reason: str) -> None:
        self.note(f"{how}: {reason}")
        try:
            await self._post(how, Stop(self.fence, reason[:1000]), Ack)
        except (GatewayUnavailable, GatewayRefused) as error:
            self.note(f"{how} not delivered: {error}")

    async def _post(self, what: str, body: Any, kind: type[Any]) -> Any:
        path = f"/runner/v1/attempts/{self._accepted.grant.attempt}/{what}"
        answer = await self._parts.gateway.post(path, to_document(body), CALL_SECONDS)
        try:
            return from_document(kind, answer)
        except DocumentError as error:
            raise GatewayRefused("bad_response", str(error)) from None
