from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests import grants

from lockgate.contract.decision import SANDBOX_ORDER
from lockgate.contract.grant import Grant, Limits
from lockgate.contract.intent import Effect, Phase
from lockgate.contract.work import ActionSpec, TargetSpec, Work
from lockgate.runner.admit import OutsideConfiguration, admit
from lockgate.runner.settings import RunnerSettings
from lockgate.wire.settingsfile import read_settings

TEXT = b"""
id: runner-1
deployment: acme
region: eu-west
gateway: https://127.0.0.1:8401
state_dir: state
keys: {root_public: a, keyset: b, signing: c, region: d, certificate: e, tls_key: f, ca: g}
sandbox:
  base_dir: sandbox
  provider: kubernetes
  kubernetes: {channel_address: 10.0.0.1}
  floor: bubblewrap
  image: registry.example:5000/lockgate/job@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
  runtime_classes: {gvisor: runsc}
sources: {site: site, other: other}
targets:
  web:
    drivers: [runbook]
    sources: [site]
    limits: {memory_bytes: 100, processes: 100, cpu_seconds: 100, wall_seconds: 100, open_files: 100, file_bytes: 100,
             disk_bytes: 100, output_bytes: 100}
    egress: ["api.example:443"]
    credential_scopes: [write]
    min_sandbox: namespace
"""
DIGEST = "sha256:" + "a" * 64
LIMITS = Limits(100, 100, 100, 100, 100, 100, 100, 100)
GRANT = replace(
    grants.GRANT,
    deployment="acme",
    dev=False,
    region="eu-west",
    sandbox="namespace",
    limits=LIMITS,
    egress=("api.example:443",),
    image="sha256:" + "b" * 64,
)
ACTION = ActionSpec("restart", Effect.CHANGE, "low", "runbook", "restart", {}, ())
TARGET = TargetSpec("web", "runbook", "site", "prod", "eu-west", {}, LIMITS, "web", {})
WORK = Work(ACTION, TARGET, {})


@pytest.fixture(scope="module")
def settings() -> RunnerSettings:
    return read_settings("runner.yaml", TEXT, RunnerSettings, Path("/base"))


def test_a_grant_at_the_very_edge_of_the_configuration_is_admitted(settings: RunnerSettings) -> None:
    assert admit(settings, GRANT, WORK) is settings.targets["web"]


def narrower() -> dict[str, Any]:
    return {"limits": Limits(*[1] * 8), "egress": (), "credential_scope": "none", "sandbox": "gvisor"}


@pytest.mark.parametrize("field", narrower())
def test_a_grant_may_narrow_the_configuration(settings: RunnerSettings, field: str) -> None:
    admit(settings, replace(GRANT, **{field: narrower()[field]}), WORK)


@pytest.mark.parametrize("field", Limits.__slots__)
@pytest.mark.parametrize("value", [101, 0, -1])
def test_no_limit_may_be_wider_or_none_at_all(settings: RunnerSettings, field: str, value: int) -> None:
    with pytest.raises(OutsideConfiguration) as caught:
        admit(settings, replace(GRANT, limits=replace(LIMITS, **{field: value})), WORK)
    assert caught.value.field == f"limits.{field}"


WIDER: dict[str, tuple[str, Callable[[], tuple[Grant, Work]]]] = {
    "another deployment": ("deployment", lambda: (replace(GRANT, deployment="other"), WORK)),
    "another tenant": ("tenant", lambda: (replace(GRANT, tenant="other"), WORK)),
    "another region": ("region", lambda: (replace(GRANT, region="us-east"), WORK)),
    "another runner": ("runner", lambda: (replace(GRANT, runner="runner-2"), WORK)),
    "a dev grant": ("dev", lambda: (replace(GRANT, dev=True), WORK)),
    "an unknown target": ("target", lambda: (GRANT, replace(WORK, target=replace(TARGET, name="db")))),
    "a target of another region": (
        "target.region",
        lambda: (GRANT, replace(WORK, target=replace(TARGET, region="us-east"))),
    ),
    "an unknown driver": ("target.driver", lambda: (GRANT, replace(WORK, target=replace(TARGET, driver="ansible")))),
    "an action of another driver": (
        "action.driver",
        lambda: (GRANT, replace(WORK, action=replace(ACTION, driver="ansible"))),
    ),
    "a source of another target": (
        "target.source",
        lambda: (GRANT, replace(WORK, target=replace(TARGET, source="other"))),
    ),
    "an unknown source": ("target.source", lambda: (GRANT, replace(WORK, target=replace(TARGET, source="/etc")))),
    "another destination": ("egress", lambda: (replace(GRANT, egress=("api.example:443", "evil.example:443")), WORK)),
    "another port": ("egress", lambda: (replace(GRANT, egress=("api.example:80",)), WORK)),
    "a scope not given": ("credential_scope", lambda: (replace(GRANT, credential_scope="read"), WORK)),
    "an unknown scope": ("credential_scope", lambda: (replace(GRANT, credential_scope="admin"), WORK)),
    "write while planning": ("credential_scope", lambda: (replace(GRANT, phase=Phase.PLAN), WORK)),
    "a sandbox under the target's floor": ("sandbox", lambda: (replace(GRANT, sandbox="bubblewrap"), WORK)),
    "no sandbox": ("sandbox", lambda: (replace(GRANT, sandbox="process"), WORK)),
    "a stronger sandbox than there is": ("sandbox", lambda: (replace(GRANT, sandbox="microvm"), WORK)),
    "another image": ("image", lambda: (replace(GRANT, image=DIGEST), WORK)),
    "no image": ("image", lambda: (replace(GRANT, image=None), WORK)),
    "an unknown sandbox": ("sandbox", lambda: (replace(GRANT, sandbox="docker"), WORK)),
}


@pytest.mark.parametrize("what", WIDER)
def test_what_is_wider_than_the_configuration_is_refused_by_its_field(settings: RunnerSettings, what: str) -> None:
    field, make = WIDER[what]
    with pytest.raises(OutsideConfiguration) as caught:
        admit(settings, *make())
    assert caught.value.field == field


def test_the_runners_own_floor_counts_where_the_targets_is_lower(settings: RunnerSettings) -> None:
    low = replace(settings.targets["web"], min_sandbox="process")
    for floor in SANDBOX_ORDER[:4]:
        own = replace(settings, targets={"web": low}, sandbox=replace(settings.sandbox, floor=floor))
        for named in SANDBOX_ORDER[:4]:
            grant = replace(GRANT, sandbox=named)
            if SANDBOX_ORDER.index(named) >= SANDBOX_ORDER.index(floor):
                admit(own, grant, WORK)
            else:
                with pytest.raises(OutsideConfiguration, match="weaker"):
                    admit(own, grant, WORK)


def test_the_weakest_class_that_will_do_is_made(settings: RunnerSettings) -> None:
    box = settings.sandbox
    assert [box.class_for(name) for name in SANDBOX_ORDER] == ["namespace"] * 3 + ["gvisor", None, None]
    strict = replace(box, floor="gvisor")
    assert [strict.class_for(name) for name in SANDBOX_ORDER] == ["gvisor"] * 4 + [None, None]
    assert strict.sandbox_class == "gvisor"


def test_a_runner_without_images_takes_no_grant_for_one(settings: RunnerSettings) -> None:
    own = replace(settings.sandbox, provider="bubblewrap", image=None, runtime_classes={}, kubernetes=None)
    target = replace(settings.targets["web"], min_sandbox="process")
    plain = replace(settings, sandbox=own, targets={"web": target})
    admit(plain, replace(GRANT, sandbox="bubblewrap", image=None), WORK)
    with pytest.raises(OutsideConfiguration) as caught:
        admit(plain, replace(GRANT, sandbox="bubblewrap"), WORK)
    assert caught.value.field == "image"
