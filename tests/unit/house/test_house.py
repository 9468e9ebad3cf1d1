"""The house rules on this work tree. An exception is listed here with its reason, or it is a failure."""

import subprocess

import pytest

import guards
import houserules

# Where a process ends: what nobody foresaw is logged, counted and turned into a refusal (STYLE 19).
PROCESS_BOUNDARIES: dict[str, str] = {
    "src/lockgate/gateway/api/rpc.py": "the wire's boundary: what the SDK's kernel raises becomes a JSON-RPC error",
}

# (file, function): why it is better in one piece, or takes that many.
LONG_FUNCTIONS: dict[tuple[str, str], str] = {}
MANY_PARAMETERS: dict[tuple[str, str], str] = {
    ("src/lockgate/policy/input.py", "build_input"): "the document's ten fields, by keyword only",
}

# Typer reads a command's options from its parameters.
COMMANDS = "src/lockgate/cli/commands/"

# Files whose content is another's, kept as it came.
FOREIGN_NAMES: dict[str, str] = {}

ZONES = tuple(f"src/lockgate/{zone}/" for zone in ("gateway", "runner", "job", "policy", "contract"))
SCRIPTS = ("tools/get", "tools/lock", "tools/setup", "tools/suite")


def files(root, *prefixes, suffix=""):
    return [
        name
        for name in guards.tree_files(root)
        if name.startswith(prefixes) and name.endswith(suffix) and (root / name).is_file()
    ]


def modules(root):
    return [*files(root, "src/", "tools/", suffix=".py"), *SCRIPTS]


def findings(root, rule, names):
    return [f"{name}:{found}" for name in names for found in rule((root / name).read_text())]


def excused(exceptions, found):
    """Whether `path:line: FUNCTION …` is listed as an exception."""
    path, _, told = found.split(":", 2)
    return (path, told.split()[0]) in exceptions


@pytest.mark.parametrize("rule", [houserules.long_file, houserules.no_docstring], ids=lambda rule: rule.__name__)
def test_modules_are_short_and_say_what_they_are_for(root, rule):
    assert findings(root, rule, modules(root)) == []


def test_tests_are_short_too(root):
    assert findings(root, houserules.long_file, files(root, "tests/", suffix=".py")) == []


def test_functions_are_short(root):
    found = findings(root, houserules.long_functions, modules(root))
    assert [one for one in found if not excused(LONG_FUNCTIONS, one)] == []


def test_functions_take_few_parameters(root):
    names = [name for name in modules(root) if not name.startswith(COMMANDS)]
    found = findings(root, houserules.many_parameters, names)
    assert [one for one in found if not excused(MANY_PARAMETERS, one)] == []


def test_modules_are_named_after_what_they_are_about(root):
    names = [*modules(root), *files(root, "tests/", suffix=".py")]
    assert [f"{name}:{found}" for name in names for found in houserules.nameless_module(name)] == []


def test_zones_catch_what_can_happen_and_nothing_broader(root):
    names = [name for name in files(root, *ZONES, suffix=".py") if name not in PROCESS_BOUNDARIES]
    assert findings(root, houserules.broad_excepts, names) == []


@pytest.mark.parametrize("rule", [houserules.sleeps, houserules.skips], ids=lambda rule: rule.__name__)
def test_tests_neither_hope_nor_skip(root, rule):
    assert findings(root, rule, files(root, "tests/", suffix=".py")) == []


def test_no_file_names_a_registry_or_a_path_of_one_machine(root):
    found = []
    for name in files(root, ""):
        if name not in FOREIGN_NAMES and b"\0" not in (content := (root / name).read_bytes())[:8192]:
            found += [f"{name}:{one}" for one in houserules.foreign_names(content.decode(errors="replace"))]
    assert found == []


def test_every_exception_is_still_needed_and_has_a_reason(root):
    names = modules(root)
    long = findings(root, houserules.long_functions, names)
    many = findings(root, houserules.many_parameters, names)
    assert [one for one in LONG_FUNCTIONS if not any(excused({one}, found) for found in long)] == []
    assert [one for one in MANY_PARAMETERS if not any(excused({one}, found) for found in many)] == []
    assert [name for name in PROCESS_BOUNDARIES if not findings(root, houserules.broad_excepts, [name])] == []
    assert [name for name in FOREIGN_NAMES if not findings(root, houserules.foreign_names, [name])] == []
    for exceptions in (LONG_FUNCTIONS, MANY_PARAMETERS, PROCESS_BOUNDARIES, FOREIGN_NAMES):
        assert all(len(reason.split()) >= 4 for reason in exceptions.values())


def test_shell_scripts_parse(root):
    for script in (".ci/run", "tools/find-python"):
        subprocess.run(["sh" if script.startswith("tools") else "bash", "-n", root / script], check=True)
