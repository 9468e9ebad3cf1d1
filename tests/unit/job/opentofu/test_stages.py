"""The stages of the opentofu driver with both real engines: what is shown, what is applied, and what is refused."""

from __future__ import annotations

import base64
import json

import pytest
from tests.unit.job.opentofu.conftest import REQUIRES

from lockgate.contract.intent import Stage
from lockgate.contract.plan import summarise
from lockgate.contract.state import StateMark
from lockgate.job.drivers.port import StageRefused

pytestmark = pytest.mark.tofu

ONE = 'variable "text" {}\nresource "terraform_data" "one" {\n  input = var.text\n}\n'


def test_what_was_derived_is_what_apply_does_and_verify_then_finds_nothing(site):
    site.write("main.tf", ONE)
    given = {"text": "blue"}
    planned = site.planned(given)
    assert (planned.status, planned.changes, planned.document, planned.state) == ("ok", (), None, None)
    derived = site.derive(base64.b64decode(planned.plan_file))
    assert (derived.status, derived.incomplete, derived.state) == ("ok", (), None)
    (change,) = derived.changes
    assert (change["address"], change["change"]["actions"]) == ("terraform_data.one", ["create"])
    assert change["change"]["after"]["input"] == "blue"
    assert "resource_changes" not in derived.document
    before = site.verify(given)
    assert (before.status, before.exit_code) == ("ok", 2)
    applied = site.apply(base64.b64decode(planned.plan_file), given)
    assert (applied.status, applied.exit_code) == ("ok", 0)
    assert applied.state == StateMark(site.kept()["lineage"], site.kept()["serial"])
    after = site.verify(given)
    assert (after.status, after.exit_code, after.state) == ("ok", 0, applied.state)
    assert summarise(site.derive(base64.b64decode(after.plan_file)).changes).empty


def test_the_same_inputs_derive_to_the_same_but_for_the_time(site):
    site.write("main.tf", ONE)
    first, second = (site.derive(site.plan({"text": "blue"})) for _ in range(2))
    assert first.changes == second.changes
    assert {**first.document, "timestamp": ""} == {**second.document, "timestamp": ""}


def test_a_provider_from_the_mirror_is_pinned_shown_and_used(site):
    site.write(
        "main.tf", REQUIRES + f'resource "local_file" "f" {{\n  filename = "{site.base}/made"\n  content = "x"\n}}\n'
    )
    site.lock()
    plan = site.plan()
    derived = site.derive(plan)
    assert len(derived.providers) == 1
    assert derived.providers[0].startswith(f"{site.host}/hashicorp/local 2.5.0 (h1:")
    assert [change["address"] for change in derived.changes] == ["local_file.f"]
    assert site.apply(plan).status == "ok"
    assert (site.base / "made").read_text() == "x"


def test_deletes_are_found_wherever_they_hide(site):
    site.write("child/main.tf", 'resource "terraform_data" "c" {}\n')
    site.write(
        "main.tf",
        'resource "terraform_data" "many" {\n  count = 3\n}\n'
        'resource "terraform_data" "swapped" {\n  triggers_replace = 1\n}\n'
        'resource "terraform_data" "early" {\n  triggers_replace = 1\n  lifecycle {\n    create_before_destroy = true\n  }\n}\n'
        'resource "terraform_data" "dropped" {}\nresource "terraform_data" "forgotten" {}\nresource "terraform_data" "old" {}\n'
        'module "gone" {\n  source = "./child"\n}\n',
    )
    site.settle()
    site.write(
        "main.tf",
        'resource "terraform_data" "many" {\n  count = 1\n}\n'
        'resource "terraform_data" "swapped" {\n  triggers_replace = 2\n}\n'
        'resource "terraform_data" "early" {\n  triggers_replace = 2\n  lifecycle {\n    create_before_destroy = true\n  }\n}\n'
        "removed {\n  from = terraform_data.dropped\n  lifecycle {\n    destroy = true\n  }\n}\n"
        "removed {\n  from = terraform_data.forgotten\n  lifecycle {\n    destroy = false\n  }\n}\n"
        'moved {\n  from = terraform_data.old\n  to   = terraform_data.new\n}\nresource "terraform_data" "new" {}\n',
    )
    assert site.actions() == {
        "terraform_data.many[1]": ["delete"],
        "terraform_data.many[2]": ["delete"],
        "terraform_data.swapped": ["delete", "create"],
        "terraform_data.early": ["create", "delete"],
        "terraform_data.dropped": ["delete"],
        "terraform_data.forgotten": ["forget"],
        "module.gone.terraform_data.c": ["delete"],
    }
    derived = site.derive(site.plan())
    moved = {
        change["address"]: change["previous_address"] for change in derived.changes if "previous_address" in change
    }
    assert moved == {"terraform_data.new": "terraform_data.old"}
    summary = summarise(derived.changes)
    assert (summary.delete, summary.replace) == (5, 2)


def test_every_provisioner_is_named_also_in_modules_and_in_removed_blocks(site):
    run = '  provisioner "local-exec" {\n    command = "true"\n  }\n'
    site.write("child/main.tf", f'resource "terraform_data" "c" {{\n{run}}}\n')
    site.write("main.tf", f'resource "terraform_data" "r" {{\n{run}{run}}}\nmodule "m" {{\n  source = "./child"\n}}\n')
    derived = site.derive(site.plan())
    assert derived.provisioners == ("module.m.terraform_data.c: local-exec", "terraform_data.r: local-exec")
    site.settle()
    gone = '  provisioner "local-exec" {\n    when = destroy\n    command = "true"\n  }\n'
    site.write(
        "main.tf",
        f"# a provisioner\nremoved {{\n  from = terraform_data.r\n  lifecycle {{\n    destroy = true\n  }}\n{gone}}}\n",
    )
    (said,) = site.derive(site.plan()).provisioners
    assert said.startswith("the root module: the word stands 1 times more often")


def test_a_variable_that_would_have_to_be_given_again_at_apply_makes_the_plan_incomplete(site):
    site.write(
        "main.tf", 'variable "x" {\n  type      = string\n  ephemeral = true\n}\nresource "terraform_data" "one" {}\n'
    )
    (said,) = site.derive(site.plan({"x": "given"})).incomplete
    assert said.startswith("variable x is ephemeral: its value is not in the plan")


@pytest.mark.parametrize("site", ["opentofu"], indirect=True)
def test_a_plan_that_the_source_has_encrypted_is_refused_with_the_reason(site):
    site.write(
        "main.tf",
        'terraform {\n  encryption {\n    key_provider "pbkdf2" "k" {\n      passphrase = "a passphrase of some length"\n    }\n'
        '    method "aes_gcm" "m" {\n      keys = key_provider.pbkdf2.k\n    }\n    plan {\n      method = method.aes_gcm.m\n    }\n  }\n}\n'
        + ONE,
    )
    with pytest.raises(StageRefused, match=r"encrypted by the source's own `encryption` block"):
        site.derive(site.plan({"text": "x"}))


def test_sensitive_values_are_marked_in_what_is_derived_and_absent_from_what_the_engine_says(site):
    secret = "hunter2-hunter2"
    site.write(
        "main.tf",
        'variable "s" {\n  sensitive = true\n}\nresource "terraform_data" "d" {\n  input = var.s\n}\n'
        'output "o" {\n  value     = var.s\n  sensitive = true\n}\noutput "open" {\n  value = 1\n}\n',
    )
    planned = site.planned({"s": secret})
    assert secret not in planned.log
    derived = site.derive(base64.b64decode(planned.plan_file))
    assert derived.changes[0]["change"]["after_sensitive"]["input"] is True
    assert derived.document["output_changes"]["o"]["after_sensitive"] is True
    site.settle({"s": secret})
    read = site.driver.read(site.context(Stage.READ))
    assert (read.status, json.loads(read.output)) == ("ok", {"o": "(sensitive)", "open": 1})
    assert secret not in read.log


def test_a_plan_that_was_applied_is_stale_and_says_so(site):
    site.write("main.tf", ONE)
    plan = site.plan({"text": "a"})
    assert site.apply(plan, {"text": "a"}).status == "ok"
    kept = site.kept()
    again = site.apply(plan, {"text": "a"})
    assert again.status == "failed"
    assert "the plan is stale" in again.detail
    assert again.state == StateMark(kept["lineage"], kept["serial"])
    assert site.kept() == kept


def test_a_plan_of_a_state_that_moved_on_or_was_replaced_changes_nothing(site):
    site.write("main.tf", ONE)
    site.settle({"text": "a"})
    plan = site.plan({"text": "b"})
    path = site.state / "terraform.tfstate"
    for change, said in (({"serial": site.kept()["serial"] + 5}, "stale"), ({"lineage": "0" * 36}, "another lineage")):
        before = path.read_bytes()
        path.write_text(json.dumps({**site.kept(), **change}))
        changed = path.read_bytes()
        refused = site.apply(plan, {"text": "b"})
        assert refused.status == "failed"
        assert said in refused.detail
        assert path.read_bytes() == changed
        path.write_bytes(before)


def test_a_state_locked_by_somebody_is_not_touched_and_the_holder_is_named(site):
    import fcntl

    site.write("main.tf", ONE)
    site.settle({"text": "a"})
    plan = site.plan({"text": "b"})
    holder = {
        "ID": "1",
        "Operation": "OperationTypeApply",
        "Info": "",
        "Who": "eve\x1b[31m@elsewhere",
        "Version": "1",
        "Created": "2026-01-01T00:00:00Z",
        "Path": "x",
    }
    (site.state / ".terraform.tfstate.lock.info").write_text(json.dumps(holder))
    kept = site.kept()
    with (site.state / "terraform.tfstate").open("r+b") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        refused = site.apply(plan, {"text": "b"})
        assert json.loads((site.state / "terraform.tfstate").read_bytes()) == kept
    assert refused.status == "failed"
    assert "the state is locked by somebody else" in refused.detail
    assert "eve⟨U+001B⟩[31m@elsewhere" in refused.detail
    assert "\x1b" not in refused.log


def test_a_plan_of_the_other_engine_is_refused_with_both_names(site, tofu, terraform):
    site.write("main.tf", ONE)
    plan = site.plan({"text": "a"})
    other = {"opentofu": ("terraform", terraform), "terraform": ("opentofu", tofu)}[site.engine]
    (site.tool / ("terraform" if other[0] == "terraform" else "tofu")).symlink_to(other[1])
    for call in (site.derive, lambda plan, **changes: site.apply(plan, {"text": "a"}, **changes)):
        refused = call(plan, settings={"engine": other[0]})
        assert refused.status == "failed"
        assert "plans do not move between engines or versions" in refused.detail
    assert not (site.state / "terraform.tfstate").exists()


def test_reading_gives_the_outputs_and_takes_no_variables(site):
    site.write("main.tf", 'variable "x" {\n  default = 1\n}\noutput "x" {\n  value = { deep = ["a", var.x] }\n}\n')
    nothing = site.driver.read(site.context(Stage.READ))
    assert (nothing.status, nothing.output) == ("ok", "{}")
    site.settle()
    read = site.driver.read(site.context(Stage.READ))
    assert json.loads(read.output) == {"x": {"deep": ["a", 1]}}
    with pytest.raises(StageRefused, match="variables"):
        site.driver.read(site.context(Stage.READ, {"x": 2}))


def test_an_error_in_the_source_is_said_in_the_engines_words_without_escapes(site):
    site.write("main.tf", 'resource "terraform_data" "x" {\n  input = file("\\u001b[31m")\n}\n')
    result = site.planned()
    assert (result.status, result.exit_code, result.plan_file) == ("failed", 1, "")
    assert "Error:" in result.detail
    assert "\x1b" not in result.detail + result.log


def test_output_that_is_not_utf8_or_steers_a_terminal_is_made_visible(site):
    command = "printf 'x\\\\377\\\\033]0;title\\\\007y\\\\r'"
    site.write(
        "main.tf",
        f'resource "terraform_data" "x" {{\n  provisioner "local-exec" {{\n    command = "{command}"\n  }}\n}}\n',
    )
    result = site.apply(site.plan())
    assert result.status == "ok"
    assert "x�⟨U+001B⟩]0;title⟨U+0007⟩y" in result.log
    assert not set("\x1b\x07\r") & set(result.log)


def test_a_failing_apply_says_what_is_done_by_the_state_and_not_by_the_tool(site):
    site.write(
        "main.tf",
        'resource "terraform_data" "a" {}\nresource "terraform_data" "b" {\n  depends_on = [terraform_data.a]\n'
        '  provisioner "local-exec" {\n    command = "exit 3"\n  }\n}\n',
    )
    result = site.apply(site.plan())
    assert (result.status, result.exit_code) == ("failed", 1)
    assert "exit status 3" in result.detail
    assert result.state == StateMark(site.kept()["lineage"], site.kept()["serial"])
    assert [resource["name"] for resource in site.kept()["resources"]] == ["a", "b"]
