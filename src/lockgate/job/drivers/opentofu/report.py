"""Reads the JSON that an engine makes of a plan: changes, what runs beside them, what it leaves open; it must not leave a delete or a provisioner out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lockgate.contract.jobchannel import MAX_CHANGES, MAX_PLAN_BYTES
from lockgate.contract.shown import visible
from lockgate.contract.strictjson import StrictJSONError, loads
from lockgate.job.drivers.opentofu.planfile import PlanFile
from lockgate.job.drivers.port import StageRefused
from lockgate.wire import frames

MAX_REPORT_BYTES = 64 << 20
MAX_DEPTH = 128
# A little less than one message carries, since more stands around it.
MAX_VALUES = frames.MAX_VALUES - 1_000
MAX_LEVELS = frames.MAX_DEPTH - 4
_SHOWN_CHARACTERS = 200
_SECRET_NAME = re.compile(r"secret|token|passw|credential|private|key|auth|cert", re.IGNORECASE)
_PROVISIONER = re.compile(rb"\bprovisioner\b")
_ENCRYPTION = re.compile(rb"\bencryption[ \t]*[{/]")
# Every alternative takes all that it looks at, so that no byte is looked at twice.
_COMMENT_OR_TEXT = re.compile(rb'"(?:[^"\\\n]|\\.)*(?:"|\n|\\?\Z)|#[^\n]*|//[^\n]*|/\*.*?(?:\*/|\Z)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Report:
    """What a plan says, by the engine's own word; the fields are those of a JobResult."""

    changes: tuple[dict[str, Any], ...]
    document: dict[str, Any]
    incomplete: tuple[str, ...]
    provisioners: tuple[str, ...]
    providers: tuple[str, ...]


def read_report(text: str, plan: PlanFile) -> Report:
    """The report in the output of `show -json`. Raises StageRefused: not the JSON of a plan, or more than can be decided on."""
    try:
        document = loads(text.encode(), max_bytes=MAX_REPORT_BYTES, max_depth=MAX_DEPTH)
    except StrictJSONError as error:
        raise StageRefused(f"plan: the engine's JSON of it cannot be used: {error}") from None
    if not isinstance(document, dict) or not str(document.get("format_version", "")).startswith("1."):
        raise StageRefused(
            "plan: the engine's JSON of it is not of format version 1; this engine is too new for this driver"
        )
    changes = _objects(document.pop("resource_changes", None), "resource_changes")
    configuration = document.get("configuration")
    if not isinstance(configuration, dict) or not isinstance(configuration.get("root_module"), dict):
        raise StageRefused("plan: the engine's JSON of it shows no configuration")
    if len(changes) > MAX_CHANGES:
        raise StageRefused(
            f"plan: it lists {len(changes)} resources; at most {MAX_CHANGES} can be decided on. Split the root module"
        )
    check_size({"changes": changes, "document": document})
    return Report(
        changes=tuple(changes),
        document=document,
        incomplete=(*_left_open(document, changes), *_without_value(configuration["root_module"], plan)),
        provisioners=tuple(
            sorted(
                {*_provisioners(configuration["root_module"], ""), *_hidden(configuration, plan), *_invoked(document)}
            )
        ),
        providers=(*_locked(plan), *_configured(configuration)),
    )


def check_size(report: Mapping[str, Any]) -> None:
    """A report that can be sent and decided on. Raises StageRefused: more values, deeper, or longer than a plan may be."""
    level: list[Any] = [report]
    seen = depth = 0
    while level:
        below = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [item for items in below for item in items]
        seen, depth = seen + len(level), depth + 1
        if seen > MAX_VALUES:
            raise StageRefused(f"plan: it has more than {MAX_VALUES} values in all; split the root module")
        if depth > MAX_LEVELS:
            raise StageRefused(
                f"plan: its JSON is nested deeper than {MAX_LEVELS} levels; call modules from fewer levels"
            )
    size = len(json.dumps(report, separators=(",", ":"), ensure_ascii=False).encode())
    if size > MAX_PLAN_BYTES:
        raise StageRefused(
            f"plan: it is {size / (1 << 20):.1f} MiB of JSON; at most {MAX_PLAN_BYTES >> 20} MiB can be decided on. Split the root module"
        )


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise StageRefused(f"plan: {name} in the engine's JSON is no list of objects")
    return value


def _named(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = parent.get(name, {})
    if not isinstance(found, dict):
        raise StageRefused(f"plan: configuration.{name} in the engine's JSON is no object")
    return found


def _left_open(document: Mapping[str, Any], changes: list[dict[str, Any]]) -> Iterator[str]:
    """OpenTofu has neither `complete` nor `applyable`; a missing one says nothing."""
    if document.get("errored", False) is not False:
        yield "the plan ended with an error, and shows only what was planned before it"
    if document.get("complete", True) is not True:
        yield "the engine says that after this plan more will be left to change"
    if document.get("applyable", True) is not True and any(_acts(change) for change in changes):
        yield "the engine says that this plan cannot be applied"
    for deferred in _objects(document.get("deferred_changes"), "deferred_changes"):
        change = deferred.get("resource_change")
        address = change.get("address") if isinstance(change, dict) else None
        yield f"{address or 'a resource'}: deferred ({deferred.get('reason', 'no reason given')})"


def _without_value(root: Mapping[str, Any], plan: PlanFile) -> Iterator[str]:
    for name in sorted(set(_named(root, "variables")) & plan.ephemeral):
        yield f"variable {name} is ephemeral: its value is not in the plan, which can therefore not be applied; declare it sensitive instead"


def _acts(change: Mapping[str, Any]) -> bool:
    body = change.get("change")
    return not isinstance(body, dict) or body.get("actions") not in (["no-op"], ["read"])


def _provisioners(module: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """Every provisioner of a module and the modules it calls: address of the resource and kind."""
    for resource in _objects(module.get("resources"), "configuration.resources"):
        for provisioner in _objects(resource.get("provisioners"), "configuration.provisioners"):
            yield f"{prefix}{resource.get('address')}: {provisioner.get('type')}"
    for name, called in _calls(module):
        yield from _provisioners(called, f"{prefix}module.{name}.")


def _calls(module: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, call in sorted(_named(module, "module_calls").items()):
        called = call.get("module") if isinstance(call, dict) else None
        if isinstance(called, dict):
            yield name, called


def _hidden(configuration: Mapping[str, Any], plan: PlanFile) -> Iterator[str]:
    """What runs and is in no JSON: provisioners of `removed` blocks, commands of OpenTofu's `encryption` block. Found in the configuration the plan
    carries, as words."""
    shown: dict[str, int] = {}
    _count(configuration["root_module"], "", shown)
    for key, files in sorted(plan.files.items()):
        where = "the root module" if not key else f"module {key}"
        written = sum(_mentions(name, content, "provisioner", _PROVISIONER) for name, content in files.items())
        if written > shown.get(key, 0):
            yield (
                f"{where}: the word stands {written - shown.get(key, 0)} times more often than the engine lists provisioners: "
                "a removed block runs its own at destroy"
            )
        if any(_mentions(name, content, "encryption", _ENCRYPTION) for name, content in files.items()):
            yield f"{where}: an encryption block, whose external key providers are commands that run at plan and at apply"


def _count(module: Mapping[str, Any], key: str, shown: dict[str, int]) -> None:
    resources = _objects(module.get("resources"), "configuration.resources")
    shown[key] = sum(
        len(_objects(resource.get("provisioners"), "configuration.provisioners")) for resource in resources
    )
    for name, called in _calls(module):
        _count(called, f"{key}.{name}" if key else name, shown)


def _mentions(name: str, content: bytes, word: str, pattern: re.Pattern[bytes]) -> int:
    if name.endswith(".json"):
        try:
            return _keys(json.loads(content), word)
        except (ValueError, RecursionError):
            return 1
    without = _COMMENT_OR_TEXT.sub(b" ", content)
    # A heredoc or a quote inside a template could hide the word from the pattern: then what is left is not what the engine reads.
    plain = content if b"<<" in content or b"${" in content or b"%{" in content else without
    return len(pattern.findall(plain))


def _keys(value: Any, wanted: str) -> int:
    """How many entries stand under a key of that name anywhere; a list under it counts each of its items."""
    found, stack = 0, [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            below = item.get(wanted)
            if wanted in item:
                kinds = [kind for kind in (below if isinstance(below, list) else [below]) if isinstance(kind, dict)]
                found += sum(len(one) if isinstance(one, list) else 1 for kind in kinds for one in kind.values()) or 1
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return found


def _invoked(document: Mapping[str, Any]) -> Iterator[str]:
    """Actions of newer engines run beside the changes, like provisioners."""
    for action in _objects(document.get("action_invocations"), "action_invocations"):
        yield f"{action.get('address')}: action {action.get('type')}"


def _locked(plan: PlanFile) -> Iterator[str]:
    for provider in plan.providers:
        yield f"{provider.address} {provider.version} ({' '.join(provider.hashes)})"[:2_000]


def _configured(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Each provider block with what it is given: a changed endpoint or account is a change of every resource behind it."""
    for key, block in sorted(_named(configuration, "provider_config").items()):
        given = block.get("expressions") if isinstance(block, dict) else None
        if isinstance(given, dict) and given:
            said = ", ".join(f"{name} = {_expression(name, given[name])}" for name in sorted(given))
            yield visible(f"{block.get('full_name') or block.get('name')} configured as {key}: {said}", limit=2_000)


def _expression(name: str, expression: Any) -> str:
    if isinstance(expression, dict) and "constant_value" in expression:
        value = expression["constant_value"]
        if _SECRET_NAME.search(name) or not isinstance(value, str | int | float | bool):
            return "a value of the source"
        return json.dumps(value, ensure_ascii=False)[:_SHOWN_CHARACTERS]
    if isinstance(expression, dict) and isinstance(expression.get("references"), list):
        return "from " + " ".join(str(one) for one in expression["references"])[:_SHOWN_CHARACTERS]
    if isinstance(expression, dict):
        return "{" + ", ".join(f"{key} = {_expression(key, expression[key])}" for key in sorted(expression)) + "}"
    if isinstance(expression, list):
        return "[" + ", ".join(_expression(name, item) for item in expression) + "]"
    return "a value of the source"
