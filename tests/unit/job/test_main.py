from __future__ import annotations

import hashlib
import socket
import subprocess
import sys

import pytest

from lockgate.contract import jobchannel
from lockgate.contract.intent import Phase, Stage

RUNBOOK = """
version = 1
[tasks.touch]
check = ["./check", "{name}"]
apply = ["./apply", "{name}"]
parameters.name = { type = "string", max_length = 20 }
[tasks.look]
read = ["./look"]
"""
SCRIPTS = {
    "check": 'test -f "$1" && exit 0; exit 2',
    "apply": 'echo made > "$1"; touch "$1".ran',
    "look": 'env | sort; ls /proc/self/fd; echo "fds done"',
}


@pytest.fixture
def ready(desk):
    """A desk with a source in place."""
    source = desk.base / "source"
    (source / "runbook.toml").write_text(RUNBOOK)
    for name, text in SCRIPTS.items():
        (source / name).write_text(f"#!/bin/sh\n{text}\n")
        (source / name).chmod(0o755)
    return desk


def refusal(desk, stage, grant, inputs, permit=None, **changes):
    """What the job says when it refuses these messages; shows that no tool ran."""
    job = desk.start()
    job.receive("hello")
    job.send_inputs(stage, grant, inputs, permit, **changes)
    said = job.refused()
    assert list((desk.base / "scratch").iterdir()) == []
    return said


def apply_until_ready(desk, inputs, grant):
    job = desk.start()
    assert job.receive("hello") == {"version": jobchannel.VERSION}
    job.send_inputs(Stage.APPLY, grant, inputs)
    assert job.receive("ready") == {}
    return job


def test_an_apply_runs_only_after_go_and_reports(ready):
    inputs = ready.inputs("touch", {"name": "x"})
    grant = ready.grant(inputs)
    job = apply_until_ready(ready, inputs, grant)
    assert not (ready.base / "scratch" / "x").exists()
    job.send("go", permit=ready.permit(grant, inputs))
    result = job.receive("result")
    assert (result["status"], result["exit_code"], result["detail"]) == ("ok", 0, "")
    assert (ready.base / "scratch" / "x").read_text() == "made\n"
    assert job.child.wait() == 0


def test_a_plan_is_bound_by_the_permit_that_comes_with_it(ready):
    inputs = ready.inputs("touch", {"name": "x"})
    grant = ready.grant(None, phase=Phase.PLAN)
    job = ready.start()
    job.receive("hello")
    job.send_inputs(Stage.PLAN, grant, inputs, ready.permit(grant, inputs, phase=Phase.PLAN))
    job.receive("ready")
    result = job.receive("result")
    assert result["status"] == "ok"
    assert [change["change"]["actions"] for change in result["changes"]] == [["update"]]


@pytest.mark.parametrize("stage", [Stage.CHECK, Stage.VERIFY])
def test_check_and_verify_need_no_permit_of_their_own(ready, stage):
    inputs = ready.inputs("touch", {"name": "x"})
    job = ready.start()
    job.receive("hello")
    job.send_inputs(stage, ready.grant(inputs), inputs)
    job.receive("ready")
    assert len(job.receive("result")["changes"]) == 1


def test_a_tool_sees_neither_the_channel_nor_the_jobs_environment(ready):
    inputs = ready.inputs("look", settings={"colour": "blue"})
    grant = ready.grant(None, phase=Phase.READ)
    job = ready.start()
    job.receive("hello")
    job.send_inputs(Stage.READ, grant, inputs, ready.permit(grant, inputs, phase=Phase.READ))
    job.receive("ready")
    output = job.receive("result")["output"]
    assert "LOCKGATE_SETTING_COLOUR=blue" in output
    assert "CHANNEL" not in output
    descriptors = output.split("PWD=")[1].splitlines()[1:]
    numbers = {int(line) for line in descriptors if line.isdigit()}
    assert {0, 1, 2} <= numbers
    assert len(numbers) <= 4, "0, 1, 2 and the directory that ls itself reads"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"deployment": "another"}, "another deployment"),
        ({"fence": "7"}, "fence"),
        ({"plan": None}, "an apply grant names plan and inputs"),
    ],
)
def test_a_grant_that_is_not_for_this_deployment_or_malformed_is_refused(ready, change, said):
    inputs = ready.inputs("touch", {"name": "x"})
    found = refusal(ready, Stage.CHECK, ready.grant(inputs, **change), inputs)
    assert found.startswith("grant: ")
    assert said in found


def test_a_grant_signed_by_another_role_or_a_stranger_is_refused(ready):
    inputs = ready.inputs("touch", {"name": "x"})
    for signer in (ready.log_key, type(ready.log_key)()):
        assert "not trusted" in refusal(ready, Stage.CHECK, ready.grant(inputs, signer), inputs)


def test_a_grant_altered_after_signing_is_refused(ready):
    inputs = ready.inputs("touch", {"name": "x"})
    envelope = ready.grant(inputs)
    payload = envelope.index('"payload":"') + 60
    altered = envelope[:payload] + ("A" if envelope[payload] != "A" else "B") + envelope[payload + 1 :]
    assert refusal(ready, Stage.CHECK, altered, inputs).startswith("grant: ")


def test_a_permit_in_place_of_a_grant_is_refused(ready):
    inputs = ready.inputs("touch", {"name": "x"})
    permit = ready.permit(ready.grant(inputs), inputs)
    assert "payloadType" in refusal(ready, Stage.CHECK, permit, inputs)


@pytest.mark.parametrize(
    ("phase", "stage"),
    [
        (Phase.PLAN, Stage.APPLY),
        (Phase.PLAN, Stage.CHECK),
        (Phase.PLAN, Stage.READ),
        (Phase.READ, Stage.PLAN),
        (Phase.READ, Stage.APPLY),
        (Phase.APPLY, Stage.PLAN),
        (Phase.APPLY, Stage.READ),
        (Phase.READ, Stage.DERIVE),
        (Phase.VERIFY, Stage.APPLY),
    ],
)
def test_a_stage_outside_the_grants_phase_is_refused(ready, phase, stage):
    inputs = ready.inputs("touch", {"name": "x"})
    grant = ready.grant(inputs if phase is Phase.APPLY else None, phase=phase)
    assert refusal(ready, stage, grant, inputs).startswith("stage: ")


def test_inputs_other_than_the_granted_ones_are_refused(ready):
    inputs = ready.inputs("touch", {"name": "x"})
    other = ready.inputs("touch", {"name": "y"})
    assert "inputs_sha256 of the grant" in refusal(ready, Stage.CHECK, ready.grant(inputs), other)
    assert "inputs_sha256 of the grant" in refusal(ready, Stage.APPLY, ready.grant(inputs), inputs + " ")


def test_a_plan_without_permit_or_with_one_for_other_inputs_is_refused(ready):
    inputs = ready.inputs("touch", {"name": "x"})
    other = ready.inputs("touch", {"name": "y"})
    grant = ready.grant(None, phase=Phase.PLAN)
    assert refusal(ready, Stage.PLAN, grant, inputs).startswith("permit: ")
    permit = ready.permit(grant, other, phase=Phase.PLAN)
    assert "inputs_sha256 of the permit" in refusal(ready, Stage.PLAN, grant, inputs, permit)


PERMIT_FAULTS = [
    ({"grant_sha256": "sha256:" + "1" * 64}, "grant_sha256"),
    ({"attempt": "at_2"}, "attempt"),
    ({"operation": "op_2"}, "operation"),
    ({"fence": 8}, "fence"),
    ({"phase": Phase.PLAN}, "phase"),
    ({"deployment": "another"}, "deployment"),
    ({"not_after": 61_001}, "lives longer"),
    ({"inputs_sha256": "sha256:" + "2" * 64}, "inputs_sha256 of the permit"),
]


@pytest.mark.parametrize(("change", "said"), PERMIT_FAULTS)
def test_go_with_a_permit_that_does_not_fit_applies_nothing(ready, change, said):
    inputs = ready.inputs("touch", {"name": "x"})
    grant = ready.grant(inputs)
    job = apply_until_ready(ready, inputs, grant)
    job.send("go", permit=ready.permit(grant, inputs, **change))
    result = job.receive("result")
    assert result["status"] == "refused"
    assert said in result["detail"]
    assert list((ready.base / "scratch").iterdir()) == []


def test_go_with_a_permit_by_another_key_applies_nothing(ready):
    inputs = ready.inputs("touch", {"name": "x"})
    grant = ready.grant(inputs)
    job = apply_until_ready(ready, inputs, grant)
    job.send("go", permit=ready.permit(grant, inputs, ready.log_key))
    assert job.receive("result")["status"] == "refused"
    assert list((ready.base / "scratch").iterdir()) == []


@pytest.mark.parametrize("body", [{}, {"permit": None}, {"permit": "{}", "force": True}])
def test_go_of_another_shape_applies_nothing(ready, body):
    inputs = ready.inputs("touch", {"name": "x"})
    job = apply_until_ready(ready, inputs, ready.grant(inputs))
    job.send("go", **body)
    assert job.receive("result")["status"] == "refused"
    assert list((ready.base / "scratch").iterdir()) == []


def test_without_go_nothing_is_applied(ready):
    inputs = ready.inputs("touch", {"name": "x"})
    job = apply_until_ready(ready, inputs, ready.grant(inputs))
    job.channel.shutdown(socket.SHUT_WR)
    assert "waiting for go" in job.refused()
    assert list((ready.base / "scratch").iterdir()) == []


def test_inputs_sent_again_in_place_of_go_end_the_run(ready):
    inputs = ready.inputs("touch", {"name": "x"})
    grant = ready.grant(inputs)
    job = apply_until_ready(ready, inputs, grant)
    job.send_inputs(Stage.APPLY, grant, inputs)
    assert "expected go" in job.refused()
    assert list((ready.base / "scratch").iterdir()) == []


def test_a_permit_sent_early_at_apply_is_refused(ready):
    inputs = ready.inputs("touch", {"name": "x"})
    grant = ready.grant(inputs)
    assert refusal(ready, Stage.APPLY, grant, inputs, ready.permit(grant, inputs)).startswith("permit: ")


def altered(source):
    (source / "apply").write_text("#!/bin/sh\nrm -rf /\n")


def added(source):
    (source / "more").write_text("")


def removed(source):
    (source / "look").unlink()


def mode(source):
    (source / "look").chmod(0o644)


def linked(source):
    (source / "link").symlink_to("apply")


def renamed(source):
    (source / "look").rename(source / "lock")


@pytest.mark.parametrize("change", [altered, added, removed, mode, linked, renamed])
def test_a_source_that_differs_from_the_sealed_one_is_refused(ready, change):
    inputs = ready.inputs("touch", {"name": "x"})
    change(ready.base / "source")
    assert refusal(ready, Stage.CHECK, ready.grant(inputs), inputs).startswith("source: ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"driver": "terraformish"}, "driver: "),
        ({"driver": "../port"}, "driver: "),
        ({"version": 2}, "version"),
        ({"settings": []}, "settings"),
        ({"extra": True}, "extra: is not known"),
    ],
)
def test_inputs_that_are_signed_for_and_still_unusable_are_refused_by_field(ready, change, said):
    inputs = ready.inputs("touch", {"name": "x"}, **change)
    assert said in refusal(ready, Stage.CHECK, ready.grant(inputs), inputs)


def test_a_drivers_refusal_is_a_result_and_nothing_was_started(ready):
    inputs = ready.inputs("touch", {"name": "x", "force": True})
    grant = ready.grant(inputs)
    job = apply_until_ready(ready, inputs, grant)
    job.send("go", permit=ready.permit(grant, inputs))
    result = job.receive("result")
    assert result["status"] == "refused"
    assert "variables.force" in result["detail"]
    assert list((ready.base / "scratch").iterdir()) == []


def test_messages_of_another_shape_are_refused_by_field(ready):
    for message, said in (
        ({"type": "go", "permit": "x"}, "expected inputs"),
        ({"type": "inputs"}, "stage: is missing"),
    ):
        job = ready.start()
        job.receive("hello")
        job.send(message.pop("type"), **message)
        assert said in job.refused()


def test_a_keyset_under_another_root_expired_or_missing_is_refused(ready):
    trusted = ready.root
    ready.root = type(trusted)()
    ready.publish()
    (ready.base / "root.pub").write_bytes(b"A" * 43 + b"=")
    said = ready.start().refused()
    assert said.startswith("keyset: ")
    ready.publish(not_after=1)
    assert "expired" in ready.start().refused()
    (ready.base / "keyset.json").unlink()
    assert ready.start().refused().startswith("keyset: ")


@pytest.mark.parametrize("number", ["", "x", "-1", "250", "9" * 30])
def test_without_a_channel_the_job_says_who_starts_it(number):
    env = {"LOCKGATE_CHANNEL_FD": number}
    ended = subprocess.run([sys.executable, "-m", "lockgate.job"], env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 70
    assert ended.stderr.startswith("lockgate job refused: channel: ")


@pytest.mark.parametrize(
    ("planned", "named", "why"),
    [
        (b"plan", "sha256:" + hashlib.sha256(b"other").hexdigest(), "plan: the plan file is not the one"),
        (b"plan", None, "plan: the stage derive needs"),
        (None, "sha256:" + hashlib.sha256(b"plan").hexdigest(), "plan: the plan file cannot be read"),
    ],
    ids=["another", "unnamed", "absent"],
)
def test_a_plan_file_that_is_not_the_named_one_is_refused(ready, planned, named, why):
    inputs = ready.inputs("touch", {"name": "x"})
    grant = ready.grant(inputs, phase=Phase.APPLY)
    if planned is not None:
        (ready.base / "plan").write_bytes(planned)
    assert refusal(ready, Stage.DERIVE, grant, inputs, plan_sha256=named).startswith(why)


def test_a_driver_of_predicted_fidelity_has_nothing_to_derive(ready):
    inputs = ready.inputs("touch", {"name": "x"})
    (ready.base / "plan").write_bytes(b"plan")
    job = ready.start()
    job.receive("hello")
    named = "sha256:" + hashlib.sha256(b"plan").hexdigest()
    job.send_inputs(Stage.DERIVE, ready.grant(inputs, phase=Phase.APPLY), inputs, plan_sha256=named)
    job.receive("ready")
    result = job.receive("result")
    assert (result["status"], result["changes"]) == ("refused", [])
    assert "no plan file" in result["detail"]
