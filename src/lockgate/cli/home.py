"""A deployment's directory as commands see it: settings, and token files that only their owner reads. It must not start anything."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.cli.exits import Exit
from lockgate.cli.frame import Session
from lockgate.cli.problem import Problem

if TYPE_CHECKING:
    from lockgate.gateway.settings import GatewaySettings
    from lockgate.runner.settings import RunnerSettings

TOKEN_VARIABLE = "LOCKGATE_TOKEN"  # noqa: S105  a variable's name
URL_VARIABLE = "LOCKGATE_URL"
HUMAN, AGENT = "human", "agent"


def gateway_settings(home: Path) -> GatewaySettings:
    """gateway.yaml of a home. Raises Problem when there is none, SettingsError."""
    from lockgate.gateway.settings import load_gateway_settings

    return load_gateway_settings(_settings_file(home, "gateway.yaml"))


def runner_settings(home: Path) -> RunnerSettings:
    """runner.yaml of a home. Raises Problem when there is none, SettingsError."""
    from lockgate.runner.settings import load_runner_settings

    return load_runner_settings(_settings_file(home, "runner.yaml"))


def _settings_file(home: Path, name: str) -> Path:
    path = home / name
    if not path.exists():
        raise Problem(
            Exit.UNAVAILABLE,
            f"{path}: there is no deployment here",
            fix="lockgate dev (for a laptop) or lockgate init (for production), or name the directory with --home",
        )
    return path


def gateway_url(session: Session) -> str:
    """Where the gateway is: $LOCKGATE_URL, else what gateway.yaml of the home says."""
    named = os.environ.get(URL_VARIABLE)
    if named:
        return named.rstrip("/")
    settings = gateway_settings(session.home)
    session.screen.unsafe = settings.unsafe_flags
    return settings.public.url.rstrip("/")


def token_file(home: Path, name: str) -> Path:
    """Where the token of that name lies. Raises Problem for a name that is no plain file name."""
    if not name or not all(char.isalnum() or char in "._-" for char in name) or name.startswith("."):
        raise Problem(Exit.USAGE, f"--as {name[:40]!r}: must be a plain name")
    return home / "tokens" / name


def read_token(session: Session, default: str) -> str:
    """The token to speak with: of `--as`, else $LOCKGATE_TOKEN, else the file of `default`. Raises Problem, KeyFileError; never shows it."""
    from lockgate.keys.privatefile import read_private

    given = os.environ.get(TOKEN_VARIABLE, "")
    if not session.speaker and given:
        return given.strip()
    path = token_file(session.home, session.speaker or default)
    if not path.exists():
        raise Problem(
            Exit.REFUSED,
            f"there is no token: {path} does not exist and ${TOKEN_VARIABLE} is not set",
            fix=f"lockgate token issue SUBJECT --save {path.name}, or set ${TOKEN_VARIABLE}",
        )
    return read_private(path, dev=False).decode("ascii", "replace").strip()


def write_token(home: Path, name: str, token: str) -> Path:
    """Put a token into its 0600 file, replacing an older one at once."""
    from lockgate.keys.privatefile import write_private

    path = token_file(home, name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{name}.{secrets.token_hex(8)}")
    write_private(draft, token.encode() + b"\n")
    draft.replace(path)
    return path


def now_ms() -> int:
    """Unix ms."""
    return time.time_ns() // 1_000_000
