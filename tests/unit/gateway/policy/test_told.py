"""What `/healthz` says of policy to anybody: that something is wrong and of what kind, and nothing of where or what."""

from __future__ import annotations

import json

from tests.unit.gateway.policy.test_keeping import Place, place
from tests.unit.policy.bundles.bundling import released

from lockgate.policy.bundles.archive import pack

__all__ = ["place"]  # the fixture


async def test_what_anybody_may_know_holds_no_path_and_no_word_of_a_bundle(place: Place) -> None:
    await place.serve(released(7))
    said = json.dumps(place.keeper.told())
    for spoilt in (b"garbage", pack({"secret-name.rego": b"package x\n"})):
        place.put(spoilt)
        await place.keeper.look()
        assert place.keeper.error
        assert json.dumps(place.keeper.told()) == said.replace("[]", '["bundle_refused"]')
    place.path.unlink()
    await place.keeper.look()
    assert place.keeper.told()["reasons"] == ["bundle_refused", "source_unavailable"]
    assert str(place.path) not in json.dumps(place.keeper.told())
