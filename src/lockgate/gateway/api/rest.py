"""The people's door: REST under /api/v1, one table of routes. Every route translates one call of the HumanDoor; none decides anything."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.types import Receive, Scope, Send

from lockgate.contract.codec import to_document
from lockgate.contract.intent import Principal
from lockgate.contract.shown import notices
from lockgate.gateway.api import models as m
from lockgate.gateway.api.answers import PROBLEM, Fault, problem, refusal_headers, send_json
from lockgate.gateway.api.authn import Doorkeeper
from lockgate.gateway.api.guard import check_json_type, parse_json, read_body, send_fault
from lockgate.gateway.api.settings import WebSettings
from lockgate.gateway.api.tools import OfferedAction
from lockgate.gateway.doors import Call, Details, HumanDoor, VoteCall
from lockgate.gateway.errors import NotFound, Refusal
from lockgate.gateway.operations.model import Operation
from lockgate.gateway.operations.readings import readings_notices, readings_view
from lockgate.gateway.operations.records import record_document
from lockgate.gateway.operations.states import State
from lockgate.gateway.operations.views import explanation_view, human_view, plan_view

PREFIX: Final = "/api/v1"
MAX_QUERY: Final = 4096
MAX_PATH_ID: Final = 128
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, checked: `path` holds the path's one parameter (or ""), `query` and `body` instances of the route's models."""

    door: HumanDoor
    principal: Principal
    path: str
    query: Any
    body: Any
    size: int


Result = tuple[int, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """A row of the table; `path` may hold one `{parameter}`. The OpenAPI document is made from these."""

    method: str
    path: str
    summary: str
    handler: Callable[[Asked], Awaitable[Result]]
    answer: type[BaseModel]
    body: type[BaseModel] | None = None
    query: type[BaseModel] = m.NoQuery
    status: int = 200


async def list_actions(asked: Asked) -> Result:
    """GET actions."""
    return 200, {"actions": [action_view(action) for action in await asked.door.actions(asked.principal)]}


def action_view(action: OfferedAction) -> dict[str, Any]:
    """An action as people see it."""
    return {
        "name": action.name,
        "title": action.title,
        "description": action.description,
        "effect": action.effect.value,
        "idempotent": action.idempotent,
        "arguments": action.tool_schema,
    }


async def new_operation(asked: Asked) -> Result:
    """POST operations: 201, or 403 with the operation when policy denied it."""
    body: m.NewOperation = asked.body
    operation = await asked.door.call(asked.principal, Call(body.action, body.arguments, asked.size))
    if operation.state is State.DENIED:
        return 403, denied(operation)
    return 201, human_view(operation)


def denied(operation: Operation) -> dict[str, Any]:
    """A denial as a problem; the denied operation stands in it."""
    view = human_view(operation)
    document = {
        "code": "denied",
        "message": operation.message or "Denied by policy; nothing has been changed.",
        "rules": view["reasons"],
        "decision_id": operation.decision,
        "operation": view,
    }
    fix = next((reason.fix for reason in operation.reasons if reason.fix), "")
    return problem(403, {**document, "fix": fix} if fix else document)


async def list_operations(asked: Asked) -> Result:
    """GET operations."""
    query: m.OperationQuery = asked.query
    known = {state.value for state in State}
    for state in query.state:
        if state not in known:
            raise Fault(
                400,
                "bad_input",
                f"There is no state {state[:32]!r}.",
                field="state",
                fix=f"One of: {', '.join(known)}.",
            )
    found = await asked.door.list(
        asked.principal, states=tuple(query.state), target=query.target, before=query.before, limit=query.limit
    )
    following = found[-1].id if len(found) == query.limit else None
    return 200, {"operations": [human_view(operation) for operation in found], "next_before": following}


async def get_operation(asked: Asked) -> Result:
    """GET operations/{id}."""
    query: m.WaitQuery = asked.query
    return 200, human_view(await asked.door.get(asked.principal, asked.path, query.wait_seconds))


async def get_details(asked: Asked) -> Result:
    """GET operations/{id}/details."""
    details = await asked.door.show(asked.principal, asked.path)
    # A plan may be long; looking through all of its text is not for the loop.
    return 200, await asyncio.to_thread(details_view, details)


def details_view(details: Details) -> dict[str, Any]:
    """Everything about one operation as a document."""
    document: dict[str, Any] = to_document(replace(details, decisions=()))
    document["decisions"] = [record_document(record) for record in details.decisions]
    document["operation"] = human_view(details.operation)
    document["readings"], said = _readings(details)
    document["notices"] = notices(details.plan, "plan") + said
    return document


def _readings(details: Details) -> tuple[list[dict[str, Any]], list[str]]:
    """What rules said, as it is shown, and what of it may deceive the eye (found before it was made visible)."""
    records = details.decisions
    said = [reading for record in records for reading in record.document.get("readings", ())]
    return readings_view(records), list(dict.fromkeys(readings_notices(said)))


async def get_explanation(asked: Asked) -> Result:
    """GET operations/{id}/explanation."""
    return 200, explanation_view(await asked.door.explain(asked.principal, asked.path))


async def get_plan(asked: Asked) -> Result:
    """GET operations/{id}/plan."""
    details = await asked.door.show(asked.principal, asked.path)
    record = details.operation.plan
    if record is None:
        raise NotFound("This operation has no plan (yet).", field="operation")
    found = await asyncio.to_thread(notices, details.plan, "plan")
    readings, said = _readings(details)
    shown = {"notices": found + said, "readings": readings, "plan": details.plan}
    return 200, {"operation_id": details.operation.id, **plan_view(record), **shown}


async def cancel(asked: Asked) -> Result:
    """POST operations/{id}/cancel."""
    return 200, human_view(await asked.door.cancel(asked.principal, asked.path))


async def vote(asked: Asked) -> Result:
    """POST operations/{id}/votes."""
    body: m.NewVote = asked.body
    digests = body.digests
    call = VoteCall(asked.path, body.verdict, digests.semantic_sha256, digests.inputs_sha256, body.comment)
    return 200, human_view(await asked.door.vote(asked.principal, call))


async def resolve(asked: Asked) -> Result:
    """POST operations/{id}/resolve."""
    body: m.Resolution = asked.body
    return 200, human_view(await asked.door.resolve(asked.principal, asked.path, body.outcome, body.reason))


async def list_targets(asked: Asked) -> Result:
    """GET targets."""
    return 200, {"targets": list(await asked.door.targets(asked.principal))}


async def list_locks(asked: Asked) -> Result:
    """GET locks."""
    return 200, {"locks": [to_document(lock) for lock in await asked.door.locks(asked.principal)]}


async def unlock(asked: Asked) -> Result:
    """POST targets/{name}/unlock."""
    body: m.Unlock = asked.body
    return 200, to_document(await asked.door.unlock(asked.principal, asked.path, body.reason))


async def freeze(asked: Asked) -> Result:
    """POST freezes."""
    body: m.Freeze = asked.body
    await asked.door.freeze(asked.principal, body.scope, body.frozen, body.reason)
    return 200, {"done": True}


async def revoke(asked: Asked) -> Result:
    """POST revocations."""
    body: m.NewRevocation = asked.body
    await asked.door.revoke(asked.principal, body.kind, body.subject, body.reason)
    return 201, {"done": True}


async def audit(asked: Asked) -> Result:
    """GET audit."""
    query: m.AuditQuery = asked.query
    entries = await asked.door.audit(asked.principal, query.since, query.limit, query.operation)
    following = entries[-1]["seq"] + 1 if len(entries) == query.limit else None
    return 200, {"entries": list(entries), "next_since": following}


async def checkpoint(asked: Asked) -> Result:
    """GET audit/checkpoint."""
    return 200, {"checkpoint": await asked.door.checkpoint(asked.principal)}


async def friction(asked: Asked) -> Result:
    """GET policy/friction."""
    query: m.FrictionQuery = asked.query
    return 200, await asked.door.friction(asked.principal, query.window_seconds, query.collapse)


async def shadow(asked: Asked) -> Result:
    """GET policy/shadow."""
    return 200, await asked.door.shadow(asked.principal)


async def budgets(asked: Asked) -> Result:
    """GET policy/budgets."""
    return 200, {"budgets": list(await asked.door.budgets(asked.principal))}


ROUTES: Final = (
    Route("GET", "/actions", "Actions you may ask for", list_actions, m.Actions),
    Route("POST", "/operations", "Ask for an action", new_operation, m.OperationDocument, m.NewOperation, status=201),
    Route("GET", "/operations", "List operations", list_operations, m.Operations, query=m.OperationQuery),
    Route("GET", "/operations/{id}", "One operation", get_operation, m.OperationDocument, query=m.WaitQuery),
    Route("GET", "/operations/{id}/details", "Everything about one operation", get_details, m.OperationDetails),
    Route("GET", "/operations/{id}/explanation", "Why it stands where it does", get_explanation, m.Explanation),
    Route("GET", "/operations/{id}/plan", "The plan to be approved", get_plan, m.PlanAnswer),
    Route("POST", "/operations/{id}/cancel", "Cancel an operation", cancel, m.OperationDocument, m.Empty),
    Route("POST", "/operations/{id}/votes", "Approve or reject", vote, m.OperationDocument, m.NewVote),
    Route(
        "POST", "/operations/{id}/resolve", "End an indeterminate operation", resolve, m.OperationDocument, m.Resolution
    ),
    Route("GET", "/targets", "Targets and their locks", list_targets, m.Targets),
    Route("GET", "/locks", "Held and quarantined locks", list_locks, m.Locks),
    Route("POST", "/targets/{name}/unlock", "Open a quarantined lock", unlock, m.LockDocument, m.Unlock),
    Route("POST", "/freezes", "Set or lift the kill switch", freeze, m.Done, m.Freeze),
    Route("POST", "/revocations", "Revoke a token or a principal", revoke, m.Done, m.NewRevocation, status=201),
    Route("GET", "/audit", "Audit entries", audit, m.AuditEntries, query=m.AuditQuery),
    Route("GET", "/audit/checkpoint", "A fresh signed checkpoint", checkpoint, m.Checkpoint),
    Route("GET", "/policy/budgets", "Who uses most of the budgets now", budgets, m.Budgets),
    Route("GET", "/policy/friction", "How much was denied", friction, m.FrictionReport, query=m.FrictionQuery),
    Route("GET", "/policy/shadow", "What the shadow policy would change", shadow, m.ShadowReport),
)
_PATTERNS: Final = tuple(
    (re.compile(re.sub(r"\{\w+\}", rf"([A-Za-z0-9._:-]{{1,{MAX_PATH_ID}}})", PREFIX + route.path)), route)
    for route in ROUTES
)


class RestEndpoint:
    """The ASGI app of /api/v1."""

    def __init__(self, door: HumanDoor, web: WebSettings, doorkeeper: Doorkeeper) -> None:
        self._door = door
        self._web = web
        self._doorkeeper = doorkeeper

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, document = await self._answer(scope, receive)
        except Fault as fault:
            await send_fault(send, fault)
        except Refusal as refusal:
            body = problem(refusal.status, refusal.document())
            await send_json(send, refusal.status, body, refusal_headers(refusal), PROBLEM)
        else:
            await send_json(send, status, document, (), PROBLEM if status >= 400 else b"application/json")

    async def _answer(self, scope: Scope, receive: Receive) -> Result:
        principal = self._doorkeeper.principal(scope)
        route, path = find_route(scope["method"], scope["path"])
        query = read_query(route.query, scope["query_string"])
        body, size = None, 0
        if route.body is not None:
            check_json_type(scope)
            data = await read_body(scope, receive, self._web.max_body, self._web.body_seconds)
            body, size = _validated(route.body, parse_json(data, self._web.max_body), "body"), len(data)
            # A body may take its time; what was revoked or expired meanwhile no longer counts.
            principal = self._doorkeeper.principal(scope)
        return await route.handler(Asked(self._door, principal, path, query, body, size))


def find_route(method: str, path: str) -> tuple[Route, str]:
    """The route and its path parameter. Raises Fault 404, or 405 naming what is allowed."""
    allowed = []
    for pattern, route in _PATTERNS:
        match = pattern.fullmatch(path)
        if match is not None:
            if route.method == method:
                return route, match.group(1) if match.groups() else ""
            allowed.append(route.method)
    if allowed:
        fault = Fault(405, "method_not_allowed", f"This path takes {' and '.join(allowed)}.")
        fault.headers = ((b"allow", ", ".join(allowed).encode()),)
        raise fault
    raise Fault(404, "not_found", "There is no such path in the API.", field="path", fix=f"See {PREFIX}/openapi.json.")


def read_query(model: type[M], query: bytes) -> M:
    """The query string as the route's model; a parameter that is no list may stand once. Raises Fault."""
    if len(query) > MAX_QUERY:
        raise Fault(414, "query_too_long", f"The query string is longer than {MAX_QUERY} bytes.", field="query")
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=32, errors="strict")
    except ValueError:
        raise Fault(400, "bad_input", "The query string is not percent-encoded UTF-8.", field="query") from None
    values: dict[str, Any] = {}
    for name, value in pairs:
        field = model.model_fields.get(name)
        if field is not None and isinstance(field.default, list):
            values.setdefault(name, []).append(value)
        elif name in values:
            raise Fault(400, "bad_input", "Stands twice in the query string.", field=name[:64])
        else:
            values[name] = value
    return _validated(model, values, "query")


def _validated(model: type[M], value: Any, where: str) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part)[:64] for part in first["loc"]) or where
        raise Fault(
            400, "bad_input", f"{field}: {first['msg']}.", field=field, fix=f"See {PREFIX}/openapi.json."
        ) from None
