"""Replaces what a tool marks sensitive by keyed digests, everywhere its JSON plan shows it; it must not decide what is worth hiding beyond that.

A plan's JSON holds sensitive values in clear in more places than the changes: variables, outputs, planned values, the state before, drift, and every
literal of the configuration. Equal values have equal digests under one key, so two plans can still be compared.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from lockgate.contract.canonical import canonical
from lockgate.contract.redaction import MASK

_MAX_DEPTH: Final = 64
_LEAST: Final = 4
_SHOWN_LITERALS: Final = frozenset({"count_expression", "for_each_expression"})
"""Neither may be sensitive: the engines refuse it, as both name resources."""
_HOLD_VALUES: Final = frozenset({"before", "after", "value", "values", "config_values", "generated_config", "problems"})


class Hider:
    """Hides under one key and remembers the texts it hid, so that `everywhere` finds them where no mark stands."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._texts: set[str] = set()

    def change(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """A resource change (also of `resource_drift`) by its `before_sensitive` and `after_sensitive`."""
        body = entry.get("change")
        return {**entry, "change": self._sides(body)} if isinstance(body, Mapping) else dict(entry)

    def document(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """The rest of a tool's JSON plan. A part that has not the shape it should have is hidden whole."""
        hidden = dict(document)
        configuration = document.get("configuration")
        sensitive = _sensitive_variables(configuration)
        if "variables" in hidden:
            hidden["variables"] = self._each(
                hidden["variables"],
                lambda name, item: {
                    **item,
                    "value": self._value(item.get("value"), sensitive is None or name in sensitive),
                },
            )
        for name in ("planned_values", "prior_state"):
            if name in hidden:
                hidden[name] = self._state(hidden[name])
        if "output_changes" in hidden:
            hidden["output_changes"] = self._each(hidden["output_changes"], lambda _, item: self._sides(item))
        for name, inner in (("resource_drift", None), ("deferred_changes", "resource_change")):
            if name in hidden:
                hidden[name] = self._list(hidden[name], lambda item, inner=inner: self._nested(item, inner))
        if "action_invocations" in hidden:
            hidden["action_invocations"] = self._list(hidden["action_invocations"], self._invocation)
        if "configuration" in hidden:
            hidden["configuration"] = self._literals(configuration, _MAX_DEPTH)
        return hidden

    def everywhere(self, value: Any, depth: int = _MAX_DEPTH, *, inside: bool = False) -> Any:
        """The value without any text that was hidden somewhere, wherever values stand (not names, kinds or actions); call it last."""
        if isinstance(value, str):
            return self.digest(value) if inside and value in self._texts else value
        if isinstance(value, Mapping) and depth:
            return {
                name: self.everywhere(item, depth - 1, inside=inside or name in _HOLD_VALUES)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple) and depth:
            return [self.everywhere(item, depth - 1, inside=inside) for item in value]
        return value

    def text(self, text: str) -> str:
        """A line for people without any hidden text in it."""
        for hidden in self._texts:
            if hidden in text:
                text = text.replace(hidden, MASK)
        return text

    def digest(self, value: Any) -> Any:
        """The keyed digest that stands for a value; None stays None."""
        if value is None:
            return None
        return "hmac-sha256:" + hmac.new(self._key, canonical(value), sha256).hexdigest()

    def _sides(self, body: Mapping[str, Any]) -> dict[str, Any]:
        hidden = dict(body)
        for side in ("before", "after"):
            if side in body:
                hidden[side] = self._value(body[side], body.get(f"{side}_sensitive", False))
        return hidden

    def _nested(self, item: Mapping[str, Any], inner: str | None) -> dict[str, Any]:
        if inner is None:
            return self.change(item)
        below = item.get(inner)
        return {**item, inner: self.change(below)} if isinstance(below, Mapping) else dict(item)

    def _invocation(self, item: Mapping[str, Any]) -> dict[str, Any]:
        if "config_values" not in item:
            return dict(item)
        return {**item, "config_values": self._value(item["config_values"], item.get("config_sensitive", True))}

    def _state(self, part: Any) -> Any:
        """`planned_values`, or `prior_state` with the same below `values`."""
        if not isinstance(part, Mapping):
            return self._whole(part)
        hidden = dict(part)
        if "values" in hidden:
            hidden["values"] = self._state(hidden["values"])
        if "outputs" in hidden:
            hidden["outputs"] = self._each(
                hidden["outputs"],
                lambda _, item: (
                    {**item, "value": self._value(item.get("value"), item.get("sensitive", True) is not False)}
                    if "value" in item
                    else dict(item)
                ),
            )
        if "root_module" in hidden:
            hidden["root_module"] = self._module(hidden["root_module"], _MAX_DEPTH)
        return hidden

    def _module(self, module: Any, depth: int) -> Any:
        if not isinstance(module, Mapping) or not depth:
            return self._whole(module)
        hidden = dict(module)
        if "resources" in hidden:
            hidden["resources"] = self._list(hidden["resources"], self._resource)
        if "child_modules" in hidden:
            hidden["child_modules"] = self._list(hidden["child_modules"], lambda item: self._module(item, depth - 1))
        return hidden

    def _resource(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        if "values" not in resource:
            return dict(resource)
        return {**resource, "values": self._value(resource["values"], resource.get("sensitive_values", True))}

    def _literals(self, value: Any, depth: int) -> Any:
        """Configuration: no literal is shown, as nothing says which of them fills a sensitive attribute; what a literal does is in the changes."""
        if not depth:
            return self._whole(value)
        if isinstance(value, Mapping):
            return {name: self._literal(value, name, item, depth) for name, item in value.items()}
        if isinstance(value, list):
            return [self._literals(item, depth - 1) for item in value]
        return value

    def _literal(self, around: Mapping[str, Any], name: str, item: Any, depth: int) -> Any:
        if name in _SHOWN_LITERALS:
            return item
        if name == "constant_value":
            return self.digest(item)
        if name == "default" and around.get("sensitive") is True:
            return self._whole(item)
        return self._literals(item, depth - 1)

    def _each(self, value: Any, hide: Any) -> Any:
        if not isinstance(value, Mapping) or not all(isinstance(item, Mapping) for item in value.values()):
            return self._whole(value)
        return {name: hide(name, item) for name, item in value.items()}

    def _list(self, value: Any, hide: Any) -> Any:
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            return self._whole(value)
        return [hide(item) for item in value]

    def _value(self, value: Any, mark: Any, depth: int = _MAX_DEPTH) -> Any:
        """A value by the mark the tool gives beside it: true hides it, a shape goes down with it, and what does not fit hides all."""
        if mark is True or not depth:
            return self._whole(value)
        if isinstance(mark, Mapping) and isinstance(value, Mapping):
            return {name: self._value(item, mark.get(name, False), depth - 1) for name, item in value.items()}
        if isinstance(mark, list) and isinstance(value, list):
            marks = [*mark, *([False] * (len(value) - len(mark)))]
            return [self._value(item, one, depth - 1) for item, one in zip(value, marks, strict=False)]
        return self._whole(value) if mark else value

    def _whole(self, value: Any) -> Any:
        self._remember(value)
        return self.digest(value)

    def _remember(self, value: Any) -> None:
        stack = [value]
        while stack:
            item = stack.pop()
            if isinstance(item, str) and len(item) >= _LEAST:
                self._texts.add(item)
            elif isinstance(item, Mapping):
                stack.extend(item.values())
            elif isinstance(item, list):
                stack.extend(item)


def _sensitive_variables(configuration: Any) -> frozenset[str] | None:
    """The root module's sensitive variables by name; None when the configuration does not say, and all must be taken for such."""
    root = configuration.get("root_module") if isinstance(configuration, Mapping) else None
    declared = root.get("variables", {}) if isinstance(root, Mapping) else None
    if not isinstance(declared, Mapping):
        return None
    return frozenset(
        name for name, item in declared.items() if not isinstance(item, Mapping) or item.get("sensitive", False)
    )
