"""Settings of an OPA server: bad ones are refused with field and fix; good ones make an engine that believes what was verified here."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from lockgate.gateway.opasettings import OpaSettings
from lockgate.gateway.policyserving import BUNDLE_NAME, ServedEngine, publish
from lockgate.gateway.policysettings import PolicySettings
from lockgate.policy.bundle import load_library
from lockgate.policy.bundles.archive import unpack
from lockgate.policy.bundles.layout import bundle_files
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.sources.port import SourceUnavailable
from lockgate.wire.settingsfile import SettingInvalid, SettingsError, load_settings

SOCKET = "unix:///run/opa/opa.sock"
FILES = {name: Path(name) for name in ("certificate", "key", "ca")}


@pytest.mark.parametrize(
    ("values", "field", "said"),
    [
        ({"url": "http://127.0.0.1:8181"}, "url", "unix:///path/of.sock or https"),
        ({"url": "unix://opa.sock"}, "url", "absolute path"),
        ({"url": "https://opa:8181/v1"}, "url", "nothing more"),
        ({"url": "https://me@opa:8181", **FILES}, "url", "nothing more"),
        ({"url": "https://opa:8181"}, "certificate", "needed for https"),
        ({"url": "https://opa:8181", "certificate": Path("c"), "key": Path("k")}, "ca", "needed for https"),
        ({"url": SOCKET, "ca": Path("ca")}, "ca", "is for https"),
        ({"url": SOCKET, "deadline": 0}, "deadline", "0.01 to 30"),
        ({"url": SOCKET, "deadline": 31}, "deadline", "0.01 to 30"),
        ({"url": SOCKET, "connections": 0}, "connections", "1 to 256"),
        ({"url": SOCKET, "waiting": -1}, "waiting", "0 to"),
        ({"url": SOCKET, "takeover": 0}, "takeover", "1 to"),
    ],
)
def test_a_bad_setting_is_refused_with_its_field(values: dict, field: str, said: str) -> None:
    with pytest.raises(SettingInvalid, match=said) as refused:
        OpaSettings(**values)
    assert refused.value.field == field


def test_an_engine_without_its_url_and_a_url_without_its_engine_are_refused() -> None:
    with pytest.raises(SettingInvalid, match="engine opa needs it"):
        PolicySettings(engine="opa")
    with pytest.raises(SettingInvalid, match="is for engine: opa"):
        PolicySettings(opa=OpaSettings(url=SOCKET))
    assert PolicySettings(engine="opa", opa=OpaSettings(url=SOCKET)).opa.endpoint.socket == Path("/run/opa/opa.sock")


def test_a_file_names_line_and_field(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("engine: opa\nopa:\n  url: unix:///run/opa.sock\n  deadline: 99\n")
    with pytest.raises(SettingsError, match=r"policy\.yaml:\d+: opa.deadline: must be 0.01 to 30"):
        load_settings(file, PolicySettings)
    file.write_text("engine: opal\n")
    with pytest.raises(SettingsError, match=r"policy\.yaml:1: engine"):
        load_settings(file, PolicySettings)


def test_each_bundle_is_published_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    settings = OpaSettings(url=f"unix://{tmp_path}/opa.sock", publish=tmp_path / "bundle")
    served = ServedEngine(settings, dev=True)
    first = load_library()
    engine = served(first)
    assert unpack((tmp_path / "bundle" / BUNDLE_NAME).read_bytes(), "b") == bundle_files(first)
    assert stat.S_IMODE((tmp_path / "bundle" / BUNDLE_NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "bundle").stat().st_mode) == 0o700
    second = replace(first, modules={**first.modules, "lockgate/more.rego": "package lockgate.more\n"})
    assert served(second) is engine
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == [BUNDLE_NAME]
    assert engine.revision == first.revision


def test_a_bundle_that_cannot_be_published_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_text("a file where the folder should be")
    with pytest.raises(SourceUnavailable, match="cannot be written for OPA"):
        publish(load_library(), tmp_path / "bundle")


def test_a_bundle_that_cannot_be_published_puts_no_end_to_the_one_before(tmp_path: Path) -> None:
    folder, first = tmp_path / "bundle", load_library()
    served = ServedEngine(OpaSettings(url=f"unix://{tmp_path}/opa.sock", publish=folder), dev=True)
    engine = served(first)
    (folder / BUNDLE_NAME).unlink()
    (folder / BUNDLE_NAME).mkdir()
    with pytest.raises(SourceUnavailable, match="cannot be written for OPA"):
        served(replace(first, modules={**first.modules, "lockgate/more.rego": "package lockgate.more\n"}))
    assert (engine.revision, engine.expected) == (first.revision, None)


def test_a_bundle_that_does_not_answer_every_question_is_refused_for_opa_too(tmp_path: Path) -> None:
    from tests.unit.policy.test_hostile_policy import module

    from lockgate.contract.decision import Question

    served = ServedEngine(OpaSettings(url=f"unix://{tmp_path}/opa.sock"), dev=True)
    with pytest.raises(PolicyLoadError, match="has no entry point"):
        served(replace(load_library(), wasm=module("(i32.const 4096)", questions=(Question.LIST,))))
