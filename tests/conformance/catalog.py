"""The catalog of the conformance run: one read action for each tool the suite calls, on one target; the policy library decides on each call."""

from __future__ import annotations

import json

_NONE: dict[str, object] = {"type": "object", "properties": {}}


_WORD = {"type": "string", "maxLength": 200}


def _text(*names: str) -> dict[str, object]:
    properties = dict.fromkeys(names, _WORD)
    return {"type": "object", "required": list(names), "properties": properties}


ACTIONS: dict[str, dict[str, object]] = {
    **dict.fromkeys(
        (
            "test_simple_text",
            "test_image_content",
            "test_audio_content",
            "test_embedded_resource",
            "test_multiple_content_types",
            "test_tool_with_logging",
            "test_error_handling",
            "test_tool_with_progress",
            "test_elicitation_sep1034_defaults",
            "test_elicitation_sep1330_enums",
            "test_missing_capability",
            "test_streaming_elicitation",
            "test_logging_tool",
            "test_trigger_tool_change",
            "test_trigger_prompt_change",
            "test_input_required_result_elicitation",
            "test_input_required_result_sampling",
            "test_input_required_result_list_roots",
            "test_input_required_result_request_state",
            "test_input_required_result_multiple_inputs",
            "test_input_required_result_multi_round",
            "test_input_required_result_tampered_state",
            "test_input_required_result_capabilities",
        ),
        _NONE,
    ),
    "test_sampling": _text("prompt"),
    "test_elicitation": _text("message"),
    "greet": _text("name"),
    "slow_compute": {
        "type": "object",
        "required": ["seconds"],
        "properties": {"seconds": {"type": "integer", "minimum": 0, "maximum": 60}, "label": _WORD},
    },
    "failing_job": _NONE,
}
"""Argument schema by action. The last two have no body: the gateway answers them itself, with tasks for who declares the extension."""

_TARGET = {
    "apiVersion": "lockgate/v1",
    "kind": "Target",
    "metadata": {"name": "bench", "labels": {"suite": "mcp"}},
    "spec": {
        "driver": "runbook",
        "source": "service",
        "environment": "dev",
        "region": "local",
        "settings": {"state_dir": "/target"},
    },
}


def _action(name: str, arguments: dict[str, object]) -> dict[str, object]:
    return {
        "apiVersion": "lockgate/v1",
        "kind": "Action",
        "metadata": {"name": name},
        "spec": {
            "title": name.replace("_", " ").capitalize(),
            "description": "A tool of the MCP conformance suite.",
            "effect": "read",
            "risk": "low",
            "targets": {"labels": {"suite": "mcp"}},
            "driver": "runbook",
            "entry": "status",
            "arguments": arguments,
            "variables": {name: name for name in arguments["properties"]},  # type: ignore[attr-defined]
        },
    }


def catalog() -> bytes:
    """The catalog file: YAML documents, each written as JSON."""
    documents = [*(_action(name, arguments) for name, arguments in ACTIONS.items()), _TARGET]
    return "\n---\n".join(json.dumps(document) for document in documents).encode()
