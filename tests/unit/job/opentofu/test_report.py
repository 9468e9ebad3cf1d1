"""What is made of an engine's words: its JSON of a plan, and the text it stops with; no engine needed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from lockgate.job.drivers.opentofu.engine import explain
from lockgate.job.drivers.opentofu.lockfile import Locked
from lockgate.job.drivers.opentofu.planfile import Backend, PlanFile
from lockgate.job.drivers.opentofu.report import read_report
from lockgate.job.drivers.port import StageRefused

PLAN = PlanFile("1.12.6", Backend("local", {}, "default"), None, (), {"": "."}, {"": {}})
CREATE = {"address": "a.b", "change": {"actions": ["create"]}}
NOTHING = {"address": "a.c", "change": {"actions": ["no-op"]}}


def report(plan: PlanFile = PLAN, **fields):
    document = {"format_version": "1.2", "configuration": {"root_module": {}}, "errored": False, **fields}
    return read_report(json.dumps(document), plan)


def test_changes_are_the_engines_and_the_document_is_the_rest():
    found = report(resource_changes=[CREATE, NOTHING], planned_values={"x": 1})
    assert found.changes == (CREATE, NOTHING)
    assert "resource_changes" not in found.document
    assert found.document["planned_values"] == {"x": 1}
    assert (found.incomplete, found.provisioners, found.providers) == ((), (), ())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"errored": True}, ["the plan ended with an error"]),
        ({"errored": "no"}, ["the plan ended with an error"]),
        ({"complete": False}, ["more will be left to change"]),
        ({"complete": None}, ["more will be left to change"]),
        ({"applyable": False, "resource_changes": [CREATE]}, ["cannot be applied"]),
        ({"applyable": False, "resource_changes": [NOTHING]}, []),
        ({"applyable": True, "complete": True}, []),
        ({"deferred_changes": [{"reason": "instance_count_unknown", "resource_change": CREATE}]}, ["a.b: deferred (instance_count_unknown)"]),
        ({"deferred_changes": [{}]}, ["a resource: deferred"]),
    ],
)  # fmt: skip
def test_what_a_plan_leaves_open_is_said_and_a_missing_field_says_nothing(fields, said):
    found = report(**fields).incomplete
    assert len(found) == len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))


def module(*provisioners, **calls):
    resource = {"address": "x.y", "provisioners": [{"type": kind} for kind in provisioners]}
    return {"resources": [resource], "module_calls": {name: {"module": called} for name, called in calls.items()}}


def test_provisioners_are_found_in_every_module():
    root = module("local-exec", a=module("remote-exec", b=module("file")))
    assert report(configuration={"root_module": root}).provisioners == (
        "module.a.module.b.x.y: file",
        "module.a.x.y: remote-exec",
        "x.y: local-exec",
    )


@pytest.mark.parametrize(
    ("name", "text", "hidden"),
    [
        ("main.tf", 'provisioner "local-exec" {}', 1),
        ("main.tf", 'provisioner/**/"local-exec"{}\nprovisioner local-exec {}', 2),
        ("main.tf", "# provisioner\n// provisioner\n/* provisioner\n */ x = 1", 0),
        ("main.tf", 'x = "a provisioner"', 0),
        ("main.tf", "x = <<E\n/*\nE\nprovisioner x {}\ny = <<E\n*/\nE\n", 1),
        ("main.tf", 'x = "${"/*"}"\nprovisioner x {}\ny = "*/"', 1),
        ("main.tf", 'x = "\\"/*"\nprovisioner x {}\ny = "*/"', 1),
        ("main.tf", "my_provisioner = provisioners", 0),
        ("main.tf.json", '{"removed": [{"\\u0070rovisioner": [{"local-exec": {}}]}]}', 1),
        ("main.tf.json", '{"removed": {"provisioner": {"local-exec": [{}, {}]}}}', 2),
        ("main.tf.json", '{"output": {"x": "provisioner"}}', 0),
    ],
)
def test_a_provisioner_that_the_engine_does_not_list_is_found_in_the_configuration(name, text, hidden):
    found = report(replace(PLAN, files={"": {name: text.encode()}})).provisioners
    assert len(found) == bool(hidden)
    if hidden:
        assert f"stands {hidden} times more often" in found[0]


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("main.tf", "terraform {\n  encryption {\n  }\n}", True),
        ("main.tf", "terraform {\n  encryption/**/{\n  }\n}", True),
        ("main.tf.json", '{"terraform": {"encr\\u0079ption": {}}}', True),
        ("main.tf", "# encryption { }\nserver_side_encryption {}\nencryption = 1", False),
    ],
)
def test_an_encryption_block_is_told_for_the_commands_it_may_run(name, text, found):
    said = report(replace(PLAN, files={"": {name: text.encode()}})).provisioners
    assert [text for text in said if "external key providers are commands" in text] == list(said)
    assert bool(said) == found


def test_configuration_that_is_no_json_is_told_rather_than_passed_over():
    assert len(report(replace(PLAN, files={"": {"main.tf.json": b"{ not JSON"}})).provisioners) == 2


def test_a_variable_whose_value_the_plan_does_not_hold_makes_it_incomplete():
    plan = replace(PLAN, ephemeral=frozenset({"x", "noise"}))
    found = report(plan, configuration={"root_module": {"variables": {"x": {}, "y": {"ephemeral": True}}}})
    assert len(found.incomplete) == 1
    assert found.incomplete[0].startswith("variable x is ephemeral: its value is not in the plan")


def test_a_listed_provisioner_is_not_counted_again_and_modules_are_told_apart():
    plan = replace(
        PLAN,
        files={"": {"main.tf": b'provisioner "x" {}'}, "a": {"main.tf": b'provisioner "x" {}\nprovisioner "y" {}'}},
    )
    root = module("x", a=module("x"))
    found = report(plan, configuration={"root_module": root}).provisioners
    assert [text for text in found if "more often" in text] == [
        "module a: the word stands 1 times more often than the engine lists provisioners: a removed block runs its own at destroy"
    ]


def test_reading_a_configuration_takes_time_linear_in_its_size():
    # Quadratic reading of 4 MB would not end within the suite's time limit.
    for unit in (b'"', b"/*", b"\\", b'"\\', b"provisioner", b"//", b"#"):
        report(replace(PLAN, files={"": {"main.tf": unit * (4_000_000 // len(unit))}}))


def test_providers_are_shown_with_their_builds_and_with_what_they_are_given():
    block = {
        "name": "cloud",
        "full_name": "registry.terraform.io/x/cloud",
        "expressions": {
            "endpoint": {"constant_value": "https://evil.example\u202e"},
            "token": {"references": ["var.token"]},
            "secret_key": {"constant_value": "hunter2-hunter2"},
            "assume_role": [{"role_arn": {"constant_value": "arn:x"}}],
            "retries": {"constant_value": 3},
            "computed": {},
        },
    }
    plan = replace(PLAN, providers=(Locked("registry.terraform.io/x/cloud", "1.0.0", ("h1:abc",)),))
    found = report(
        plan, configuration={"root_module": {}, "provider_config": {"m:cloud.west": block, "plain": {"name": "plain"}}}
    )
    assert found.providers == (
        "registry.terraform.io/x/cloud 1.0.0 (h1:abc)",
        'registry.terraform.io/x/cloud configured as m:cloud.west: assume_role = [{role_arn = "arn:x"}], computed = {}, '
        'endpoint = "https://evil.example⟨U+202E⟩", retries = 3, secret_key = a value of the source, token = from var.token',
    )


def test_actions_of_newer_engines_count_as_provisioners():
    found = report(action_invocations=[{"address": "action.x.y", "type": "x"}])
    assert found.provisioners == ("action.x.y: action x",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be used"),
        ("Warning: x\n{}", "cannot be used"),
        ('{"format_version": "1.2", "format_version": "1.3"}', "cannot be used"),
        ('{"n": 1e999}', "cannot be used"),
        ("[]", "format version 1"),
        ('{"format_version": "2.0"}', "format version 1"),
        ('{"format_version": "1.2"}', "no configuration"),
        ('{"format_version": "1.2", "configuration": {"root_module": []}}', "no configuration"),
        ('{"format_version": "1.2", "resource_changes": {}}', "resource_changes"),
        ('{"format_version": "1.2", "resource_changes": [1]}', "resource_changes"),
        ('{"format_version": "1.2", "configuration": {"root_module": {"resources": {}}}}', "resources"),
        ('{"format_version": "1.2", "configuration": {"root_module": {"module_calls": []}}}', "module_calls"),
        ('{"format_version": "1.2", "configuration": {"root_module": {}, "provider_config": []}}', "provider_config"),
        ('{"format_version": "1.2", "configuration": {"root_module": {}}, "deferred_changes": {}}', "deferred_changes"),
    ],
)  # fmt: skip
def test_json_that_is_not_a_plans_is_refused(text, said):
    with pytest.raises(StageRefused, match=r"^plan: ") as refused:
        read_report(text, PLAN)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"resource_changes": [CREATE] * 10_001}, "10001 resources; at most 10000"),
        ({"planned_values": [0] * 2_000_000}, "more than 1999000 values"),
        ({"planned_values": "x" * (9 << 20)}, "MiB of JSON; at most 8 MiB"),
    ],
)
def test_a_plan_that_is_more_than_can_be_decided_on_says_which_bound_it_is_over(fields, said):
    with pytest.raises(StageRefused, match=r"(?i)split the root module") as refused:
        report(**fields)
    assert said in str(refused.value)


def test_a_plan_nested_deeper_than_the_channel_carries_is_refused():
    deep: list = []
    for _ in range(70):
        deep = [deep]
    with pytest.raises(StageRefused, match="nested deeper"):
        report(planned_values=deep)


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("\nError: Saved plan is stale\n\nThe given plan\nfile can no longer", "the plan is stale"),
        ("Error: Saved plan\ndoes not match the given state\n", "another lineage"),
        ("plan file was created by\nOpenTofu or Terraform 1.11.4, but\nthis is 1.12.6; plan", "made by OpenTofu or Terraform 1.11.4, and the engine here is version 1.12.6"),
        ('There is no variable named "x\u202ey". An', "variables.x⟨U+202E⟩y: the root module declares no variable"),
        ("something else", "something else"),
        ("noise\nError: first\nError: second", "Error: first Error: second"),
        ("\x1b[31mError: x\x07", "Error: x⟨U+0007⟩"),
        ("", ""),
    ],
)  # fmt: skip
def test_an_engines_reason_is_told_in_our_words_and_made_visible(stderr, said):
    told = explain(stderr)
    assert said in told
    assert not set("\x1b\x07\u202e") & set(told)


def test_the_holder_of_a_lock_is_told_masked_of_escapes_and_bounded():
    info = "Lock Info:\n  ID:        1\n  Who:       eve\x1b[2J@" + "h" * 9_000 + "\n\n\nTerraform acquires"
    told = explain(f"Error: Error acquiring the state lock\n\nError message: x\n{info}")
    assert told.startswith("the state is locked by somebody else")
    assert "\x1b" not in told
    assert len(told) < 4_000
    assert "Who: eve⟨U+001B⟩[2J@" in explain(
        "Error acquiring the state lock\nLock Info:\n  Who:       eve\x1b[2J@h\n  Info:      \n\n\n"
    )


@pytest.mark.parametrize(
    "unit",
    [
        "Error: ",
        "provider ",
        "a",
        "Error acquiring the state lock ",
        "Lock Info:\n",
        "\n ",
        "plan file was created by ",
    ],
)
def test_an_engines_text_is_looked_at_in_bounded_time(unit):
    explain(unit * (1_000_000 // len(unit)))
