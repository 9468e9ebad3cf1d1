"""A change of the driver `ansible` in pods: a service is read and written over the one way out, with a credential that can write only once a human has approved."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.identity import runner_identity
from tests.cluster.running import Cluster, until
from tests.e2e import shopservice
from tests.e2e.on_cluster import ENDS, TOO_LATE, Given, Governed, Seen, bootstrapped, seeing
from tests.e2e.opentofu import remove
from tests.e2e.shopservice import HOST, PORT, READ, WRITE, Shop

from lockgate.runner.image.archive import Image

pytestmark = [pytest.mark.kubernetes, pytest.mark.node, pytest.mark.slow]

CATALOG = f"""
apiVersion: lockgate/v1
kind: Action
metadata: {{name: set_message}}
spec:
  title: Set the shop's message
  description: Sets what the shop tells its customers.
  effect: change
  risk: low
  idempotent: true
  targets: {{names: [shop-production]}}
  driver: ansible
  entry: site.yml
  arguments:
    type: object
    required: [message]
    properties:
      message: {{type: string, maxLength: 200}}
  variables: {{message: message}}
---
apiVersion: lockgate/v1
kind: Target
metadata: {{name: shop-production}}
spec:
  driver: ansible
  source: shop
  environment: production
  region: local
  limits: {{wall_seconds: 300}}
  egress: ["{HOST}:{PORT}"]
  settings: {{inventory: inventory.ini, variables: {{shop: "https://{HOST}:{PORT}/message"}}}}
"""
INVENTORY = 'localhost ansible_connection=local ansible_python_interpreter="{{ ansible_playbook_python }}"\n'
SITE = "- {name: The shop, hosts: all, gather_facts: false, roles: [shop]}\n"
TASKS = """
- name: The shop says the message
  shop_message:
    url: "{{ shop }}"
    message: "{{ message }}"
    authority: "{{ playbook_dir }}/authority.pem"
    token_file: "{{ lookup('ansible.builtin.env', 'LOCKGATE_CREDENTIALS') }}/token"
"""
MODULE = """
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
NAMES = ("url", "message", "authority", "token_file")
def main():
    module = AnsibleModule(argument_spec={name: {"required": True, "no_log": False} for name in NAMES}, supports_check_mode=True)
    given = module.params
    with open(given["token_file"]) as file:
        headers = {"Authorization": "Bearer " + file.read().strip()}
    def asked(method, data=None):
        return open_url(given["url"], method=method, data=data, headers=headers, ca_path=given["authority"]).read().decode()
    before = asked("GET")
    changed = before != given["message"]
    if changed and not module.check_mode:
        asked("PUT", given["message"])
    module.exit_json(changed=changed, diff={"before": before + "\\n", "after": given["message"] + "\\n"})
main()
"""


@dataclass(frozen=True)
class Story:
    """A running deployment, what was seen of its namespaces, and the service it governs."""

    governed: Governed
    seen: Seen
    shop: Shop


def given(shop: Shop, home: Path) -> Given:
    """The shop as a target: its one way out, and two secrets of the runner's, the one for looking and the one for changing."""
    for name, token in (("read", READ), ("write", WRITE)):
        path = home / "secrets" / "shop" / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(token)
    (home / "secrets").chmod(0o700)
    source = {
        "inventory.ini": INVENTORY,
        "site.yml": SITE,
        "authority.pem": shop.authority,
        "roles/shop/tasks/main.yml": TASKS,
        "roles/shop/library/shop_message.py": MODULE,
    }
    credential = {
        "read": {"token": "secret://shop/read"},
        "write": {"token": "secret://shop/write"},
        "prefixes": ["secret://shop/"],
        "read_is_read_only": True,
    }
    served = {
        "drivers": ["ansible"],
        "sources": ["shop"],
        "credential": credential,
        "credential_scopes": ["read", "write"],
        "egress": [f"{HOST}:{PORT}"],
        "egress_private": [f"{shop.address}/32"],
        "limits": {"wall_seconds": 600},
    }
    runner = {
        "targets": {"shop-production": served},
        "tools": {"ansible": {"any": True}},
        "broker": "file",
        "secrets_dir": "secrets",
    }
    return Given(CATALOG, {"shop": source}, runner)


@pytest.fixture(scope="module")
def story(cluster: Cluster, job_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    place = tmp_path_factory.mktemp("runner")
    home = Path(tempfile.mkdtemp(prefix="lockgate-e2e-"))
    home.chmod(0o711)
    who = runner_identity(cluster, place)
    with shopservice.running(cluster, job_image.pinned) as shop:
        made = bootstrapped(home, cluster, who, job_image.pinned, given(shop, home))
        # The runner's machine knows the service by its name; everything else of the machine is as it is.
        (place / "hosts").write_text(f"127.0.0.1 localhost\n{shop.address} {HOST}\n")
        made.deployment.knows_hosts("runner", place / "hosts")
        with seeing(cluster, made.runner, place) as seen:
            try:
                made.deployment.start("gateway")
                made.deployment.start("runner")
                yield Story(made, seen, shop)
            finally:
                made.deployment.stop()
                remove(home)


async def test_a_playbook_changes_a_service_through_the_one_way_out_and_can_write_only_once_it_is_approved(
    story: Story,
) -> None:
    governed, shop = story.governed, story.shop
    async with governed.agent() as agent:
        ended: dict[str, Any] = {"message": TOO_LATE}
        while TOO_LATE in ended["message"]:
            asked = await governed.asks(agent, "set_message", "shop-production", message="open on Monday")
            held = await governed.comes_to(agent, asked, "pending_approval", *ENDS)
            assert held["status"] == "pending_approval", held["message"]
            before = shop.requests()
            assert before and {(each["method"], each["who"]) for each in before} == {("GET", "reader")}
            governed.votes(held, "approve")
            ended = await governed.comes_to(agent, held, *ENDS)
        assert (ended["status"], ended["effect"]) == ("succeeded", "full"), ended["message"]
        again = await governed.asks(agent, "set_message", "shop-production", message="open on Monday")
        again = await governed.comes_to(agent, again, *ENDS)
        assert (again["status"], again["effect"]) == ("succeeded", "none"), again["message"]
    heard = [(each["method"], each["who"]) for each in shop.requests()[len(before) :]]
    while heard[:2] == [("GET", "reader")] * 2:
        del heard[0]  # a check that grew old before it was started was made again
    # Checked by who may only read; applied; verified, and planned once more, by who may only read.
    assert heard == [("GET", "reader"), ("GET", "writer"), ("PUT", "writer"), ("GET", "reader"), ("GET", "reader")]
    receipts = governed.receipts(held["operation_id"], 2)
    assert [[box["stage"] for box in receipt["sandboxes"]] for receipt in receipts] == [
        ["plan"],
        ["check", "apply", "verify"],
    ]
    ways = [(way["host"], way["address"]) for each in receipts for box in each["sandboxes"] for way in box["tunnels"]]
    assert ways == [(HOST, shop.address)] * len(ways) and len(ways) >= 4
    credentials = [(each["scope"], each["revoked"]) for receipt in receipts for each in receipt["credentials"]]
    assert sorted(credentials) == [("read", True), ("read", True), ("write", True)]
    places = governed.namespaces(receipts)
    assert len(set(places)) == 2
    until(lambda: set(places) <= story.seen.gone(), governed.deployment.logs)
    told = repr(governed.details(held["operation_id"])) + governed.deployment.logs() + story.seen.pods.text()
    assert READ not in told and WRITE not in told
    report = governed.says("audit", "verify")
    assert report["ok"] and report["proven"], report
