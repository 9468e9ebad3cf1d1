from pathlib import Path

import pytest

from lockgate.gateway.settings import GatewaySettings, load_gateway_settings
from lockgate.wire.settingsfile import SettingsError, read_settings

HEAD = """
deployment: acme
runners: {certificate: a, key: b, ca: c}
keys: {root_public: a, keyset: b, grant: c, log: d}
"""


def read(text: str) -> GatewaySettings:
    return read_settings("gateway.yaml", text.encode(), GatewaySettings, Path("/base"))


def test_the_least_configuration_is_a_safe_one() -> None:
    settings = read(HEAD)
    assert not settings.dev
    assert settings.unsafe_flags == ()
    assert settings.keys.issuer is None
    assert settings.public.host == "127.0.0.1"
    assert settings.public.agent_audience == "http://127.0.0.1:8400/mcp"
    assert settings.public.human_audience == "http://127.0.0.1:8400/api"
    assert settings.public.hosts == ("127.0.0.1:8400",)
    assert settings.store == Path("/base/store.db")
    assert settings.bounds.max_body_bytes == 1 << 20
    assert settings.timing.operation_deadline == 24 * 3600


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ("builtin_human_tokens: true", "builtin_human_tokens"),
        ("unsafe: {no_sandbox: true}", "unsafe.no_sandbox"),
        ("unsafe: {unsigned_policy_data: true}", "unsafe.unsigned_policy_data"),
        ("public: {host: 0.0.0.0}", "public.host"),
        ('public: {host: "::"}', "public.host"),
        ('public: {host: ""}', "public.host"),
        ("public: {host: gateway.example}", "public.host"),
        ("public: {url: http://gateway.example}", "public.url"),
        ("public: {host: 0.0.0.0, behind_tls_proxy: true, url: http://gateway.example}", "public.url"),
    ],
)
def test_production_refuses_what_dev_may(extra: str, field: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(HEAD + extra)
    assert caught.value.field == field
    assert read(HEAD + "dev: true\n" + extra).dev


def test_production_beyond_loopback_speaks_tls_itself_or_says_who_does() -> None:
    tls = "public: {host: 0.0.0.0, certificate: x, key: y, url: https://gateway.example}"
    assert read(HEAD + tls).public.origins == ("https://gateway.example",)
    assert read(
        HEAD + "public: {host: 0.0.0.0, behind_tls_proxy: true, url: https://gateway.example}"
    ).public.behind_tls_proxy


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ("public: {port: 70000}", "public.port"),
        ("public: {certificate: x}", "public.key"),
        ("public: {url: https://a/b}", "public.url"),
        ("public: {url: a}", "public.url"),
        ("timing: {lease: 1}", "timing.lease"),
        ("timing: {operation_deadline: 0}", "timing.operation_deadline"),
        ("bounds: {max_body_bytes: 0}", "bounds.max_body_bytes"),
        ("bounds: {burst: 0}", "bounds.burst"),
        ("bounds: {calls_per_second: 0}", "bounds.calls_per_second"),
    ],
)
def test_a_value_out_of_range_is_named(extra: str, field: str) -> None:
    for dev in ("", "dev: true\n"):
        with pytest.raises(SettingsError) as caught:
            read(HEAD + dev + extra)
        assert caught.value.field == field


def test_a_bad_deployment_name_is_refused() -> None:
    with pytest.raises(SettingsError, match="deployment"):
        read(HEAD.replace("acme", "Acme Corp"))


def test_a_file_is_loaded_from_disk(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(HEAD)
    assert load_gateway_settings(tmp_path / "gateway.yaml").catalog == tmp_path / "catalog"
