"""The humans' desk with what people ask about the policy itself: how much it denies, and what it would do if it were another. It must not change it."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import Any

from lockgate.contract.intent import Principal
from lockgate.gateway.budgets import in_use
from lockgate.gateway.errors import BadInput, Forbidden
from lockgate.gateway.friction import MAX_WINDOW_SECONDS, Window, measure
from lockgate.gateway.oversight import OPERATOR_TENANT, HumanDesk, is_operator
from lockgate.gateway.permitting import may_view
from lockgate.gateway.shadowing import Shadowing


class PolicyDesk(HumanDesk):
    """Implements the rest of gateway.doors.HumanDoor."""

    shadowing: Shadowing | None = None

    async def shadow(self, principal: Principal) -> dict[str, Any]:
        """See HumanDoor.shadow."""
        await may_view(self._core, principal)
        if not is_operator(principal):
            raise Forbidden(
                f"The shadow policy decides along for all tenants; its differences are for {OPERATOR_TENANT}."
            )
        return self.shadowing.document() if self.shadowing is not None else {"on": False, "error": None}

    async def friction(self, principal: Principal, window_seconds: int, collapse: bool) -> dict[str, Any]:
        """See HumanDoor.friction."""
        await may_view(self._core, principal)
        if not 1 <= window_seconds <= MAX_WINDOW_SECONDS:
            raise BadInput(f"must be 1 to {MAX_WINDOW_SECONDS}", field="window_seconds")
        now = self._core.clock()
        tenant = None if is_operator(principal) else principal.tenant
        # Up to and with this very millisecond.
        window = Window(now - window_seconds * 1000, now + 1, tenant, collapse)
        async with self._measuring:
            return (await measure(self._core.store, window)).document()

    @cached_property
    def _measuring(self) -> asyncio.Lock:
        """One report at a time: each may read half a million operations."""
        return asyncio.Lock()

    async def budgets(self, principal: Principal) -> tuple[dict[str, Any], ...]:
        """See HumanDoor.budgets."""
        await may_view(self._core, principal)
        return await in_use(self._core, principal.tenant)
