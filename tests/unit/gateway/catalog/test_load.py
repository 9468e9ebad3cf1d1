import json
from pathlib import Path

import jsonschema_rs
import pytest
from tests.unit.gateway.catalog.catalog_texts import ACTION, TARGET, edited, load, refusals

from lockgate.contract.canonical import digest
from lockgate.contract.codec import to_document
from lockgate.contract.drivers import declarations
from lockgate.gateway.catalog.build import DEFAULT_LIMITS
from lockgate.gateway.catalog.errors import CatalogErrors
from lockgate.gateway.catalog.load import MAX_FILES, load_directory, load_texts, published_schema

EXAMPLES = Path(__file__).parents[4] / "examples" / "catalog"


def test_the_examples_load():
    catalog = load_directory(EXAMPLES, declarations())
    assert [action.name for action in catalog.actions_of("default")] == [
        "restart_service",
        "rotate_password",
        "service_status",
    ]


def test_a_target_gets_defaults_for_what_it_does_not_say():
    target = load().target("web")
    assert (target.tenant, target.lock, target.spec.limits, target.spec.settings) == (
        "default",
        "web",
        DEFAULT_LIMITS,
        {},
    )


def test_digests_are_those_of_the_specs_sent_to_runners():
    catalog = load()
    assert catalog.action("restart").sha256 == digest(to_document(catalog.action("restart").spec))
    assert catalog.target("web").sha256 == digest(to_document(catalog.target("web").spec))


def test_the_revision_follows_the_content_and_not_its_writing():
    plain = load().revision
    assert load(action="# a comment\n" + ACTION).revision == plain
    assert load_texts({"all.yml": (TARGET + "---\n" + ACTION).encode()}, declarations()).revision == plain
    assert load(target=edited(TARGET, "region: local", "region: north")).revision != plain
    assert load(action=edited(ACTION, "maxLength: 40", "maxLength: 41")).revision != plain


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("name: restart\nspec", "name: Restart\nspec", "4:3: metadata.name: must match"),
        ("name: restart\nspec", "name: lockgate_restart\nspec", "4:3: metadata.name: has a form that is reserved"),
        ("effect: change", "effect: alter", '8:3: spec.effect: must be one of ["read", "change", "destroy"]'),
        ("risk: low", "risk: low\n  colour: red", "10:3: spec.colour: is not known; remove it"),
        ("  risk: low\n", "", "5:1: spec.risk: is missing"),
        ("driver: runbook", "driver: magic", "11:11: spec.driver: unknown driver; known are: ansible, "),
        ("entry: restart", "entry: a/../b", "12:10: spec.entry: must stay inside the source"),
        ("names: [web]", "names: [web, nope]", "10:26: spec.targets.names[1]: there is no target of this name"),
        ("{names: [web]}", "{names: [web], labels: {a: b}}", "10:3: spec.targets: must have at most 1 properties"),
        ("{names: [web]}", "{}", "10:3: spec.targets: must have at least 1 properties"),
        ("service: service,", "service: service, other: nothing,", "24:40: spec.variables.other: names no argument"),
        (", options: options", "", "20:7: spec.arguments.properties.options: feeds no variable"),
        ("maxLength: 40, ", "", "17:7: spec.arguments.properties.service: a string needs maxLength"),
        ("maxItems: 3, ", "", "19:7: spec.arguments.properties.ports: an array needs maxItems"),
        ("type: integer, minimum", "minimum", "19:41: spec.arguments.properties.ports.items: accepts anything"),
        (
            "{enum: [fast, slow]}",
            "{type: string}",
            "23:11: spec.arguments.properties.options.properties.mode: a string",
        ),
        (
            "{enum: [fast, slow]}",
            "{enum: [a], x-sensitive: true}",
            "23:29: spec.arguments.properties.options.properties.mode.x-s",
        ),
        (
            "x-sensitive: true",
            "x-sensitive: true, default: hunter2",
            "spec.arguments.properties.password.default: may not stand",
        ),
        (
            "type: string, maxLength: 100, x-",
            "type: integer, x-",
            "18:33: spec.arguments.properties.password.x-sensitive: a s",
        ),
        ("^[a-z]+$", "(?=a)", "17:46: spec.arguments.properties.service.pattern: is no regular expression"),
        ("^[a-z]+$", "(a{500}){500}", "17:46: spec.arguments.properties.service.pattern: is no regular expression"),
        ("    type: object\n    required", "    required", "arguments: the arguments must be of type object"),
        ("required: [service]", "required: [nope]", "15:16: spec.arguments.required[0]: is required but is not one"),
        ("      options:\n", "      reason:\n", "20:7: spec.arguments.properties.reason: is a reserved name"),
        (
            "        type: object\n",
            "        type: object\n        patternProperties: {}\n",
            "patternProperties: is not known",
        ),
        (
            "        type: object\n",
            "        type: object\n        additionalProperties: true\n",
            "additionalProperties: must be false",
        ),
        ("{enum: [fast, slow]}", "{$ref: 'https://example.org/x'}", ".mode.$ref: must match"),
        ("{enum: [fast, slow]}", "{$ref: '#/$defs/nope'}", ".mode.$ref: there is no $defs/nope"),
        ("kind: Action", "kind: Acton", '2:1: kind: must be one of ["Action", "Target"]'),
        ("apiVersion: lockgate/v1", "apiVersion: lockgate/v2", '1:1: apiVersion: must be "lockgate/v1"'),
    ],
)
def test_a_fault_in_an_action_is_named_by_line_column_and_field(old, new, place):
    found = refusals(action=edited(ACTION, old, new))
    assert any(place in line and line.startswith("actions.yaml:") for line in found), found


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("source: web", "source: /etc", "targets.yaml:8:3: spec.source: must match"),
        (
            "region: local",
            "region: local\n  settings: {Bad: x}",
            "targets.yaml:11:3: spec.settings: has a name of a form",
        ),
        (
            "region: local",
            "region: local\n  settings: {a: 1}",
            "targets.yaml:11:14: spec.settings.a: must be of type string",
        ),
        (
            "region: local",
            "region: local\n  limits: {processes: 0}",
            "targets.yaml:11:12: spec.limits.processes: must be at least 1",
        ),
        (
            "region: local",
            "region: local\n  limits: {disk_bytes: 4096}",
            "spec.limits.file_bytes: is larger than disk_bytes",
        ),
        ("driver: runbook", "driver: ansible", "targets.yaml:6:1: spec.settings.inventory: is missing"),
        ("  region: local\n", "", "targets.yaml:6:1: spec.region: is missing"),
    ],
)
def test_a_fault_in_a_target_is_named_by_line_column_and_field(old, new, place):
    found = refusals(target=edited(TARGET, old, new))
    assert any(place in line for line in found), found


def test_every_fault_is_reported_sorted_by_place():
    broken = edited(edited(ACTION, "risk: low", "risk: lowest"), "effect: change", "effect: alter")
    found = refusals(action=broken, target=edited(TARGET, "source: web", "source: /etc"))
    assert [line.split(": ")[1] for line in found] == ["spec.effect", "spec.risk", "spec.source"]


def test_a_name_that_stands_twice_is_refused_and_says_where_the_first_is():
    found = refusals(target=TARGET + "---\n" + TARGET)
    assert found == ["targets.yaml:15:9: metadata.name: there is already a target of this name, at targets.yaml:4"]


def test_a_target_of_another_driver_cannot_be_named():
    target = edited(TARGET, "driver: runbook", "driver: ansible") + "  settings: {inventory: hosts}\n"
    assert refusals(target=target) == ["actions.yaml:10:21: spec.targets.names[0]: has the driver ansible, not runbook"]


def test_an_action_that_reads_needs_a_driver_that_can():
    action = edited(edited(ACTION, "effect: change", "effect: read"), "driver: runbook", "driver: ansible")
    assert "actions.yaml:8:11: spec.effect: the driver ansible has no read stage; it cannot serve reads" in refusals(
        action=action
    )


def test_definitions_are_written_out_and_may_not_contain_themselves():
    head = "    type: object\n    $defs: {mode: {enum: [a, b]}}\n    required"
    with_definition = edited(
        edited(ACTION, "    type: object\n    required", head), "{enum: [fast, slow]}", "{$ref: '#/$defs/mode'}"
    )
    schema = load(action=with_definition).action("restart").arguments
    assert schema["properties"]["options"]["properties"]["mode"] == {"enum": ["a", "b"]} and "$defs" not in schema
    cyclic = edited(
        with_definition, "{mode: {enum: [a, b]}}", "{mode: {type: array, maxItems: 1, items: {$ref: '#/$defs/mode'}}}"
    )
    assert any("contains itself" in line for line in refusals(action=cyclic))


def test_definitions_cannot_multiply_without_end():
    arms = ", ".join("{{$ref: '#/$defs/d{0}'}}" for _ in range(16))
    definitions = (
        "\n".join(f"      d{n}: {{anyOf: [{arms.format(n + 1)}]}}" for n in range(6)) + "\n      d6: {enum: [1]}"
    )
    head = f"    type: object\n    $defs:\n{definitions}\n    required"
    bomb = edited(
        edited(ACTION, "    type: object\n    required", head), "{enum: [fast, slow]}", "{$ref: '#/$defs/d0'}"
    )
    assert any("holds more than 2000 schemas" in line for line in refusals(action=bomb))


def test_a_missing_directory_an_empty_one_and_too_many_files_are_refused(tmp_path):
    with pytest.raises(CatalogErrors, match="cannot be read"):
        load_directory(tmp_path / "nowhere", declarations())
    with pytest.raises(CatalogErrors, match="holds no"):
        load_directory(tmp_path, declarations())
    for number in range(MAX_FILES + 1):
        (tmp_path / f"{number}.yaml").write_text("")
    with pytest.raises(CatalogErrors, match="more than 256 files"):
        load_directory(tmp_path, declarations())


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"# " + b"x" * (2 << 20))
    with pytest.raises(CatalogErrors, match="larger than 1048576 bytes"):
        load_directory(tmp_path, declarations())


def test_the_published_schema_is_valid_and_describes_every_property():
    schema = published_schema()
    jsonschema_rs.meta.validate(schema)
    undescribed = []

    def visit(node: object, path: str) -> None:
        if not isinstance(node, dict):
            return
        for name, item in node.get("properties", {}).items():
            if "description" not in item:
                undescribed.append(f"{path}/{name}")
            visit(item, f"{path}/{name}")
        for keyword in ("items", "additionalProperties"):
            visit(node.get(keyword), f"{path}/{keyword}")

    visit(schema, "")
    for name, definition in schema["$defs"].items():
        visit(definition, f"/{name}")
    assert undescribed == [] and len(json.dumps(schema)) > 10_000
    limits = schema["$defs"]["Target"]["properties"]["spec"]["properties"]["limits"]["properties"]
    assert {name: item["default"] for name, item in limits.items()} == to_document(DEFAULT_LIMITS)
