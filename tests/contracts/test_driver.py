"""The driver contract on the shipped drivers with their real tools, outside a sandbox."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from lockgate.job.drivers.ansible.driver import AnsibleDriver
from lockgate.job.drivers.opentofu.driver import OpenTofuDriver
from lockgate.job.drivers.runbook import RunbookDriver
from lockgate.testing.driver import DriverContract, Subject


@pytest.fixture
def place(tmp_path):
    """A source, a target directory and numbered scratch directories."""
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    numbers = itertools.count()

    def scratch() -> Path:
        made = tmp_path / f"scratch-{next(numbers)}"
        made.mkdir()
        return made

    return tmp_path, scratch


def contents(directory: Path):
    return {path.name: (path.read_bytes(), path.stat().st_mode) for path in sorted(directory.iterdir())}


def text_of(path: Path) -> str | None:
    return path.read_bytes().decode() if path.exists() else None


RUNBOOK = """
version = 1
[tasks.write]
check = ["./check", "--", "{name}"]
apply = ["./apply", "--", "{name}"]
parameters.name = { type = "string" }
[tasks.hang]
apply = ["./hang"]
[tasks.noise]
apply = ["./noise"]
[tasks.die]
apply = ["./die"]
"""
SCRIPTS = {
    "check": '[ "$(cat "$LOCKGATE_SETTING_STATE_DIR/name" 2>&1)" = "$2" ] && exit 0; exit 2',
    "apply": 'printf %s "$2" > "$LOCKGATE_SETTING_STATE_DIR/name"',
    "hang": "trap '' TERM; sleep 600 & wait; sleep 600",
    "noise": "head -c 100000000 /dev/zero | tr '\\0' x; head -c 100000000 /dev/zero | tr '\\0' y >&2",
    "die": "kill -KILL $$",
}


class TestRunbook(DriverContract):
    @pytest.fixture
    def subject(self, place):
        base, scratch = place
        source, target = base / "source", base / "target"
        (source / "runbook.toml").write_text(RUNBOOK)
        for name, script in SCRIPTS.items():
            (source / name).write_text(f"#!/bin/sh\n{script}\n")
            (source / name).chmod(0o755)
        return Subject(
            driver=RunbookDriver(),
            source=source,
            entry="write",
            variables={"name": "blue"},
            settings={"state_dir": str(target)},
            text="name",
            read_text=lambda: text_of(target / "name"),
            state=lambda: contents(target),
            scratch=scratch,
            faults={name: name for name in ("hang", "noise", "die")},
        )


PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: The text is there
      ansible.builtin.copy: {content: "{{ name }}", dest: "{{ target_dir }}/name"}
    - name: So is what is nested
      ansible.builtin.copy: {content: "{{ name }}", dest: "{{ target_dir }}/second"}
"""
FAULT = "- hosts: \"{{ 'all' | FAULT }}\"\n  gather_facts: false\n  tasks: []\n"
FILTERS = """
import os, signal, sys, time
def noise(value):
    for stream in (1, 2):
        for _ in range(1600):
            data = b"x" * 65536
            while data:
                data = data[os.write(stream, data):]
    return value
def die(value):
    os.kill(os.getpid(), signal.SIGKILL)
def hang(value):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
class FilterModule:
    def filters(self):
        return {"noise": noise, "die": die, "hang": hang}
"""


@pytest.mark.slow
class TestAnsible(DriverContract):
    @pytest.fixture
    def subject(self, place):
        base, scratch = place
        source, target = base / "source", base / "target"
        (source / "site.yml").write_text(PLAYBOOK)
        (source / "inventory.ini").write_text(
            "localhost ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n"
        )
        (source / "filter_plugins").mkdir()
        (source / "filter_plugins" / "faults.py").write_text(FILTERS)
        for fault in ("hang", "noise", "die"):
            (source / f"{fault}.yml").write_text(FAULT.replace("FAULT", fault))
        return Subject(
            driver=AnsibleDriver(),
            source=source,
            entry="site.yml",
            variables={"name": "blue"},
            settings={"inventory": "inventory.ini", "variables": {"target_dir": str(target)}},
            text="name",
            read_text=lambda: text_of(target / "name"),
            state=lambda: contents(target),
            scratch=scratch,
            faults={name: f"{name}.yml" for name in ("hang", "noise", "die")},
        )


MODULE = """
variable "name" {
  type = string
}
resource "terraform_data" "text" {
  input = var.name
}
resource "terraform_data" "more" {
  input = [var.name, terraform_data.text.id]
}
"""
FAULTY = """
resource "terraform_data" "fault" {
  provisioner "local-exec" {
    command = "COMMAND"
  }
}
"""
COMMANDS = {
    "hang": "trap '' TERM; sleep 600",
    "noise": "yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx | head -c 100000000",
    "die": "kill -KILL $PPID",
}


@pytest.mark.tofu
@pytest.mark.slow
class TestOpenTofu(DriverContract):
    @pytest.fixture(params=["opentofu", "terraform"])
    def subject(self, request, place, tofu, terraform, provider_mirror):
        base, scratch = place
        source, target, tool = base / "source", base / "target", base / "tool"
        tool.mkdir()
        (tool / "tofu").symlink_to(tofu)
        (tool / "terraform").symlink_to(terraform)
        (source / "main.tf").write_text(MODULE)
        for fault, command in COMMANDS.items():
            (source / fault).mkdir()
            (source / fault / "main.tf").write_text(FAULTY.replace("COMMAND", command))
        return Subject(
            driver=OpenTofuDriver(),
            source=source,
            entry=".",
            variables={"name": "blue"},
            settings={"engine": request.param, "state": "runner"},
            text="name",
            read_text=lambda: text_in_state(target / "terraform.tfstate"),
            state=lambda: contents(target),
            scratch=scratch,
            faults={fault: fault for fault in COMMANDS},
            exact={"tool": tool, "providers": provider_mirror, "state": target},
        )


def text_in_state(path: Path) -> str | None:
    """What the resource `text` holds."""
    resources = json.loads(path.read_bytes())["resources"] if path.exists() else []
    inputs = [item["instances"][0]["attributes"]["input"] for item in resources if item["name"] == "text"]
    return inputs[0]["value"] if inputs and isinstance(inputs[0], dict) else inputs[0] if inputs else None
