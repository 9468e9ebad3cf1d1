import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.invariants.conftest import library
from typer.testing import CliRunner

from lockgate.cli.main import app

__all__ = ["home", "library", "run"]


@dataclass(frozen=True)
class Ran:
    exit: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        lines = self.out.splitlines()
        assert len(lines) == 1, self.out
        return json.loads(lines[0])


@pytest.fixture
def home() -> Iterator[Path]:
    """Other uids can pass through to it: a root's sandboxes must."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place) / "home"


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    monkeypatch.setenv("LOCKGATE_HOME", str(home))
    for name in ("LOCKGATE_TOKEN", "LOCKGATE_URL"):
        monkeypatch.delenv(name, raising=False)

    def lockgate(*arguments: str) -> Ran:
        result = CliRunner().invoke(app, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    return lockgate
