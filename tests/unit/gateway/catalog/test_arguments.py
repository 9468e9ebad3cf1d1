import pytest
from tests.unit.gateway.catalog.catalog_texts import ACTION, TARGET, edited, load

from lockgate.contract.intent import Effect
from lockgate.gateway.catalog.model import UnknownName


def faults(arguments: dict, action: str = ACTION) -> list[str]:
    catalog = load(action)
    return [str(fault) for fault in catalog.validate_arguments(catalog.action("restart"), arguments)]


def test_valid_arguments_have_no_fault():
    assert faults({"service": "web", "ports": [80], "password": "secret://db/app", "options": {"mode": "fast"}}) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "/service: is missing"),
        ({"service": "a", "extra/~": 1}, "/extra~1~0: is not known; remove it"),
        ({"service": "a", "options": {"deep": 1}}, "/options/deep: is not known; remove it"),
        ({"service": "a", "ports": [1, "x"]}, "/ports/1: must be of type integer"),
        ({"service": "a", "ports": [1, 2, 3, 4]}, "/ports: must have at most 3 items"),
        ({"service": 1}, "/service: must be of type string"),
        ({"service": "a" * 41}, "/service: must be at most 40 characters long"),
        (
            {"service": float("nan")},
            "arguments: hold a number or text that JSON cannot carry exactly (NaN, infinity, above 2**53-1)",
        ),
        (
            {"service": 2**60},
            "arguments: hold a number or text that JSON cannot carry exactly (NaN, infinity, above 2**53-1)",
        ),
        (
            {"service": "\ud800"},
            "arguments: hold a number or text that JSON cannot carry exactly (NaN, infinity, above 2**53-1)",
        ),
        ({"service": "a" * 70_000}, "arguments: are 70014 bytes; at most 65536 are taken"),
    ],
)
def test_a_fault_names_its_field_by_json_pointer(arguments, expected):
    assert faults(arguments) == [expected]


def test_no_message_holds_the_value():
    loud = "HUNTER2" * 5
    for arguments in (
        {"service": loud},
        {"service": "a", "password": loud},
        {"service": "a", "options": {"mode": loud}},
    ):
        assert faults(arguments) and loud not in str(faults(arguments))


@pytest.mark.parametrize(
    "literal", ["hunter2", "secret://", "secret://db", "secret://db/../root", "secret://db/a\n", "x secret://db/a"]
)
def test_a_sensitive_argument_is_a_reference_and_nothing_else(literal):
    assert faults({"service": "a", "password": literal}) == [
        "/password: must be a reference to a secret store, such as secret://prefix/name; never the secret itself"
    ]
    assert load().action("restart").spec.sensitive == ("password",)


def test_errors_are_counted_and_names_from_the_caller_are_cut_and_escaped():
    many = faults({f"k{n}": 1 for n in range(500)})
    assert len(many) == 20
    assert faults({"service": "a", "\u202ek" + "x" * 500: 1}) == ["/\\u202ek" + "x" * 62 + ": is not known; remove it"]


def test_a_pattern_runs_in_linear_time():
    # A backtracking engine would need 2**60000 steps for this.
    action = edited(ACTION, 'maxLength: 40, pattern: "^[a-z]+$"', 'maxLength: 65536, pattern: "^(a+)+$"')
    assert faults({"service": "a" * 60_000 + "!"}, action) == ['/service: must match "^(a+)+$"']
    assert faults({"service": "a" * 60_000}, action) == []
    assert load(action).action("restart").validator.is_valid({"service": "a" * 65_536})
    catalog = load(action)
    assert not catalog.action("restart").validator.is_valid({"service": "a" * 900_000 + "!"})


def test_the_tool_schema_offers_the_targets_and_what_a_change_needs():
    schema = load().tool_schema("restart", "default")
    assert schema["required"] == ["service", "target", "reason"] and schema["additionalProperties"] is False
    assert schema["properties"]["target"]["enum"] == ["web"]
    assert {"reason", "idempotency_key", "dry_run", "wait_seconds"} <= set(schema["properties"])
    assert schema["properties"]["options"]["additionalProperties"] is False
    assert schema["properties"]["password"]["pattern"].startswith("^secret://")


def test_a_read_takes_no_reason():
    catalog = load(edited(ACTION, "effect: change", "effect: read"))
    schema = catalog.tool_schema("restart", "default")
    assert catalog.action("restart").effect is Effect.READ
    assert schema["required"] == ["service", "target"] and "reason" not in schema["properties"]


def test_a_whole_call_is_checked_with_its_controls():
    action = load().action("restart")
    call = {"service": "a", "target": "web", "reason": "because I say so", "dry_run": True, "wait_seconds": 5}
    assert action.faults(call) == []
    bad = {
        "service": "a",
        "reason": "short",
        "wait_seconds": 61,
        "dry_run": "yes",
        "idempotency_key": "a b",
        "target": 7,
    }
    assert sorted(fault.field for fault in action.faults(bad)) == [
        "/dry_run",
        "/idempotency_key",
        "/reason",
        "/target",
        "/wait_seconds",
    ]
    assert [fault.field for fault in action.faults({"service": "a", "target": "web"})] == ["/reason"]


def test_targets_are_found_by_labels_driver_and_tenant():
    more = TARGET + "---\n" + edited(TARGET, "name: web\n", "name: other\n") + "  tenant: acme\n"
    catalog = load(edited(ACTION, "{names: [web]}", "{labels: {tier: web}}"), more)
    assert [target.name for target in catalog.targets_of("restart", "default")] == ["web"]
    assert [target.name for target in catalog.targets_of("restart", "acme")] == ["other"]
    assert catalog.tool_schema("restart", "acme")["properties"]["target"]["enum"] == ["other"]
    with pytest.raises(UnknownName):
        catalog.target_of("restart", "other", "default")
    assert catalog.target_of("restart", "web", "default") is catalog.target("web")
    assert catalog.targets_of("restart", "nobody") == () and catalog.actions_of("nobody") == ()
    with pytest.raises(UnknownName):
        catalog.tool_schema("restart", "nobody")
    with pytest.raises(UnknownName):
        catalog.action("nope")
    assert catalog.find_action("nope") is None
