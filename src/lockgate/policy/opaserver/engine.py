"""The OPA server behind the PolicyEngine port. It believes an answer only if it names a revision that this gateway verified itself."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from lockgate.contract.decision import Decision, Question
from lockgate.policy.bundle import PolicyBundle
from lockgate.policy.case import Case, Writer, decision_id
from lockgate.policy.characters import require_whole_characters
from lockgate.policy.compile import entrypoint
from lockgate.policy.failure import EvaluationFailed
from lockgate.policy.needs import Needs
from lockgate.policy.opaserver.endpoint import Dialer
from lockgate.policy.opaserver.pool import Pool, PoolClosed, PoolFull
from lockgate.policy.opaserver.reading import REVISION, UNAVAILABLE, Answer, read
from lockgate.policy.output import read_output
from lockgate.policy.schemas import DocumentRefused
from lockgate.wire.response import ResponseFault

MAX_PINNED: Final = 4
"""Revisions pinned at once: the one that answers, and those that OPA is about to take up."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A verified bundle, what a document for it must hold, and until when it may still answer: it has a successor then (None: it has none)."""

    bundle: PolicyBundle
    needs: Needs
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """`deadline` is seconds for one whole decision, waiting for a connection included; `connections` and `waiting` bound the pool.

    `takeover` is seconds for which a revision may still answer after the next one was pinned.
    """

    deadline: float = 1.0
    takeover: float = 180.0
    connections: int = 8
    waiting: int = 256
    input_bytes: int = 16 << 20
    output_bytes: int = 1 << 20


class OpaServer:
    """Asks one OPA. The first revision is that of `bundle`; `expect` pins the next, which is current from its first answer on.

    Each decision names the revision that answered it, and carries that revision's texts. A question that was under way while OPA took up the
    next revision may still be answered under the one before; one that is asked afterwards may not.
    """

    def __init__(
        self,
        bundle: PolicyBundle,
        dialer: Dialer,
        settings: ServerSettings | None = None,
        *,
        look: Callable[[], Awaitable[None]] | None = None,
        new_id: Callable[[], str] = decision_id,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Connects to nothing yet: an OPA that is not there now may be there when it is asked.

        `look` has whoever verifies bundles look for a newer one now: OPA may have been told of it first.
        """
        self._settings = settings or ServerSettings()
        self._pool = Pool(dialer, connections=self._settings.connections, waiting=self._settings.waiting)
        self._writer, self._clock_ns = Writer(new_id, clock_ns), clock_ns
        self._look = look
        self._looking: asyncio.Future[None] | None = None
        self._pinning = threading.Lock()  # bundles are verified in a thread of their own
        self._pinned = {bundle.revision: Pinned(bundle, bundle.needs)}
        self._name = "opa"
        host = dialer.endpoint.authority
        self._heads = {
            question: (
                f"POST /v1/data/{entrypoint(question)}?provenance=true HTTP/1.1\r\n"
                f"host: {host}\r\ncontent-type: application/json\r\naccept: application/json\r\ncontent-length: "
            ).encode()
            for question in Question
        }

    @property
    def name(self) -> str:
        """`opa/VERSION`, or `opa` before its first answer."""
        return self._name

    @property
    def revision(self) -> str:
        """That of the last answer, or of the bundle this began with."""
        return next(iter(self._pinned))

    @property
    def bundle(self) -> PolicyBundle:
        """See PolicyEngine.bundle: that of `revision`."""
        return self._pinned[self.revision].bundle

    @property
    def needs(self) -> Needs:
        """See PolicyEngine.needs: those of `revision`."""
        return self._pinned[self.revision].needs

    @property
    def expected(self) -> str | None:
        """The newest revision that OPA has not answered with yet."""
        newest = next(reversed(self._pinned))
        return None if newest == self.revision else newest

    def expect(self, bundle: PolicyBundle) -> None:
        """Pin another revision, verified by the caller, that OPA is about to take up. From any thread."""
        with self._pinning:
            until = self._clock_ns() + int(self._settings.takeover * 1e9)
            pinned = {
                name: pin if pin.until_ns is not None else replace(pin, until_ns=until)
                for name, pin in self._pinned.items()
                if name != bundle.revision or name == self.revision
            }
            pinned[bundle.revision] = Pinned(bundle, bundle.needs)
            while len(pinned) > MAX_PINNED:
                pinned.pop(list(pinned)[1])  # never the current one
            self._pinned = pinned

    async def decide(self, question: Question, document: Mapping[str, Any]) -> Decision:
        """See PolicyEngine.decide: never raises for policy, engine or document."""
        case, revision = self._writer.begin(question), self.revision
        pinned = self._pinned  # what may answer this question, whatever happens meanwhile
        try:
            case = case.encoded(document)
            case.require_fit(document)
            require_whole_characters(document, case.document)
            answer, spoke = await self._answered(case, pinned)
            revision = answer.revision
            if not spoke.needs.same_as(next(iter(pinned.values())).needs):
                raise EvaluationFailed(REVISION, "OPA took up a policy that wants to be told more; ask again")
            if not answer.defined:
                raise EvaluationFailed("lockgate.engine.undefined", f"{entrypoint(question)} is undefined")
            said = read_output(answer.value, spoke.bundle.rules)
            return self._writer.answer(case, said, revision=revision, engine=self._name)
        except EvaluationFailed as failed:
            rule, detail = failed.rule, failed.detail
        except DocumentRefused as refused:
            rule, detail = "lockgate.engine.input", str(refused)
        return self._writer.denied(case, rule, detail, revision=revision, engine=self._name)

    async def close(self) -> None:
        """See PolicyEngine.close."""
        self._pool.close()

    async def _answered(self, case: Case, pinned: Mapping[str, Pinned]) -> tuple[Answer, Pinned]:
        """The answer and the revision that gave it, within the deadline. Raises EvaluationFailed."""
        if len(case.document) > self._settings.input_bytes:
            raise EvaluationFailed("lockgate.engine.input_size")
        body = b'{"input":' + case.document + b"}"
        request = self._heads[case.question] + b"%d\r\n\r\n" % len(body) + body
        try:
            async with asyncio.timeout(self._settings.deadline):
                answer = read(await self._pool.ask(request))
                return answer, await self._believe(answer, pinned)
        except TimeoutError:
            raise EvaluationFailed("lockgate.engine.timeout") from None
        except PoolFull:
            raise EvaluationFailed("lockgate.engine.busy") from None
        except PoolClosed:
            raise EvaluationFailed(UNAVAILABLE, "the engine is closed") from None
        except ssl.SSLError as error:
            # In TLS 1.3 a certificate of ours that OPA does not take shows only when the answer is read.
            raise EvaluationFailed(UNAVAILABLE, f"TLS with OPA failed: {error.reason or 'closed'}") from None
        except ResponseFault as fault:
            raise EvaluationFailed("lockgate.engine.output", str(fault)) from None
        except OSError as error:
            raise EvaluationFailed(UNAVAILABLE, f"OPA cannot be reached: {type(error).__name__}") from None

    async def _believe(self, answer: Answer, pinned: Mapping[str, Pinned]) -> Pinned:
        """The revision that answered, if it was pinned when the question was asked, or has been since."""
        spoke = pinned.get(answer.revision, self._pinned.get(answer.revision))
        if spoke is None and self._look is not None:
            await self._look_for(answer.revision, self._look)
            spoke = self._pinned.get(answer.revision)
        if spoke is None:
            raise EvaluationFailed(REVISION, "OPA answered under a policy that is not the verified one")
        now = self._pinned.get(answer.revision, spoke)
        if now.until_ns is not None and self._clock_ns() > now.until_ns:
            raise EvaluationFailed(REVISION, "OPA has not taken up the policy that is in force here")
        self._name = f"opa/{answer.version}"
        self._advance(answer.revision)
        return spoke

    async def _look_for(self, revision: str, look: Callable[[], Awaitable[None]]) -> None:
        """One look for all who wait. It goes on when those who wait give up: one that was cut short could lose the bundle that it had found."""
        for _ in range(2):
            under_way = self._looking is not None and not self._looking.done()
            if self._looking is None or not under_way:
                self._looking = asyncio.ensure_future(look())
            await asyncio.shield(self._looking)
            if revision in self._pinned or not under_way:
                return  # else that look may have begun before there was anything to find

    def _advance(self, revision: str) -> None:
        """What was pinned before the revision that answered is no longer: OPA does not go back on its own, but to what was verified last."""
        if revision == self.revision:
            return
        with self._pinning:
            names = list(self._pinned)
            if revision in names:
                before, rest = names[: names.index(revision)], names[names.index(revision) :]
                latest = [name for name in before if self._pinned[name].until_ns is None]
                self._pinned = {name: self._pinned[name] for name in (*rest, *latest)}
