"""Pulls leases and runs attempts until told to drain; it must not take more than it may run, nor work for a log that was rewritten."""

from __future__ import annotations

import asyncio

import structlog

from lockgate.contract.codec import DocumentError, from_document, to_document
from lockgate.contract.dsse import EnvelopeError
from lockgate.contract.grant import read_grant
from lockgate.contract.runnerapi import LeaseAnswer, LeaseOffer, LeaseRequest
from lockgate.contract.signed import envelope_sha256
from lockgate.runner.acceptance import Accepted, GrantRefused, accept
from lockgate.runner.equipment import drivers_served
from lockgate.runner.link import AttemptLink
from lockgate.runner.parts import Parts
from lockgate.runner.recovery import settle
from lockgate.runner.run import run_attempt
from lockgate.runner.sandbox.port import SandboxUnavailable
from lockgate.runner.settings import TargetSettings
from lockgate.runner.witness import LogInconsistent, advance
from lockgate.wire.client import GatewayRefused, GatewayUnavailable

LOG = structlog.get_logger("lockgate.runner")
POLL_SECONDS = 20
BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
LOOK_MS = 15_000
"""How often what could not be proven gone is looked for again."""


class RunnerLoop:
    """One runner's work. `run` returns after `drain`, when the last attempt has ended."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._draining = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()
        self._working: set[str] = set()
        self._poll_id = ""
        self.leased = 0

    def drain(self) -> None:
        """Take no more leases; finish what is running. A second call changes nothing."""
        self._draining.set()

    async def run(self) -> None:
        """Until drained. Raises LogInconsistent (after the running attempts have ended) and then takes no more work."""
        failures = 0
        settling = asyncio.create_task(self._keep_settling())
        try:
            while not self._draining.is_set():
                if len(self._attempts) >= self._parts.settings.max_attempts:
                    await self._any_ended()
                    continue
                try:
                    await self._unless_draining(self._poll())
                    failures = 0
                except (GatewayUnavailable, GatewayRefused) as error:
                    failures += 1
                    pause = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1]
                    LOG.warning("gateway", error=str(error), retry_in=pause)
                    await self._unless_draining(asyncio.sleep(pause))
                if settling.done():
                    settling.result()  # a journal that cannot be written any more: take no more work
        finally:
            settling.cancel()
            await self._finish()

    async def _keep_settling(self) -> None:
        """What an attempt of this process left open is settled while the process lives: its receipt holds the target's lock.

        A receipt that did not reach the gateway is sent again; an attempt that broke is ended as the next start would; what could not be proven gone is
        looked for until it is, and then told. Raises JournalError.
        """
        failures, look_at = 0, 0
        while True:
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            looking = self._parts.clock() >= look_at
            look_at = self._parts.clock() + LOOK_MS if looking else look_at
            left = [
                item
                for item in self._parts.journal.open_attempts
                if item.attempt not in self._working and (looking or not item.told)
            ]
            try:
                settled = await settle(self._parts, left, {})
            except SandboxUnavailable as error:
                LOG.warning("settling", error=str(error))
                settled = 0
            failures = failures + 1 if settled < len(left) else 0

    async def _poll(self) -> None:
        parts = self._parts
        # The same poll until it is answered: a lease whose answer was lost on the way is given again, not left to run out.
        self._poll_id = self._poll_id or parts.random(16).hex()
        image = parts.settings.sandbox.image_digest
        request = LeaseRequest(self._poll_id, drivers_served(parts), POLL_SECONDS, parts.witness, image)
        try:
            answer = await parts.gateway.post("/runner/v1/lease", to_document(request), POLL_SECONDS + 15)
        except GatewayRefused as error:
            if error.said:
                self._poll_id = ""
            raise
        self._poll_id = ""
        try:
            lease = from_document(LeaseAnswer, answer)
        except DocumentError as error:
            raise GatewayRefused("bad_response", str(error)) from None
        parts.journal.witnessed(advance(parts.trust.keyset, parts.witness, lease))
        if lease.offer is not None:
            task = asyncio.create_task(self._attempt(lease.offer))
            self._attempts.add(task)
            task.add_done_callback(self._ended)
            self.leased += 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        """What nobody foresaw is said; the attempt stays open in the journal, its lease runs out, the next start settles it."""
        self._attempts.discard(task)
        if not task.cancelled() and task.exception() is not None:
            LOG.error("attempt broke", error=repr(task.exception()), exc_info=task.exception())

    async def _attempt(self, offer: LeaseOffer) -> None:
        accepted = await self._accepted(offer)
        if accepted is None:
            return
        attempt = accepted.grant.attempt
        link = AttemptLink(self._parts, accepted, offer.lease_seconds, asyncio.current_task())
        beats = asyncio.create_task(link.keep_alive())
        try:
            await run_attempt(self._parts, accepted, link)
        except SandboxUnavailable as error:
            await link.give_back(f"no sandbox: {error}")
        except (GatewayUnavailable, GatewayRefused) as error:
            # The line failed in the middle: the lease tells the gateway, the journal tells the next start.
            link.note(f"line lost: {error}")
        except asyncio.CancelledError:
            link.note("stopped")
        finally:
            beats.cancel()
            self._working.discard(attempt)

    async def _accepted(self, offer: LeaseOffer) -> Accepted | None:
        parts = self._parts
        try:
            accepted = accept(parts.settings, parts.trust.keyset, offer, parts.clock())
            if not parts.journal.first_sight(accepted.grant.attempt, accepted.envelope):
                raise GrantRefused("attempt: this grant was acted on before; a grant is used once")
        except GrantRefused as refused:
            await self._refuse_unaccepted(offer, refused.reason)
            return None
        self._working.add(accepted.grant.attempt)
        return accepted

    async def _refuse_unaccepted(self, offer: LeaseOffer, reason: str) -> None:
        LOG.warning("grant refused", reason=reason)
        try:
            grant = read_grant(offer.grant.encode(), self._parts.trust.keyset)
        except EnvelopeError:
            return
        nothing = TargetSettings(drivers=(grant.phase.value,), sources=())
        accepted = Accepted(grant, offer.grant, envelope_sha256(offer.grant.encode()), offer.work, nothing, 0)
        await AttemptLink(self._parts, accepted, 0, None).refuse(reason)

    async def _unless_draining(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        drained = asyncio.create_task(self._draining.wait())
        try:
            await asyncio.wait({task, drained}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            task.cancel()
            drained.cancel()

    async def _any_ended(self) -> None:
        await asyncio.wait(self._attempts, return_when=asyncio.FIRST_COMPLETED)

    async def _finish(self) -> None:
        if self._attempts:
            LOG.info("draining", attempts=len(self._attempts))
            await asyncio.gather(*self._attempts, return_exceptions=True)


__all__ = ["LogInconsistent", "RunnerLoop"]
