"""Reads one YAML document into JSON values with the line of each; it must not accept what two YAML readers could read differently."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

MAX_FILE_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 16
MAX_NODES: Final = 50_000

Place = int
"""A line, from 1."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML11: Any = yaml.resolver.Resolver()
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,15})")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]{0,15})\.[0-9]{1,16}")
_WORDS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None, "~": None, "": None}
_STRING_TAG: Final = "tag:yaml.org,2002:str"


class YamlFault(ValueError):
    """The text is not YAML of one meaning; `line` from 1, `field` dotted or empty."""

    def __init__(self, line: int, field: str, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.field = field
        self.message = message


def read_yaml(data: bytes) -> tuple[Any, dict[str, Place]]:
    """The value of the one document and the line of every dotted path (`a.b[0]`). Raises YamlFault."""
    if len(data) > MAX_FILE_BYTES:
        raise YamlFault(1, "", f"the file is larger than {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise YamlFault(data.count(b"\n", 0, error.start) + 1, "", "is not UTF-8") from None
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlFault(mark.line + 1 if mark else 1, "", f"is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError:
        raise YamlFault(1, "", "is not YAML, or holds a control character") from None
    places: dict[str, Place] = {}
    return (None if node is None else _value(node, "", places)), places


def _check_events(text: str) -> None:
    depth = nodes = documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise YamlFault(line, "", "more than one document in the file")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            depth += isinstance(event, yaml.CollectionStartEvent)
            if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
                raise YamlFault(line, "", "anchors and aliases are not allowed; write the value out")
            if getattr(event, "tag", None) is not None:
                raise YamlFault(line, "", "tags (!…) are not allowed")
            if depth > MAX_DEPTH or nodes > MAX_NODES:
                raise YamlFault(line, "", f"more than {MAX_DEPTH} levels or {MAX_NODES} values")


def _value(node: yaml.Node, field: str, places: dict[str, Place]) -> Any:
    places.setdefault(field, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, f"{field}[{index}]", places) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, field, places)
    return _scalar(node, field)


def _mapping(node: yaml.MappingNode, field: str, places: dict[str, Place]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = _scalar(key_node, field) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str) or (key == "<<" and not key_node.style):
            raise YamlFault(line, field, "a key must be text; put it in quotes")
        path = f"{field}.{key}" if field else key
        if key in result:
            raise YamlFault(line, path, f"stands twice; first on line {places[path]}")
        places[path] = line
        result[key] = _value(value_node, path, places)
    return result


def _scalar(node: Any, field: str) -> Any:
    text: str = node.value
    if node.style:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _YAML11.resolve(yaml.ScalarNode, text, (True, False)) != _STRING_TAG and text != "<<":
        raise YamlFault(
            node.start_mark.line + 1,
            field,
            f"{text[:40]!r} means different things to different readers; put it in quotes",
        )
    return text
