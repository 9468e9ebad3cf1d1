"""Why an evaluation ended without an answer; it is raised by every engine and never leaves one."""

from __future__ import annotations


class EvaluationFailed(Exception):
    """An evaluation ended without an answer; `rule` names the cause (contract.decision.ENGINE_RULES).

    `detail` is shown to whoever asked: it says what happened, never a value of the input nor an address.
    """

    def __init__(self, rule: str, detail: str = "") -> None:
        self.rule, self.detail = rule, detail
        super().__init__(f"{rule}: {detail}" if detail else rule)
