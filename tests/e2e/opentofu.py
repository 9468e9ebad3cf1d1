"""A deployment with one target of the driver `opentofu`, whose state the runner keeps; the engine, the provider and every process are real."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import select
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.conftest import GID, ROOT, Deployment, roots_dir
from tests.ports import free_ports

from lockgate.cli.bootstrap import Names, Ports, Samples, bootstrap
from lockgate.runner.settings import load_runner_settings
from lockgate.runner.toolbox import h1_of_directory

HOSTS = {"opentofu": "registry.opentofu.org", "terraform": "registry.terraform.io"}
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]

ACTION = """
apiVersion: lockgate/v1
kind: Action
metadata: {name: write_note}
spec:
  title: Write the note
  description: Writes the note's text into its file.
  effect: change
  risk: low
  idempotent: true
  targets: {labels: {kind: note}}
  driver: opentofu
  entry: .
  arguments:
    type: object
    required: [text]
    properties:
      text: {type: string, maxLength: 400}
      pause: {type: string, maxLength: 4, pattern: "^[0-9]{1,3}s$"}
  variables: {text: text, pause: pause}
"""
TARGET = """
---
apiVersion: lockgate/v1
kind: Target
metadata: {{name: {name}, labels: {{kind: note}}}}
spec:
  driver: opentofu
  source: note
  environment: {environment}
  region: local
  limits: {{wall_seconds: 120}}
  settings: {{engine: {engine}, state: runner, variables: {{secret: {secret}}}}}
"""
SECRET = "nobody-may-read-this-0815"
MODULE = """
terraform {
  required_providers {
    local = { source = "hashicorp/local" }
    time  = { source = "hashicorp/time" }
  }
}
variable "text" { type = string }
variable "pause" {
  type    = string
  default = "0s"
}
variable "secret" {
  type      = string
  sensitive = true
}
resource "local_file" "note" {
  filename = "/target/note"
  content  = var.text
}
# OpenTofu writes its state while it applies only with an update that comes 20 s after its first: so that a long pause has one before it.
resource "time_sleep" "breath" {
  count           = var.pause == "0s" ? 0 : 1
  create_duration = "21s"
  triggers        = { note = local_file.note.id }
}
resource "time_sleep" "pause" {
  create_duration = var.pause
  triggers        = { note = local_file.note.id }
  depends_on      = [time_sleep.breath]
}
resource "local_sensitive_file" "secret" {
  filename        = "/target/secret"
  file_permission = "0664"
  content         = var.secret
}
output "secret" {
  value     = var.secret
  sensitive = true
}
"""


@dataclass
class Works:
    """The deployment, the engine under test, its source and what the target holds (`/target` in sandboxes)."""

    deployment: Deployment
    engine: str
    source: Path
    target: Path

    def note(self) -> str | None:
        path = self.target / "note"
        return path.read_text() if path.exists() else None

    def ask(self, text: str, target: str = "note-dev", **more: Any) -> str:
        token = self.deployment.token("alice")
        reason = "the note is out of date"
        return str(
            self.deployment.ask("write_note", target, {"text": text, **more}, token, reason=reason)["operation_id"]
        )

    def command(self, *words: str) -> str:
        """What a command of this home prints."""
        argv = [sys.executable, "-m", "lockgate.cli", *words, "--home", str(self.deployment.home)]
        return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout

    def lent_states(self) -> list[Path]:
        """The states that lie in clear, for an apply, at this moment."""
        return list(
            load_runner_settings(self.deployment.home / "runner.yaml").workspaces.glob("*/lent/terraform.tfstate")
        )

    def lent(self, seconds: float) -> None:
        """Wait for the moment at which a state is lent to an apply."""
        deadline = time.monotonic() + seconds
        while not self.lent_states():
            assert time.monotonic() < deadline, f"no state was lent in {seconds:g} s\n{self.deployment.logs()}"
            select.select([], [], [], 0.02)

    def resolve(self, operation: str, outcome: str) -> None:
        """An administrator's word on what holds."""
        admin = self.deployment.token("carol", roles=("admin",))
        body = {"outcome": outcome, "reason": "looked at the note by hand"}
        status, document = self.deployment.rest("POST", f"/api/v1/operations/{operation}/resolve", admin, body)
        assert status == 200, document

    def written_state(self, text: str, seconds: float) -> dict[str, Any]:
        """The state that a running apply has written with a note of this text in it, as soon as it is whole."""
        deadline = time.monotonic() + seconds
        while True:
            for path in self.lent_states():
                with contextlib.suppress(ValueError, OSError):
                    found: dict[str, Any] = json.loads(path.read_text())
                    if any(item["name"] == "note" and text in json.dumps(item) for item in found["resources"]):
                        return found
            assert time.monotonic() < deadline, f"no state with {text!r} in {seconds:g} s\n{self.deployment.logs()}"
            select.select([], [], [], 0.05)

    def settled(self, operation: str, *states: str) -> dict[str, Any]:
        return self.deployment.settled(operation, self.deployment.token("alice"), *states, seconds=300)

    def said_of(self, operation: str, words: str, seconds: float = 240) -> dict[str, Any]:
        """The operation once its message holds these words."""
        deadline = time.monotonic() + seconds
        while True:
            token = self.deployment.token("alice")
            status, found = self.deployment.rest("GET", f"/api/v1/operations/{operation}?wait_seconds=5", token)
            assert status == 200, found
            if words in found["message"]:
                return dict(found)
            assert time.monotonic() < deadline, f"{found['message']}\n{self.deployment.logs()}"
            select.select([], [], [], 0.05)

    def approve(self, operation: str, digests: dict[str, str]) -> None:
        vote = {
            "verdict": "approve",
            "comment": "",
            "digests": {k: digests[k] for k in ("semantic_sha256", "inputs_sha256")},
        }
        bob = self.deployment.token("bob", roles=("approver",))
        status, document = self.deployment.rest("POST", f"/api/v1/operations/{operation}/votes", bob, vote)
        assert status == 200, document


def lock_text(mirror: Path, host: str, name: str = "*") -> str:
    """What `init` would write beside the root module for every provider of this mirror, or for the one of this name."""
    text = ""
    for package in sorted((mirror / host).glob(f"hashicorp/{name}/*/linux_{MACHINE}")):
        name, version = package.parts[-3:-1]
        hashes = f'  hashes = [\n    "{h1_of_directory(package)}",\n  ]\n'
        text += f'provider "{host}/hashicorp/{name}" {{\n  version = "{version}"\n{hashes}}}\n\n'
    return text


def make_works(home: Path, engine: str, program: Path, mirror: Path) -> Works:
    """Bootstrap it below `home`; nothing runs yet. Targets: note-dev (no approval needed) and note-prod (held for one)."""
    source, target = home / "sources" / "note", home / "targets" / "note"
    source.mkdir(parents=True)
    (source / "main.tf").write_text(MODULE)
    (source / ".terraform.lock.hcl").write_text(lock_text(mirror, HOSTS[engine]))
    target.mkdir(parents=True)
    shared: dict[str, Any] = {"path": str(target), "target": "/target", "mode": "write"}
    if os.geteuid() == 0:
        os.chown(target, 0, GID)
        target.chmod(0o2775)
        shared["gid"] = GID
    served = {
        "drivers": ["opentofu"],
        "sources": ["note"],
        "paths": [shared],
        "keeps_state": True,
        "credential_scopes": ["read", "write"],
        "limits": {"wall_seconds": 900},
    }
    runner = {
        "sources": {"note": str(source)},
        "targets": {name: copy.deepcopy(served) for name in ("note-dev", "note-prod")},
        "tools": {engine: {"path": str(program), "any": True, "version": "under-test"}},
        "providers": {"mirror": str(mirror), "any": True},
        "sandbox": {"roots_dir": str(roots_dir())},
    }
    places = (("note-dev", "dev"), ("note-prod", "production"))
    catalog = ACTION + "".join(
        TARGET.format(name=name, environment=environment, engine=engine, secret=SECRET) for name, environment in places
    )
    data = (ROOT / "src/lockgate/policy/library/data.default.yaml").read_bytes()
    samples = Samples(files={"catalog/all.yaml": catalog.encode(), "policy/data.yaml": data}, runner=runner)
    public, runners = free_ports(2)
    bootstrap(
        home, Names("e2e"), dev=True, now=time.time_ns() // 1_000_000, ports=Ports(public, runners), samples=samples
    )
    return Works(Deployment(home, public, runners, {}, {}), engine, source, target)


def remove(home: Path) -> None:
    """Sealed directories are read-only; make them removable first."""
    for directory, _, _ in os.walk(home):
        Path(directory).chmod(0o700)
    shutil.rmtree(home, ignore_errors=True)
