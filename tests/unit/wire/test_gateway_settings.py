from pathlib import Path

import pytest

from lockgate.gateway.settings import GatewaySettings, load_gateway_settings
from lockgate.wire.settingsfile import SettingsError, read_settings

HEAD = """
deployment: acme
runners: {certificate: a, key: b, ca: c}
keys: {root_public: a, keyset: b, grant: c, log: d}
"""
SIGNED = "policy: {source: file, path: bundle.tar.gz, keys: {release: release.pub}}\n"


def read(text: str) -> GatewaySettings:
    return read_settings("gateway.yaml", text.encode(), GatewaySettings, Path("/base"))


def test_the_least_configuration_is_a_safe_one() -> None:
    settings = read(HEAD + SIGNED)
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
        read(HEAD + SIGNED + extra)
    assert caught.value.field == field
    assert read(HEAD + SIGNED + "dev: true\n" + extra).dev


def test_production_beyond_loopback_speaks_tls_itself_or_says_who_does() -> None:
    tls = "public: {host: 0.0.0.0, certificate: x, key: y, url: https://gateway.example}"
    assert read(HEAD + SIGNED + tls).public.origins == ("https://gateway.example",)
    assert read(
        HEAD + SIGNED + "public: {host: 0.0.0.0, behind_tls_proxy: true, url: https://gateway.example}"
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
    (tmp_path / "gateway.yaml").write_text(HEAD + SIGNED)
    assert load_gateway_settings(tmp_path / "gateway.yaml").catalog == tmp_path / "catalog"


PINNED = "keys: {release: release.pub}"


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ("", "policy.source"),
        ("policy: {source: library}", "policy.source"),
        ("policy: {source: file, path: b.tar.gz}", "policy.keys"),
        ("policy: {source: http, url: https://bundles.example/b.tar.gz}", "policy.keys"),
    ],
)
def test_production_takes_policy_only_from_whom_it_pins(extra: str, field: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(HEAD + extra)
    assert caught.value.field == field
    assert read(HEAD + "dev: true\n" + extra).dev


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ("source: nothing", "source"),
        ("source: file", "path"),
        ("source: directory, url: https://a/b", "path"),
        ("source: library, path: x", "path"),
        ("source: file, path: x, url: https://a/b", "url"),
        ("source: http", "url"),
        ("source: http, url: ftp://a/b", "url"),
        ("source: http, url: https://user:secret@a/b", "url"),
        ("source: http, url: http://bundles.example/b", "url"),
        ("source: http, url: http://127.0.0.1/b, ca: c", "ca"),
        ("source: http, url: https://a/b, certificate: c", "key"),
        ("source: http, url: https://a/b, poll: 0.1", "poll"),
        ("source: http, url: https://a/b, deadline: 1000", "deadline"),
        ("source: file, path: x, max_age: 0", "max_age"),
        ("source: file, path: x, pin: latest", "pin"),
        ("source: file, path: x, keys: {a: 1}", "keys.a"),
        ("source: file, path: x, key_id: a", "key_id"),
    ],
)
def test_where_policy_comes_from_must_fit_together(policy: str, field: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(HEAD + f"dev: true\npolicy: {{{policy}}}\n")
    assert caught.value.field == f"policy.{field}"


def test_policy_may_come_from_this_machine_in_the_clear() -> None:
    for host in ("127.0.0.1:8888", "localhost", "[::1]:8888"):
        assert read(HEAD + f'policy: {{source: http, url: "http://{host}/b.tar.gz", {PINNED}}}').policy.poll == 30


@pytest.mark.parametrize(
    ("records", "field"),
    [
        ("hide: [/action/name]", "records.hide[0]"),
        ("hide: [/reason, arguments]", "records.hide[1]"),
        ("mask: [/version]", "records.mask[0]"),
        (f"mask: [{', '.join(['/reason'] * 65)}]", "records.mask"),
        ("input_days: 0", "records.input_days"),
        ("record_days: 89", "records.record_days"),
        ("policies: 0", "records.policies"),
    ],
)
def test_what_is_kept_of_decisions_is_bounded_and_its_pointers_are_read_at_the_start(records: str, field: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(HEAD + SIGNED + f"records: {{{records}}}")
    assert caught.value.field == field
    good = read(HEAD + SIGNED + "records: {hide: [/reason]}").records
    assert [pointer.text for pointer in good.hidden_pointers] == ["/reason"]
