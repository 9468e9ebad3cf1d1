"""Where an API server may be reached that is known by name: every address of it, for pods that have no DNS."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from lockgate.runner.sandbox.kubernetes import places as module
from lockgate.runner.sandbox.kubernetes.places import places
from lockgate.runner.sandbox.port import SandboxUnavailable


def answers(monkeypatch: pytest.MonkeyPatch, *addresses: str, error: OSError | None = None) -> list[tuple[Any, ...]]:
    """What is asked, and answered so."""
    asked: list[tuple[Any, ...]] = []

    async def look_up(host: str, port: int, **_: Any) -> list[Any]:
        asked.append((host, port))
        if error is not None:
            raise error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    return asked


async def test_an_address_stays_itself_and_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch)
    assert await places("10.96.0.1:443") == ("10.96.0.1:443",)
    assert await places("fd00::1:6443") == ("fd00::1:6443",)
    assert asked == []


async def test_a_name_becomes_each_of_its_addresses_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, "10.0.0.2", "10.0.0.1", "10.0.0.2", "fd00::1")
    assert await places("api.example:6443") == ("10.0.0.1:6443", "10.0.0.2:6443", "fd00::1:6443")
    assert asked == [("api.example", 6443)]


async def test_a_name_that_nobody_knows_is_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, error=socket.gaierror(-2, "Name or service not known"))
    with pytest.raises(SandboxUnavailable, match=r"api.example cannot be looked up: .*not known") as refused:
        await places("api.example:6443")
    assert "DNS" in refused.value.fix


@pytest.mark.parametrize("many", [0, module.MOST + 1])
async def test_no_address_or_more_than_can_be_looked_at_is_no_start(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    answers(monkeypatch, *(f"10.0.0.{number}" for number in range(many)))
    with pytest.raises(SandboxUnavailable, match=f"has {many} addresses"):
        await places("api.example:6443")
