"""The OpenAPI 3.1 document of /api/v1, made from the route table and its models; it must not describe what is not served."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from lockgate import __version__
from lockgate.gateway.api.models import Problem
from lockgate.gateway.api.rest import PREFIX, ROUTES, Route

_REF: Final = "#/components/schemas/{model}"


@cache
def openapi_document() -> dict[str, Any]:
    """The whole document; the same for every caller."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Lockgate", "version": __version__, "summary": "For people and scripts; agents use /mcp."},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{"token": []}],
    }


def _schemas() -> dict[str, Any]:
    outgoing: set[type[BaseModel]] = {Problem, *(route.answer for route in ROUTES)}
    incoming = {route.body for route in ROUTES if route.body is not None}
    found: dict[str, Any] = {}
    for model_set, mode in ((incoming, "validation"), (outgoing, "serialization")):
        pairs = [(model, mode) for model in sorted(model_set, key=lambda item: item.__name__)]
        found |= models_json_schema(pairs, ref_template=_REF)[1]["$defs"]  # type: ignore[arg-type]
    return dict(sorted(found.items()))


def _operation(route: Route) -> dict[str, Any]:
    problem = {"description": "Refused", "content": {"application/problem+json": {"schema": _ref(Problem)}}}
    document: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": {
            str(route.status): {
                "description": (route.answer.__doc__ or "").strip(),
                "content": {"application/json": {"schema": _ref(route.answer)}},
            },
            "default": problem,
        },
    }
    if route.body is not None:
        document["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(route.body)}}}
    return document


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)\}", route.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    properties = route.query.model_json_schema().get("properties", {})
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()]
