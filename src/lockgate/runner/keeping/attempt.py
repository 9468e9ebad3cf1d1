"""What one attempt keeps and is lent: its plan file, its target's state. Stages ask here and need not know who has either; it must not skip a check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import structlog

from lockgate.artifacts.directory import sha256_of
from lockgate.artifacts.errors import ArtifactDamaged, ArtifactMissing
from lockgate.contract import jobchannel
from lockgate.contract.grant import Grant
from lockgate.contract.intent import Phase
from lockgate.contract.state import StateMark
from lockgate.runner.keeping.handing import HandedOut, at_home, hand_out, take_back
from lockgate.runner.keeping.port import ArtifactStore
from lockgate.runner.keeping.states import KeptState, StateKeeper, StateRefused
from lockgate.runner.sandbox.port import InjectedFile

T = TypeVar("T")
LOG = structlog.get_logger("lockgate.runner")
LENT: Final = "lent"
_PRESENT: Final = f"{jobchannel.SANDBOX_STATE}/.kept-by-the-runner"


class NotKept(Exception):
    """What the attempt needs is not kept here, or is not what it should be. The text names it; nothing was applied."""


@dataclass(slots=True)
class Keeping:
    """One attempt's. `exact`: a plan file is applied. `keeps_state`: the runner keeps the target's state, whose newest version is `state`.

    `trouble` says why the state an apply left could not be taken; nobody can then know what holds (TRUST §5).
    """

    artifacts: ArtifactStore
    states: StateKeeper
    grant: Grant
    target: str
    exact: bool
    keeps_state: bool
    workspace: Path
    state: KeptState | None = None
    trouble: str = ""
    _lent: HandedOut | None = field(default=None, repr=False)

    @property
    def mark(self) -> StateMark | None:
        """Lineage and serial of the state as it is kept now."""
        return self.state.mark if self.state is not None else None

    async def open(self) -> None:
        """Read the newest state, where the runner keeps it; for an apply see that all it will need can be had. Raises NotKept.

        An apply, and a look at what an unknown one left, are refused as long as the state is lent: what is kept is not what holds.
        """
        applying = self.grant.phase is Phase.APPLY
        if self.keeps_state:
            read = at_home if self.grant.phase in (Phase.APPLY, Phase.VERIFY) else StateKeeper.current
            self.state = await _asked(lambda: read(self.states, self.grant.tenant, self.target))
        if applying:
            await self.approved_plan()

    async def keep_plan(self, data: bytes) -> None:
        """Keep a plan file for its operation's apply, durably. Raises NotKept."""
        await _asked(lambda: self.artifacts.put(self._plan_names(), data))

    async def approved_plan(self) -> bytes | None:
        """The plan file an apply grant names: decrypted and hashed now, whatever was believed before (invariant 3); None where inputs are applied.

        Raises NotKept.
        """
        if not self.exact:
            return None
        digest = self._named()
        data = await _asked(lambda: self.artifacts.get(self._plan_names(), digest))
        if sha256_of(data) != digest:
            raise NotKept(f"plan.file_sha256: what is kept is not the approved plan file {digest}")
        return data

    async def forget_plan(self) -> None:
        """Destroy the plan file of an apply that was started: it is used once, whatever came of it."""
        if not self.exact:
            return
        digest = self._named()
        try:
            await _asked(lambda: self.artifacts.destroy(self._plan_names(), digest))
        except NotKept as error:
            LOG.error("plan file not destroyed; the sweep will", attempt=self.grant.attempt, error=str(error))

    def state_files(self) -> list[InjectedFile]:
        """The kept state as read-only files in memory; the directory is there also before the first version."""
        if not self.keeps_state:
            return []
        files = [InjectedFile(_PRESENT, b"")]
        return files if self.state is None else [*files, InjectedFile(jobchannel.SANDBOX_STATE_FILE, self.state.data)]

    async def lend_state(self) -> Path | None:
        """The file an apply may write its state to; None where the runner keeps none. Raises NotKept."""
        if not self.keeps_state:
            return None
        directory = self.workspace / LENT
        self._lent = await _asked(
            lambda: hand_out(self.states, self.grant.tenant, self.target, self.grant.attempt, directory)
        )
        return self._lent.file

    async def take_state_back(self, *, gone: bool) -> None:
        """Take what the apply left, whatever became of it; `gone`: its sandbox was proven gone. Says in `trouble` why it could not."""
        lent = self._lent
        if lent is None:
            return
        try:
            if not gone:
                raise NotKept(f"state: still in {lent.file}, as its sandbox is not proven gone")
            self.state = await _asked(lambda: take_back(self.states, lent))
            self._lent = None
        except NotKept as error:
            self.trouble = str(error)
            LOG.error("state", target=self.target, attempt=self.grant.attempt, error=self.trouble)

    def _named(self) -> str:
        if self.grant.plan is None:
            raise NotKept("plan: the grant names no plan")
        return self.grant.plan.file_sha256

    def _plan_names(self) -> tuple[str, ...]:
        return ("plan", self.grant.tenant, self.target, planned_by(self.grant))


def planned_by(grant: Grant) -> str:
    """The operation under which the plan was made: its own, but for one that applies an earlier plan."""
    return grant.plan.operation if grant.plan is not None else grant.operation


async def _asked(call: Callable[[], T]) -> T:
    """In a thread, as every keeper blocks. Raises NotKept for whatever a keeper says."""
    try:
        return await asyncio.to_thread(call)
    except ArtifactMissing as error:
        raise NotKept(
            f"plan.file_sha256: {error} by this runner (any more): ask again, and it is planned anew"
        ) from None
    except ArtifactDamaged as error:
        raise NotKept(f"plan.file_sha256: {error}") from None
    except StateRefused as error:
        raise NotKept(str(error)) from None
    except (OSError, ValueError) as error:
        raise NotKept(f"state_dir: {error}") from None
