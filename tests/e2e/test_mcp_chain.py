"""The whole chain with the official Python MCP client, over both protocol versions at one URL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

REASON = "the launch is tomorrow"
pytestmark = pytest.mark.parametrize("mode", ["auto", "legacy"])


@asynccontextmanager
async def connected(deployment: Any, mode: str, **token: Any) -> AsyncIterator[Client]:
    bearer = deployment.token("deploy-bot", "agent", **token)
    async with (
        httpx2.AsyncClient(headers={"authorization": f"Bearer {bearer}"}, timeout=300) as http,
        Client(streamable_http_client(deployment.url + "/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def finished(client: Client, view: dict[str, Any], *states: str) -> dict[str, Any]:
    """Follow `next` until the operation is in one of `states`."""
    async with asyncio.timeout(480):
        while view["status"] not in states:
            assert view["next"] is not None, view["message"]
            arguments = {"operation_id": view["operation_id"], "wait_seconds": 30}
            view = (await client.call_tool("lockgate_get_operation", arguments)).structured_content
    return view


async def test_ansible_change_is_planned_and_applied(deployment: Any, mode: str) -> None:
    message = f"hello {{{{ lookup('pipe', 'id') }}}} from {mode}"
    async with connected(deployment, mode) as client:
        assert client.protocol_version == ("2026-07-28" if mode == "auto" else "2025-11-25")
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert names[:2] == ["remove_motd", "service_status"] and "set_motd" in names
        arguments = {"target": "motd", "message": message, "reason": REASON, "wait_seconds": 60}
        result = await client.call_tool("set_motd", arguments)
        view = await finished(client, result.structured_content, "succeeded")
    assert view["effect"] == "full" and view["plan"]["fidelity"] == "predicted"
    assert (deployment.targets["motd"] / "motd").read_text() == message + "\n"


async def test_dry_run_then_apply_plan(deployment: Any, mode: str) -> None:
    service = f"dry-{mode}"
    state = deployment.targets["web-dev"] / f"{service}.replicas"
    async with connected(deployment, mode) as client:
        arguments = {"target": "web-dev", "service": service, "replicas": 4, "reason": REASON, "dry_run": True}
        planned = await finished(
            client, (await client.call_tool("set_replicas", arguments)).structured_content, "planned"
        )
        assert planned["plan"]["summary"]["create"] == 1 and not state.exists()
        apply = {
            "operation_id": planned["operation_id"],
            "semantic_sha256": planned["plan"]["digests"]["semantic_sha256"],
            "reason": REASON,
        }
        wrong = {**apply, "semantic_sha256": "sha256:" + "0" * 64}
        assert (await client.call_tool("lockgate_apply_plan", wrong)).is_error
        result = await client.call_tool("lockgate_apply_plan", apply)
        view = await finished(client, result.structured_content, "succeeded")
    assert view["operation_id"] != planned["operation_id"]
    assert state.read_text().strip() == "4"


async def test_a_second_identical_change_finds_nothing_to_do(deployment: Any, mode: str) -> None:
    async with connected(deployment, mode) as client:
        arguments = {
            "target": "web-dev",
            "service": f"same-{mode}",
            "replicas": 1,
            "reason": REASON,
            "wait_seconds": 60,
        }
        first = await client.call_tool("set_replicas", arguments)
        assert (await finished(client, first.structured_content, "succeeded"))["effect"] == "full"
        second = await client.call_tool("set_replicas", arguments)
        view = await finished(client, second.structured_content, "succeeded")
    assert view["effect"] == "none" and "Nothing to change" in view["message"]


async def test_one_key_is_one_operation(deployment: Any, mode: str) -> None:
    key = f"key-{mode}"
    async with connected(deployment, mode) as client:
        arguments = {
            "target": "web-dev",
            "service": f"key-{mode}",
            "replicas": 1,
            "reason": REASON,
            "idempotency_key": key,
        }
        first = (await client.call_tool("set_replicas", arguments)).structured_content
        second = (await client.call_tool("set_replicas", arguments)).structured_content
        assert first["operation_id"] == second["operation_id"]
        other = await client.call_tool("set_replicas", {**arguments, "replicas": 2})
        assert other.is_error and other.structured_content["error"]["field"] == "idempotency_key"


async def test_a_denial_names_rule_fix_and_decision_and_is_not_an_unknown_tool(deployment: Any, mode: str) -> None:
    async with connected(deployment, mode, roles=("nobody",)) as client:
        arguments = {"target": "web-dev", "service": "shop", "replicas": 1, "reason": REASON}
        result = await client.call_tool("set_replicas", arguments)
        view = result.structured_content
        assert result.is_error and view["status"] == "denied"
        assert view["decision_id"] and view["rules"][0]["rule"] and view["fix"]
        with pytest.raises(MCPError) as caught:
            await client.call_tool("no_such_tool", {})
    assert caught.value.error.code in (-32601, -32602)


async def test_someone_elses_operation_is_as_unknown_as_none(deployment: Any, mode: str) -> None:
    mine = deployment.ask(
        "set_replicas", "web-dev", {"service": f"mine-{mode}", "replicas": 1}, deployment.token("alice"), reason=REASON
    )
    async with connected(deployment, mode) as client:
        theirs = await client.call_tool("lockgate_get_operation", {"operation_id": mine["operation_id"]})
        none = await client.call_tool("lockgate_get_operation", {"operation_id": "op_" + "a" * 26})
    assert theirs.is_error and none.is_error
    assert theirs.structured_content == none.structured_content
