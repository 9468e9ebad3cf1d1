"""A root module, an engine and the stages of the driver on them, outside a sandbox; every real run goes through the driver itself."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lockgate.contract.intent import Stage
from lockgate.contract.jobchannel import JobResult
from lockgate.contract.work import InputsDocument
from lockgate.job.drivers.opentofu.driver import OpenTofuDriver
from lockgate.job.drivers.opentofu.workplace import PROGRAMS
from lockgate.job.drivers.port import StageContext

HOSTS = {"opentofu": "registry.opentofu.org", "terraform": "registry.terraform.io"}
REQUIRES = """
terraform {
  required_providers {
    local = { source = "hashicorp/local" }
  }
}
"""


class Site:
    """A source with a root module at its top, a state kept by the runner, and stages on them, each with a scratch of its own."""

    def __init__(self, base: Path, engine: str, program: Path, mirror: Path) -> None:
        self.base, self.engine, self.host = base, engine, HOSTS[engine]
        self.source, self.state, self.tool, self.mirror = base / "source", base / "state", base / "tool", mirror
        for place in (self.source, self.state, self.tool):
            place.mkdir()
        (self.tool / PROGRAMS[engine]).symlink_to(program)
        self.numbers = itertools.count()
        self.driver = OpenTofuDriver()

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def lock(self, entry: str = ".") -> Path:
        """The lock file that the engine itself writes from the mirror, as whoever writes the source would have it written."""
        rc = self.base / "author.tfrc"
        rc.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{self.mirror}"\n  }}\n}}\n')
        data = self.base / "author-data"
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.base), "TF_CLI_CONFIG_FILE": str(rc), "TF_DATA_DIR": str(data)}
        argv = [str(self.tool / PROGRAMS[self.engine]), "init", "-backend=false", "-input=false", "-no-color"]
        subprocess.run(argv, cwd=self.source / entry, env=env, check=True, capture_output=True)
        shutil.rmtree(data)
        return self.source / entry / ".terraform.lock.hcl"

    def context(self, stage: Stage, variables: Mapping[str, Any] | None = None, **changes: Any) -> StageContext:
        """A stage. `changes`: entry, settings (added to engine and state), plan (bytes), or any field of StageContext."""
        scratch = self.base / f"scratch-{next(self.numbers)}"
        scratch.mkdir()
        settings = {"engine": self.engine, "state": "runner", **changes.pop("settings", {})}
        entry = changes.pop("entry", ".")
        plan_file = None
        if (plan := changes.pop("plan", None)) is not None:
            plan_file = self.base / f"plan-{scratch.name}"
            plan_file.write_bytes(plan)
        derive = stage is Stage.DERIVE
        inputs = InputsDocument(
            1,
            "opentofu",
            "" if derive else entry,
            {} if derive else dict(variables or {}),
            settings,
            "",
            "",
            "",
            "",
            "",
        )
        keeps = settings["state"] == "runner" and not derive
        context = StageContext(
            stage, self.base / "no-source" if derive else self.source, scratch, None, inputs, 60_000, 600, time.monotonic, time.monotonic(),
            plan_file, self.state if keeps else None, self.tool, self.mirror,
        )  # fmt: skip
        return replace(context, **changes)

    def plan(self, variables: Mapping[str, Any] | None = None, **changes: Any) -> bytes:
        """The bytes of a plan that must succeed."""
        result = self.planned(variables, **changes)
        assert result.status == "ok", result.detail
        return base64.b64decode(result.plan_file)

    def planned(self, variables: Mapping[str, Any] | None = None, **changes: Any) -> JobResult:
        return self.driver.plan(self.context(Stage.PLAN, variables, **changes))

    def derive(self, plan: bytes, **changes: Any) -> JobResult:
        return self.driver.derive(self.context(Stage.DERIVE, plan=plan, **changes))

    def apply(self, plan: bytes, variables: Mapping[str, Any] | None = None, **changes: Any) -> JobResult:
        return self.driver.apply(self.context(Stage.APPLY, variables, plan=plan, **changes))

    def verify(self, variables: Mapping[str, Any] | None = None, **changes: Any) -> JobResult:
        return self.driver.verify(self.context(Stage.VERIFY, variables, **changes))

    def settle(self, variables: Mapping[str, Any] | None = None) -> None:
        """Plan and apply what the source says now; both must succeed."""
        result = self.apply(self.plan(variables), variables)
        assert result.status == "ok", result.detail

    def actions(self, variables: Mapping[str, Any] | None = None) -> dict[str, list[str]]:
        """Plan and derive: actions by address, unchanged resources left out."""
        derived = self.derive(self.plan(variables))
        assert derived.status == "ok", derived.detail
        found = {change["address"]: change["change"]["actions"] for change in derived.changes}
        return {address: actions for address, actions in found.items() if actions != ["no-op"]}

    def kept(self) -> dict[str, Any]:
        """The state file as JSON."""
        return dict(json.loads((self.state / "terraform.tfstate").read_bytes()))


@pytest.fixture(params=["opentofu", "terraform"])
def site(request, tmp_path, tofu, terraform, provider_mirror):
    program = {"opentofu": tofu, "terraform": terraform}[request.param]
    return Site(tmp_path, request.param, program, provider_mirror)
