from pathlib import Path

import pytest

from lockgate.policy.bundle import load_library
from lockgate.policy.embedded import EmbeddedEngine
from lockgate.policy.parameters import read_parameters
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.replay import UNHURRIED

EXAMPLE = Path(__file__).parents[3] / "policies" / "data.example.yaml"
GOOD = """version: 1
roles:
  dev:
    questions: [request]
bindings:
  - subject: {issuer: i, id: a}
    roles: [dev]
windows:
  - name: day
    targets: {environments: [prod]}
    zone: Europe/Berlin
    days: [monday, sunday]
    from: 22:00
    to: 04:00
limits:
  - max_changes: 3
regions:
  default: [eu]
approvals:
  approvers: [dev]
  standard: {count: 1, groups: [dev], expires_in_seconds: 60}
"""


def test_good_data_is_indexed_for_looking_up() -> None:
    derived = read_parameters(GOOD, "data.yaml")
    assert derived["subjects"]["i"]["a"] == {"agent": ["dev"], "human": ["dev"], "runner": ["dev"]}
    assert list(derived["grants"]) == ["request"]
    window = derived["windows"][0]
    assert (window["from"], window["to"]) == (22 * 60, 4 * 60)  # a plain 22:00 is a time of day, no base-60 number
    assert window["days_after"] == {"Tuesday": True, "Monday": True}


def test_what_a_limit_does_not_say_is_absent_and_not_null() -> None:
    """In Rego every number is greater than null: a null limit would deny everything, or, the other way round, nothing."""
    assert set(read_parameters(GOOD, "data.yaml")["limits"][0]) == {"targets", "obligations", "max_changes"}


def test_the_example_and_the_default_load() -> None:
    assert load_library(EXAMPLE).revision != load_library().revision


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("    questions: [request]", "    questions: [reqest]", 4, "roles.dev.questions[0]"),
        ("    questions: [request]", "    question: [request]", 4, "roles.dev.question"),
        ("    roles: [dev]", "    roles: [admin]", 7, "bindings[0].roles[0]"),
        ("    roles: [dev]", "    roles: dev", 7, "bindings[0].roles"),
        ("subject: {issuer: i, id: a}", "subject: {issuer: i}", 6, "bindings[0].subject"),
        ("Europe/Berlin", "Europe/Atlantis", 11, "windows[0].zone"),
        ("zone: Europe/Berlin", "zone: ../../etc/passwd", 11, "windows[0].zone"),
        ("from: 22:00", "from: 25:00", 13, "windows[0].from"),
        ("to: 04:00", "to: 22:00", 14, "windows[0].to"),
        ("max_changes: 3", "max_changes: -3", 16, "limits[0].max_changes"),
        ("max_changes: 3", "max_changes: 3\n    sandbox: chroot", 17, "limits[0].sandbox"),
        ("  default: [eu]", "  default: []", 18, "regions.default"),
        ("regions:\n  default: [eu]\n", "", 1, "(document)"),
        ("groups: [dev]", "groups: [ops]", 21, "approvals.standard.groups[0]"),
        ("version: 1", "version: 2", 1, "version"),
        ("version: 1", "version: 1\nversion: 1", 2, "version"),
        ("  default: [eu]", "  default: &x [eu]\n  other: *x", 19, "regions.other"),
        ("  default: [eu]", "  default: !!python/name:os.system [eu]", 18, None),
        ("  default: [eu]", "  default: [eu", 19, None),
        ("  default: [eu]", "  default: " + "[" * 5000, 18, None),
    ],
)
def test_bad_data_is_refused_with_its_line_and_field(old: str, new: str, line: int | None, field: str | None) -> None:
    assert old in GOOD
    with pytest.raises(PolicyLoadError) as refused:
        read_parameters(GOOD.replace(old, new, 1), "data.yaml")
    assert refused.value.file == "data.yaml"
    if line is not None:
        assert refused.value.line == line, refused.value
    if field is not None:
        assert refused.value.field == field


def test_what_nests_too_deep_is_refused_for_that() -> None:
    with pytest.raises(PolicyLoadError, match="nested deeper than"):
        read_parameters("x: " + "[" * 100_000, "data.yaml")


def test_json_is_read_too_with_lines() -> None:
    with pytest.raises(PolicyLoadError, match=r"data\.json:3: roles: "):
        read_parameters(
            '{\n\t"version": 1,\n\t"roles": 3, "bindings": [], "regions": {}, "approvals": {}}', "data.json"
        )
    with pytest.raises(PolicyLoadError, match=r"data\.json:2: is no JSON"):
        read_parameters('{\n"version": 1,}', "data.json")


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"", b"- 1"])
def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "mine.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PolicyLoadError, match=r"mine\.yaml"):
        load_library(file)


async def test_bad_data_leaves_the_engine_that_was_there_alone(tmp_path: Path) -> None:
    engine = EmbeddedEngine(load_library(EXAMPLE), UNHURRIED)
    before = engine.revision
    (tmp_path / "bad.yaml").write_text("version: 9")
    with pytest.raises(PolicyLoadError):
        load_library(tmp_path / "bad.yaml")
    assert engine.revision == before
    await engine.close()


def test_a_word_more_is_another_revision(tmp_path: Path) -> None:
    revisions = set()
    for number, text in enumerate([GOOD, GOOD.replace("[eu]", "[eu, us]"), GOOD + "# a comment is no word\n"]):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        revisions.add(load_library(file).revision)
    assert len(revisions) == 2
