"""The suite's prompts, resources, completions and log levels."""

from __future__ import annotations

import json
import re
from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError
from tests.conformance import content
from tests.conformance.content import form, text

from lockgate.gateway.api.offers import Context, Handler

CACHED = {"ttlMs": 60_000, "cacheScope": "private", "resultType": "complete"}
DONE: dict[str, Any] = {}
CONTEXT = {"user_context": form("What context should the prompt use?", context={"type": "string"})}
PROMPTS: dict[str, tuple[str, ...]] = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
    "test_input_required_result_prompt": (),
}
RESOURCES = {
    "test://static-text": {"mimeType": "text/plain", "text": "This is the content of the static text resource."},
    "test://static-binary": {"mimeType": "image/png", "blob": content.PNG},
    "test://watched-resource": {"mimeType": "text/plain", "text": "Nothing has happened to it yet."},
}
TEMPLATE = "test://template/{id}/data"


async def list_prompts(ctx: Context, _: Any) -> dict[str, Any]:
    prompts = [
        {
            "name": name,
            "description": "A prompt of the MCP conformance suite.",
            "arguments": [{"name": argument, "required": True} for argument in arguments],
        }
        for name, arguments in PROMPTS.items()
    ]
    return {"prompts": prompts, **CACHED}


async def get_prompt(ctx: Context, params: types.GetPromptRequestParams) -> dict[str, Any]:
    given = params.arguments or {}
    if params.name not in PROMPTS or set(PROMPTS[params.name]) - set(given):
        raise MCPError(code=types.INVALID_PARAMS, message="There is no such prompt with these arguments.")
    parts: dict[str, list[dict[str, Any]]] = {
        "test_simple_prompt": [text("This is a simple prompt for testing.")],
        "test_prompt_with_arguments": [
            text(f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'")
        ],
        "test_prompt_with_embedded_resource": [
            content.embedded(given.get("resourceUri", ""), "Embedded resource content for testing."),
            text("Please process the embedded resource above."),
        ],
        "test_prompt_with_image": [content.IMAGE, text("Please analyze the image above.")],
        "test_input_required_result_prompt": [text("A prompt with the context that was given.")],
    }
    if params.name == "test_input_required_result_prompt" and "user_context" not in (params.input_responses or {}):
        return {"resultType": "input_required", "inputRequests": CONTEXT}
    messages = [{"role": "user", "content": part} for part in parts[params.name]]
    return {"messages": messages, "resultType": "complete"}


async def list_resources(ctx: Context, _: Any) -> dict[str, Any]:
    resources = [
        {
            "uri": uri,
            "name": uri.rpartition("/")[2],
            "description": "A resource of the suite.",
            "mimeType": it["mimeType"],
        }
        for uri, it in RESOURCES.items()
    ]
    return {"resources": resources, **CACHED}


async def list_templates(ctx: Context, _: Any) -> dict[str, Any]:
    found = {"uriTemplate": TEMPLATE, "name": "data", "description": "Data by id.", "mimeType": "application/json"}
    return {"resourceTemplates": [found], **CACHED}


async def read_resource(ctx: Context, params: types.ReadResourceRequestParams) -> dict[str, Any]:
    uri = str(params.uri)
    filled = re.fullmatch(r"test://template/([A-Za-z0-9-]{1,40})/data", uri)
    if filled:
        data = {"id": filled[1], "templateTest": True, "data": f"Data for ID: {filled[1]}"}
        return {"contents": [{"uri": uri, "mimeType": "application/json", "text": json.dumps(data)}], **CACHED}
    if uri not in RESOURCES:
        raise MCPError(code=types.INVALID_PARAMS, message="Resource not found", data={"uri": uri})
    return {"contents": [{"uri": uri, **RESOURCES[uri]}], **CACHED}


async def acknowledged(ctx: Context, _: Any) -> dict[str, Any]:
    """For what the older protocols subscribe to or set by session: each request here stands for itself, so there is nothing to keep."""
    return DONE


async def complete(ctx: Context, params: types.CompleteRequestParams) -> dict[str, Any]:
    known = [word for word in ("paris", "park", "party", "test") if word.startswith(params.argument.value)]
    completion = {"values": known, "total": len(known), "hasMore": False}
    return {"completion": completion, "resultType": "complete"}


FEATURES: dict[str, Handler] = {
    "prompts/list": list_prompts,
    "prompts/get": get_prompt,
    "resources/list": list_resources,
    "resources/templates/list": list_templates,
    "resources/read": read_resource,
    "resources/subscribe": acknowledged,
    "resources/unsubscribe": acknowledged,
    "logging/setLevel": acknowledged,
    "completion/complete": complete,
}
