"""A bundle that is good, and could not be put into force for another reason, is not forgotten."""

from pathlib import Path

from tests.invariants.keepers import Time, keeper
from tests.unit.gateway.policy.test_keeping import Light

from lockgate.gateway.policykeeping import Trust
from lockgate.policy.acceptance import Acceptance
from lockgate.policy.bundle import PolicyBundle, load_library
from lockgate.policy.bundles.archive import pack
from lockgate.policy.bundles.layout import bundle_files
from lockgate.policy.sources.file import FileSource
from lockgate.policy.sources.port import SourceUnavailable


async def test_a_good_bundle_that_could_not_be_given_to_its_engine_is_tried_again(tmp_path: Path) -> None:
    place = tmp_path / "bundle.tar.gz"
    place.write_bytes(pack(bundle_files(load_library())))
    full = [SourceUnavailable("bundle.tar.gz: cannot be written for OPA: No space left on device")]

    def make(bundle: PolicyBundle) -> Light:
        if full:
            raise full.pop()
        return Light(bundle)

    mine = keeper(FileSource(place), Trust(Acceptance(signed=False)), Time(), make)
    await mine.look()
    assert "No space left" in str(mine.error)
    assert not mine.ready
    await mine.look()
    assert (mine.error, mine.ready) == (None, True)
