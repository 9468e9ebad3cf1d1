"""The Rego built-ins that OPA's Wasm target leaves to its host; all pure. What is not here denies.

Each is held against OPA's own published cases (tests/unit/policy/builtins). Not offered, though pure: what would need another engine's regular
expressions (`regex.replace`, …), and what a decision has no use for (`graphql.*`, `io.jwt.*`, `crypto.x509.*`, `yaml.*`, …).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from lockgate.policy.builtins.formatting import sprintf
from lockgate.policy.builtins.networks import NETWORKS
from lockgate.policy.builtins.texts import TEXTS
from lockgate.policy.builtins.times import TIMES, UnknownZone, parse_rfc3339_ns, zone
from lockgate.policy.builtins.units import UNITS

__all__ = ["OFFERED", "BuiltinRefused", "ZoneMissing", "call_builtin", "parse_rfc3339_ns", "zone"]


class BuiltinRefused(Exception):
    """A built-in is not offered, or refuses its operands; the decision is no. Correct the policy."""

    rule = "lockgate.engine.builtin"

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        super().__init__(f"{name}: {problem}")


class ZoneMissing(BuiltinRefused):
    """This machine's zone database does not have the zone. Install tzdata; the next decision looks again."""

    rule = "lockgate.engine.time_zones"


def call_builtin(name: str, operands: list[Any]) -> Any:
    """The value of the built-in `name` over values of `builtins.values`.

    Raises BuiltinRefused; never answers *undefined*, which a deny rule would miss.
    """
    function = OFFERED.get(name)
    if function is None:
        raise BuiltinRefused(name, "this engine does not offer it")
    try:
        return function(*operands)
    except UnknownZone as missing:
        raise ZoneMissing(name, str(missing)) from None
    except (
        ValueError,
        TypeError,
        OverflowError,
        ArithmeticError,
        LookupError,
        AttributeError,
        RecursionError,
    ) as error:
        raise BuiltinRefused(name, f"refuses its operands ({type(error).__name__})") from None


OFFERED: Final[Mapping[str, Callable[..., Any]]] = {"sprintf": sprintf, **TIMES, **UNITS, **TEXTS, **NETWORKS}
"""Name → function."""
