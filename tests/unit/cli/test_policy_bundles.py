"""`lockgate policy build` and `policy bundle`: from data to a signed release, with nothing secret in the words."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lockgate.cli.commands.policy.bundle import read_place
from lockgate.cli.deployment import Deployment, make_deployment
from lockgate.cli.exits import Exit
from lockgate.cli.main import app
from lockgate.policy.bundle import LIBRARY, PolicyBundle
from lockgate.policy.bundles.archive import pack, unpack
from lockgate.policy.bundles.keys import signing_key
from lockgate.policy.bundles.release import signed_archive
from lockgate.policy.compile import build_wasm, pure_capabilities
from lockgate.policy.opa import OpaFailed, run_opa

DATA = LIBRARY.joinpath("data.default.yaml").read_text("utf-8")


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.exit, self.out, self.err = code, out, err

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `lockgate WORDS` in a folder of its own with a data file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCKGATE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LOCKGATE_OPA", raising=False)
    (tmp_path / "data.yaml").write_text(DATA)

    def command(*words: str) -> Ran:
        result = CliRunner().invoke(app, list(words))
        return Ran(result.exit_code, result.stdout, result.stderr)

    return command


def ok(ran: Ran) -> dict[str, Any]:
    assert ran.exit == Exit.OK, ran.out + ran.err
    return ran.document


def released(run: Run, name: str, *more: str) -> dict[str, Any]:
    """A key once, and a signed bundle `name`."""
    if not Path("release.pem").exists():
        ok(run("policy", "bundle", "key", "release.pem", "release.pub", "--json"))
    ok(run("policy", "build", "--data", "data.yaml", "--output", name, "--json"))
    return ok(run("policy", "bundle", "sign", name, "--key", "release.pem", "--key-id", "release", *more, "--json"))


def test_the_same_data_gives_the_same_bytes_without_opa(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    first = ok(run("policy", "build", "--data", "data.yaml", "--output", "a.tar.gz", "--json"))
    second = ok(run("policy", "bundle", "build", "--data", "data.yaml", "--output", "b.tar.gz", "--json"))
    assert first["revision"] == second["revision"]
    assert Path("a.tar.gz").read_bytes() == Path("b.tar.gz").read_bytes()


def test_rules_of_ones_own_need_opa_and_the_words_say_how_to_get_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    ran = run("policy", "build", "--data", "data.yaml", "--source", ".", "--json")
    assert ran.exit == Exit.UNAVAILABLE
    error = ran.document["error"]
    assert "none was found" in error["message"]
    assert "go install github.com/open-policy-agent/opa@v" in error["message"]
    assert not Path("policy.tar.gz").exists()


def test_data_that_is_wrong_is_named_by_line_and_no_bundle_is_made(run: Run) -> None:
    Path("data.yaml").write_text(DATA + "\nroles: 3\n")
    ran = run("policy", "build", "--data", "data.yaml", "--json")
    assert ran.exit == Exit.USAGE
    assert "data.yaml:" in ran.document["error"]["message"]
    assert not Path("policy.tar.gz").exists()


def test_a_signed_release_is_verified_and_told(run: Run) -> None:
    signed = released(run, "p.tar.gz", "--sequence", "7", "--max-age", "604800")
    told = ok(run("policy", "bundle", "verify", "p.tar.gz", "--key", "release=release.pub", "--json"))
    assert (told["revision"], told["key"], told["sequence"]) == (signed["revision"], "release", 7)
    assert (told["max_age_seconds"], told["parameters_are_from_text"]) == (604800, True)
    shown = run("policy", "bundle", "verify", "p.tar.gz", "--key", "release=release.pub")
    assert shown.exit == Exit.OK
    assert "p.tar.gz: signed by release" in shown.out
    Path("unpacked").mkdir()
    for path, content in unpack(Path("p.tar.gz").read_bytes(), "p").items():
        place = Path("unpacked") / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    assert ok(run("policy", "bundle", "verify", "unpacked", "--key", "release=release.pub", "--json"))["sequence"] == 7


def test_signing_again_keeps_the_revision_and_takes_a_later_sequence(run: Run) -> None:
    first = released(run, "p.tar.gz")
    again = released(run, "p.tar.gz", "--sequence", str(first["sequence"] + 1), "--scope", "production")
    assert again["revision"] == first["revision"]
    for scope, code in (("production", Exit.OK), ("", Exit.FAILED)):
        assert (
            run("policy", "bundle", "verify", "p.tar.gz", "--key", "release=release.pub", "--scope", scope).exit == code
        )


def test_a_bundle_that_was_changed_fails_and_the_file_is_named(run: Run) -> None:
    released(run, "p.tar.gz")
    files = unpack(Path("p.tar.gz").read_bytes(), "p")
    Path("p.tar.gz").write_bytes(pack(files | {"lockgate/plan.rego": b"package x\n"}))
    ran = run("policy", "bundle", "verify", "p.tar.gz", "--key", "release=release.pub", "--json")
    assert ran.exit == Exit.FAILED
    assert ran.document["ok"] is False
    assert "lockgate/plan.rego: is not what was signed" in ran.document["error"]


@pytest.mark.opa
def test_a_module_that_was_swapped_before_it_was_signed_is_not_believed(
    run: Run, opa: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = released(run, "p.tar.gz")
    content = read_place(Path("p.tar.gz"), None)
    # A signer's own work: revision and signature are right, and only the module is of another policy.
    module = module_with(opa, content, "lockgate/plan.rego", "pinned if {", "pinned if true\n\npinned if {")
    key = signing_key("release", Path("release.pem"))
    assert content.release is not None
    Path("p.tar.gz").write_bytes(signed_archive(replace(content, wasm=module), content.release, key))
    words = ("policy", "bundle", "verify", "p.tar.gz", "--key", "release=release.pub", "--json")
    assert ok(run(*words, "--no-rebuild"))["module_is_from_rego"] is None
    monkeypatch.setenv("LOCKGATE_OPA", str(opa))
    for more in ([], ["--rebuild"]):
        ran = run(*words, *more)
        assert ran.exit == Exit.FAILED
        assert "lockgate.wasm: is not what the bundle's Rego compiles to" in ran.document["error"]
    again = released(run, "q.tar.gz", "--sequence", str(signed["sequence"]))
    assert again["revision"] == signed["revision"]
    told = ok(run("policy", "bundle", "verify", "q.tar.gz", "--key", "release=release.pub", "--json"))
    assert told["module_is_from_rego"] is True
    assert ok(run("policy", "bundle", "build", "--data", "data.yaml", "--rebuild", "--json"))["module_is_from_rego"]


def module_with(opa: Path, bundle: PolicyBundle, path: str, text: str, instead: str) -> bytes:
    """The module of a bundle with one text of its Rego replaced."""
    changed = bundle.modules[path].replace(text, instead, 1)
    assert changed != bundle.modules[path]
    place = Path("other")
    for name, rego in {**bundle.modules, path: changed}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(rego)
    (place / "capabilities.json").write_text(json.dumps(pure_capabilities(opa)))
    (place / ".manifest").write_text('{"rego_version": 1, "roots": [""]}')
    module, _ = build_wasm(opa, place.absolute())
    assert module != bundle.wasm
    return module


def test_without_opa_nobody_says_that_the_module_was_compared(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    released(run, "p.tar.gz")
    monkeypatch.setenv("PATH", "/nowhere")
    words = ("policy", "bundle", "verify", "p.tar.gz", "--key", "release=release.pub")
    assert ok(run(*words, "--json"))["module_is_from_rego"] is None
    assert "not compared with the Rego: this needs the `opa` program" in run(*words).out
    ran = run(*words, "--rebuild", "--json")
    assert ran.exit == Exit.UNAVAILABLE
    assert "none was found" in ran.document["error"]["message"]


def test_a_key_that_others_can_read_signs_nothing_and_its_text_is_never_shown(run: Run) -> None:
    released(run, "p.tar.gz")
    Path("release.pem").chmod(0o644)
    before = Path("p.tar.gz").read_bytes()
    ran = run("policy", "bundle", "sign", "p.tar.gz", "--key", "release.pem", "--key-id", "release", "--json")
    assert ran.exit == Exit.USAGE
    assert "chmod 600" in ran.document["error"]["message"]
    secret = Path("release.pem").read_text().splitlines()[1]
    assert secret not in ran.out + ran.err
    assert Path("p.tar.gz").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sign", "p.tar.gz", "--key", "release.pem", "--key-id", "r", "--sequence", "0"], "whole numbers from 1"),
        (["sign", "nothing.tar.gz", "--key", "release.pem", "--key-id", "r"], "cannot be read"),
        (["sign", "p.tar.gz", "--key", "release.pub", "--key-id", "r"], "others can reach it"),
        (["sign", "p.tar.gz", "--key", "release.pem", "--key-id", "r", "--output", "."], "is a directory"),
        (["verify", "p.tar.gz", "--key", "release.pub"], "must be ID=FILE"),
        (["verify", "p.tar.gz", "--key", "r=release.pem"], "give the public one"),
        (["key", "release.pem", "other.pub"], "never overwritten"),
    ],
)
def test_what_the_words_get_wrong_is_said(run: Run, words: list[str], said: str) -> None:
    released(run, "p.tar.gz")
    ran = run("policy", "bundle", *words, "--json")
    assert ran.exit == Exit.USAGE
    assert said in ran.document["error"]["message"]


def test_two_bundles_are_compared_by_what_changes_for_people(run: Run) -> None:
    released(run, "old.tar.gz", "--sequence", "1")
    Path("data.yaml").write_text(DATA.replace("standard: {count: 1,", "standard: {count: 2,"))
    released(run, "new.tar.gz", "--sequence", "2")
    ran = run("policy", "bundle", "diff", "old.tar.gz", "new.tar.gz", "--json")
    assert ran.exit == Exit.FAILED
    paths = [path for path, *_ in ran.document["parameters"]]
    assert "lockgate.parameters.approvals.standard.count" in paths
    assert all(path.startswith("lockgate.parameters.") for path in paths)
    assert (ran.document["same"], ran.document["module_changed"], ran.document["rego"]["changed"]) == (False, False, [])
    assert [release["sequence"] for release in ran.document["release"]] == [1, 2]
    shown = run("policy", "bundle", "diff", "old.tar.gz", "new.tar.gz")
    assert "~ approvals.standard.count: 1 -> 2" in shown.out.splitlines()
    same = run("policy", "bundle", "diff", "old.tar.gz", "old.tar.gz")
    assert (same.exit, same.out.splitlines()[-1]) == (Exit.OK, "both decide alike")


def test_a_production_home_comes_up_with_a_signed_release_of_its_own_key(run: Run, tmp_path: Path) -> None:
    made = make_deployment(tmp_path / "home", Deployment("acme", dev=False))
    told = ok(run("policy", "bundle", "verify", str(made.policy_bundle), "--json"))
    assert told["key"] == "release"
    assert made.release_key.stat().st_mode & 0o777 == 0o600
    again = make_deployment(tmp_path / "home", Deployment("acme", dev=False))
    assert not again.created


@pytest.mark.opa
def test_what_was_signed_here_is_verified_by_opa(run: Run, opa: Path, tmp_path: Path) -> None:
    released(run, "p.tar.gz")
    words = ["build", "--bundle", "p.tar.gz", "--verification-key", "release.pub", "--verification-key-id", "release"]
    run_opa(opa, [*words, "--signing-alg", "ES256", "--output", "out.tar.gz"], folder=tmp_path)
    with pytest.raises(OpaFailed):
        run_opa(opa, [*words, "--signing-alg", "ES256", "--scope", "x", "--output", "out.tar.gz"], folder=tmp_path)


def policy_findings(run: Run) -> dict[str, tuple[str, str]]:
    """What the doctor says of policy: name → level, words."""
    found = run("doctor", "--json").document["findings"]
    return {item["name"]: (item["level"], item["message"]) for item in found if item["name"].startswith("policy")}


def test_the_doctor_tells_who_signed_the_policy_and_what_weakens_it(run: Run, tmp_path: Path) -> None:
    made = make_deployment(tmp_path / "home", Deployment("acme", dev=False))
    found = policy_findings(run)
    assert found["policy"][0] == "ok" and "signed by 'release' on " in found["policy"][1]
    assert found["policy age"][0] == "note"
    text = made.gateway_settings.read_text()
    made.gateway_settings.write_text(
        text.replace("  source: file\n", "  source: file\n  allow_rollback: true\n  max_age: 86400\n")
    )
    found = policy_findings(run)
    assert (found["policy rollback"][0], found["policy age"][0]) == ("warning", "ok")
    made.gateway_settings.write_text(text.replace("  source: file\n", "  source: file\n  max_age: 1\n"))
    old = tmp_path / "old.tar.gz"
    old.write_bytes(made.policy_bundle.read_bytes())
    made.policy_bundle.write_bytes(b"garbage")
    level, said = policy_findings(run)["policy"]
    assert (level, "is no gzip archive" in said, str(made.policy_bundle) in said) == ("fault", True, True)
    made.policy_bundle.unlink()
    assert "cannot be read" in policy_findings(run)["policy"][1]
    made.release_public.unlink()
    assert policy_findings(run)["policy keys"][0] == "fault"
