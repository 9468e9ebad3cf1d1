"""The way of one operation, end to end, by the processes people run."""

from __future__ import annotations

from typing import Any

import pytest

REASON = "scale for the launch"


@pytest.mark.smoke
def test_a_harmless_change_is_applied_verified_and_torn_down(deployment: Any) -> None:
    agent = deployment.token("alice", roles=("operator",))
    asked = deployment.ask(
        "set_replicas", "web-dev", {"service": "shop", "replicas": 3}, agent, reason=REASON, wait_seconds=60
    )
    ended = deployment.settled(asked["operation_id"], agent)
    assert (ended["status"], ended["effect"]) == ("succeeded", "full"), ended["message"]
    assert (deployment.targets["web-dev"] / "shop").read_text().strip() == "3"
