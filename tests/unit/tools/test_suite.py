"""`tools/suite`: its plan, and that no failure gets lost."""

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import pytest


@pytest.fixture
def suite(root, tmp_path, monkeypatch):
    """tools/suite as a module that writes its logs elsewhere."""
    loader = SourceFileLoader("lockgate_suite", str(root / "tools" / "suite"))
    spec = spec_from_loader("lockgate_suite", loader)
    assert spec is not None
    module = module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setitem(sys.modules, "lockgate_suite", module)
    loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


def step(suite, name, program, *tools):
    return suite.Step(name, (sys.executable, "-c", program), tools)


def outcome(suite, monkeypatch, *steps):
    monkeypatch.setitem(suite.SUITES, "sample", steps)
    with pytest.raises(SystemExit) as ended:
        suite.main(["sample"])
    return ended.value.code


def test_all_well_ends_well_and_shows_the_last_line_of_each_step(suite, monkeypatch, capsys):
    assert outcome(suite, monkeypatch, step(suite, "one", "print('3 passed in 1.2s')")) == 0
    summary = capsys.readouterr().out.split("== summary")[1]
    assert "3 passed in 1.2s" in summary
    assert "all steps passed" in summary


def test_one_failure_fails_the_whole_and_the_other_steps_still_run(suite, monkeypatch, capsys):
    steps = [step(suite, "one", "raise SystemExit(5)"), step(suite, "two", "print('1 passed in 0.1s')")]
    assert outcome(suite, monkeypatch, *steps) == 1
    summary = capsys.readouterr().out.split("== summary")[1]
    assert "FAILED  one" in summary
    assert "ok      two" in summary
    assert "1 of 2 steps FAILED: one" in summary


def test_a_step_gets_the_paths_of_its_tools(suite, monkeypatch, tmp_path, capsys):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "get").write_text(
        "import sys; print('progress', file=sys.stderr); print('/shed/' + sys.argv[1])"
    )
    program = "import os; print(os.environ['LOCKGATE_FAKE'], os.environ['LOCKGATE_ITS_TWIN'])"
    assert outcome(suite, monkeypatch, step(suite, "one", program, "fake", "its-twin")) == 0
    assert "\n/shed/fake /shed/its-twin\n" in capsys.readouterr().out


def test_a_tool_that_cannot_be_built_fails_its_step_and_says_why(suite, monkeypatch, tmp_path, capsys):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "get").write_text("raise SystemExit('tools/get: no Go here')")
    steps = [step(suite, "needs it", "print('ran')", "fake"), step(suite, "other", "print('ran too')")]
    assert outcome(suite, monkeypatch, *steps) == 1
    told = capsys.readouterr().out
    assert "tools/get: no Go here" in told
    assert "\nran\n" not in told
    assert "\nran too\n" in told


def test_the_fast_part_needs_no_tool_and_the_whole_leaves_no_test_out(suite):
    assert not any(step.tools for step in suite.CHECK)
    chosen = [step.argv[-1] for step in suite.TEST if "pytest" in step.argv]
    assert chosen == [
        "not opa and not clients and not tofu and not kubernetes and not faults and not guards",
        "faults and not tofu and not kubernetes",
        "opa and not clients and not tofu and not kubernetes and not guards",
        "clients and not tofu and not kubernetes and not guards",
        "tofu and not kubernetes and not guards",
        "kubernetes and not guards",
        "guards",
    ]


def test_every_client_of_the_house_is_fetched_for_the_tests_that_drive_it(suite, root):
    assert set(suite.CLIENTS) == {path.stem for path in (root / "tools").glob("client-*.toml")}
