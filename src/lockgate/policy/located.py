"""Reads YAML or JSON with the line of every field, the strict way: one meaning or none. It judges no content."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

import yaml

from lockgate.policy.port import PolicyLoadError

MAX_DEPTH: Final = 32

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Located:
    """A document, its file, and the line (from 1) on which the value of each path begins."""

    file: str
    value: Any
    lines: dict[Path, int]

    def refuse(self, path: Path, problem: str) -> PolicyLoadError:
        """The error for the value at `path`, or for the nearest thing around it that is in the file."""
        known = path
        while known not in self.lines:
            known = known[:-1]
        return PolicyLoadError(self.file, problem, line=self.lines[known], field=dotted(path))


def dotted(path: Path) -> str:
    """`("a", 0, "b")` as `a[0].b`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "(document)"


class _Loader(yaml.SafeLoader):
    """YAML with JSON's scalars only: a time such as 22:00, a date or `on` stays the text that was written."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As PyYAML's, but refuses deep nesting before it costs anything."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"is nested deeper than {MAX_DEPTH}", problem_mark=self.get_mark())
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node


_PREFIX: Final = "tag:yaml.org,2002:"
_TAGS: Final = frozenset(_PREFIX + name for name in ("map", "seq", "str", "null", "bool", "int", "float"))
_INTEGER: Final = re.compile(r"^-?(?:0|[1-9][0-9]*)$")
_DECIMAL: Final = re.compile(r"^-?(?:0|[1-9][0-9]*)\.[0-9]+$")
MAX_DIGITS: Final = 15

_Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in (
    ("null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""]),
    ("bool", re.compile(r"^(?:true|false)$"), ["t", "f"]),
    ("int", _INTEGER, list("-0123456789")),
    ("float", _DECIMAL, list("-0123456789")),
):
    _Loader.add_implicit_resolver(_PREFIX + _name, _pattern, _first)


def read_located(text: str, file: str) -> Located:
    """Parse `text`. Raises PolicyLoadError, with its line, for syntax, aliases, tags, duplicate keys, depth."""
    if file.endswith(".json"):
        _require_json(text, file)
        text = text.replace("\t", " ")  # in JSON a tab can only be white space; YAML refuses it
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise PolicyLoadError(file, error.problem or "is no YAML", line=mark.line + 1 if mark else None) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise PolicyLoadError(file, f"is no YAML: {str(error)[:200]}") from None
    if node is None:
        raise PolicyLoadError(file, "is empty", line=1)
    lines: dict[Path, int] = {}
    return Located(file, _Reader(file, lines).read(node, (), 1), lines)


def _require_json(text: str, file: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise PolicyLoadError(file, f"is no JSON: {error.msg}", line=error.lineno) from None
    except RecursionError:
        raise PolicyLoadError(file, f"is nested deeper than {MAX_DEPTH}") from None


class _Reader:
    """Turns nodes into values, each node once."""

    def __init__(self, file: str, lines: dict[Path, int]) -> None:
        self._file, self._lines = file, lines
        self._seen: set[int] = set()

    def read(self, node: yaml.Node, path: Path, referrer: int) -> Any:
        """The value of `node`; `referrer` is the line that names it, which for an alias is not the node's own."""
        line = node.start_mark.line + 1
        if id(node) in self._seen:
            raise PolicyLoadError(self._file, "aliases (*name) are not read", line=referrer, field=dotted(path))
        self._seen.add(id(node))
        self._lines[path] = line
        if node.tag not in _TAGS:
            raise PolicyLoadError(self._file, f"the tag {node.tag!r} is not read", line=line, field=dotted(path))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, index), line) for index, item in enumerate(node.value)]
        return self._scalar(node, line, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line, key = key_node.start_mark.line + 1, key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                raise PolicyLoadError(self._file, "a key must be text", line=line, field=dotted(path))
            if key in mapping:
                raise PolicyLoadError(self._file, "is there twice", line=line, field=dotted((*path, key)))
            mapping[key] = self.read(value_node, (*path, key), line)
            self._lines[(*path, key)] = line
        return mapping

    def _scalar(self, node: yaml.Node, line: int, path: Path) -> Any:
        match node.tag.removeprefix(_PREFIX):
            case "null":
                return None
            case "bool" if node.value in {"true", "false"}:
                return node.value == "true"
            case "int" if len(node.value) <= MAX_DIGITS and _INTEGER.match(node.value):
                return int(node.value)
            case "float" if _DECIMAL.match(node.value):
                return float(node.value)
            case "str":
                return node.value
        raise PolicyLoadError(self._file, "is no text, number or boolean", line=line, field=dotted(path))
