"""The frozen catalog: actions, targets, their specs and digests, computed once; it must not change after it is built nor decide who sees what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

import jsonschema_rs

from lockgate.contract.canonical import CanonicalError, digest
from lockgate.contract.codec import to_document
from lockgate.contract.intent import Effect
from lockgate.contract.work import ActionSpec, TargetSpec
from lockgate.gateway.catalog.argschema import canonical_size, compile_schema, published
from lockgate.gateway.catalog.explain import explain
from lockgate.gateway.catalog.toolschema import call_schema, tool_schema

MAX_ARGUMENT_BYTES: Final = 64 << 10
MAX_ARGUMENT_ERRORS: Final = 20
MAX_GROWTH: Final = 7
"""How many times longer than any text of it a value's canonical form can be: `1e20` becomes 21 digits, `[1e9]` 12 bytes."""


class UnknownName(LookupError):
    """The catalog names no such action or target; list the tools or run `lockgate target list` to see what there is."""


@dataclass(frozen=True, slots=True)
class ArgumentError:
    """One fault of a call's arguments: a JSON pointer (empty: the whole) and a message that never holds the value."""

    pointer: str
    message: str

    @property
    def field(self) -> str:
        """The faulty field for an error answer: the pointer, or `arguments` for the whole."""
        return self.pointer or "arguments"

    def __str__(self) -> str:
        return f"{self.pointer or 'arguments'}: {self.message}"


@dataclass(frozen=True, slots=True)
class TargetSelector:
    """Which targets an action addresses: by name, or by labels (all of them); exactly one of the two is set."""

    names: tuple[str, ...] | None = None
    labels: Mapping[str, str] | None = None

    def selects(self, name: str, labels: Mapping[str, str]) -> bool:
        """True when the target is meant; a selector of nothing selects nothing."""
        if self.names is not None:
            return name in self.names
        return bool(self.labels) and all(labels.get(key) == value for key, value in (self.labels or {}).items())


@dataclass(frozen=True)
class Action:
    """An action as the gateway holds it. `arguments` is the published, closed schema; `sha256` the digest the grant carries."""

    spec: ActionSpec
    title: str
    description: str
    idempotent: bool
    selector: TargetSelector
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        """The action's and its tool's name."""
        return self.spec.name

    @property
    def effect(self) -> Effect:
        """What it may do to its target."""
        return self.spec.effect

    @cached_property
    def sha256(self) -> str:
        """Digest of the spec's canonical document; the runner recomputes it from the spec it is sent."""
        return digest(to_document(self.spec))

    @cached_property
    def call_validator(self) -> jsonschema_rs.Draft202012Validator:
        """As `validator`, for a whole call: with target (any name: whether it may be addressed depends on the tenant), reason and so on."""
        return compile_schema(call_schema(self.arguments, self.effect))

    def faults(self, call: dict[str, Any], size: int | None = None) -> list[ArgumentError]:
        """Every fault of a call as the front doors receive it: the action's arguments with target, reason, idempotency_key, dry_run and
        wait_seconds beside them. At most 20; empty when it is valid. `size`: bytes of the strict JSON they were read from, if known."""
        return _faults(self, self.call_validator, call, size)

    def argument_faults(self, arguments: dict[str, Any]) -> list[ArgumentError]:
        """Every fault of the action's own arguments alone. At most 20; empty when they are valid."""
        return _faults(self, self.validator, arguments)

    @cached_property
    def validator(self) -> jsonschema_rs.Draft202012Validator:
        """Compiled once, at load."""
        return compile_schema(self.arguments)

    def document(self) -> dict[str, Any]:
        """All that makes this action what it is, as JSON; it feeds the catalog's revision."""
        return {
            "spec": to_document(self.spec),
            "title": self.title,
            "description": self.description,
            "idempotent": self.idempotent,
            "targets": to_document(self.selector),
            "arguments": self.arguments,
        }


@dataclass(frozen=True)
class Target:
    """A target as the gateway holds it; `sha256` is the digest the grant carries."""

    spec: TargetSpec
    tenant: str

    @property
    def name(self) -> str:
        """The target's name, unique in the catalog."""
        return self.spec.name

    @property
    def lock(self) -> str:
        """The lock an attempt holds."""
        return self.spec.lock

    @property
    def region(self) -> str:
        """The region whose runners serve it."""
        return self.spec.region

    @cached_property
    def sha256(self) -> str:
        """Digest of the spec's canonical document."""
        return digest(to_document(self.spec))

    def document(self) -> dict[str, Any]:
        """All that makes this target what it is, as JSON."""
        return {"spec": to_document(self.spec), "tenant": self.tenant}


@dataclass(frozen=True)
class Catalog:
    """Actions and targets by name, sorted; `revision` is the digest of the content, whatever files it stood in."""

    actions: Mapping[str, Action]
    targets: Mapping[str, Target]
    revision: str = field(init=False)
    _addressable: Mapping[tuple[str, str], tuple[Target, ...]] = field(init=False, repr=False)
    _schemas: Mapping[tuple[str, str], dict[str, Any]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Compute once what every call needs: revision, digests, validators, addressable targets, tool schemas."""
        documents = {
            "actions": [action.document() for action in self.actions.values()],
            "targets": [target.document() for target in self.targets.values()],
        }
        addressable: dict[tuple[str, str], tuple[Target, ...]] = {}
        schemas: dict[tuple[str, str], dict[str, Any]] = {}
        for action in self.actions.values():
            _ = (action.sha256, action.validator, action.call_validator)
            for tenant, targets in self._by_tenant(action).items():
                addressable[action.name, tenant] = targets
                schemas[action.name, tenant] = self.schema_for(action, (target.name for target in targets))
        for target in self.targets.values():
            _ = target.sha256
        object.__setattr__(self, "revision", digest(documents))
        object.__setattr__(self, "_addressable", MappingProxyType(addressable))
        object.__setattr__(self, "_schemas", MappingProxyType(schemas))

    def _by_tenant(self, action: Action) -> dict[str, tuple[Target, ...]]:
        found: dict[str, list[Target]] = {}
        for target in self.targets.values():
            if target.spec.driver == action.spec.driver and action.selector.selects(target.name, target.spec.labels):
                found.setdefault(target.tenant, []).append(target)
        return {tenant: tuple(targets) for tenant, targets in found.items()}

    def action(self, name: str) -> Action:
        """The action of a name. Raises UnknownName."""
        action = self.actions.get(name)
        if action is None:
            raise UnknownName(f"action: there is no action {name[:64]!r}")
        return action

    def find_action(self, name: str) -> Action | None:
        """The action of a name, or None."""
        return self.actions.get(name)

    def target(self, name: str) -> Target:
        """The target of a name, whatever its tenant. Raises UnknownName."""
        target = self.targets.get(name)
        if target is None:
            raise UnknownName(f"target: there is no target {name[:64]!r}")
        return target

    def target_of(self, action: str, target: str, tenant: str) -> Target:
        """The target, if the action may address it in this tenant. Raises UnknownName: another tenant's target is an unknown one."""
        for candidate in self.targets_of(action, tenant):
            if candidate.name == target:
                return candidate
        raise UnknownName(f"target: the action {action[:64]} addresses no target {target[:64]!r}")

    def targets_of(self, action: str, tenant: str) -> tuple[Target, ...]:
        """The targets an action may address in a tenant, by name; empty when there is none or no such action."""
        return self._addressable.get((action, tenant), ())

    def actions_of(self, tenant: str) -> tuple[Action, ...]:
        """The actions with at least one target in a tenant, by name."""
        return tuple(action for action in self.actions.values() if (action.name, tenant) in self._addressable)

    def tool_schema(self, action: str, tenant: str) -> dict[str, Any]:
        """The prepared MCP input schema with every target of the tenant; do not alter it. Raises UnknownName."""
        schema = self._schemas.get((action, tenant))
        if schema is None:
            raise UnknownName(f"action: there is no action {action[:64]!r}")
        return schema

    def schema_for(self, action: Action, targets: Iterable[str]) -> dict[str, Any]:
        """The MCP input schema for a caller who may address only `targets`."""
        return tool_schema(action.arguments, action.effect, tuple(targets))

    def validate_arguments(self, action: Action, arguments: dict[str, Any]) -> list[ArgumentError]:
        """Every fault of a call's arguments (at most 20), by JSON pointer; empty when they are valid. At most 64 KiB, canonical."""
        return action.argument_faults(arguments)


def build_catalog(actions: Iterable[Action], targets: Iterable[Target]) -> Catalog:
    """A catalog of parts already checked (see `load`); names are unique."""
    return Catalog(
        MappingProxyType({action.name: action for action in sorted(actions, key=lambda item: item.name)}),
        MappingProxyType({target.name: target for target in sorted(targets, key=lambda item: item.name)}),
    )


def new_action(
    spec: ActionSpec, texts: tuple[str, str], idempotent: bool, selector: TargetSelector, closed: dict[str, Any]
) -> Action:
    """An action from its closed argument schema; `texts` are title and description."""
    return Action(spec, texts[0], texts[1], idempotent, selector, published(closed))


def _faults(
    action: Action, validator: jsonschema_rs.Draft202012Validator, value: dict[str, Any], read_from: int | None = None
) -> list[ArgumentError]:
    try:
        # What was read from so little text cannot have a canonical form that is too large, so it need not be made for that.
        small = read_from is not None and read_from * MAX_GROWTH <= MAX_ARGUMENT_BYTES
        size = 0 if small else canonical_size(value)
    except CanonicalError:
        return [
            ArgumentError("", "hold a number or text that JSON cannot carry exactly (NaN, infinity, above 2**53-1)")
        ]
    if size > MAX_ARGUMENT_BYTES:
        return [ArgumentError("", f"are {size} bytes; at most {MAX_ARGUMENT_BYTES} are taken")]
    faults = (fault for error in validator.iter_errors(value) for fault in _argument_faults(action, error))
    return list(islice(faults, MAX_ARGUMENT_ERRORS))


def _argument_faults(action: Action, error: jsonschema_rs.ValidationError) -> list[ArgumentError]:
    path = error.instance_path
    if path and path[0] in action.spec.sensitive and error.kind.name == "pattern":
        message = "must be a reference to a secret store, such as secret://prefix/name; never the secret itself"
        return [ArgumentError(pointer(tuple(path)), message)]
    return [ArgumentError(pointer(where), message) for where, message in explain(error)]


def pointer(path: tuple[str | int, ...]) -> str:
    """The JSON pointer (RFC 6901) of a path; a name the caller chose is cut at 64 characters, control characters shown escaped."""
    return "".join("/" + _segment(str(part)) for part in path)


def _segment(part: str) -> str:
    text = part[:64].replace("~", "~0").replace("/", "~1")
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
