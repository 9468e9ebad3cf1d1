"""How the suite's tools word their answers, each after its call was identified, decided and recorded like any other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mcp_types as types
from mcp.server.subscriptions import InMemorySubscriptionBus, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPError
from tests.conformance import content
from tests.conformance.content import ROOTS, form, result, sample, text

from lockgate.gateway.api.offers import Body, Context, Words
from lockgate.gateway.operations.model import Operation

Rounds = Callable[[types.CallToolRequestParams], dict[str, Any]]
OK = {"ok": {"type": "boolean"}}


def said(*parts: dict[str, Any], error: bool = False) -> Words:
    """A body that always says the same."""

    async def words(ctx: Context, params: types.CallToolRequestParams, operation: Operation) -> dict[str, Any]:
        return result(*parts, error=error)

    return words


async def greets(ctx: Context, params: types.CallToolRequestParams, operation: Operation) -> dict[str, Any]:
    """Answers at once, so it is never a task."""
    return result(text(f"Hello, {(params.arguments or {})['name']}!"))


async def logging(ctx: Context, params: types.CallToolRequestParams, operation: Operation) -> dict[str, Any]:
    """Three log messages on the way, for a client that wants any."""
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.session.send_log_message("info", line, related_request_id=ctx.request_id)
    return result(text("Logged three messages."))


async def progress(ctx: Context, params: types.CallToolRequestParams, operation: Operation) -> dict[str, Any]:
    """Progress on the way, for a client that gave a token."""
    for done in (0, 50, 100):
        await ctx.session.report_progress(done, 100)
    return result(text("Done in three steps."))


async def sampling(ctx: Context, params: types.CallToolRequestParams, operation: Operation) -> dict[str, Any]:
    """Ask the client's model, as the older protocols do."""
    message = types.SamplingMessage(
        role="user", content=types.TextContent(type="text", text=str((params.arguments or {})["prompt"]))
    )
    answer = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
    return result(text(f"LLM response: {answer.content}"))


def elicit(properties: dict[str, Any], required: list[str]) -> Words:
    """Ask the client's user, as the older protocols do."""

    async def words(ctx: Context, params: types.CallToolRequestParams, operation: Operation) -> dict[str, Any]:
        message = str((params.arguments or {}).get("message", "Please fill in the form."))
        schema = {"type": "object", "properties": properties, "required": required}
        answer = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
        return result(text(f"Elicitation completed: action={answer.action}, content={answer.content}"))

    return words


def rounds(plan: Rounds) -> Words:
    """Answer by what the client has brought along so far (2026-07-28)."""

    async def words(ctx: Context, params: types.CallToolRequestParams, operation: Operation) -> dict[str, Any]:
        return plan(params)

    return words


def needs(requests: dict[str, Any], state: str | None = None) -> dict[str, Any]:
    """An InputRequiredResult."""
    more = {} if state is None else {"requestState": state}
    return {"resultType": "input_required", "inputRequests": requests, **more}


def asking(requests: dict[str, Any], *, state: str | None = None) -> Words:
    """Ask for every input; done when all are there and, with `state`, when it came back too."""

    def plan(params: types.CallToolRequestParams) -> dict[str, Any]:
        brought = params.input_responses or {}
        if set(requests) <= set(brought) and (state is None or params.request_state == state):
            return result(text(f"Thank you for {', '.join(sorted(requests))}."))
        return needs(requests, state)

    return rounds(plan)


def multi_round(params: types.CallToolRequestParams) -> dict[str, Any]:
    """Two questions one after the other; the state says which was answered."""
    brought = params.input_responses or {}
    if params.request_state == "after-2" and "step2" in brought:
        return result(text("Both steps are done."))
    if params.request_state == "after-1" and "step1" in brought:
        return needs({"step2": form("Step 2: What is your favorite color?", color={"type": "string"})}, "after-2")
    return needs({"step1": form("Step 1: What is your name?", name={"type": "string"})}, "after-1")


async def capabilities(ctx: Context, params: types.CallToolRequestParams, operation: Operation) -> dict[str, Any]:
    """Ask only for what this client declared."""
    can = ctx.session.client_capabilities or types.ClientCapabilities()
    requests: dict[str, Any] = {}
    if can.sampling is not None:
        requests["sampled"] = sample("Say a word.", 10)
    if can.elicitation is not None:
        requests["asked"] = form("Say a word.", word={"type": "string"})
    if not requests:
        raise MCPError(code=types.INVALID_PARAMS, message="This client can be asked nothing.")
    return needs(requests)


def changing(bus: InMemorySubscriptionBus, event: ToolsListChanged | PromptsListChanged) -> Words:
    """Say that a list changed."""

    async def words(ctx: Context, params: types.CallToolRequestParams, operation: Operation) -> dict[str, Any]:
        await bus.publish(event)
        return result(text("Changed."))

    return words


NAME = {"user_name": form("What is your name?", name={"type": "string"})}


def bodies(bus: InMemorySubscriptionBus) -> dict[str, Body]:
    """By action, for those of the suite's catalog that the gateway does not answer itself."""
    all_words: dict[str, Words] = {
        "greet": greets,
        "test_simple_text": said(text("This is a simple text response for testing.")),
        "test_image_content": said(content.IMAGE),
        "test_audio_content": said(content.AUDIO),
        "test_embedded_resource": said(
            content.embedded("test://embedded-resource", "This is an embedded resource content.")
        ),
        "test_multiple_content_types": said(
            text("Multiple content types test:"),
            content.IMAGE,
            content.embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
        ),
        "test_error_handling": said(text("This tool intentionally returns an error for testing"), error=True),
        "test_tool_with_logging": logging,
        "test_logging_tool": logging,
        "test_tool_with_progress": progress,
        "test_streaming_elicitation": rounds(lambda _: needs(NAME)),
        "test_sampling": sampling,
        "test_elicitation": elicit(
            {"username": {"type": "string"}, "email": {"type": "string"}}, ["username", "email"]
        ),
        "test_elicitation_sep1034_defaults": elicit(content.DEFAULTS, []),
        "test_elicitation_sep1330_enums": elicit(content.ENUMS, []),
        "test_trigger_tool_change": changing(bus, ToolsListChanged()),
        "test_trigger_prompt_change": changing(bus, PromptsListChanged()),
        "test_input_required_result_elicitation": asking(NAME),
        "test_input_required_result_sampling": asking(
            {"capital_question": sample("What is the capital of France?", 100)}
        ),
        "test_input_required_result_list_roots": asking({"client_roots": ROOTS}),
        "test_input_required_result_request_state": asking({"confirm": form("Please confirm", **OK)}, state="asked"),
        "test_input_required_result_tampered_state": asking({"confirm": form("Please confirm", **OK)}, state="asked"),
        "test_input_required_result_multiple_inputs": asking(
            {**NAME, "greeting": sample("Generate a greeting", 50), "client_roots": ROOTS}, state="asked"
        ),
        "test_input_required_result_multi_round": rounds(multi_round),
        "test_input_required_result_capabilities": capabilities,
    }
    found = {name: Body(words) for name, words in all_words.items()}
    sampler = types.ClientCapabilities(sampling=types.SamplingCapability())
    return {**found, "test_missing_capability": Body(said(text("Sampled.")), requires=sampler)}
