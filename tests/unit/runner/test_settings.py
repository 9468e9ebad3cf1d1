from pathlib import Path

import pytest

from lockgate.runner.settings import RunnerSettings, load_runner_settings
from lockgate.wire.settingsfile import SettingsError, read_settings

HEAD = """
id: runner-1
deployment: acme
region: eu-west
gateway: https://127.0.0.1:8401
state_dir: state
keys: {root_public: a, keyset: b, signing: c, region: d, certificate: e, tls_key: f, ca: g}
sandbox: {base_dir: sandbox}
"""
TARGETS = """
sources: {site: src/site}
targets:
  web:
    drivers: [runbook]
    sources: [site]
    limits: {memory_bytes: 1000000}
    paths: [{path: /srv/web, target: /srv/web, mode: write, gid: 900}]
    egress: ["api.example:443"]
    credential:
      prefixes: ["secret://web/"]
      write: {token: "secret://web/token"}
    credential_scopes: [write]
    min_sandbox: namespace
"""
CLUSTER = "kubernetes: {channel_address: 10.0.0.1}"
IN_CLUSTER = f"image: job@sha256:{'a' * 64}, kubernetes: {{{{{{}}}}}}"
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "run-sandboxes-in-kubernetes.md"


def read(text: str) -> RunnerSettings:
    return read_settings("runner.yaml", text.encode(), RunnerSettings, Path("/base"))


def test_a_whole_configuration_is_read() -> None:
    settings = read(HEAD + TARGETS + 'tools: {ansible: {sha256: ["sha256:' + "a" * 64 + '"]}}\n')
    target = settings.targets["web"]
    assert settings.sources == {"site": Path("/base/src/site")}
    assert target.limits.limits.memory_bytes == 1_000_000
    assert target.limits.limits.processes > 0
    assert target.paths[0].gid == 900
    assert settings.tool_allowed("ansible", "sha256:" + "a" * 64)
    assert not settings.tool_allowed("ansible", "sha256:" + "b" * 64)
    assert not settings.tool_allowed("other", "sha256:" + "a" * 64)
    assert settings.workspaces == Path("/base/sandbox/attempts")
    assert settings.identity.uri == "spiffe://acme/tenant/default/region/eu-west/runner/runner-1"


def test_any_build_of_a_tool_counts_under_dev_only() -> None:
    tools = "tools: {ansible: {any: true}}\n"
    assert read(HEAD + "dev: true\n" + tools).tool_allowed("ansible", "sha256:" + "b" * 64)
    with pytest.raises(SettingsError, match=r"tools\.ansible\.any"):
        read(HEAD + tools)


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("sources: [site]", "sources: [other]", "targets.web.sources"),
        ("drivers: [runbook]", "drivers: []", "targets.web.drivers"),
        ("memory_bytes: 1000000", "memory_bytes: 0", "targets.web.limits.memory_bytes"),
        ("target: /srv/web", "target: /srv/../etc", "targets.web.paths[0].target"),
        ("target: /srv/web", "target: srv", "targets.web.paths[0].target"),
        ("gid: 900", "gid: 0", "targets.web.paths[0].gid"),
        ("mode: write", "mode: rw", "targets.web.paths[0].mode"),
        ("api.example:443", "*.example:443", "targets.web.egress[0]"),
        ("api.example:443", "api.example", "targets.web.egress[0]"),
        ('["secret://web/"]', '["secret://web"]', "targets.web.credential.prefixes"),
        ('["secret://web/"]', '["secret://"]', "targets.web.credential.prefixes"),
        ("secret://web/token", "secret://db/token", "targets.web.credential.write.token"),
        ("secret://web/token", "secret://web/../db", "targets.web.credential.write.token"),
        ("secret://web/token", "token", "targets.web.credential.write.token"),
        ("token:", '"../x":', "targets.web.credential.write.../x"),
        ("      write: {token", "      read: {token", "targets.web.credential.read_is_read_only"),
        ("credential_scopes: [write]", "credential_scopes: [admin]", "targets.web.credential_scopes[0]"),
        ("min_sandbox: namespace", "min_sandbox: strong", "targets.web.min_sandbox"),
        ("id: runner-1", "id: Runner", "id"),
        (
            "sandbox: {base_dir: sandbox}",
            "sandbox: {base_dir: s, provider: unsafe-no-sandbox, floor: process}",
            "sandbox.provider",
        ),
        ("sandbox: {base_dir: sandbox}", "sandbox: {base_dir: s, floor: microvm}", "sandbox.floor"),
        ("sandbox: {base_dir: sandbox}", "sandbox: {base_dir: s, provider: docker}", "sandbox.provider"),
        ("sandbox: {base_dir: sandbox}", "sandbox: {base_dir: s, uid_base: 0}", "sandbox.uid_base"),
        ("state_dir: state", "state_dir: state\nmax_attempts: 0", "max_attempts"),
        ("state_dir: state", "state_dir: state\nbroker: file", "secrets_dir"),
        ("state_dir: state", "state_dir: state\nsecrets_dir: x", "secrets_dir"),
    ],
)
def test_what_cannot_stand_is_refused_by_its_field(old: str, new: str, field: str) -> None:
    text = HEAD + TARGETS
    assert old in text
    with pytest.raises(SettingsError) as caught:
        read(text.replace(old, new))
    assert caught.value.field == field
    assert caught.value.line > 1


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ("", "sandbox.image"),
        ("image: job", "sandbox.image"),
        ("image: job:1.2", "sandbox.image"),
        ("image: job@sha256:abc", "sandbox.image"),
        (f"image: job@sha256:{'A' * 64}", "sandbox.image"),
        (f"provider: bubblewrap, image: job@sha256:{'a' * 64}", "sandbox.image"),
        ("provider: bubblewrap, runtime_classes: {gvisor: runsc}", "sandbox.runtime_classes"),
        (f"image: job@sha256:{'a' * 64}, runtime_classes: {{namespace: runc}}", "sandbox.runtime_classes.namespace"),
        (f"image: job@sha256:{'a' * 64}, runtime_classes: {{gvisor: Run Sc}}", "sandbox.runtime_classes.gvisor"),
        (f"image: job@sha256:{'a' * 64}", "sandbox.kubernetes"),
        ("provider: bubblewrap, kubernetes: {channel_address: 10.0.0.1}", "sandbox.kubernetes"),
        (f"image: job@sha256:{'a' * 64}, {CLUSTER}, floor: gvisor", "sandbox.floor"),
        (IN_CLUSTER.format("channel_address: gateway.example"), "sandbox.kubernetes.channel_address"),
        (IN_CLUSTER.format("channel_address: 10.0.0.1, channel_ports: 80-90"), "sandbox.kubernetes.channel_ports"),
        (IN_CLUSTER.format("channel_address: 10.0.0.1, channel_ports: 4000-4001"), "sandbox.kubernetes.channel_ports"),
        (IN_CLUSTER.format("channel_address: 10.0.0.1, role: Run It"), "sandbox.kubernetes.role"),
        (IN_CLUSTER.format("channel_address: 10.0.0.1, image_pull: Always"), "sandbox.kubernetes.image_pull"),
        (IN_CLUSTER.format("channel_address: 10.0.0.1, cpu_millis: 0"), "sandbox.kubernetes.cpu_millis"),
    ],
)
def test_what_of_a_cluster_cannot_stand_is_refused_by_its_field(settings: str, field: str) -> None:
    given = settings if settings.startswith("provider") else f"provider: kubernetes, {settings}"
    with pytest.raises(SettingsError) as caught:
        read(HEAD.replace("{base_dir: sandbox}", f"{{base_dir: s, {given}}}") + TARGETS)
    assert caught.value.field == field


def test_unsafe_no_sandbox_exists_under_dev() -> None:
    text = HEAD.replace("{base_dir: sandbox}", "{base_dir: s, provider: unsafe-no-sandbox, floor: process}")
    assert read(text + "dev: true\n").sandbox.sandbox_class == "process"


def test_a_file_is_loaded_from_disk(tmp_path: Path) -> None:
    (tmp_path / "runner.yaml").write_text(HEAD)
    assert load_runner_settings(tmp_path / "runner.yaml").state_dir == tmp_path / "state"


def test_what_the_page_on_kubernetes_shows_is_read_as_it_is_meant() -> None:
    shown = PAGE.read_text().split("```yaml\n")[1].split("```")[0]
    box = read(HEAD.replace("sandbox: {base_dir: sandbox}\n", shown)).sandbox
    assert box.kubernetes is not None and box.image is not None
    assert (box.kubernetes.channel_address, box.kubernetes.ports) == ("10.0.0.5", range(30_000, 30_100))
    assert (box.class_for("process"), box.class_for("gvisor"), box.class_for("kata")) == ("namespace", "gvisor", None)
    assert box.kubernetes.kubeconfig is None
