"""Every page of the reference, by name. What a page says stands in the code it is made from; it must be the same on every machine."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from lockgate.cli.reference.commands import cli_page
from lockgate.cli.reference.markdown import schema_table, table
from lockgate.cli.reference.rulepage import rules_page


def pages() -> dict[str, str]:
    """Page name → Markdown."""
    return {
        "cli": cli_page(),
        "settings": settings_page(),
        "catalog": catalog_page(),
        "drivers": drivers_page(),
        "policy-input": schema_page("policy-input-v1.json", "Policy input, version 1"),
        "policy-output": schema_page("policy-output-v1.json", "Policy output, version 1"),
        "policy-data": schema_page("policy-data-v1.json", "Policy data, version 1"),
        "rules": rules_page(),
        "rest": rest_page(),
        "states": states_page(),
        "errors": errors_page(),
    }


def settings_page() -> str:
    """gateway.yaml and runner.yaml."""
    from lockgate.gateway.settings import GatewaySettings
    from lockgate.runner.settings import RunnerSettings
    from lockgate.wire.settingsfile import documentation

    parts = ["# Settings\n"]
    for name, kind in (("gateway.yaml", GatewaySettings), ("runner.yaml", RunnerSettings)):
        rows = [(f"`{item.name}`", item.type, item.default, item.doc) for item in documentation(kind)]
        parts += [f"## {name}\n", f"{kind.__doc__}\n", table(("setting", "type", "default", "meaning"), rows)]
    return "\n".join(parts)


def catalog_page() -> str:
    """The catalog's two kinds of document."""
    schema = _schema("catalog-v1.json")
    parts = ["# Catalog, version 1\n", f"{schema['description']}\n"]
    for kind in ("Action", "Target"):
        parts += [
            f"## {kind}\n",
            f"{schema['$defs'][kind]['description']}\n",
            schema_table(schema["$defs"][kind], schema),
        ]
    return "\n".join(parts)


def drivers_page() -> str:
    """The drivers' declarations."""
    from lockgate.contract.drivers import declarations

    parts = ["# Drivers\n"]
    for driver in declarations().values():
        stages = ", ".join(stage.value for stage in driver.stages)
        parts += [
            f"## {driver.name}\n",
            f"{driver.title}. Fidelity: {driver.fidelity.value}. Stages: {stages}.\n",
            f"- `entry`: {driver.entry}\n- `variables`: {driver.variables}\n",
            "What it cannot show:\n",
            "".join(f"- {item}\n" for item in driver.cannot_show),
            "Settings of a target:\n",
            schema_table(driver.settings_schema, driver.settings_schema),
            table(
                ("tool", "required", "found"), [(t.name, "yes" if t.required else "no", t.found) for t in driver.tools]
            ),
        ]
    return "\n".join(parts)


def schema_page(file: str, title: str) -> str:
    """A published schema as a table."""
    schema = _schema(file)
    return (
        f"# {title}\n\n{schema.get('description', '')}\n\nSchema: `lockgate/contract/schemas/{file}`.\n\n"
        + schema_table(schema, schema)
    )


def rest_page() -> str:
    """The routes with their documents."""
    from lockgate.gateway.api.rest import PREFIX, ROUTES

    head = f"# REST\n\nUnder `{PREFIX}`, for people and scripts; `{PREFIX}/openapi.json` says the same for programs. Refusals are RFC 9457 problems.\n\n"
    rows = [(f"`{route.method} {route.path}`", route.summary, str(route.status)) for route in ROUTES]
    parts = [head + table(("call", "what", "status"), rows)]
    models = {model for route in ROUTES for model in (route.body, route.query, route.answer) if model is not None}
    for model in sorted(models, key=lambda item: item.__name__):
        schema = model.model_json_schema()
        if schema.get("properties"):
            parts.append(f"## {model.__name__}\n\n{schema.get('description', '')}\n\n{schema_table(schema, schema)}")
    return "\n".join(parts)


def states_page() -> str:
    """The three state tables, as they decide."""
    from lockgate.gateway.operations import attempts, locks, states

    def place(item: states.Place) -> str:
        return f"{item.state.value}({item.phase.value})" if item.phase else item.state.value

    moves = [
        (
            place(at),
            event.value,
            place(step.to),
            step.effect.value if step.effect else "",
            "yes" if step.void_votes else "",
        )
        for (at, event), step in states.transitions().items()
    ]
    attempt = [
        (at.value, ", ".join(sorted(to.value for to in after)) or "(final)")
        for at, after in attempts.transitions().items()
    ]
    lock = [(at.value, event.value, to.value) for (at, event), to in locks.transitions().items()]
    parts = ["# States\n", "## Operation\n", f"Final: {', '.join(sorted(states.FINAL))}.\n"]
    parts += [
        table(("state", "event", "to", "effect", "votes void"), moves),
        "## Attempt\n",
        table(("state", "may become"), attempt),
    ]
    return "\n".join([*parts, "## Lock\n", table(("state", "event", "to"), lock)])


def errors_page() -> str:
    """Refusals of the gateway, and the rules of the policy library."""
    from lockgate.gateway import errors
    from lockgate.policy.bundle import load_library

    kinds = [errors.Refusal]
    for kind in kinds:
        kinds += [item for item in kind.__subclasses__() if item.__module__ == errors.__name__]
    refusals = [(f"`{kind.code}`", str(kind.status), " ".join((kind.__doc__ or "").split())) for kind in kinds]
    rules = [
        (f"`{name}`", text["title"], text["message"], text["fix"])
        for name, text in sorted(load_library().rules.items())
    ]
    return (
        "# Errors\n\n## Refusals\n\nNo operation came of the call.\n\n"
        + table(("code", "HTTP status", "meaning"), refusals)
        + "\n## Rules\n\nWhat the default policy library says no by.\n\n"
        + table(("rule", "title", "message", "fix"), rules)
    )


def _schema(file: str) -> dict[str, Any]:
    text = resources.files("lockgate.contract").joinpath("schemas", file).read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
