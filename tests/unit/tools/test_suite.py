"""`tools/suite`: its plan, and that no failure gets lost."""

import itertools
import os
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


def step(suite, name, program, *tools, alone=False):
    return suite.Step(name, (sys.executable, "-c", program), tools, alone)


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
    assert "| /shed/fake /shed/its-twin\n" in capsys.readouterr().out


def test_a_tool_that_cannot_be_built_fails_its_step_and_says_why(suite, monkeypatch, tmp_path, capsys):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "get").write_text("raise SystemExit('tools/get: no Go here')")
    steps = [step(suite, "needs it", "print('ran')", "fake"), step(suite, "other", "print('ran too')")]
    assert outcome(suite, monkeypatch, *steps) == 1
    told = capsys.readouterr().out
    assert "tools/get: no Go here" in told
    assert "| ran\n" not in told
    assert "| ran too\n" in told


def test_the_fast_part_needs_no_tool(suite):
    assert not any(step.tools for step in suite.CHECK)


def reaches(words, folder):
    """Whether pytest, called with these words, looks into a folder of tests."""
    named = f"tests/{folder}" in words or "tests" in words
    return named and f"--ignore=tests/{folder}" not in words


MARKERS = ("opa", "clients", "tofu", "kubernetes", "faults", "slow", "smoke")


def test_the_whole_leaves_no_test_out_whatever_its_folder_and_markers(suite, root):
    folders = {path.relative_to(root).parts[1] for path in (root / "tests").rglob("test_*.py")}
    assert {"unit", "e2e", "guards"} <= folders
    chosen = [step.argv[step.argv.index("pytest") + 1 :] for step in suite.TEST if "pytest" in step.argv]
    for folder, *carried in itertools.product(sorted(folders), *([(False, True)] * len(MARKERS))):
        markers = dict(zip(MARKERS, carried, strict=True)) | {"guards": folder == "guards"}
        if markers["faults"] == (folder == "faults"):
            found = [words for words in chosen if reaches(words, folder) and eval(words[-1], {}, markers)]
            assert found, (folder, markers)


@pytest.mark.parametrize("name", ["CHECK", "TEST"])
def test_what_one_step_leaves_out_another_takes(suite, name):
    words = [word for step in getattr(suite, name) for word in step.argv]
    left_out = {word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")}
    assert left_out and left_out <= set(words)


def test_what_has_its_tools_does_not_wait_for_what_has_not(suite, monkeypatch, tmp_path, capsys):
    (tmp_path / "tools").mkdir()
    os.mkfifo(tmp_path / "gate")
    gate = f"open({str(tmp_path / 'gate')!r}"
    (tmp_path / "tools" / "get").write_text(f"{gate}).read(); print('/shed/late')")
    monkeypatch.setattr(suite, "LANES", 1)
    steps = [step(suite, "late", "print('late')", "fake"), step(suite, "early", f"{gate}, 'w').close()")]
    assert outcome(suite, monkeypatch, *steps) == 0
    out = capsys.readouterr().out
    assert out.index("early           | == begins") < out.index("late            | == begins")
    assert out.index("ok      late") < out.index("ok      early"), "the summary keeps the order of the suite"


def test_two_steps_run_at_once_and_one_that_must_be_alone_waits_for_both(suite, monkeypatch, tmp_path, capsys):
    for name in ("here", "there"):
        os.mkfifo(tmp_path / name)
    here, there = (repr(str(tmp_path / name)) for name in ("here", "there"))
    monkeypatch.setattr(suite, "LANES", 3)
    met = [  # each ends only once the other runs
        step(suite, "one", f"open({here}, 'w').close(); open({there}).read()"),
        step(suite, "two", f"open({here}).read(); open({there}, 'w').close()"),
    ]
    assert outcome(suite, monkeypatch, met[0], step(suite, "apart", "", alone=True), met[1]) == 0
    out = capsys.readouterr().out
    ends = [out.index(f"{name}             | == ok") for name in ("one", "two")]
    assert max(ends) < out.index("apart           | == begins")


def test_a_program_that_is_not_there_fails_its_step_and_the_others_still_run(suite, monkeypatch, capsys):
    absent = suite.Step("absent", ("/nonexistent/program",))
    assert outcome(suite, monkeypatch, absent, step(suite, "other", "print('ran')")) == 1
    out = capsys.readouterr().out
    assert "No such file" in out and "ok      other" in out


def test_a_step_that_is_killed_has_failed(suite, monkeypatch, capsys):
    killed = step(suite, "one", "import os; print('3 passed in 1 s', flush=True); os.kill(os.getpid(), 9)")
    assert outcome(suite, monkeypatch, killed) == 1
    assert "FAILED  one" in capsys.readouterr().out


def test_every_client_of_the_house_is_fetched_for_the_tests_that_drive_it(suite, root):
    assert set(suite.CLIENTS) == {path.stem for path in (root / "tools").glob("client-*.toml")}


def test_the_end_names_the_tests_that_failed_for_who_sees_only_the_end(suite, monkeypatch, capsys):
    program = "print('FAILED tests/a.py::test_b - assert 1 == 2\\n1 failed in 0.1s'); raise SystemExit(1)"
    assert (
        outcome(suite, monkeypatch, step(suite, "one", program), step(suite, "two", "print('FAILING is no failure')"))
        == 1
    )
    summary = capsys.readouterr().out.split("== summary")[1]
    assert "one: FAILED tests/a.py::test_b - assert 1 == 2" in summary
    assert "two:" not in summary


def test_the_end_says_why_a_test_failed_however_long_its_name_is(suite, monkeypatch, tmp_path, capsys):
    """pytest leaves the reason out where name and reason are longer than a terminal's line."""
    for name in ("CI", "BUILD_NUMBER"):
        monkeypatch.delenv(name, raising=False)
    name = "test_" + "_".join(["a_long_sentence"] * 8)
    (tmp_path / "test_one.py").write_text(f"def {name}():\n    assert not 1, 'the reason why'\n")
    argv = (*suite.PYTEST, "-p", "no:cacheprovider", "--rootdir", ".", "-c", os.devnull, "test_one.py")
    assert outcome(suite, monkeypatch, suite.Step("one", argv)) == 1
    summary = capsys.readouterr().out.split("== summary")[1]
    assert f"one: FAILED test_one.py::{name} - AssertionError: the reason why" in summary
