"""What is kept of decisions, as settings; it must not read a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lockgate.gateway.operations.masking import (
    MAX_POINTERS,
    Pointer,
    PointerInvalid,
    read_hidden_pointer,
    read_pointer,
)
from lockgate.wire.settingsfile import SettingInvalid, setting


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """What is kept of every decision, and for how long. The audit log is kept whatever stands here."""

    input_days: float = setting(
        "Days for which what policy was told is kept; a decision can be explained and made again that long.", 90.0
    )
    record_days: float = setting("Days for which the decision itself is kept.", 400.0)
    policies: int = setting("Policies kept to make decisions again under; those longest unused go first.", 50)
    hide: tuple[str, ...] = setting(
        "JSON pointers (`*`: any key or index) into policy input, hidden before policy is asked: it does not see these values either, "
        "and its decisions still replay to the byte.",
        (),
    )
    mask: tuple[str, ...] = setting(
        "JSON pointers into policy input that policy sees and the record does not hold: what hangs on them cannot be replayed for certain.",
        (),
    )

    def __post_init__(self) -> None:
        _between("input_days", self.input_days, 1 / 24, 36_500)
        _between("record_days", self.record_days, self.input_days, 36_500)
        _between("policies", self.policies, 1, 10_000)
        self.hidden_pointers, self.masked_pointers  # noqa: B018  (read once, so that a bad one is said at the start)

    @property
    def hidden_pointers(self) -> tuple[Pointer, ...]:
        """`hide`, read."""
        return _pointers("hide", self.hide, read_hidden_pointer)

    @property
    def masked_pointers(self) -> tuple[Pointer, ...]:
        """`mask`, read."""
        return _pointers("mask", self.mask, read_pointer)


def _pointers(name: str, texts: tuple[str, ...], read: Callable[[str], Pointer]) -> tuple[Pointer, ...]:
    if len(texts) > MAX_POINTERS:
        raise SettingInvalid(name, f"holds more than {MAX_POINTERS} pointers")
    found = []
    for index, text in enumerate(texts):
        try:
            found.append(read(text))
        except PointerInvalid as error:
            raise SettingInvalid(f"{name}[{index}]", str(error)) from None
    return tuple(found)


def _between(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise SettingInvalid(name, f"must be {least:g} to {most:g}")
