"""Foreign runners and grants that are not ours: refused by name at the line, by the runner's own acceptance, and through the whole chain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.grants import planning

from lockgate.contract.canonical import digest
from lockgate.contract.codec import to_document
from lockgate.contract.drivers import declarations
from lockgate.contract.grant import GRANT_TYPE, Grant
from lockgate.contract.intent import Phase
from lockgate.contract.keyset import Keyset
from lockgate.contract.runnerapi import Heartbeat, LeaseOffer, LeaseRequest, StartRequest
from lockgate.contract.signed import write_signed
from lockgate.contract.work import Work
from lockgate.gateway.catalog.load import load_directory
from lockgate.gateway.settings import load_gateway_settings
from lockgate.keys.keysets import load_keyset
from lockgate.keys.pki import CertificateAuthority, Issued, RunnerIdentity
from lockgate.keys.signer import FileSigner
from lockgate.keys.tls import TlsFiles, runner_client
from lockgate.runner.acceptance import GrantRefused, accept
from lockgate.runner.settings import RunnerSettings, load_runner_settings
from lockgate.wire.client import GatewayClient, GatewayRefused, GatewayUnavailable

NOW = 1_700_000_000_000
BOOT = 5_000
REASON = "scale for the launch"


def _identity(**changes: str) -> RunnerIdentity:
    return RunnerIdentity(
        **({"deployment": "e2e", "tenant": "default", "region": "local", "runner": "runner-1"} | changes)
    )


def _now() -> int:
    return time.time_ns() // 1_000_000


def _own_ca(deployment: Any) -> CertificateAuthority:
    both = (deployment.home / "root" / "runner-ca.pem").read_bytes()
    return CertificateAuthority.load(Issued(both, both))


def _client(deployment: Any, issued: Issued, name: str) -> GatewayClient:
    path = deployment.home / f"{name}.pem"
    path.write_bytes(issued.key + issued.certificate)
    path.chmod(0o600)
    ca = deployment.home / "trust" / "runner-ca.pem"
    url = f"https://127.0.0.1:{deployment.runners}"
    return GatewayClient(url, runner_client(TlsFiles(path, path, ca), dev=True))


LEASE = to_document(LeaseRequest("a" * 32, ("runbook", "ansible"), 0, None))
FOREIGN = {
    "another deployment": ({"deployment": "elsewhere"}, "another deployment"),
    "a runner nobody enrolled": ({"runner": "runner-2"}, "keyset"),
    "another region": ({"region": "far-away"}, "keyset"),
    "another tenant": ({"tenant": "other"}, "keyset"),
}


@pytest.mark.parametrize("case", FOREIGN)
async def test_a_certificate_of_our_ca_for_someone_else_gets_no_work(deployment: Any, case: str) -> None:
    changes, said = FOREIGN[case]
    issued = _own_ca(deployment).runner(_identity(**changes), _now())
    client = _client(deployment, issued, "someone-else")
    for path, body in (("lease", LEASE), ("attempts/at_none/heartbeat", to_document(Heartbeat(1)))):
        with pytest.raises(GatewayRefused) as caught:
            await client.post(f"/runner/v1/{path}", body, 60)
        assert (caught.value.status, caught.value.code) == (403, "forbidden") and said in str(caught.value)
    await client.close()


async def test_a_certificate_of_another_ca_never_reaches_the_gateway(deployment: Any) -> None:
    issued = CertificateAuthority.create("e2e", _now()).runner(_identity(), _now())
    client = _client(deployment, issued, "foreign")
    with pytest.raises(GatewayUnavailable):
        await client.post("/runner/v1/lease", LEASE, 60)
    await client.close()
    assert deployment.healthy()


@dataclass(frozen=True)
class Offering:
    """What a real gateway would offer this deployment's runner for a change of web-dev, to be spoilt."""

    settings: RunnerSettings
    keyset: Keyset
    grant_key: FileSigner
    log_key: FileSigner
    work: Work
    grant: Grant

    def offer(
        self, grant: Grant | None = None, work: Work | None = None, now: int = NOW, **by: FileSigner
    ) -> LeaseOffer:
        """The offer of a really signed grant."""
        envelope = write_signed(grant or self.grant, GRANT_TYPE, by.get("key", self.grant_key)).decode()
        return LeaseOffer(envelope, work or self.work, now, 30)


@pytest.fixture(scope="module")
def offering(deployment: Any) -> Iterator[Offering]:
    home: Path = deployment.home
    gateway = load_gateway_settings(home / "gateway.yaml")
    keyset = load_keyset(gateway.keys.keyset, gateway.keys.root_public, now=_now(), dev=True)
    catalog = load_directory(home / "catalog", declarations())
    action, target = catalog.actions["set_replicas"].spec, catalog.targets["web-dev"].spec
    intent = {"action": action.name, "target": target.name, "arguments": {"service": "shop", "replicas": 1}}
    digests = {"action": digest(to_document(action)), "target": digest(to_document(target)), "intent": digest(intent)}
    grant = planning(
        deployment="e2e",
        intent_sha256=digests["intent"],
        action_sha256=digests["action"],
        target_sha256=digests["target"],
        runner=load_runner_settings(home / "runner.yaml").id,
        limits=target.limits,
        issued_at=NOW,
        not_after=NOW + 60_000,
    )
    yield Offering(
        settings=load_runner_settings(home / "runner.yaml"),
        keyset=keyset,
        grant_key=FileSigner(gateway.keys.grant, dev=True),
        log_key=FileSigner(gateway.keys.log, dev=True),
        work=Work(action, target, intent),
        grant=grant,
    )


def test_the_offer_is_good_before_it_is_spoilt(offering: Offering) -> None:
    accepted = accept(offering.settings, offering.keyset, offering.offer(), BOOT)
    assert (accepted.grant, accepted.deadline) == (offering.grant, BOOT + 60_000)


def _granted(**changes: Any) -> Callable[[Offering], LeaseOffer]:
    return lambda o: o.offer(replace(o.grant, **changes))


def _work(o: Offering, **changes: Any) -> LeaseOffer:
    """Other work, with the grant that names it: a stolen gateway could sign that."""
    work = replace(o.work, target=replace(o.work.target, **changes))
    intent = {**work.intent, "target": work.target.name}
    work = replace(work, intent=intent)
    named = {"target_sha256": digest(to_document(work.target)), "intent_sha256": digest(intent)}
    return o.offer(replace(o.grant, **named), work)  # type: ignore[arg-type]


SPOILT: dict[str, tuple[Callable[[Offering], LeaseOffer], str]] = {
    "of another region": (_granted(region="far-away"), "region:"),
    "of another tenant": (_granted(tenant="other"), "tenant:"),
    "of another deployment": (_granted(deployment="elsewhere"), "grant: deployment:"),
    "of another runner": (_granted(runner="runner-2"), "runner:"),
    "expired": (lambda o: o.offer(now=NOW + 60_000), "not_after:"),
    "from the future": (lambda o: o.offer(now=NOW - 1), "not_after:"),
    "signed by the log key": (lambda o: o.offer(key=o.log_key), "grant:"),
    "an apply without a plan": (_granted(phase=Phase.APPLY), "grant:"),
    "of more time": (
        lambda o: o.offer(replace(o.grant, limits=replace(o.grant.limits, wall_seconds=10**6))),
        "limits.wall",
    ),
    "of write access at plan": (_granted(credential_scope="write"), "credential_scope:"),
    "of an unknown scope": (_granted(credential_scope="root"), "credential_scope:"),
    "of egress": (_granted(egress=("example.test:443",)), "egress:"),
    "without a sandbox": (_granted(sandbox="process"), "sandbox:"),
    "of a target not served": (lambda o: _work(o, name="web-other"), "target:"),
    "of a target elsewhere": (lambda o: _work(o, region="far-away"), "target.region:"),
    "of another source": (lambda o: _work(o, source="motd"), "target.source:"),
    "of another driver": (lambda o: _work(o, driver="ansible"), "target.driver:"),
    "with other arguments": (
        lambda o: o.offer(work=replace(o.work, intent={**o.work.intent, "arguments": {"replicas": 20}})),
        "intent_sha256:",
    ),
    "with another action": (
        lambda o: o.offer(work=replace(o.work, action=replace(o.work.action, entry="restart"))),
        "action_sha256:",
    ),
    "with another target": (
        lambda o: o.offer(work=replace(o.work, target=replace(o.work.target, environment="production"))),
        "target_sha256:",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_grant_that_is_not_for_here_is_refused_by_its_field(offering: Offering, case: str) -> None:
    spoil, field = SPOILT[case]
    with pytest.raises(GrantRefused) as caught:
        accept(offering.settings, offering.keyset, spoil(offering), BOOT)
    assert caught.value.reason.startswith(field), caught.value.reason


async def test_a_used_grant_brings_no_second_permit(deployment: Any) -> None:
    """With the runner's own certificate. That the runner refuses a used grant of a stolen gateway is shown by the demo."""
    alice, carol = deployment.token("alice"), deployment.token("carol", roles=("admin",))
    asked = deployment.ask("set_replicas", "web-dev", {"service": "used", "replicas": 1}, alice, reason=REASON)
    ended = deployment.settled(asked["operation_id"], alice)
    details = deployment.rest("GET", f"/api/v1/operations/{ended['id']}/details", carol)[1]
    settings = load_runner_settings(deployment.home / "runner.yaml")
    client = GatewayClient(settings.gateway, runner_client(settings.keys.tls, dev=True))
    for attempt in details["attempts"]:
        again = StartRequest(attempt["fence"], ended["plan"]["digests"]["inputs_sha256"], None, None)
        answer = await client.post(f"/runner/v1/attempts/{attempt['id']}/start", to_document(again), 60)
        assert answer["permit"] is None and answer["refused"], answer
    await client.close()
    assert len(details["attempts"]) == 2
    assert deployment.rest("GET", f"/api/v1/operations/{ended['id']}", carol)[1]["version"] == ended["version"]


def _narrowed(deployment: Any, change: Callable[[dict[str, Any]], None]) -> None:
    """Restart the runner with a changed runner.yaml."""
    path = deployment.home / "runner.yaml"
    document = yaml.safe_load(path.read_text())
    change(document["targets"]["web-dev"])
    path.write_text(yaml.safe_dump(document))
    deployment.processes["runner"].stop()
    deployment.start("runner")


def test_what_the_catalog_grants_beyond_the_runners_own_mind_fails_alarmed(deployment: Any) -> None:
    """The last test of this module: it leaves the runner narrowed."""
    alice, carol = deployment.token("alice"), deployment.token("carol", roles=("admin",))
    _narrowed(deployment, lambda target: target.update(limits={"wall_seconds": 5}))
    asked = deployment.ask("set_replicas", "web-dev", {"service": "narrow", "replicas": 1}, alice, reason=REASON)
    ended = deployment.settled(asked["operation_id"], alice)
    assert (ended["status"], ended["effect"]) == ("failed", "none")
    assert "limits.wall_seconds" in ended["message"], ended["message"]
    entries = deployment.rest("GET", f"/api/v1/audit?operation={ended['id']}&limit=100", carol)[1]["entries"]
    alarms = [item for item in entries if item["kind"] == "alarm"]
    assert len(alarms) == 1 and "limits.wall_seconds" in alarms[0]["body"]["reason"], entries
    assert not (deployment.targets["web-dev"] / "narrow.replicas").exists()
    assert deployment.rest("GET", "/api/v1/locks", carol)[1]["locks"] == []
