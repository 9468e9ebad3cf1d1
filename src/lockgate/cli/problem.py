"""An expected failure as people read it: what happened, why, and the command that fixes it. It must never carry a secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lockgate.cli.exits import Exit


class Problem(Exception):
    """A command ends here. `fix` is a command or a sentence; `rules` are policy's reasons: {rule, title, message, fix}."""

    def __init__(
        self,
        exit: Exit,
        message: str,
        *,
        field: str = "",
        fix: str = "",
        rules: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.exit = exit
        self.message = message
        self.field = field
        self.fix = fix
        self.rules = tuple(rules)

    def document(self) -> dict[str, Any]:
        """The form under --json."""
        document: dict[str, Any] = {"exit": int(self.exit), "code": self.exit.name.lower(), "message": self.message}
        if self.field:
            document["field"] = self.field
        if self.fix:
            document["fix"] = self.fix
        if self.rules:
            document["rules"] = [dict(rule) for rule in self.rules]
        return {"error": document}


_FIXES: Mapping[str, tuple[Exit, str]] = {
    "lockgate.wire.settingsfile:SettingsError": (Exit.USAGE, "correct that line; `lockgate doctor` checks all of it"),
    "lockgate.gateway.catalog.errors:CatalogErrors": (Exit.USAGE, "correct these lines, then: lockgate catalog check"),
    "lockgate.policy.port:PolicyLoadError": (Exit.USAGE, "correct that line, then: lockgate policy check"),
    "lockgate.policy.sources.port:SourceUnavailable": (Exit.USAGE, "check the path and its mode"),
    "lockgate.policy.opa:OpaMissing": (Exit.UNAVAILABLE, "tools/get opa, or set LOCKGATE_OPA"),
    "lockgate.policy.rebuilding:OtherCompiler": (Exit.UNAVAILABLE, "set LOCKGATE_OPA to that version"),
    "lockgate.policy.opa:OpaFailed": (Exit.FAILED, "correct what opa names"),
    "lockgate.keys.privatefile:KeyFileError": (Exit.USAGE, "lockgate doctor"),
    "lockgate.keys.keysets:KeysetRefused": (Exit.USAGE, "lockgate doctor"),
    "lockgate.keys.pki:CertificateRefused": (Exit.USAGE, "lockgate doctor"),
    "lockgate.contract.trust:EnvelopeError": (Exit.USAGE, "lockgate doctor"),
    "lockgate.cli.bootstrap.making:BootstrapRefused": (Exit.USAGE, "choose another directory with --home"),
    "lockgate.cli.bootstrap.sharedroots:SharedRootsRefused": (
        Exit.USAGE,
        "nothing of value is in it: what is missing is built again",
    ),
    "lockgate.gateway.app:PortBusy": (
        Exit.UNAVAILABLE,
        "stop what listens there, or choose other ports with --port and --runner-port",
    ),
    "lockgate.telemetry.tracing:TracingUnavailable": (Exit.USAGE, "pip install 'lockgate[otlp]'"),
    "lockgate.gateway.store.errors:StoreLocked": (Exit.UNAVAILABLE, "stop the other gateway first"),
    "lockgate.gateway.store.errors:StoreError": (Exit.UNAVAILABLE, "lockgate doctor"),
    "lockgate.gateway.identity.settings:IdentitySettingsError": (Exit.USAGE, "correct it in gateway.yaml"),
    "lockgate.gateway.audit.sources:UnreadableLog": (
        Exit.USAGE,
        "name a copy of the store or an export of `lockgate audit export`",
    ),
    "lockgate.runner.sandbox.port:SandboxUnavailable": (Exit.UNAVAILABLE, "lockgate doctor"),
    "lockgate.runner.sandbox.runtime_root:JobRootError": (Exit.UNAVAILABLE, "lockgate doctor"),
    "lockgate.runner.image.system:ImageError": (Exit.UNAVAILABLE, "install what is named, then try again"),
    "lockgate.runner.journal:JournalError": (
        Exit.UNAVAILABLE,
        "stop the other runner, or give this one a state_dir of its own",
    ),
    "lockgate.runner.witness:LogInconsistent": (
        Exit.FAILED,
        "lockgate audit verify: the gateway's log was rewritten; do not restart before you know why",
    ),
    "builtins:PermissionError": (Exit.USAGE, "check who owns it and its mode"),
    "builtins:FileNotFoundError": (Exit.USAGE, "check the path"),
    "builtins:OSError": (Exit.UNAVAILABLE, "lockgate doctor"),
}


def expected(error: BaseException) -> Problem | None:
    """The problem that an exception of a zone means; None for one that nobody foresaw. Looks at names, so that no zone is imported for it."""
    if isinstance(error, Problem):
        return error
    for kind in type(error).__mro__:
        known = _FIXES.get(f"{kind.__module__}:{kind.__qualname__}")
        if known is not None:
            fix = getattr(error, "fix", "") or known[1]
            message = getattr(error, "reason", None) or str(error) or type(error).__name__
            return Problem(known[0], message, field=str(getattr(error, "field", "") or ""), fix=fix)
    return None


def expected_names() -> tuple[str, ...]:
    """`module:Class` of every exception with a known fix, for the tests."""
    return tuple(_FIXES)
