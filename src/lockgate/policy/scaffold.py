"""The texts that a new rule begins with: a module, its tests, and the entry that attaches it. It writes no file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

PACKAGE: Final = "rules"
"""The package below which new rules lie; nothing depends on it."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,47}")
_KEYWORDS: Final = frozenset(
    [
        "as",
        "contains",
        "data",
        "default",
        "else",
        "every",
        "false",
        "if",
        "import",
        "in",
        "input",
        "not",
        "null",
        "package",
        "some",
        "true",
        "with",
    ]
)


class NameRefused(ValueError):
    """A rule cannot be called so; the message says what a name looks like."""


@dataclass(frozen=True, slots=True)
class NewRule:
    """`files` is file name → text; `entry` goes under `bring` in the policy data."""

    files: dict[str, str]
    entry: str
    path: str


def new_rule(name: str) -> NewRule:
    """A rule that denies deletions until its author writes something better. Raises NameRefused."""
    if not _NAME.fullmatch(name):
        raise NameRefused(f"{name[:60]!r}: must be lower-case letters, digits and _, at most 48, a letter first")
    if name in _KEYWORDS:
        raise NameRefused(f"{name!r} is a word of Rego itself")
    if name.endswith("_test"):
        raise NameRefused(f"{name!r}: modules that end in _test hold tests, and are not built into a policy")
    title = name.replace("_", " ").capitalize()
    texts = {f"{name}.rego": _MODULE, f"{name}_test.rego": _TESTS}
    return NewRule(
        {file: text.replace("NAME", name).replace("TITLE", title) for file, text in texts.items()},
        _ENTRY.replace("NAME", name).replace("TITLE", title),
        f"data.{PACKAGE}.{name}.denials",
    )


_MODULE: Final = f"""# METADATA
# title: TITLE
# description: Every message is one denial, and without a message the plan passes. It denies deletions; write what you need instead.
package {PACKAGE}.NAME

# `input` is the plan, in the form in which `terraform show -json` and `tofu show -json` print one.
denials contains message if {{
	some changed in input.resource_changes
	"delete" in changed.change.actions
	message := concat(" ", [changed.address, "would be deleted"])
}}
"""

_TESTS: Final = f"""package {PACKAGE}.NAME_test

import data.{PACKAGE}.NAME as rule

plan(actions) := {{"resource_changes": [{{"address": "aws_s3_bucket.logs", "type": "aws_s3_bucket", "change": {{"actions": actions}}}}]}}

test_a_deletion_is_denied if {{
	rule.denials == {{"aws_s3_bucket.logs would be deleted"}} with input as plan(["delete"])
}}

test_a_replacement_is_denied if {{
	count(rule.denials) == 1 with input as plan(["delete", "create"])
}}

test_anything_else_passes if {{
	every actions in [["create"], ["update"], ["read"], ["no-op"]] {{
		count(rule.denials) == 0 with input as plan(actions)
	}}
}}

test_a_plan_of_nothing_passes if {{
	count(rule.denials) == 0 with input as {{"resource_changes": []}}
}}
"""

_ENTRY: Final = f"""bring:
  - name: NAME
    path: data.{PACKAGE}.NAME.denials
    reads: denials
    effect: deny
    title: TITLE
    fix: Say here what whoever is denied should do.
"""
