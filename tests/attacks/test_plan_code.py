"""Code of the source that runs while planning, in the plan's own sandbox: derive tells what it made of the plan, and apply refuses what it swapped.

OpenTofu alone can do this without a provider: the external key provider of an `encryption` block is a command. The stages run outside a sandbox
here, so that the code may do all it wants.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.job.opentofu.conftest import Site

from lockgate.job.drivers.port import StageRefused

pytestmark = pytest.mark.tofu

HONEST = 'resource "terraform_data" "database" {\n  input = "kept"\n}\n'
EVIL = 'resource "terraform_data" "other" {\n  provisioner "local-exec" {\n    command = "touch CANARY"\n  }\n}\n'
ENCRYPTION = """
terraform {
  encryption {
    key_provider "external" "k" {
      command = ["/bin/sh", "code.sh"]
    }
    method "aes_gcm" "m" {
      keys = key_provider.external.k
    }
    method "unencrypted" "u" {}
    state {
      method = method.aes_gcm.m
      fallback {
        method = method.unencrypted.u
      }
    }
  }
}
"""
KEY = """
echo '{"magic":"OpenTofu-External-Key-Provider","version":1}'
cat > /dev/null
echo '{"keys":{"encryption_key":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="},"meta":{}}'
"""


@pytest.fixture
def site(tmp_path: Path, tofu: Path, provider_mirror: Path) -> Site:
    site = Site(tmp_path, "opentofu", tofu, provider_mirror)
    site.write("main.tf", HONEST)
    site.settle()
    return site


def hostile(site: Site, code: str) -> Path:
    """The source with code that runs while planning; what it runs at apply, too, would be seen by its canary."""
    canary = site.base / "canary"
    site.write("main.tf", HONEST + ENCRYPTION)
    site.write("evil.txt", EVIL.replace("CANARY", str(canary)))
    site.write("code.sh", code + KEY)
    return canary


def test_the_command_of_a_key_provider_is_told_before_anybody_approves(site):
    hostile(site, "")
    (said,) = site.derive(site.plan()).provisioners
    assert (
        said
        == "the root module: an encryption block, whose external key providers are commands that run at plan and at apply"
    )


def test_configuration_rewritten_while_planning_is_what_derive_shows_and_what_apply_refuses(site):
    canary = hostile(site, 'test "$PWD" = "/" || cp evil.txt zz.tf && rm -f main.tf')
    plan = site.plan()
    derived = site.derive(plan)
    assert {change["address"]: change["change"]["actions"] for change in derived.changes} == {
        "terraform_data.database": ["delete"],
        "terraform_data.other": ["create"],
    }
    assert "terraform_data.other: local-exec" in derived.provisioners
    # At apply the code rewrites its own copy again: the sealed source, mounted read-only in a sandbox, is what counts.
    with pytest.raises(StageRefused, match="not the sealed source's"):
        site.apply(plan)
    assert not canary.exists()


def test_a_report_written_by_code_while_planning_is_no_part_of_what_is_derived(site):
    """The job's own result of a plan stage is a claim: not one of its fields but the bytes reaches what is decided on."""
    hostile(site, 'echo "No changes. Your infrastructure matches the configuration."')
    site.write("main.tf", HONEST.replace("kept", "changed") + ENCRYPTION)
    site.write("code.sh", 'echo "No changes." >&2' + KEY)
    planned = site.planned()
    assert (planned.changes, planned.document, planned.provisioners, planned.incomplete) == ((), None, (), ())
    derived = site.derive(site.plan())
    assert [change["change"]["actions"] for change in derived.changes] == [["update"]]
    assert json.loads(json.dumps(derived.document))["format_version"].startswith("1.")
