"""What the gateway's inner parts raise towards its front doors. Each says what happened, names the field, and whether a retry helps."""

from __future__ import annotations

from typing import Self


class Refusal(Exception):
    """A call was refused and no operation came of it. `code` is stable; `field` names the faulty input; `fix` is what to do next."""

    status = 400
    code = "refused"

    operation: str | None = None
    """An operation of the caller's that the call ran into, and that it can look at."""

    def __init__(self, message: str, *, field: str = "", fix: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.fix = fix
        self.retry_after = retry_after

    def document(self) -> dict[str, object]:
        """The JSON that every front door answers with."""
        body: dict[str, object] = {"code": self.code, "message": self.message, "retry": self.retry_after is not None}
        if self.field:
            body["field"] = self.field
        if self.fix:
            body["fix"] = self.fix
        if self.retry_after is not None:
            body["retry_after_seconds"] = self.retry_after
        return body


class BadInput(Refusal):
    """The call itself is malformed: an unknown action, an argument that does not fit its schema, a vote without digests."""

    code = "bad_input"


class UnknownAction(BadInput):
    """No such action in the catalog. An action that policy denies is answered with a denied operation instead."""

    status = 404
    code = "unknown_action"


class NotFound(Refusal):
    """No such thing, or none this caller may see: both answer alike."""

    status = 404
    code = "not_found"


class Forbidden(Refusal):
    """Policy or the rules of identity do not let this principal do that. `rules` and `decision_id` say why."""

    status = 403
    code = "forbidden"

    def __init__(self, message: str, *, rules: tuple[dict[str, str], ...] = (), decision_id: str | None = None) -> None:
        super().__init__(message)
        self.rules = rules
        self.decision_id = decision_id

    def document(self) -> dict[str, object]:
        """As Refusal, with rules and decision id."""
        return {**super().document(), "rules": list(self.rules), "decision_id": self.decision_id}


class Clash(Refusal):
    """The call contradicts what is recorded: an idempotency key used for another intent, a vote on a plan that is no longer current."""

    status = 409
    code = "conflict"

    def about(self, operation: str) -> Self:
        """Names the caller's own operation that stands in the way."""
        self.operation = operation
        return self


class TooMany(Refusal):
    """Too many calls for now; try again after `retry_after` seconds."""

    status = 429
    code = "rate_limited"


class Unavailable(Refusal):
    """Lockgate cannot answer durably now (store busy or down); nothing was recorded unless `message` says so."""

    status = 503
    code = "unavailable"
