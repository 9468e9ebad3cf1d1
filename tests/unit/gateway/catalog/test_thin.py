from pathlib import Path

from lockgate.gateway.catalog.load import load_directory

EXAMPLES = Path(__file__).parents[4] / "examples" / "catalog"


def test_the_examples_load():
    catalog = load_directory(EXAMPLES, {"runbook": {"type": "object"}})
    assert [action.name for action in catalog.actions_of("default")] == ["restart_service", "rotate_password", "service_status"]
