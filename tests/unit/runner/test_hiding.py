"""What a tool marks sensitive stands nowhere in a canonical plan, wherever its JSON shows it; on the JSON of both real engines too."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lockgate.runner.hiding import Hider

KEY = b"k" * 32
SECRET = "hunter2-hunter2"


def hidden(document: dict[str, Any], changes: list[dict[str, Any]] = []) -> dict[str, Any]:  # noqa: B006 - never changed
    hider = Hider(KEY)
    made = [hider.change(change) for change in changes]
    document = hider.document(document)
    return {"document": hider.everywhere(document), "changes": hider.everywhere(made)}


def shown_in(document: dict[str, Any]) -> dict[str, Any]:
    """The document hidden, after a look that the secret is not in it."""
    found: dict[str, Any] = hidden(document)["document"]
    assert SECRET not in json.dumps(found)
    return found


def root(**variables: Any) -> dict[str, Any]:
    return {"root_module": {"variables": variables}}


@pytest.mark.parametrize(
    "document",
    [
        {"variables": {"a": {"value": SECRET}}, "configuration": root(a={"sensitive": True})},
        {"variables": {"a": {"value": {"deep": [SECRET]}}}, "configuration": root(a={"sensitive": True})},
        {"variables": {"a": {"value": SECRET}}},
        {"variables": {"a": {"value": SECRET}}, "configuration": "odd"},
        {"configuration": root(a={"sensitive": True, "default": SECRET})},
        {"configuration": {"root_module": {"module_calls": {"m": {"module": {"variables": {"a": {"sensitive": True, "default": SECRET}}}}}}}},
        {"configuration": {"provider_config": {"p": {"expressions": {"token": {"constant_value": SECRET}}}}}},
        {"configuration": {"root_module": {"resources": [{"expressions": {"password": {"constant_value": SECRET}}}]}}},
        {"configuration": {"root_module": {"resources": [{"provisioners": [{"expressions": {"command": {"constant_value": SECRET}}}]}]}}},
        {"planned_values": {"outputs": {"o": {"sensitive": True, "value": SECRET}}}},
        {"planned_values": {"outputs": {"o": {"value": SECRET}}}},
        {"planned_values": {"root_module": {"resources": [{"values": {"p": SECRET}, "sensitive_values": {"p": True}}]}}},
        {"planned_values": {"root_module": {"resources": [{"values": {"p": SECRET}}]}}},
        {"planned_values": {"root_module": {"child_modules": [{"resources": [{"values": {"p": [SECRET]}, "sensitive_values": {"p": [True]}}]}]}}},
        {"planned_values": {"root_module": {"resources": {"odd": SECRET}}}},
        {"prior_state": {"values": {"outputs": {"o": {"sensitive": True, "value": SECRET}}}}},
        {"prior_state": {"values": {"root_module": {"resources": [{"values": {"p": {"q": SECRET}}, "sensitive_values": {"p": {"q": True}}}]}}}},
        {"output_changes": {"o": {"before": SECRET, "after": SECRET, "before_sensitive": True, "after_sensitive": True}}},
        {"output_changes": [SECRET]},
        {"resource_drift": [{"change": {"before": {"p": SECRET}, "after": None, "before_sensitive": {"p": True}}}]},
        {"deferred_changes": [{"resource_change": {"change": {"after": {"p": SECRET}, "after_sensitive": {"p": True}}}}]},
        {"action_invocations": [{"config_values": {"p": SECRET}, "config_sensitive": {"p": True}}]},
        {"action_invocations": [{"config_values": {"p": SECRET}}]},
        {"variables": {"a": {"value": SECRET}}, "configuration": root(a={"sensitive": True}), "checks": [{"problems": [{"message": SECRET}]}]},
    ],
)  # fmt: skip
def test_a_sensitive_value_is_hidden_wherever_the_document_shows_it(document: dict[str, Any]) -> None:
    shown_in(document)


@pytest.mark.parametrize(
    ("value", "mark"),
    [
        (SECRET, True),
        ({"p": SECRET}, {"p": True}),
        ({"p": {"q": SECRET}}, {"p": {"q": True}}),
        ({"p": [{"q": SECRET}, {"q": SECRET}]}, {"p": [{"q": True}, {"q": True}]}),
        ({"p": SECRET}, {"p": [True]}),
        ({"p": [SECRET]}, {"p": {"q": True}}),
        ({"p": SECRET, "free": SECRET}, {"p": True}),
    ],
)
def test_a_change_hides_what_its_marks_say_and_all_where_they_do_not_fit(value: Any, mark: Any) -> None:
    change = {"address": "x", "change": {"actions": ["update"], "before": value, "after": value, "before_sensitive": mark, "after_sensitive": mark}}  # fmt: skip
    (found,) = hidden({}, [change])["changes"]
    assert SECRET not in json.dumps(found)
    assert found["change"]["before"] == found["change"]["after"], "equal values stay equal"
    assert (found["address"], found["change"]["actions"]) == ("x", ["update"])


def test_what_is_not_sensitive_stays_as_it_is_and_none_stays_none() -> None:
    document = {
        "variables": {"a": {"value": "eu-1"}},
        "configuration": root(a={}) | {"provider_config": {"p": {"expressions": {"region": {"references": ["var.a"]}}}}},
        "planned_values": {"root_module": {"resources": [{"values": {"p": "shown", "q": None}, "sensitive_values": {"q": True}}]}},
        "terraform_version": "1.11.4",
    }  # fmt: skip
    assert shown_in(document) == document


def test_a_secret_that_is_also_the_name_of_an_action_hides_no_action() -> None:
    change = {"address": "delete", "change": {"actions": ["delete"], "before": {"p": "delete"}, "after": None, "before_sensitive": {"p": True}}}  # fmt: skip
    (found,) = hidden({}, [change])["changes"]
    assert (found["address"], found["change"]["actions"]) == ("delete", ["delete"])
    assert found["change"]["before"]["p"].startswith("hmac-sha256:")


def test_under_another_key_the_same_value_has_another_digest() -> None:
    assert Hider(KEY).digest(SECRET) != Hider(b"l" * 32).digest(SECRET)


MODULE = """
terraform {
  required_providers {
    local = { source = "hashicorp/local" }
  }
}
variable "given" {
  type      = string
  sensitive = true
}
variable "defaulted" {
  type      = string
  sensitive = true
  default   = "CANARY-default"
}
variable "nested" {
  type      = object({ inner = list(string) })
  sensitive = true
  default   = { inner = ["CANARY-nested"] }
}
module "child" {
  source = "./child"
  given  = var.given
}
resource "local_file" "marked" {
  filename = "${path.module}/out-marked"
  content  = "prefix ${var.given} suffix"
}
resource "local_sensitive_file" "by_schema" {
  filename = "${path.module}/out-schema"
  content  = "CANARY-literal"
  provisioner "local-exec" {
    command     = "true"
    environment = { TOKEN = var.defaulted }
  }
}
output "given" {
  value     = var.given
  sensitive = true
}
output "nested" {
  value     = { a = [var.nested] }
  sensitive = true
}
check "holds" {
  assert {
    condition     = nonsensitive(var.given) == ""
    error_message = "CANARY is not for messages, and the engine does not put it there"
  }
}
"""
CHILD = """
variable "given" {
  type    = string
  default = "unused"
}
resource "local_file" "in_child" {
  filename = "${path.module}/out-child"
  content  = upper(var.given)
}
output "given" {
  value     = [var.given]
  sensitive = true
}
"""


def show(program: Path, mirror: Path, place: Path) -> list[dict[str, Any]]:
    """The JSON plans of the module: before a first apply, and after it with another value and a file changed by hand (drift)."""
    (place / "child").mkdir()
    (place / "main.tf").write_text(MODULE)
    (place / "child" / "main.tf").write_text(
        CHILD + 'terraform {\n  required_providers {\n    local = { source = "hashicorp/local" }\n  }\n}\n'
    )
    rc = place / "rc"
    rc.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
    env = {"PATH": os.environ["PATH"], "HOME": str(place), "TF_CLI_CONFIG_FILE": str(rc), "CHECKPOINT_DISABLE": "1"}

    def run(*arguments: str) -> bytes:
        return subprocess.run([program, *arguments], cwd=place, env=env, check=True, stdout=subprocess.PIPE).stdout

    run("init", "-input=false")
    plans = []
    for given in ("CANARY-first", "CANARY-second"):
        run("plan", "-input=false", "-out=p", f"-var=given={given}")
        plans.append(json.loads(run("show", "-json", "p")))
        run("apply", "-input=false", "p")
        (place / "out-marked").write_text("CANARY-drift")
    return plans


@pytest.mark.tofu
@pytest.mark.parametrize("engine", ["terraform", "tofu"])
def test_no_sensitive_value_of_a_real_plan_is_left(
    engine: str, provider_mirror: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    plans = show(request.getfixturevalue(engine), provider_mirror, tmp_path)
    for plan in plans:
        assert json.dumps(plan).count("CANARY") > 5, "the engine shows them in clear"
        changes = plan.pop("resource_changes")
        checks = plan.pop("checks", [])
        found = json.dumps(hidden(plan, changes))
        assert "CANARY" not in found
        assert "child" in found and "out-marked" in found
        assert "CANARY-" not in json.dumps(checks)
    assert plans[1].get("resource_drift"), "the second plan shows what was changed by hand"
