"""Commands that need no running gateway: what they answer, by which exit code, and what their errors name."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Ran

from lockgate.cli.client import refusal
from lockgate.cli.commands.call import read_arguments
from lockgate.cli.deployment import Deployment, make_deployment
from lockgate.cli.exits import Exit
from lockgate.cli.issuing import issue_dev_tokens
from lockgate.cli.ports import set_values
from lockgate.cli.problem import Problem

Run = Callable[..., Ran]


def made(home: Path) -> Path:
    make_deployment(home, Deployment("dev", dev=True))
    return home


@pytest.mark.parametrize(
    "command", [["gateway"], ["runner"], ["operation", "list"], ["call"], ["catalog", "check"], ["audit", "verify"]]
)
def test_without_a_deployment_every_command_says_how_to_make_one(run: Run, command: list[str]) -> None:
    ran = run(*command, "--json")
    assert ran.exit == Exit.UNAVAILABLE
    assert "lockgate dev" in ran.document["error"]["fix"]


def test_init_makes_a_deployment_that_the_doctor_finds_well_and_a_second_run_keeps(run: Run, home: Path) -> None:
    first = run("init", "--name", "acme", "--json")
    assert first.exit == Exit.OK and first.document["home"] == str(home)
    assert any("lockgate doctor" in line for line in first.document["next"])
    second = run("init", "--name", "acme", "--json")
    assert second.document["created"] == [] and set(second.document["kept"]) <= set(first.document["created"])
    doctor = run("doctor", "--json")
    assert doctor.exit == Exit.OK, doctor.out
    said = {(item["level"], item["name"]) for item in doctor.document["findings"]}
    assert {
        ("ok", "catalog"),
        ("ok", "policy"),
        ("ok", "gateway keys"),
        ("ok", "sandbox"),
        ("note", "same user"),
    } <= said
    assert "runner-trusted" in doctor.out


def test_init_of_another_name_in_the_same_home_is_refused(run: Run) -> None:
    run("init", "--name", "acme")
    ran = run("init", "--name", "other", "--json")
    assert ran.exit == Exit.USAGE and "--home" in ran.document["error"]["fix"]


def test_the_doctor_names_every_fault_with_its_fix(run: Run, home: Path) -> None:
    made(home)
    (home / "keys" / "gateway" / "grant.pem").chmod(0o644)
    (home / "catalog" / "actions.yaml").write_text("apiVersion: lockgate/v1\nkind: Nonsense\n")
    (home / "policy" / "data.yaml").write_text("version: 1\nrolls: {}\n")
    ran = run("doctor", "--json")
    assert ran.exit == Exit.FAILED
    faults = {item["name"]: item for item in ran.document["findings"] if item["level"] == "fault"}
    assert {"gateway keys", "catalog", "policy"} <= set(faults)
    assert faults["gateway keys"]["fix"].startswith("chmod 600")
    assert "actions.yaml:2" in faults["catalog"]["message"]
    assert "data.yaml" in faults["policy"]["message"]


def test_a_catalog_fault_is_named_with_file_line_and_field(run: Run, home: Path) -> None:
    made(home)
    good = run("catalog", "check", "--json")
    assert good.exit == Exit.OK and "set_motd" in good.document["actions"]
    path = home / "catalog" / "targets.yaml"
    path.write_text(path.read_text().replace("driver: ansible", "driver: nothing", 1))
    line = path.read_text().splitlines().index("  driver: nothing") + 1
    bad = run("catalog", "check", "--json")
    assert bad.exit == Exit.FAILED and bad.document["ok"] is False
    assert (bad.document["errors"][0]["file"], bad.document["errors"][0]["line"]) == ("targets.yaml", line)
    assert f"targets.yaml:{line}:" in run("catalog", "check").out


def test_policy_check_names_the_line_of_a_fault(run: Run, home: Path) -> None:
    made(home)
    assert run("policy", "check", "--json").document["ok"] is True
    (home / "policy" / "data.yaml").write_text("version: 1\nrolls: {}\n")
    ran = run("policy", "check", "--json")
    assert (ran.exit, ran.document["ok"]) == (Exit.FAILED, False)
    (fault,) = ran.document["errors"]
    assert (fault["file"], fault["line"], fault["message"]) == (
        str(home / "policy" / "data.yaml"),
        1,
        "is missing 'roles'",
    )


@pytest.mark.opa
def test_policy_check_names_file_line_and_reason_of_a_built_in_that_is_not_allowed(
    run: Run, home: Path, opa: Path, tmp_path: Path
) -> None:
    made(home)
    (tmp_path / "mine.rego").write_text("package mine\n\nlate if time.now_ns() > 0\n")
    ran = run("policy", "check", "--json", "--source", str(tmp_path))
    assert ran.exit == Exit.FAILED
    (fault,) = ran.document["errors"]
    assert (fault["file"], fault["line"]) == (str(tmp_path / "mine.rego"), 3)
    assert "time.now_ns: not allowed in a policy: it reads the clock" in fault["message"]


@pytest.mark.opa
def test_policy_check_and_build_refuse_an_import_that_takes_a_rules_name_by_file_and_line(
    run: Run, home: Path, opa: Path, tmp_path: Path
) -> None:
    made(home)
    mine, bundle = tmp_path / "rules" / "mine.rego", tmp_path / "policy.tar.gz"
    mine.parent.mkdir()
    mine.write_text("package mine\n\nimport data.other.found\n\nfound := []\n\ndeny contains x if some x in found\n")
    ran = run("policy", "check", "--json", "--source", str(mine.parent))
    assert ran.exit == Exit.FAILED
    (fault,) = ran.document["errors"]
    assert (fault["file"], fault["line"]) == (str(mine), 3)
    assert "takes the name of the rule `found`" in fault["message"]
    ran = run("policy", "build", "--json", "--source", str(mine.parent), "--output", str(bundle))
    assert ran.exit == Exit.USAGE
    assert f"{mine}:3: the import of data.other.found takes the name" in ran.document["error"]["message"]
    assert not bundle.exists()


def test_a_broken_settings_file_is_named_by_line(run: Run, home: Path) -> None:
    made(home)
    with (home / "gateway.yaml").open("a") as file:
        file.write("nonsense: 1\n")
    ran = run("gateway", "--json")
    assert ran.exit == Exit.USAGE and "gateway.yaml:" in ran.document["error"]["message"]
    assert ran.document["error"]["field"] == "nonsense"


def test_a_token_is_saved_for_its_owner_only_and_never_shown_again(run: Run, home: Path) -> None:
    made(home)
    shown = run("token", "issue", "agent-7", "--role", "operator", "--owner", "alice", "--json").document["token"]
    assert shown.count(".") == 2
    saved = run("token", "issue", "agent-7", "--owner", "alice", "--save", "seven", "--json")
    path = Path(saved.document["saved"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = path.read_text().strip()
    assert token not in saved.out + saved.err
    inspected = run("token", "inspect", "seven", "--json")
    assert token not in inspected.out and inspected.document["verified"] is False
    assert (inspected.document["claims"]["sub"], inspected.document["claims"]["owner"]) == ("agent-7", "alice")
    assert run("token", "issue", "agent-7", "--save", "seven").exit == Exit.OK
    assert path.read_text().strip() != token


def test_a_token_others_can_read_is_not_used(run: Run, home: Path) -> None:
    made(home)
    issue_dev_tokens(home)["human"].chmod(0o644)
    ran = run("operation", "list", "--json")
    assert ran.exit == Exit.USAGE and "chmod 600" in ran.document["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["token", "issue", "x", "--kind", "robot"], "kind"),
        (["token", "revoke", "--reason", "stolen laptop"], "id"),
        (["call", "set_motd", "--arg", "novalue"], "arg"),
        (["operation", "resolve", "op_1", "--outcome", "fine", "--reason", "I looked there"], "outcome"),
        (["operation", "approve", "op_1", "--yes"], "digest"),
        (["operation", "reject", "op_1", "--yes"], "digest"),
    ],
)
def test_bad_input_names_the_option(run: Run, home: Path, arguments: list[str], field: str) -> None:
    issue_dev_tokens(made(home))
    ran = run(*arguments, "--json")
    assert ran.exit == Exit.USAGE
    assert ran.document["error"]["field"] == field


@pytest.mark.parametrize("name", ["../../etc/passwd", ".hidden", ""])
def test_a_token_name_is_no_path(run: Run, home: Path, name: str) -> None:
    made(home)
    ran = run("token", "issue", "x", "--save", name, "--json")
    assert ran.exit == Exit.USAGE


def test_production_makes_no_human_tokens(run: Run) -> None:
    run("init")
    ran = run("token", "issue", "alice", "--kind", "human", "--json")
    assert ran.exit == Exit.REFUSED and "issuer" in ran.document["error"]["message"]


def test_a_gateway_that_does_not_run_is_said_with_the_command_that_starts_it(run: Run, home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        issue_dev_tokens(made(home))
        set_values(home / "gateway.yaml", {("public", "url"): f"http://127.0.0.1:{taken.getsockname()[1]}"})
        for command in (["operation", "list"], ["call"]):
            ran = run(*command, "--json")
            assert ran.exit == Exit.UNAVAILABLE
            assert "lockgate dev" in ran.document["error"]["fix"]


@pytest.mark.parametrize(("flag", "field"), [("--port", "public.port"), ("--runner-port", "runners.port")])
def test_a_busy_port_is_named_with_its_flag_before_anything_is_made(
    run: Run, home: Path, flag: str, field: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("dev", flag, str(port), "--json")
    assert ran.exit == Exit.UNAVAILABLE
    error = ran.document["error"]
    assert (error["field"], str(port) in error["message"], flag in error["fix"]) == (field, True, True)
    assert not (home / "gateway.yaml").exists()


def test_dev_does_not_touch_a_production_home(run: Run, home: Path) -> None:
    run("init")
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    ran = run("dev", "--json")
    assert ran.exit == Exit.USAGE and "production" in ran.document["error"]["message"]
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_other_ports_are_written_without_touching_another_character(home: Path) -> None:
    path = made(home) / "gateway.yaml"
    path.write_text(path.read_text() + "# mine\n")
    before, mode = path.read_text(), path.stat().st_mode
    set_values(path, {("public", "port"): "1", ("runners", "port"): "2", ("nothing", "there"): "3"})
    assert path.read_text() == before.replace("port: 8400", "port: 1").replace("port: 8401", "port: 2")
    assert path.stat().st_mode == mode


def test_an_audit_without_a_store_is_not_found(run: Run, home: Path) -> None:
    made(home)
    assert run("audit", "verify", "--json").exit == Exit.NOT_FOUND


def test_a_file_that_is_no_log_is_refused_with_what_to_name(run: Run, home: Path, tmp_path: Path) -> None:
    made(home)
    (tmp_path / "x").write_text("no log\n")
    ran = run("audit", "verify", str(tmp_path / "x"), "--json")
    assert ran.exit == Exit.USAGE and "export" in ran.document["error"]["fix"]
    gone = run("audit", "verify", str(tmp_path / "gone"), "--json")
    assert gone.exit == Exit.USAGE


def test_arguments_are_json_where_they_are_json_else_text() -> None:
    assert read_arguments(["a=1", "b=true", "c=one", 'd={"x": [1]}', "e=", "f=a=b"]) == {
        "a": 1, "b": True, "c": "one", "d": {"x": [1]}, "e": "", "f": "a=b",
    }  # fmt: skip
    with pytest.raises(Problem, match="twice"):
        read_arguments(["a=1", "a=2"])


@pytest.mark.parametrize(
    ("status", "exit"),
    [(400, 2), (401, 3), (403, 3), (404, 4), (409, 6), (413, 2), (429, 5), (500, 5), (503, 5), (418, 1)],
)
def test_a_refusal_of_the_gateway_has_an_exit_code_of_its_kind(status: int, exit: int) -> None:
    problem = refusal(status, {"detail": "no", "field": "x", "fix": "y", "rules": [{"rule": "r"}]})
    assert (int(problem.exit), problem.message, problem.field, problem.fix) == (exit, "no", "x", "y")
    assert problem.rules[0]["rule"] == "r"


def test_nothing_on_a_pipe_is_coloured(run: Run, home: Path) -> None:
    made(home)
    ran = run("doctor")
    assert "\x1b" not in ran.out + ran.err and os.linesep in ran.out
