"""The official client against /mcp, in both protocols."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent
from tests.unit.gateway.api.memorydoor import HIDDEN, OTHER
from tests.unit.gateway.api.serving import Served

pytestmark = pytest.mark.parametrize("mode", ["auto", "legacy"])


@asynccontextmanager
async def agent(served: Served, mode: str) -> AsyncIterator[Client]:
    async with (
        served.client() as http,
        Client(streamable_http_client(served.url + "/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def test_both_protocols_are_spoken_at_one_url(served: Served, mode: str) -> None:
    async with agent(served, mode) as client:
        assert client.protocol_version == ("2026-07-28" if mode == "auto" else "2025-11-25")
        assert client.server_info and client.server_info.name == "lockgate"


async def test_tools_are_listed_by_name_with_hints_and_schemas(served: Served, mode: str) -> None:
    async with agent(served, mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == [
        "deploy", "forbidden", "status", "wipe",
        "lockgate_get_operation", "lockgate_explain", "lockgate_cancel_operation", "lockgate_apply_plan",
    ]  # fmt: skip
    assert tools["wipe"].annotations and tools["wipe"].annotations.destructive_hint is True
    assert tools["status"].annotations and tools["status"].annotations.read_only_hint is True
    assert tools["deploy"].annotations and tools["deploy"].annotations.destructive_hint is False
    assert "reason" in tools["deploy"].input_schema["required"]
    assert all(tool.output_schema and tool.input_schema["additionalProperties"] is False for tool in tools.values())


async def test_a_call_answers_operation_status_and_the_next_call(served: Served, mode: str) -> None:
    async with agent(served, mode) as client:
        result = await client.call_tool("deploy", {"target": "web-1", "reason": "because"})
        view = result.structured_content
        assert (view["operation_id"], view["status"], view["phase"], result.is_error) == (
            "op_1",
            "queued",
            "plan",
            False,
        )
        assert view["next"]["tool"] == "lockgate_get_operation"
        again = await client.call_tool(view["next"]["tool"], view["next"]["arguments"])
        assert again.structured_content["operation_id"] == "op_1"
    who, call = served.door.calls[0]
    assert (who.subject, call.arguments) == ("agent-1", {"target": "web-1", "reason": "because"})
    assert call.size > 50


async def test_a_denial_is_a_result_with_rules_fix_and_decision(served: Served, mode: str) -> None:
    async with agent(served, mode) as client:
        result = await client.call_tool("forbidden", {"target": "web-1"})
    view = result.structured_content
    assert result.is_error and view["status"] == "denied" and view["decision_id"] == "dec_1"
    assert view["rules"][0]["rule"] == "lockgate.rbac" and view["fix"] == "Ask for the role operator."
    assert isinstance(result.content[0], TextContent) and "lockgate.rbac" in result.content[0].text


async def test_no_such_tool_is_a_protocol_error(served: Served, mode: str) -> None:
    async with agent(served, mode) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("nothing", {})
    assert caught.value.error.code == -32602
    assert caught.value.error.data["code"] == "unknown_action"


async def test_a_refused_argument_names_the_field(served: Served, mode: str) -> None:
    async with agent(served, mode) as client:
        result = await client.call_tool("picky", {"count": "x"})
        helper = await client.call_tool("lockgate_get_operation", {"operation_id": 5, "more": 1})
    assert result.is_error and result.structured_content["error"]["field"] == "/count"
    assert helper.is_error and helper.structured_content["error"]["code"] == "bad_input"
    assert helper.structured_content["error"]["field"] in ("/operation_id", "/more")


async def test_an_agent_sees_no_threshold(served: Served, mode: str) -> None:
    async with agent(served, mode) as client:
        result = await client.call_tool("wipe", {"target": "web-1"})
    assert result.structured_content["status"] == "pending_approval"
    assert result.structured_content["plan"]["summary"] == {"create": 1, "update": 2, "delete": 0, "replace": 0}
    assert HIDDEN not in result.model_dump_json() and "obligations" not in result.model_dump_json()


async def test_a_dry_run_leads_to_apply_plan(served: Served, mode: str) -> None:
    async with agent(served, mode) as client:
        planned = (await client.call_tool("deploy", {"target": "web-1", "dry_run": True})).structured_content
        following = planned["next"]
        assert following["tool"] == "lockgate_apply_plan" and following["arguments"]["semantic_sha256"] == OTHER
        arguments = {**following["arguments"], "reason": "as planned"}
        result = await client.call_tool("lockgate_apply_plan", arguments)
    assert result.structured_content["status"] == "queued"


async def test_output_of_a_read_is_marked_untrusted_and_bounded(served: Served, mode: str) -> None:
    served.door.output = "x" * 100_000
    async with agent(served, mode) as client:
        output = (await client.call_tool("status", {"target": "web-1"})).structured_content["output"]
    assert output["untrusted"] is True and output["truncated"] is True and len(output["text"]) == 65536


async def test_an_inner_failure_leaks_nothing(served: Served, mode: str) -> None:
    async with agent(served, mode) as client:
        with pytest.raises(MCPError) as caught:
            await client.call_tool("broken", {})
    assert caught.value.error.code == -32603 and "inner detail" not in str(caught.value)


async def test_an_unknown_operation_is_an_error_result(served: Served, mode: str) -> None:
    async with agent(served, mode) as client:
        result = await client.call_tool("lockgate_cancel_operation", {"operation_id": "op_of_someone"})
    assert result.is_error and result.structured_content["error"]["code"] == "not_found"


async def test_a_denial_says_that_repeating_does_not_help_and_leads_to_its_explanation(
    served: Served, mode: str
) -> None:
    async with agent(served, mode) as client:
        denied = (await client.call_tool("forbidden", {"target": "web-1", "reason": "because"})).structured_content
        assert denied["retry"]["helps"] is False
        explained = await client.call_tool(denied["next"]["tool"], denied["next"]["arguments"])
    assert explained.is_error is False
    assert explained.structured_content["status"] == "denied"
    assert explained.structured_content["story"] == [{"at": 1, "what": "operation.requested", "said": "Asked."}]
    assert isinstance(explained.content[0], TextContent) and "1970-01-01T00:00:00Z Asked." in explained.content[0].text


async def test_a_call_refused_for_now_names_itself_as_the_next_call(served: Served, mode: str) -> None:
    asked = {"target": "web-1", "reason": "because"}
    async with agent(served, mode) as client:
        view = (await client.call_tool("busy", asked)).structured_content
    assert (view["retry"]["helps"], view["retry"]["after_seconds"]) == (True, 2.0)
    assert view["next"] == {"tool": "busy", "arguments": asked, "after_seconds": 2.0}


async def test_a_call_refused_for_its_arguments_says_that_it_must_be_corrected(served: Served, mode: str) -> None:
    async with agent(served, mode) as client:
        view = (await client.call_tool("picky", {"target": "web-1", "reason": "because"})).structured_content
    assert view["retry"]["helps"] is False and "error.fix" in view["retry"]["how"]
    assert view["next"] is None and view["error"]["fix"]


@pytest.mark.parametrize("arguments", [{}, {"operation_id": ""}, {"operation_id": "op_1", "verbose": True}])
async def test_explain_takes_an_operation_id_and_nothing_else(
    served: Served, mode: str, arguments: dict[str, object]
) -> None:
    async with agent(served, mode) as client:
        result = await client.call_tool("lockgate_explain", arguments)
    assert result.is_error and result.structured_content["error"]["code"] == "bad_input"
