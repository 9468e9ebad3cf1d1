"""The ansible driver with the real ansible-core, on this machine; what the contract suite does not ask."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path

import pytest

from lockgate.contract.intent import Stage
from lockgate.contract.work import InputsDocument
from lockgate.job.drivers.ansible.command import AnsibleTool
from lockgate.job.drivers.ansible.driver import AnsibleDriver
from lockgate.job.drivers.ansible.report import BadReport, read_report
from lockgate.job.drivers.port import StageContext, StageRefused

pytestmark = pytest.mark.slow
LOCAL = "ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'"


class Site:
    """An ansible source, a target directory, and stages on them."""

    def __init__(self, base: Path) -> None:
        self.base, self.source, self.target = base, base / "source", base / "target"
        self.source.mkdir()
        self.target.mkdir()
        self.numbers = itertools.count()
        self.write("inventory.ini", f"localhost {LOCAL}\n")

    def write(self, name: str, text: str) -> None:
        (self.source / name).write_text(text)

    def play(self, *tasks: dict, **keys) -> None:
        # JSON is YAML, and quotes every `{{ … }}` for us.
        self.write("site.yml", json.dumps([{"hosts": "all", "gather_facts": False, **keys, "tasks": tasks}]))

    def context(self, given=None, entry="site.yml", **settings) -> StageContext:
        scratch = self.base / f"scratch-{next(self.numbers)}"
        scratch.mkdir()
        fixed = {"inventory": "inventory.ini", "variables": {"dir": str(self.target)}, **settings}
        inputs = InputsDocument(1, "ansible", entry, given or {}, fixed, "", "", "", "", "")
        return StageContext(
            Stage.PLAN, self.source, scratch, None, inputs, 60_000, 600, time.monotonic, time.monotonic()
        )

    def plan(self, given=None, **settings):
        return AnsibleDriver().plan(self.context(given, **settings))


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


NESTED = {
    "list": ["{{ 7 * 7 }}", ["{% if 1 %}x{% endif %}"]],
    "{{ lookup('pipe', 'touch CANARY') }}": {"deep": "{{ lookup('pipe', 'touch CANARY') }}", "n": 1.5, "none": None},
    "long " + "k" * 1100: "\U0001f512 \x7f \u2028",
}


def test_nested_arguments_and_their_keys_stay_literal(site):
    site.play(
        {"copy": {"content": "{{ given | to_json }}", "dest": "{{ dir }}/all"}},
        {"copy": {"content": "{{ item.key }}={{ item.value }}\n", "dest": "{{ dir }}/{{ index }}"}, "loop": "{{ given | dict2items }}",
         "loop_control": {"index_var": "index"}},
        {"copy": {"content": "{{ again }}", "dest": "{{ dir }}/again"}, "vars": {"again": "{{ given.list[0] }}"}},
    )  # fmt: skip
    context = site.context({"given": NESTED})
    result = AnsibleDriver().apply(context)
    assert result.status == "ok", result.detail
    assert json.loads((site.target / "all").read_text()) == NESTED
    assert (site.target / "again").read_text() == "{{ 7 * 7 }}"
    assert (site.target / "1").read_text().startswith("{{ lookup('pipe', 'touch CANARY') }}={")
    assert not list(site.base.rglob("CANARY"))


def test_what_check_mode_cannot_know_is_said(site):
    site.play(
        {"name": "a command", "command": "touch {{ dir }}/made"},
        {"name": "a shell", "shell": "touch {{ dir }}/made"},
        {"name": "made before", "command": {"cmd": "touch x", "creates": "{{ dir }}/never"}},
        {"name": "not wanted", "command": "touch {{ dir }}/made", "when": "false"},
        {"name": "only a question", "command": "true", "check_mode": False, "changed_when": False},
        {"name": "allowed to fail", "fail": {"msg": "because"}, "ignore_errors": True},
        {
            "name": "rescue",
            "block": [{"name": "breaks", "fail": {"msg": "broken"}}],
            "rescue": [{"debug": {"msg": "on"}}],
        },
    )
    result = site.plan()
    assert result.status == "ok", result.detail
    assert [text.split(": ")[1] for text in result.incomplete] == [
        "a command",
        "a shell",
        "made before",
        "allowed to fail",
        "breaks",
    ]
    assert list(site.target.iterdir()) == []
    verified = AnsibleDriver().verify(site.context())
    assert verified.changes or verified.status == "incomplete"


def test_no_log_hides_values_everywhere(site):
    hidden = "hunter2-hunter2"
    site.play(
        {"name": "secret", "copy": {"content": hidden, "dest": "{{ dir }}/s"}, "no_log": True},
        {"name": "secrets", "copy": {"content": "{{ item }}", "dest": "{{ dir }}/{{ index }}"}, "loop": [hidden, hidden + "3"],
         "loop_control": {"index_var": "index"}, "no_log": True},
        {"name": "open", "copy": {"content": "seen", "dest": "{{ dir }}/o"}},
    )  # fmt: skip
    for call in (AnsibleDriver().plan, AnsibleDriver().apply):
        result = call(site.context())
        assert hidden not in str(result)
    result = site.plan()
    assert result.changes == ()
    (site.target / "s").write_text("other")
    changed = site.plan()
    assert [change["change"]["after"] for change in changed.changes] == [{"hidden": "no_log"}]
    assert "other" not in str(changed)
    failing = {"name": "secret", "fail": {"msg": hidden}, "no_log": True}
    site.play(failing)
    failed = site.plan()
    assert failed.status == "failed"
    assert hidden not in str(failed)


def test_actions_follow_what_is_there_and_what_shall_not_be(site):
    for name in ("gone", "also-gone", "kept"):
        (site.target / name).write_text("old\n")
    site.play(
        {"name": "delete", "file": {"path": "{{ dir }}/gone", "state": "absent"}},
        {"name": "delete by variable", "file": {"path": "{{ dir }}/also-gone", "state": "{{ state }}"}},
        {"name": "create", "file": {"path": "{{ dir }}/new", "state": "directory"}},
        {"name": "update", "copy": {"content": "new\n", "dest": "{{ dir }}/kept"}},
        {"name": "line", "lineinfile": {"path": "{{ dir }}/kept", "line": "more"}},
        {"name": "same", "file": {"path": "{{ dir }}", "state": "directory"}},
    )
    result = site.plan({"state": "absent"})
    found = {change["address"].removeprefix("localhost: "): change["change"] for change in result.changes}
    assert {name: change["actions"][0] for name, change in found.items()} == {
        "delete": "delete",
        "delete by variable": "delete",
        "create": "create",
        "update": "update",
        "line": "update",
    }
    assert found["update"]["before"] == [{"value": "old\n", "path": str(site.target / "kept")}]
    assert found["update"]["after"] == [{"value": "new\n", "path": str(site.target / "kept")}]


def test_many_hosts_come_in_a_fixed_order_with_distinct_addresses(site):
    site.write("inventory.ini", "".join(f"host{number} {LOCAL}\n" for number in (3, 1, 2)))
    site.play(
        *(
            {"name": "again", "copy": {"content": str(n), "dest": f"{{{{ dir }}}}/{{{{ inventory_hostname }}}}-{n}"}}
            for n in (1, 2)
        )
    )
    result = site.plan()
    assert [change["address"] for change in result.changes] == [
        f"host{number}: again{suffix}" for number in (1, 2, 3) for suffix in ("", " #2")
    ]
    assert [change["address"] for change in site.plan(limit="host2").changes] == ["host2: again", "host2: again #2"]


def test_a_failing_or_unreachable_host_fails_the_stage_with_the_message(site):
    site.play({"name": "stop", "fail": {"msg": "the disk is full"}})
    result = site.plan()
    assert (result.status, result.exit_code) == ("failed", 2)
    assert "localhost: stop: failed: the disk is full" in result.detail
    site.play({"name": "reach", "ping": {}})
    site.write("inventory.ini", "far ansible_host=192.0.2.1 ansible_connection=ssh ansible_ssh_executable=/bin/false\n")
    result = site.plan()
    assert (result.status, result.exit_code) == ("failed", 4)
    assert "far: reach: unreachable" in result.detail


def test_a_play_that_matches_no_host_is_no_empty_plan(site):
    site.play({"name": "x", "debug": {}}, hosts="nobody")
    result = site.plan()
    assert result.status == "failed"
    assert "matched" in result.detail


@pytest.mark.parametrize(
    "text", ["{ not yaml", "- hosts: all\n  tasks:\n    - no_such_module: {}\n", "- import_playbook: missing.yml\n"]
)
def test_a_playbook_that_does_not_parse_fails_with_ansibles_words(site, text):
    site.write("site.yml", text)
    result = site.plan()
    assert result.status == "failed"
    assert len(result.detail) > 40


def test_configuration_in_the_source_or_beside_the_run_does_not_count(site, monkeypatch):
    site.write("ansible.cfg", "[defaults]\nstdout_callback = minimal\nnocows = 0\n")
    monkeypatch.chdir(site.source)
    monkeypatch.setenv("ANSIBLE_CONFIG", str(site.source / "ansible.cfg"))
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "minimal")
    site.play({"name": "x", "copy": {"content": "x", "dest": "{{ dir }}/x"}})
    assert len(site.plan().changes) == 1


@pytest.mark.parametrize(
    ("variables", "settings", "said"),
    [
        ({"ansible_connection": "ssh"}, {}, "variables.ansible_connection"),
        ({"dir": "/"}, {}, "variables.dir"),
        ({}, {"inventory": "../other"}, "settings.inventory"),
        ({}, {"inventory": "-i"}, "settings.inventory"),
        ({}, {"inventory": "evil,"}, "settings.inventory"),
        ({}, {"inventory": None}, "settings.inventory"),
        ({}, {"inventory": "missing.ini"}, "settings.inventory"),
        ({}, {"limit": "@/etc/passwd"}, "settings.limit"),
        ({}, {"limit": "-v"}, "settings.limit"),
        ({}, {"variables": []}, "settings.variables"),
        ({}, {"become": True}, "settings.become"),
    ],
)
def test_inputs_that_would_steer_ansible_are_refused_by_name(site, variables, settings, said):
    site.play({"debug": {}})
    with pytest.raises(StageRefused, match=said):
        site.plan(variables, **settings)


def test_a_missing_tool_is_refused_before_anything_starts(site, tmp_path):
    site.play({"debug": {}})
    with pytest.raises(StageRefused, match=r"^tool: "):
        AnsibleDriver(AnsibleTool(tmp_path / "python3", None)).plan(site.context())


def test_reading_is_refused(site):
    with pytest.raises(StageRefused, match="read"):
        AnsibleDriver().read(site.context())


END = '{"event": "end", "hosts": {}}\n'


@pytest.mark.parametrize(
    "text",
    ["", "not json\n", "[]\n", '{"event": "overflow"}\n' + END, '{"event": "no_hosts", "play": "x"}\n', '{"event":'],
)
def test_a_report_that_is_not_whole_is_no_report(tmp_path, text):
    (tmp_path / "events").write_text(text)
    with pytest.raises(BadReport):
        read_report(tmp_path / "events")


def test_the_example_motd_plans_and_removes(root, site):
    example = Site.__new__(Site)
    example.__dict__.update(site.__dict__, source=root / "examples" / "sources" / "motd")
    settings = {"variables": {"target_dir": str(site.target / "etc")}}

    def context(entry, variables):
        return example.context(variables, entry, **settings)

    message = {"message": "{{ hello }}"}
    planned = AnsibleDriver().plan(context("site.yml", message))
    assert [change["change"]["actions"] for change in planned.changes] == [["create"], ["create"]]
    assert AnsibleDriver().apply(context("site.yml", message)).status == "ok"
    assert (site.target / "etc" / "motd").read_text() == "{{ hello }}\n"
    removal = AnsibleDriver().plan(context("remove.yml", {}))
    assert [change["change"]["actions"] for change in removal.changes] == [["delete"]]
