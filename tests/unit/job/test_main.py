from __future__ import annotations

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


def sources(desk):
    source = desk.base / "source"
    (source / "runbook.toml").write_text(RUNBOOK)
    for name, text in {
        "check": 'test -f "$1" && exit 0; exit 2',
        "apply": 'echo made > "$1"; touch "$1".ran',
        "look": "echo seen; env",
    }.items():
        (source / name).write_text(f"#!/bin/sh\n{text}\n")
        (source / name).chmod(0o755)


def test_an_apply_runs_only_after_go_and_reports(desk):
    sources(desk)
    inputs = desk.inputs("touch", {"name": "x"})
    grant = desk.grant(inputs)
    job = desk.start()
    assert job.receive("hello") == {"version": 1}
    job.send_inputs(Stage.APPLY, grant, inputs)
    assert job.receive("ready") == {}
    assert not (desk.base / "scratch" / "x").exists()
    job.send("go", permit=desk.permit(grant, inputs))
    result = job.receive("result")
    assert (result["status"], result["exit_code"], result["detail"]) == ("ok", 0, "")
    assert (desk.base / "scratch" / "x").read_text() == "made\n"
    assert job.child.wait() == 0


def test_a_plan_is_bound_by_the_permit_that_comes_with_it(desk):
    sources(desk)
    inputs = desk.inputs("touch", {"name": "x"})
    grant = desk.grant(None, phase=Phase.PLAN)
    job = desk.start()
    job.receive("hello")
    job.send_inputs(Stage.PLAN, grant, inputs, desk.permit(grant, inputs, phase=Phase.PLAN))
    job.receive("ready")
    result = job.receive("result")
    assert result["status"] == "ok"
    assert [change["change"]["actions"] for change in result["changes"]] == [["update"]]
