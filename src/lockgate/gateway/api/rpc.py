"""One MCP message per POST: checks the JSON-RPC envelope and its headers and hands the parsed message to the SDK's server kernel.

It stands where the SDK's own HTTP transport would, because a gate must parse a body once and strictly: what was checked is what is dispatched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from mcp.server.connection import Connection
from mcp.server.lowlevel import Server
from mcp.server.runner import ServerRunner, modern_error_data
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    InboundLadderRejection,
    classify_inbound_request,
    decode_header_value,
    unsupported_protocol_version_rejection,
)
from mcp.shared.message import ServerMessageMetadata
from mcp_types import DEFAULT_NEGOTIATED_VERSION, PROTOCOL_VERSION_META_KEY
from mcp_types.jsonrpc import HEADER_MISMATCH, INVALID_PARAMS
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.types import Scope

from lockgate.gateway.api.answers import INVALID_REQUEST, rpc_error
from lockgate.gateway.api.backchannel import Backchannel
from lockgate.gateway.api.exchange import Caller, Exchange
from lockgate.gateway.api.guard import header_values
from lockgate.gateway.api.line import ClientGone
from lockgate.gateway.errors import Refusal

_ROUTING: Final = (MCP_PROTOCOL_VERSION_HEADER, MCP_METHOD_HEADER, MCP_NAME_HEADER)
TASK_METHODS: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
REFUSED: Final = -32000
"""The code of a refusal outside a tool's result; its data say what was refused, why and the fix."""

MAX_ID: Final = 256
MAX_METHOD: Final = 128


class RpcFault(Exception):
    """The message is refused before dispatch, with a JSON-RPC error and an HTTP status."""

    def __init__(self, code: int, message: str, request_id: str | int | None = None, data: Any = None) -> None:
        super().__init__(message)
        self.status = ERROR_CODE_HTTP_STATUS.get(code, 400)
        self.document = rpc_error(request_id, code, message, data)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request is answered with: HTTP status and JSON-RPC document, None for a notification."""

    status: int
    document: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message that passed the envelope checks; `id` is None for a notification."""

    id: str | int | None
    method: str
    params: dict[str, Any] | None
    headers: dict[str, str]
    version: str
    modern: bool


def read_message(message: Any, scope: Scope) -> Inbound:
    """Check the envelope of a parsed body against JSON-RPC 2.0, the headers and the protocol version. Raises RpcFault."""
    if not isinstance(message, dict):
        raise RpcFault(INVALID_REQUEST, "The body must be one JSON-RPC request or notification; batches are not taken.")
    request_id = _request_id(message)
    method = message.get("method")
    if message.get("jsonrpc") != "2.0" or not isinstance(method, str) or not 0 < len(method) <= MAX_METHOD:
        raise RpcFault(INVALID_REQUEST, 'The body must have "jsonrpc": "2.0" and a method.', request_id)
    unknown = sorted(set(message) - {"jsonrpc", "id", "method", "params"})
    if unknown:
        raise RpcFault(INVALID_REQUEST, f"{unknown[0][:64]!r} is no member of a JSON-RPC request.", request_id)
    params = message.get("params")
    if params is not None and not isinstance(params, dict):
        raise RpcFault(INVALID_REQUEST, "params must be an object.", request_id)
    if method == "tools/call":
        _check_call(params or {}, request_id)
    headers = _routing_headers(scope, request_id)
    version = headers.get(MCP_PROTOCOL_VERSION_HEADER, DEFAULT_NEGOTIATED_VERSION)
    modern = version not in HANDSHAKE_PROTOCOL_VERSIONS or _has_modern_envelope(params)
    inbound = Inbound(request_id, method, params, headers, version, modern)
    if request_id is None:
        _check_notification(inbound)
    elif not modern:
        _check_legacy_headers(inbound)
    elif method in TASK_METHODS:
        _check_task_name(inbound)
    return inbound


def _request_id(message: dict[str, Any]) -> str | int | None:
    if "id" not in message:
        return None
    request_id = message["id"]
    if type(request_id) is int or (isinstance(request_id, str) and len(request_id) <= MAX_ID):
        return request_id
    raise RpcFault(INVALID_REQUEST, f"id must be an integer or a string of at most {MAX_ID} characters.")


def _check_call(params: dict[str, Any], request_id: str | int | None) -> None:
    """The SDK would refuse these too, but without naming the field."""
    if not isinstance(params.get("name"), str):
        raise RpcFault(INVALID_PARAMS, "params.name must be a string: the name of a tool.", request_id)
    if not isinstance(params.get("arguments", {}), dict):
        raise RpcFault(INVALID_PARAMS, "params.arguments must be an object.", request_id)


def _routing_headers(scope: Scope, request_id: str | int | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in _ROUTING:
        values = header_values(scope, name.encode())
        if len(values) > 1:
            raise RpcFault(HEADER_MISMATCH, f"The header {name} stands twice.", request_id)
        if values:
            found[name] = values[0].strip(" \t")
    return found


def _has_modern_envelope(params: dict[str, Any] | None) -> bool:
    meta = (params or {}).get("_meta")
    return isinstance(meta, dict) and PROTOCOL_VERSION_META_KEY in meta


def _check_notification(inbound: Inbound) -> None:
    if inbound.modern:
        _raise_rejection(unsupported_protocol_version_rejection(inbound.version), None)


def _check_task_name(inbound: Inbound) -> None:
    """tasks/* may leave out Mcp-Name, as SDKs in the field do; one that names another task is refused."""
    name = inbound.headers.get(MCP_NAME_HEADER)
    if name is not None and decode_header_value(name) != (inbound.params or {}).get("taskId"):
        raise RpcFault(HEADER_MISMATCH, "The header mcp-name does not match the body's taskId.", inbound.id)


def _check_legacy_headers(inbound: Inbound) -> None:
    """Before 2026-07-28 these headers are not demanded, but one that contradicts the body is never accepted."""
    method = inbound.headers.get(MCP_METHOD_HEADER)
    if method is not None and method != inbound.method:
        raise RpcFault(HEADER_MISMATCH, "The header mcp-method does not match the body's method.", inbound.id)
    name = inbound.headers.get(MCP_NAME_HEADER)
    key = NAME_BEARING_METHODS.get(inbound.method)
    if name is not None and (key is None or decode_header_value(name) != (inbound.params or {}).get(key)):
        raise RpcFault(HEADER_MISMATCH, "The header mcp-name does not match the body's name.", inbound.id)


def _raise_rejection(rejection: InboundLadderRejection | None, request_id: str | int | None) -> None:
    if rejection is not None:
        raise RpcFault(rejection.code, rejection.message, request_id, rejection.data)


async def dispatch(
    server: Server[Any], inbound: Inbound, caller: Caller, backchannel: Backchannel | None = None
) -> Reply:
    """Run one request through the SDK's kernel. `backchannel` reaches clients of the older protocols alone. Raises RpcFault."""
    if inbound.id is None:
        raise ValueError("a notification is not dispatched")
    connection = _connection(inbound)
    exchange = Exchange(
        inbound.id,
        ServerMessageMetadata(request_context=caller),
        caller,
        inbound.params,
        None if inbound.modern else backchannel,
    )
    try:
        result = await _served(server, connection, exchange, inbound)
    except ClientGone:
        raise
    except Refusal as refusal:
        return Reply(200, rpc_error(inbound.id, REFUSED, refusal.message, refusal.document()))
    except Exception as error:  # noqa: BLE001  (the boundary to the wire: the SDK logs what it does not know and answers -32603)
        fault = modern_error_data(error)
        status = ERROR_CODE_HTTP_STATUS.get(fault.code, 200) if inbound.modern else 200
        return Reply(status, rpc_error(inbound.id, fault.code, fault.message, fault.data))
    return Reply(200, {"jsonrpc": "2.0", "id": inbound.id, "result": result})


async def _served(server: Server[Any], connection: Connection, exchange: Exchange, inbound: Inbound) -> dict[str, Any]:
    """The SDK's `serve_one` without its shield around the end of a connection: nothing is put there that would have to be waited for."""
    kernel = ServerRunner(server, connection, {})
    on_request = kernel.on_request
    del kernel.on_request  # it keeps a method of itself: a cycle, and every call of a thousand waited for the collector
    try:
        return await on_request(exchange, inbound.method, inbound.params)
    finally:
        await connection.exit_stack.aclose()


def _connection(inbound: Inbound) -> Connection:
    if not inbound.modern:
        return Connection.from_envelope(inbound.version, None, None)
    body = {"method": inbound.method, "params": inbound.params}
    route = classify_inbound_request(body, headers=inbound.headers)
    if isinstance(route, InboundLadderRejection):
        raise RpcFault(route.code, route.message, inbound.id, route.data)
    return Connection.from_envelope(route.protocol_version, route.client_info, route.client_capabilities)
