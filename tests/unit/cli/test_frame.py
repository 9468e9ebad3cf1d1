"""What holds for every command: options, exit codes, errors with their fix, and a start that imports no zone."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import lockgate
from lockgate.cli.exits import MEANING, Exit
from lockgate.cli.frame import ended
from lockgate.cli.main import app
from lockgate.cli.problem import Problem, expected, expected_names
from lockgate.cli.reference.commands import _commands
from lockgate.cli.screen import Screen
from lockgate.keys.privatefile import KeyFileError


def commands() -> dict[str, object]:
    return dict(_commands(typer.main.get_command(app), "lockgate"))


def test_the_commands_are_those_of_the_issue() -> None:
    wanted = [
        "init",
        "dev",
        "gateway",
        "runner",
        "demo",
        "doctor",
        "call",
        "freeze",
        "image",
        "unfreeze",
        "catalog+check",
        "policy+budgets",
        "policy+build",
        "policy+bundle+build",
        "policy+bundle+key",
        "policy+bundle+sign",
        "policy+bundle+verify",
        "policy+bundle+diff",
        "policy+check",
        "policy+decisions+list",
        "policy+decisions+show",
        "policy+decisions+export",
        "policy+explain",
        "policy+friction",
        "policy+impact",
        "policy+new-rule",
        "policy+replay",
        "policy+shadow",
        "policy+test",
        "token+issue",
        "token+revoke",
        "token+inspect",
        "why",
        "operation+list",
        "operation+show",
        "operation+watch",
        "operation+approve",
        "operation+reject",
        "operation+cancel",
        "operation+resolve",
        "target+list",
        "target+unlock",
        "state+list",
        "state+accept",
        "state+discard",
        "audit+show",
        "audit+verify",
        "audit+export",
    ]
    assert set(commands()) == {"lockgate " + name.replace("+", " ") for name in wanted}


@pytest.mark.parametrize("name", commands())
def test_every_command_answers_in_json_and_takes_a_home(name: str) -> None:
    options = {option for item in commands()[name].params for option in item.opts}  # type: ignore[attr-defined]
    assert {"--json", "--home"} <= options


def test_no_command_takes_a_token_as_an_argument() -> None:
    for name, command in commands().items():
        options = {option for item in command.params for option in item.opts}  # type: ignore[attr-defined]
        assert not options & {"--token", "--secret", "--password"}, name


def test_every_exit_code_says_what_it_means() -> None:
    assert set(MEANING) == set(Exit)
    assert len({int(code) for code in Exit}) == len(Exit)


@pytest.mark.parametrize("name", expected_names())
def test_every_expected_failure_is_a_real_exception(name: str) -> None:
    module, _, kind = name.partition(":")
    found = getattr(importlib.import_module(module), kind)
    assert issubclass(found, Exception)
    assert (found.__module__, found.__qualname__) == (module, kind), "it is looked up where it is defined"


def test_an_expected_failure_names_the_fix_and_one_nobody_foresaw_is_none() -> None:
    problem = expected(KeyFileError(Path("grant.pem"), "cannot be read"))
    assert problem is not None
    assert (problem.exit, problem.message, bool(problem.fix)) == (Exit.USAGE, "grant.pem: cannot be read", True)
    assert expected(ZeroDivisionError()) is None


def test_a_bug_keeps_its_traceback() -> None:
    def bug() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ended(Screen(), bug)


def test_ctrl_c_ends_with_its_own_code() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert ended(Screen(), interrupted) is Exit.INTERRUPTED


def test_a_problem_is_one_json_document_on_stdout_and_words_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    rule = {"rule": "four_eyes", "message": "You asked for this.", "fix": "Ask another."}
    problem = Problem(Exit.REFUSED, "No.", field="verdict", fix="do this", rules=(rule,))
    Screen(as_json=True).problem(problem)
    said = capsys.readouterr()
    assert '"code": "refused"' in said.out and '"four_eyes"' in said.out and said.err == ""
    Screen().problem(problem)
    said = capsys.readouterr()
    assert said.out == ""
    for part in ("error: verdict: No.", "rule four_eyes: You asked for this.", "Ask another.", "fix: do this"):
        assert part in said.err
    assert "\x1b" not in said.err


def test_help_imports_no_zone_and_no_heavy_library() -> None:
    program = "import sys, lockgate.cli.main; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    heavy = (
        "lockgate.gateway",
        "lockgate.runner",
        "lockgate.job",
        "lockgate.policy",
        "mcp",
        "uvicorn",
        "pydantic",
        "wasmtime",
        "httpx2",
    )
    assert [name for name in loaded if name in heavy] == []


def test_the_version_is_said_without_a_command() -> None:
    said = CliRunner().invoke(app, ["--version"])
    assert (said.exit_code, said.stdout) == (Exit.OK, f"lockgate {lockgate.__version__}\n")


def test_unsafe_choices_are_in_every_document_and_on_every_screen(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(as_json=True, unsafe=("no_sandbox",)).emit({"ok": True})
    assert json.loads(capsys.readouterr().out) == {"ok": True, "unsafe": ["no_sandbox"]}
    Screen(unsafe=("no_sandbox",)).answer({"ok": True}, lambda out: None)
    assert "UNSAFE: no sandbox (dev only)" in capsys.readouterr().err
