"""docs/how-to/run-opa-as-a-server.md, done as written: its settings are read, its commands start a real OPA, and that OPA decides."""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.opaservers import Opa, answering
from tests.ports import free_ports

from lockgate.contract.decision import Question
from lockgate.gateway.policyserving import ServedEngine
from lockgate.gateway.policysettings import PolicySettings
from lockgate.keys.pki import CertificateAuthority, RunnerIdentity
from lockgate.keys.privatefile import write_private, write_public
from lockgate.keys.tls import TlsFiles
from lockgate.policy.bundle import load_library
from lockgate.policy.opaserver.process import SERVER_ENVIRONMENT, server_arguments
from lockgate.testing.policy_engine import example_input
from lockgate.wire.settingsfile import load_settings

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-opa-as-a-server.md"


def written(place: Path, number: int, changes: dict[str, str]) -> tuple[PolicySettings, list[str]]:
    """The page's settings and command of one section, with this machine's paths and ports."""
    text = PAGE.read_text()
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    settings: dict[str, Any] = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[number])["policy"]
    (place / "policy.yaml").write_text(yaml.safe_dump(settings))
    command = re.findall(r"```console\n\$ (.*?)\n```", text, re.DOTALL)[number]
    return load_settings(place / "policy.yaml", PolicySettings), shlex.split(command)


async def decides(server: Opa, settings: PolicySettings, command: list[str]) -> None:
    """The page's command is what starts OPA here, and the gateway's engine of the page's settings is answered by it."""
    environment = [f"{name}={value}" for name, value in SERVER_ENVIRONMENT.items()]
    assert command == [*environment, "opa", *server_arguments(server.endpoint, server.bundle, server.files)]
    bundle = load_library()
    engine = ServedEngine(settings.opa, dev=True)(bundle)
    if settings.opa.publish is None:
        server.put(bundle)
    server.start()
    try:
        await answering(server, engine)
        decision = await engine.decide(Question.LIST, example_input(Question.LIST))
        assert (decision.revision, decision.engine[:4]) == (bundle.revision, "opa/")
    finally:
        server.stop()
        await engine.close()


@pytest.mark.opa
async def test_beside_the_gateway_on_a_socket(opa: Path, tmp_path: Path) -> None:
    settings, command = written(tmp_path, 0, {"/run/lockgate/opa": str(tmp_path)})
    await decides(Opa(opa, tmp_path, settings.opa.endpoint), settings, command)


@pytest.mark.opa
async def test_on_another_machine_by_tls(opa: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    now = int(time.time() * 1000)
    authority = CertificateAuthority.create("acme", now)
    theirs = authority.gateway(now)
    ours = authority.runner(RunnerIdentity("acme", "default", "eu", "gateway"), now)
    (tmp_path / "opa").mkdir()
    for place, issued in ((tmp_path / "opa.", theirs), (tmp_path / "opa" / "gateway.", ours)):
        write_public(Path(f"{place}pem"), issued.certificate)
        write_private(Path(f"{place}key"), issued.key)
    for place in (tmp_path / "ca.pem", tmp_path / "opa" / "ca.pem"):
        write_public(place, authority.issued.certificate)
    settings, command = written(tmp_path, 1, {"opa.example.com:8181": f"127.0.0.1:{port}"})
    files = TlsFiles(Path("opa.pem"), Path("opa.key"), Path("ca.pem"))
    server = Opa(opa, tmp_path, settings.opa.endpoint, files)
    shown = [word if word != "bundle/bundle.tar.gz" else str(server.bundle) for word in command]
    await decides(server, settings, shown)
