"""Arguments that would like to be something else: options, scripts, templates, paths, other variables. Through each driver as it is; data they stay."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockgate.contract.intent import Stage
from lockgate.contract.work import InputsDocument
from lockgate.job.drivers.ansible.driver import AnsibleDriver
from lockgate.job.drivers.port import Driver, StageContext, StageRefused
from lockgate.job.drivers.runbook import RunbookDriver
from lockgate.job.drivers.runbook.templates import read_template

HOSTILE = [
    "-rf", "--force", "-", "--", "-var-file=/etc/passwd", "-o ProxyCommand=id", "--extra-vars=@/etc/passwd",
    "{{ lookup('pipe', 'id') }}", "{% raw %}", "{{ 7*7 }}", "${HOME}", "$(id)", "`id`", "%{ for x in y }", "${file(\"/etc/passwd\")}", "<% id %>", "#{id}",
    "../../etc/passwd", "/etc/passwd", "a;id", "a|id", "a&id", "a>b", "*", "~root", "'; id; '", "\"; id; \"", "a b", "!unsafe x", "@/etc/passwd",
    "{replicas}", "{{replicas}}", "%s%n", "secret://web/token", "\u202e", "é", "x" * 200,
]  # fmt: skip
CONTROL = ["a\nb", "a\rb", "a\0b", "\x1b[2J", "a\u2028b", "a\x85b"]


@dataclass
class Bench:
    """One stage of a driver on a source and a scratch directory of the test's own."""

    driver: Driver
    source: Path
    scratch: Path

    def context(self, entry: str, variables: dict[str, Any], settings: dict[str, Any]) -> StageContext:
        digest = "sha256:" + "0" * 64
        inputs = InputsDocument(1, "d", entry, variables, settings, digest, "source", "1", digest, digest)
        self.scratch.mkdir(exist_ok=True)
        return StageContext(
            stage=Stage.PLAN,
            source=self.source,
            scratch=self.scratch,
            credentials=None,
            inputs=inputs,
            output_bytes=1 << 20,
            wall_seconds=120.0,
            clock=time.monotonic,
            started=time.monotonic(),
        )


RUNBOOK = """version = 1
[tasks.say]
parameters.text = { type = "string", max_length = 300 }
check = ["./say", "check", "--text={text}", "--", "{text}"]
apply = ["./say", "apply", "--", "{text}"]
[tasks.bare]
parameters.text = { type = "string", max_length = 300 }
check = ["./say", "check", "{text}"]
apply = ["./say", "apply", "{text}"]
"""
SAY = """#!/usr/bin/env python3
import json, sys
change = {"actions": ["update"], "before": None, "after": {"argv": sys.argv[1:]}}
print(json.dumps([{"address": "a", "type": "t", "name": "n", "change": change}]))
sys.exit(2)
"""


@pytest.fixture
def runbook(tmp_path: Path) -> Bench:
    source = tmp_path / "source"
    source.mkdir()
    (source / "runbook.toml").write_text(RUNBOOK)
    (source / "say").write_text(SAY)
    (source / "say").chmod(0o755)
    return Bench(RunbookDriver(), source, tmp_path / "scratch")


def test_a_runbooks_command_gets_each_value_as_one_argument_where_it_was_declared(runbook: Bench) -> None:
    for value in HOSTILE:
        result = runbook.driver.plan(runbook.context("say", {"text": value}, {"state_dir": "/x"}))
        assert result.status == "ok", result
        assert result.changes[0]["change"]["after"]["argv"] == ["check", f"--text={value}", "--", value]


@pytest.mark.parametrize("value", [item for item in HOSTILE if item.startswith("-")])
def test_a_value_never_stands_where_an_option_could(runbook: Bench, value: str) -> None:
    with pytest.raises(StageRefused, match="begins with '-'"):
        runbook.driver.plan(runbook.context("bare", {"text": value}, {}))


@pytest.mark.parametrize("value", CONTROL, ids=ascii)
def test_a_control_character_never_reaches_a_command(runbook: Bench, value: str) -> None:
    with pytest.raises(StageRefused, match="control character"):
        runbook.driver.plan(runbook.context("say", {"text": value}, {}))


@pytest.mark.parametrize(
    "command",
    [
        ["/bin/sh", "-c", "echo {x}"],
        ["/bin/sh", "-cx", "echo {x}"],
        ["/bin/sh", "-c", "--", "echo {x}"],
        ["/bin/sh", "-c", "-x", "echo {x}"],
        ["/bin/sh", "{x}"],
        ["/usr/bin/timeout", "5", "bash", "-c", "{x}"],
        ["/usr/bin/python3.11", "-cprint({x})"],
        ["/usr/bin/perl", "-e{x}"],
        ["/usr/bin/node", "--eval={x}"],
        ["/usr/bin/awk", "{x}"],
        ["/usr/bin/awk", "-F:", "/{x}/"],
        ["/bin/sed", "s/a/{x}/", "file"],
        ["/usr/bin/env", "{x}"],
        ["/usr/bin/xargs", "{x}"],
        ["/usr/bin/ssh", "host", "systemctl", "restart", "{x}"],
    ],
)
def test_a_runbook_that_would_make_code_of_a_value_is_refused(command: list[str]) -> None:
    with pytest.raises(StageRefused, match="a value cannot stand in a script"):
        read_template(command, frozenset({"x"}), "check")


def test_the_end_of_a_wrappers_options_is_not_that_of_what_it_runs() -> None:
    template = read_template(["/usr/bin/env", "--", "rm", "{x}"], frozenset({"x"}), "apply")
    with pytest.raises(StageRefused, match="begins with '-'"):
        template.render({"x": "-rf"})
    assert template.render({"x": "file"}) == ["/usr/bin/env", "--", "rm", "file"]


PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.copy: {content: "{{ given | to_json }}", dest: "{{ lookup('env', 'TMPDIR') }}/given.json"}
      check_mode: false
    - ansible.builtin.debug: {msg: "{{ given[0] }}"}
"""


def test_a_playbook_gets_every_value_letter_by_letter(tmp_path: Path) -> None:
    """All at once, in a list and as keys: no template is evaluated, no file read, no lookup made."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "site.yml").write_text(PLAYBOOK)
    (source / "hosts.ini").write_text("localhost ansible_connection=local\n")
    bench = Bench(AnsibleDriver(), source, tmp_path / "scratch")
    given = [*HOSTILE, *CONTROL, {value: value for value in HOSTILE}]
    result = bench.driver.plan(bench.context("site.yml", {"given": given}, {"inventory": "hosts.ini"}))
    assert result.status == "ok", result.detail
    assert json.loads((bench.scratch / "given.json").read_text()) == given


@pytest.mark.parametrize(
    "entry", ["-e", "--list-hosts", "../site.yml", "/etc/passwd", "site.yml,other", "a\nb", "a\0b"]
)
def test_no_playbook_is_chosen_from_outside_the_source(tmp_path: Path, entry: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "hosts.ini").write_text("localhost\n")
    bench = Bench(AnsibleDriver(), source, tmp_path / "scratch")
    with pytest.raises(StageRefused, match="plain relative path"):
        bench.driver.plan(bench.context(entry, {}, {"inventory": "hosts.ini"}))
