"""Puts the front doors together: the public app for agents and people, and the runner-facing app; it must not hold any logic of its own."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lockgate.gateway.api.answers import PROBLEM, Fault, encode, problem
from lockgate.gateway.api.authn import Doorkeeper, OnRefused, Verify, unheard
from lockgate.gateway.api.endpoint import McpEndpoint
from lockgate.gateway.api.guard import Guard
from lockgate.gateway.api.offers import NOTHING, Offers
from lockgate.gateway.api.openapi import openapi_document
from lockgate.gateway.api.rest import PREFIX, RestEndpoint
from lockgate.gateway.api.runner import runner_app
from lockgate.gateway.api.settings import AGENT_PATH, WebSettings
from lockgate.gateway.doors import HumanDoor
from lockgate.gateway.identity.challenge import metadata_path, resource_metadata
from lockgate.gateway.identity.port import Audience

__all__ = ["WebSettings", "public_app", "runner_app"]


def public_app(
    doors: HumanDoor, web: WebSettings, verify: Verify, refused: OnRefused = unheard, offers: Offers = NOTHING
) -> ASGIApp:
    """/mcp, /api/v1, RFC 9728 metadata, /healthz. `verify` raises `Unauthenticated`, and `refused` hears of it.

    `offers` adds MCP features behind the same doors.
    """
    agents = Doorkeeper(verify, Audience.AGENT, web.agent_resource, web.agent_scopes, refused)
    humans = Doorkeeper(verify, Audience.HUMAN, web.human_resource, web.human_scopes, refused)
    routes = [
        Route("/healthz", _health(doors), methods=["GET"]),
        *_metadata_routes(web),
        Route(f"{PREFIX}/openapi.json", _constant(openapi_document()), methods=["GET"]),
        Mount(PREFIX, RestEndpoint(doors, web, humans)),
    ]
    handlers: dict[Any, Any] = {404: _not_found, 405: _not_allowed, 500: _failed}
    inner = Starlette(routes=routes, exception_handlers=handlers)
    inner.router.redirect_slashes = False
    return Guard(_agents_first(McpEndpoint(doors, web, agents, offers), inner), web)


def _agents_first(agents: ASGIApp, others: ASGIApp) -> ASGIApp:
    """/mcp without Starlette's way through routes and handlers, which took a twentieth of a call; what fails inside is answered alike."""
    agents = ServerErrorMiddleware(agents, handler=_failed)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (agents if scope.get("path") == AGENT_PATH else others)(scope, receive, send)

    return app


def _metadata_routes(web: WebSettings) -> list[Route]:
    agent = resource_metadata(web.agent_resource, web.authorization_servers, web.agent_scopes)
    human = resource_metadata(web.human_resource, web.authorization_servers, web.human_scopes)
    # The bare path speaks for /mcp: MCP clients fall back to it.
    paths = {"/.well-known/oauth-protected-resource": agent}
    paths |= {metadata_path(web.agent_resource): agent, metadata_path(web.human_resource): human}
    return [Route(path, _constant(document), methods=["GET"]) for path, document in paths.items()]


def _constant(document: dict[str, Any]) -> Any:
    body = encode(document)

    async def answer(request: Request) -> Response:
        return Response(body, media_type="application/json")

    return answer


def _health(doors: HumanDoor) -> Any:
    async def answer(request: Request) -> Response:
        document = await doors.health()
        return Response(encode(document), 200 if document["ready"] else 503, media_type="application/json")

    return answer


async def _not_found(request: Request, error: Exception) -> Response:
    return _problem(Fault(404, "not_found", "There is nothing at this path.", field="path"))


async def _not_allowed(request: Request, error: Exception) -> Response:
    return _problem(Fault(405, "method_not_allowed", "This path does not take that method."))


async def _failed(request: Request, error: Exception) -> Response:
    message = "Lockgate failed to answer; whether something was recorded is unknown."
    return _problem(Fault(500, "internal", message, fix="Repeat the call with the same idempotency_key."))


def _problem(fault: Fault) -> Response:
    return Response(encode(problem(fault.status, fault.document())), fault.status, media_type=PROBLEM.decode())
