"""Writes variables as YAML in which every value is `!unsafe`, so that Ansible never evaluates one as a template; it must not trust any string."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lockgate.job.drivers.port import StageRefused

MAX_DEPTH = 32
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,62}", re.ASCII)
_RESERVED = frozenset(
    (
        "environment",
        "group_names",
        "groups",
        "hostvars",
        "inventory_dir",
        "inventory_file",
        "inventory_hostname",
        "lookup",
        "namespace",
        "omit",
        "play_hosts",
        "playbook_dir",
        "q",
        "query",
        "role_name",
        "role_names",
        "role_path",
        "vars",
    )
)


def variables_file(variables: Mapping[str, Any], field: str) -> str:
    """The text of an extra-vars file, ASCII only. Raises StageRefused naming `field`.NAME: a name that is no variable's or steers Ansible."""
    for name in sorted(variables):
        if not _NAME.fullmatch(name):
            raise StageRefused(f"{field}.{name[:80]}: a variable's name is letters, digits and _")
        if name.lower().startswith("ansible_") or name in _RESERVED:
            raise StageRefused(f"{field}.{name}: the name steers Ansible itself; map the argument to another variable")
        _flow(variables[name], f"{field}.{name}", 0)
    if not variables:
        return "--- {}\n"
    # The whole mapping is tagged: on a single scalar, `!unsafe "1"` would be read as the number.
    return f"--- !unsafe {_flow(dict(sorted(variables.items())), field, -1)}\n"


def _flow(value: Any, field: str, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise StageRefused(f"{field}: nested deeper than {MAX_DEPTH}")
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        # `? key` because YAML ends an implicit key after 1024 characters.
        pairs = (f"? {_quoted(key)} : {_flow(item, field, depth + 1)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(item, field, depth + 1) for item in value) + "]"
    raise StageRefused(f"{field}: {type(value).__name__} is no JSON value")


def _quoted(text: str) -> str:
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    code = ord(char)
    if char in '"\\':
        return "\\" + char
    if 0x20 <= code < 0x7F:
        return char
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _float(value: float) -> str:
    # YAML 1.1 reads `1e+16` as text; it wants a point in the mantissa.
    mantissa, e, exponent = repr(value).partition("e")
    if "." not in mantissa:
        mantissa += ".0"
    return mantissa + (f"e{exponent if exponent[0] in '+-' else '+' + exponent}" if e else "")
