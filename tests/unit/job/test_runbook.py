from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from lockgate.contract.intent import Stage
from lockgate.contract.work import InputsDocument
from lockgate.job.drivers.port import StageContext, StageRefused
from lockgate.job.drivers.runbook import RunbookDriver

OPEN = 'version = 1\n[tasks.t]\napply = ["./run", {argument}]\nparameters.v = {{ {declared} }}\n'


class Book:
    """A runbook source and what its one script leaves behind."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.source = base / "source"
        self.source.mkdir()
        self.script("run", 'for a in "$@"; do printf "%s\\n" "$a"; done > out')
        self.numbers = itertools.count()

    def script(self, name: str, text: str) -> None:
        (self.source / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.source / name).chmod(0o755)

    def write(self, text: str) -> None:
        (self.source / "runbook.toml").write_text(text)

    def context(self, variables=None, settings=None, entry="t", **changes) -> StageContext:
        scratch = self.base / f"scratch-{next(self.numbers)}"
        scratch.mkdir()
        inputs = InputsDocument(1, "runbook", entry, variables or {}, settings or {}, "", "", "", "", "")
        return StageContext(
            Stage.APPLY,
            self.source,
            scratch,
            changes.get("credentials"),
            inputs,
            10_000,
            300,
            time.monotonic,
            time.monotonic(),
        )

    def arguments(self, variables) -> list[str]:
        context = self.context(variables)
        result = RunbookDriver().apply(context)
        assert result.status == "ok", result.detail
        return (context.scratch / "out").read_text().splitlines()


@pytest.fixture
def book(tmp_path):
    return Book(tmp_path)


@pytest.mark.parametrize(
    ("argument", "declared", "value", "given"),
    [
        ('"{v}"', 'type = "string"', "a b  c", ["a b  c"]),
        ('"--name={v}!"', 'type = "string"', "-x", ["--name=-x!"]),
        ('"--", "{v}"', 'type = "string"', "-x", ["--", "-x"]),
        ('"{v}{v}"', 'type = "string"', "{v}", ["{v}{v}"]),
        ('"{{v}} {v}"', 'type = "string"', "x", ["{v} x"]),
        ('"{v}"', 'type = "integer"', 7, ["7"]),
        ('"{v}"', 'type = "boolean"', True, ["true"]),
        ('"{v}"', 'type = "enum", values = ["on", "off"]', "off", ["off"]),
        ('"{v}"', 'type = "string", pattern = "[a-z]+"', "abc", ["abc"]),
    ],
)
def test_a_value_fills_its_placeholder_once_and_nothing_else(book, argument, declared, value, given):
    book.write(OPEN.format(argument=argument, declared=declared))
    assert book.arguments({"v": value}) == given


@pytest.mark.parametrize(
    ("argument", "declared", "value", "said"),
    [
        ('"{v}"', 'type = "string"', "-x", "begins with '-'"),
        ('"{v}"', 'type = "integer"', -1, "begins with '-'"),
        ('"{v}", "--"', 'type = "string"', "--", "begins with '-'"),
        ('"{v}"', 'type = "string"', "a\nb", "control"),
        ('"{v}"', 'type = "string"', "a\0b", "control"),
        ('"{v}"', 'type = "string"', "\x1b", "control"),
        ('"{v}"', 'type = "string"', "\u2028", "control"),
        ('"{v}"', 'type = "string"', 1, "must be a string"),
        ('"{v}"', 'type = "string"', None, "must be a string"),
        ('"{v}"', 'type = "string", max_length = 3', "abcd", "at most 3"),
        ('"{v}"', 'type = "string", pattern = "[a-z]+"', "abc1", "does not match"),
        ('"{v}"', 'type = "integer"', True, "must be an integer"),
        ('"{v}"', 'type = "integer"', "1", "must be an integer"),
        ('"{v}"', 'type = "integer"', 1.0, "must be an integer"),
        ('"{v}"', 'type = "integer", maximum = 5', 6, "between"),
        ('"{v}"', 'type = "integer", minimum = 5', 4, "between"),
        ('"{v}"', 'type = "boolean"', "true", "must be a boolean"),
        ('"{v}"', 'type = "enum", values = ["on"]', "off", "one of on"),
    ],
)
def test_a_value_outside_its_declaration_is_refused_by_name(book, argument, declared, value, said):
    book.write(OPEN.format(argument=argument, declared=declared))
    context = book.context({"v": value})
    with pytest.raises(StageRefused, match=r"variables\.v: ") as refused:
        RunbookDriver().apply(context)
    assert said in str(refused.value)
    assert list(context.scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "said"), [({}, "variables.v: is missing"), ({"v": "x", "w": "y"}, "variables.w: is not")]
)
def test_missing_and_unknown_variables_are_refused_by_name(book, variables, said):
    book.write(OPEN.format(argument='"{v}"', declared='type = "string"'))
    with pytest.raises(StageRefused, match=said):
        RunbookDriver().apply(book.context(variables))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks = {}", "version"),
        ("version = 1", "no task"),
        ("version = 1\nmore = 2", "more: is not known"),
        ("version = 1\n[tasks.t", "runbook.toml: "),
        ("version = 1\n[tasks.t]", "no command"),
        ('version = 1\n[tasks.t]\napply = "rm -rf x"', "list of strings"),
        ("version = 1\n[tasks.t]\napply = []", "list of strings"),
        ('version = 1\n[tasks.t]\napply = ["{v}"]\nparameters.v = { type = "string" }', "command itself"),
        ('version = 1\n[tasks.t]\napply = ["./run", "{w}"]', "{w} is not a parameter"),
        ('version = 1\n[tasks.t]\napply = ["./run", "{"]', "lone brace"),
        ('version = 1\n[tasks.t]\napply = ["./run"]\nshell = true', "shell: is not known"),
        ('version = 1\n[tasks.t]\napply = ["./run"]\nparameters.V = { type = "string" }', "parameters.V"),
        ('version = 1\n[tasks.t]\napply = ["./run"]\nparameters.v = { type = "text" }', "parameters.v.type"),
        (
            'version = 1\n[tasks.t]\napply = ["./run"]\nparameters.v = { type = "string", pattern = "[" }',
            "parameters.v.pattern",
        ),
        (
            'version = 1\n[tasks.t]\napply = ["./run"]\nparameters.v = { type = "string", minimum = 1 }',
            "parameters.v.minimum",
        ),
        ('version = 1\n[tasks.t]\napply = ["./run"]\nparameters.v = { type = "enum" }', "parameters.v.values"),
        ('version = 1\n[tasks.t]\napply = ["../run"]', "leaves the source"),
        ('version = 1\n[tasks.t]\napply = ["/bin/../bin/sh"]', "leaves the source"),
        ('version = 1\n[tasks.t]\napply = ["sh"]', "there is no 'sh'"),
        ('version = 1\n[tasks.t]\napply = ["./runbook.toml"]', "not executable"),
        ('version = 1\n[tasks.t]\napply = ["/no/such/tool"]', "there is no '/no/such/tool'"),
        ('version = 1\n[tasks.t]\nread = ["./run"]', "no apply command"),
    ],
)
def test_a_runbook_that_is_not_sound_is_refused_by_field(book, text, said):
    book.write(text)
    with pytest.raises(StageRefused) as refused:
        RunbookDriver().apply(book.context())
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "command",
    ['"/bin/sh", "-c", "echo {v}"', '"/usr/bin/env", "bash", "-ec", "{v}"', '"/usr/bin/python3", "-c", "print({v})"'],
)
def test_a_value_inside_a_script_is_refused(book, command):
    book.write(f'version = 1\n[tasks.t]\napply = [{command}]\nparameters.v = {{ type = "string" }}\n')
    with pytest.raises(StageRefused, match="script"):
        RunbookDriver().apply(book.context({"v": "1"}))


def test_a_value_beside_a_script_is_an_argument(book):
    book.write(
        'version = 1\n[tasks.t]\napply = ["/bin/sh", "-c", "echo \\"$1\\" > out", "x", "{v}"]\nparameters.v = { type = "string" }\n'
    )
    assert book.arguments({"v": "$(id)"}) == ["$(id)"]


def test_a_command_from_scratch_is_refused(book):
    context = book.context()
    book.write(f'version = 1\n[tasks.t]\napply = ["{context.scratch}/run"]')
    with pytest.raises(StageRefused, match="scratch"):
        RunbookDriver().apply(context)


@pytest.mark.parametrize("settings", [{"Dir": "x"}, {"a-b": "x"}, {"dir": 1}, {"dir": "a\0b"}])
def test_a_setting_that_is_no_environment_variable_is_refused_by_name(book, settings):
    book.write('version = 1\n[tasks.t]\napply = ["./run"]')
    with pytest.raises(StageRefused, match=rf"settings\.{next(iter(settings))}"):
        RunbookDriver().apply(book.context({}, settings))


def test_without_a_check_the_plan_admits_that_it_knows_nothing(book):
    book.write('version = 1\n[tasks.t]\napply = ["./run", "x"]')
    result = RunbookDriver().plan(book.context())
    assert result.incomplete == ("no check command: Lockgate cannot say what would change",)
    assert result.changes[0]["change"] == {
        "actions": ["update"],
        "before": None,
        "after": {"argv": [str(book.source / "run"), "x"]},
    }
    verified = RunbookDriver().verify(book.context())
    assert (verified.status, verified.detail) == ("incomplete", "no verify or check command")


CHECKED = 'version = 1\n[tasks.t]\napply = ["./run"]\ncheck = ["./check"]\n'
CHANGE = '{"address": "a.b", "type": "a", "name": "b", "change": {"actions": ["delete"]}}'


@pytest.mark.parametrize(
    ("script", "status", "actions"),
    [
        ("exit 0", "ok", []),
        ("exit 2", "ok", [["update"]]),
        ("echo text; exit 2", "ok", [["update"]]),
        ("echo '[]'; exit 2", "ok", [["update"]]),
        (f"echo '[{CHANGE}]'; exit 2", "ok", [["delete"]]),
        (f"echo '{{\"changes\": [{CHANGE}, {CHANGE}]}}'; exit 2", "ok", [["delete"], ["delete"]]),
        ("exit 1", "failed", []),
        ("exit 3", "failed", []),
        ("kill -9 $$", "killed", []),
        ("""echo '[{"address": "a"}]'; exit 2""", "failed", []),
        (
            """echo '[{"address": "a", "type": "b", "name": "c", "change": {"actions": ["explode"]}}]'; exit 2""",
            "failed",
            [],
        ),
        ("head -c 20000 /dev/zero | tr '\\0' '['; exit 2", "ok", [["update"]]),
    ],
)
def test_a_check_is_believed_as_far_as_its_exit_code_and_its_list_go(book, script, status, actions):
    book.write(CHECKED)
    book.script("check", script)
    result = RunbookDriver().plan(book.context())
    assert (result.status, [change["change"]["actions"] for change in result.changes]) == (status, actions)
    assert (status == "ok") == (result.detail == "")


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", "ok"), ("exit 2", "ok"), ("exit 1", "incomplete"), ("kill -9 $$", "killed")]
)
def test_a_verify_that_cannot_answer_is_incomplete(book, script, status):
    book.write('version = 1\n[tasks.t]\napply = ["./run"]\nverify = ["./verify"]\ncheck = ["./run"]\n')
    book.script("verify", script)
    assert RunbookDriver().verify(book.context()).status == status


def test_commands_see_their_own_environment_only(book, monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET_OF_THE_JOB", "x")
    book.write('version = 1\n[tasks.t]\nread = ["/usr/bin/env"]')
    result = RunbookDriver().read(book.context({}, {"state_dir": "/srv/x"}, credentials=tmp_path))
    names = {line.partition("=")[0] for line in result.output.splitlines()}
    assert names == {
        "PATH", "HOME", "TMPDIR", "LANG", "LOCKGATE_SOURCE", "LOCKGATE_STAGE", "LOCKGATE_SETTING_STATE_DIR", "LOCKGATE_CREDENTIALS",
    }  # fmt: skip


def test_output_that_is_not_utf_8_is_shown_with_replacements(book):
    book.write('version = 1\n[tasks.t]\nread = ["./run"]')
    book.script("run", r"printf 'a\377b'")
    assert RunbookDriver().read(book.context()).output == "a\N{REPLACEMENT CHARACTER}b"


def test_the_example_service_plans_applies_verifies_and_reads(root, tmp_path):
    example = Book(tmp_path)
    example.source = root / "examples" / "sources" / "service"
    (tmp_path / "state").mkdir()
    settings = {"state_dir": str(tmp_path / "state")}
    wanted = {"service": "web", "replicas": 3}

    def run(call, entry, variables):
        return call(example.context(variables, settings, entry))

    driver = RunbookDriver()
    planned = run(driver.plan, "set-replicas", wanted)
    assert planned.changes[0]["change"] == {"actions": ["create"], "before": None, "after": {"replicas": 3}}
    assert run(driver.apply, "set-replicas", wanted).status == "ok"
    assert run(driver.verify, "set-replicas", wanted).changes == ()
    assert run(driver.read, "status", {"service": "web"}).output == '{"service": "web", "replicas": 3}\n'
