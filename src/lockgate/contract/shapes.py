"""The documents that the job reads before `ready`, as plain tables, and their strict reader; it must not accept what the codec refuses.

The contract's dataclasses say the same, but making some twenty of them, with the typing and enums they need, took most of a job's start.
tests/unit/contract/test_shapes.py holds each table to its dataclass, and the two readers to the same verdicts.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class DocumentError(ValueError):
    """A document does not have the shape its type demands; `field` is the dotted path of the first fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field or 'document'}: {message}")
        self.field = field


class Shape:
    """Field by field one kind: a plain type, a Shape, Maybe, Map, a list of one kind, a tuple of allowed words, or `dict` for any object."""

    __slots__ = ("check", "fields")

    def __init__(self, check: Callable[..., None] | None = None, /, **fields: Any) -> None:
        """`check` is called with the fields as keywords, and raises ValueError: what the dataclass looks at when it is made."""
        self.check = check
        self.fields = fields


class Maybe:
    """A field that may be null."""

    __slots__ = ("kind",)

    def __init__(self, kind: Any) -> None:
        self.kind = kind


class Map:
    """An object whose values are all of one kind."""

    __slots__ = ("kind",)

    def __init__(self, kind: Any) -> None:
        self.kind = kind


class Record:
    """A document that was read. It answers by attribute, as the dataclass it stands for; words of an enum stay text, which equals them."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


def read(shape: Shape, document: Any) -> Any:
    """A Record of a JSON value: every field present, none unknown, each of its declared kind. Raises DocumentError."""
    return _record(shape, document, "")


def _record(shape: Shape, document: Any, field: str) -> Record:
    fields = shape.fields
    if not isinstance(document, dict):
        raise DocumentError(field, "must be an object")
    if document.keys() != fields.keys():
        for name in document:
            if name not in fields:
                raise DocumentError(_below(field, name), "is not known")
        raise DocumentError(_below(field, next(name for name in fields if name not in document)), "is missing")
    values = {name: _value(kind, document[name], _below(field, name)) for name, kind in fields.items()}
    if shape.check is not None:
        try:
            shape.check(**values)
        except ValueError as error:
            raise DocumentError(field, str(error)) from None
    return Record(values)


def _value(kind: Any, value: Any, field: str) -> Any:
    if type(kind) is Maybe:
        return None if value is None else _value(kind.kind, value, field)
    if type(kind) is Shape:
        return _record(kind, value, field)
    if type(kind) is Map:
        if not isinstance(value, dict):
            raise DocumentError(field, "must be an object")
        return {name: _value(kind.kind, item, _below(field, name)) for name, item in value.items()}
    if type(kind) is list:
        if not isinstance(value, list):
            raise DocumentError(field, "must be a list")
        return tuple(_value(kind[0], item, f"{field}[{index}]") for index, item in enumerate(value))
    if type(kind) is tuple:
        if not isinstance(value, str) or value not in kind:
            raise DocumentError(field, f"must be one of {', '.join(kind)}")
        return value
    if type(value) is not kind:
        raise DocumentError(
            field, "must be an object" if kind is dict else f"must be {kind.__name__}, not {type(value).__name__}"
        )
    return value


def _below(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def check_mark(lineage: str, serial: int) -> None:
    """What `contract.state.StateMark` holds its fields to. Raises ValueError."""
    if not 1 <= len(lineage) <= 256 or not lineage.isprintable():
        raise ValueError("lineage must be 1 to 256 printable characters")
    if not 0 <= serial < 1 << 53:
        raise ValueError("serial must be 0 to 2**53-1")


_PHASES = ("read", "plan", "apply", "verify")
_STAGES = ("read", "plan", "derive", "check", "apply", "verify")

KEYSET = Shape(
    version=int,
    deployment=str,
    dev=bool,
    issued_at=int,
    not_after=int,
    keys=[
        Shape(
            keyid=str,
            role=("grant", "log", "issuer", "runner"),
            public=str,
            holder=Maybe(str),
            region=Maybe(str),
            tenant=Maybe(str),
        )
    ],
)
GRANT = Shape(
    version=int,
    deployment=str,
    dev=bool,
    tenant=str,
    operation=str,
    attempt=str,
    phase=_PHASES,
    fence=int,
    lease=str,
    intent_sha256=str,
    action_sha256=str,
    target_sha256=str,
    inputs_sha256=Maybe(str),
    plan=Maybe(Shape(file_sha256=str, semantic_sha256=str, operation=str)),
    policy=Shape(revision=str, decision=str),
    approvals=[str],
    region=str,
    runner=str,
    sandbox=str,
    limits=Shape(
        memory_bytes=int,
        processes=int,
        cpu_seconds=int,
        wall_seconds=int,
        open_files=int,
        file_bytes=int,
        disk_bytes=int,
        output_bytes=int,
    ),
    egress=[str],
    credential_scope=str,
    issued_at=int,
    not_after=int,
    image=Maybe(str),
)
PERMIT = Shape(
    version=int,
    deployment=str,
    id=str,
    grant_sha256=str,
    operation=str,
    attempt=str,
    fence=int,
    phase=_PHASES,
    inputs_sha256=str,
    check_sha256=Maybe(str),
    audience=str,
    issued_at=int,
    not_after=int,
)
JOB_INPUTS = Shape(
    stage=_STAGES,
    grant=str,
    permit=Maybe(str),
    inputs=str,
    output_bytes=int,
    wall_seconds=int,
    plan_sha256=Maybe(str),
)
INPUTS_DOCUMENT = Shape(
    version=int,
    driver=str,
    entry=str,
    variables=dict,
    settings=dict,
    snapshot_sha256=str,
    tool_name=str,
    tool_version=str,
    tool_sha256=str,
    job_sha256=str,
    providers=Map(str),
    state=Maybe(Shape(check_mark, lineage=str, serial=int)),
)
