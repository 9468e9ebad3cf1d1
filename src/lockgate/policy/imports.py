"""Refuses an import whose name means something else already: OPA takes it without a word, and what had the name is out of reach in that module. Pure.

A rule `deny` that looks at `violations` of its own package looks, once `data.x.violations` is imported there, at somebody else's; where that is
empty, or not there, it denies nothing any more, and neither `opa check --strict` nor a gateway could see why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lockgate.policy.port import PolicyLoadError
from lockgate.policy.purity import ALLOWED
from lockgate.policy.syntax import Import, Rule, RulePath, Syntax

DOCUMENTS: Final = frozenset({"data", "input"})
OPERATORS: Final = frozenset(name for name in ALLOWED if "." not in name) | {"internal"}
"""Built-ins of one word, and what OPA makes of operators: `a > b` is `gt(a, b)`, `a in b` is of `internal`. A function of that name elsewhere would be asked instead."""

_KEYWORDS: Final = frozenset({"rego", "future"})


def require_own_names(modules: Mapping[str, Syntax]) -> None:
    """No import of a module (file → syntax) has the name of a rule of its package, of a document, a built-in or another import.

    Raises PolicyLoadError with its file and line. An import of exactly the rule that has the name changes nothing, and passes. What only tests define is no name for a module that is none.
    """
    rules: dict[RulePath, dict[str, Rule]] = {}
    tested: dict[RulePath, dict[str, Rule]] = {}
    for file, module in modules.items():
        known = (tested if is_test(file) else rules).setdefault(module.package, {})
        for path, rule in module.rules.items():
            known.setdefault(path[len(module.package)], rule)
    for file, module in modules.items():
        names = dict(rules.get(module.package, {}))
        if is_test(file):
            names = tested.get(module.package, {}) | names
        _require_free(file, module, names)


def is_test(file: str) -> bool:
    """Whether a module of this name is a test, which no bundle holds."""
    return file.endswith("_test.rego")


def _require_free(file: str, module: Syntax, names: Mapping[str, Rule]) -> None:
    seen: dict[str, Import] = {}
    for item in module.imports:
        if item.path[0] in _KEYWORDS:
            continue
        rule = names.get(item.name)
        before = seen.setdefault(item.name, item)
        if item.name in DOCUMENTS and item.path != (item.name,):
            raise _refused(file, item, f"`{item.name}` itself: the module would no longer see it")
        if item.name in OPERATORS:
            raise _refused(file, item, f"the built-in `{item.name}`")
        if rule is not None and item.path != ("data", *module.package, item.name):
            what = "function" if rule.function else "rule"
            raise _refused(file, item, f"the {what} `{item.name}` of this package ({rule.file}:{rule.line})")
        if before.path != item.path:
            raise _refused(file, item, f"the import of {'.'.join(before.path)} in line {before.line}")


def _refused(file: str, item: Import, taken: str) -> PolicyLoadError:
    path = ".".join(item.path)
    problem = (
        f"the import of {path} takes the name of {taken}. OPA would silently use the import wherever this module says `{item.name}`: "
        f"give it a name of its own, as in `import {path} as {_other(item)}`"
    )
    return PolicyLoadError(file, problem, line=item.line)


def _other(item: Import) -> str:
    return "_".join(item.path[-2:]) if len(item.path) > 2 else f"imported_{item.name}"
