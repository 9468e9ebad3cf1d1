"""A target's destinations: in the catalog by name and port, part of its digest, and what its grants name; nothing else can add to them."""

from __future__ import annotations

import pytest
from tests.unit.gateway.catalog.catalog_texts import TARGET, load, refusals

from lockgate.gateway.scheduling.granting import egress_of

LISTED = TARGET + '  egress: ["b.example:8443", "a.example:443"]\n'


def test_a_grant_names_the_targets_destinations_and_no_others() -> None:
    assert egress_of(load(target=LISTED).target("web")) == ("a.example:443", "b.example:8443")
    assert egress_of(load().target("web")) == ()


def test_another_destination_is_another_target_to_whoever_approved() -> None:
    assert load(target=LISTED).target("web").sha256 != load().target("web").sha256
    reordered = TARGET + '  egress: ["a.example:443", "b.example:8443"]\n'
    assert load(target=reordered).target("web").sha256 == load(target=LISTED).target("web").sha256


@pytest.mark.parametrize(
    "place", ["a.example", "*.example:443", "A.example:443", "a.example:0", "https://a.example:443", "a.example.:443"]
)
def test_a_destination_that_is_none_is_named_by_its_place(place: str) -> None:
    (fault,) = refusals(target=TARGET + f'  egress: ["{place}"]\n')
    assert "spec.egress" in fault
