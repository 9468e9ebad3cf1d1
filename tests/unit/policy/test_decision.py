import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.contract.decision import (
    CREDENTIAL_SCOPE_ORDER,
    ENGINE_RULES,
    SANDBOX_ORDER,
    ApprovalObligation,
    Decision,
    Obligations,
    Provenance,
    Question,
    UnknownObligationError,
    Violation,
)

PROVENANCE = Provenance(id="dec_1", revision="sha256:00", engine="test", input_sha256="sha256:11", duration_us=7)
groups = st.dictionaries(st.sampled_from(["ops", "security", "owners"]), st.integers(1, 4))
approvals = st.builds(ApprovalObligation, st.integers(1, 9), groups, st.integers(1, 10**6))
obligations = st.builds(
    Obligations,
    approvals=st.none() | approvals,
    sandbox=st.none() | st.sampled_from(SANDBOX_ORDER),
    max_seconds=st.none() | st.integers(1, 10**6),
    credential_scope=st.none() | st.sampled_from(CREDENTIAL_SCOPE_ORDER),
)
voters = st.dictionaries(st.text(max_size=3), st.sets(st.sampled_from(["ops", "security", "owners"])), max_size=8)


@given(obligations, obligations)
def test_merge_is_commutative(one: Obligations, other: Obligations) -> None:
    assert one.merge(other) == other.merge(one)


@given(obligations, obligations, obligations)
def test_merge_is_associative(one: Obligations, two: Obligations, three: Obligations) -> None:
    assert one.merge(two).merge(three) == one.merge(two.merge(three)) == Obligations.merged([three, one, two])


@given(obligations)
def test_merge_is_idempotent_and_nothing_is_neutral(one: Obligations) -> None:
    assert one.merge(one) == one == one.merge(Obligations())


@given(approvals, approvals, voters)
def test_votes_satisfy_a_merge_exactly_if_they_satisfy_both(
    one: ApprovalObligation, other: ApprovalObligation, votes: dict[str, set[str]]
) -> None:
    assert one.merge(other).satisfied_by(votes) == (one.satisfied_by(votes) and other.satisfied_by(votes))


@given(obligations, obligations)
def test_a_merge_is_at_least_as_strict_as_each(one: Obligations, other: Obligations) -> None:
    merged = one.merge(other)
    for part in (one, other):
        if part.sandbox is not None:
            assert SANDBOX_ORDER.index(merged.sandbox or "") >= SANDBOX_ORDER.index(part.sandbox)
        if part.credential_scope is not None:
            scopes = CREDENTIAL_SCOPE_ORDER
            assert scopes.index(merged.credential_scope or "") >= scopes.index(part.credential_scope)
        if part.max_seconds is not None:
            assert merged.max_seconds is not None
            assert merged.max_seconds <= part.max_seconds


@given(obligations)
def test_obligations_survive_their_document(one: Obligations) -> None:
    assert Obligations.from_document(one.to_document()) == one


def test_two_votes_of_a_group_are_two_of_that_group() -> None:
    needed = ApprovalObligation(2, {"security": 2}, 60)
    assert not needed.satisfied_by({"a": {"security"}, "b": {"ops"}})
    assert needed.satisfied_by({"a": {"security"}, "b": {"security", "ops"}})


def test_each_group_has_a_number_of_its_own_and_all_voters_have_one() -> None:
    needed = ApprovalObligation(3, {"security": 2, "owners": 1}, 60)
    three = {"a": {"security"}, "b": {"security", "owners"}, "c": set[str]()}
    assert needed.satisfied_by(three)
    assert not needed.satisfied_by({name: three[name] for name in ("a", "b")})
    assert not needed.satisfied_by({**three, "b": {"owners"}})
    assert not needed.satisfied_by({**three, "b": {"security"}})


def test_all_voters_are_never_fewer_than_those_of_one_group() -> None:
    assert ApprovalObligation(1, {"security": 3}, 60).count == 3


def test_a_list_of_groups_asks_each_for_the_count() -> None:
    document = {"approvals": {"count": 2, "groups": ["ops", "owners"], "expires_in": 60}}
    assert Obligations.from_document(document).approvals == ApprovalObligation(2, {"ops": 2, "owners": 2}, 60)


def test_a_group_of_no_votes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"approvals\.groups\.ops"):
        ApprovalObligation(1, {"ops": 0}, 60)


def test_no_group_means_any_approver() -> None:
    assert ApprovalObligation(1, {}, 60).satisfied_by({"a": set()})
    assert not ApprovalObligation(1, {}, 60).satisfied_by({})


@pytest.mark.parametrize(
    "document", [{"sandbox": "chroot"}, {"credential_scope": "root"}, {"pray": True}, {"sandbox": "Bubblewrap"}]
)
def test_an_unknown_obligation_is_refused_not_dropped(document: dict[str, object]) -> None:
    with pytest.raises(UnknownObligationError, match="is not known"):
        Obligations.from_document(document)


@pytest.mark.parametrize("count", [0, -1])
def test_an_obligation_of_no_votes_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=r"approvals\.count"):
        ApprovalObligation(count, {}, 60)


def test_deny_overrides() -> None:
    violation = Violation("region", "t", "m", "f")
    decision = Decision.of(Question.REQUEST, [violation], Obligations(), PROVENANCE)
    assert not decision.allow
    with pytest.raises(ValueError, match="denies and names"):
        Decision(**{**_fields(decision), "allow": True})


def test_a_denial_without_a_reason_cannot_be_made() -> None:
    allowed = Decision.of(Question.REQUEST, [], Obligations(), PROVENANCE)
    with pytest.raises(ValueError, match="names at least one"):
        Decision(**{**_fields(allowed), "allow": False})


@pytest.mark.parametrize("allow", [1, "true", None])
def test_allow_is_a_boolean_or_nothing(allow: object) -> None:
    with pytest.raises(ValueError, match="boolean"):
        Decision(**{**_fields(Decision.of(Question.LIST, [], Obligations(), PROVENANCE)), "allow": allow})


def test_only_what_time_may_cure_is_waited_for() -> None:
    window = Violation("change_window", "t", "m", "f", {"waitable": True})
    region = Violation("region", "t", "m", "f", {"waitable": "yes"})
    assert Decision.of(Question.APPLY, [window], Obligations(), PROVENANCE).waitable
    assert not Decision.of(Question.APPLY, [window, region], Obligations(), PROVENANCE).waitable
    assert not Decision.of(Question.APPLY, [], Obligations(), PROVENANCE).waitable


@pytest.mark.parametrize("rule", [*ENGINE_RULES, "lockgate.engine.of_tomorrow"])
def test_every_failure_of_an_engine_denies_and_says_what_to_do(rule: str) -> None:
    decision = Decision.denied(Question.PLAN, rule, PROVENANCE, {"problem": "p"})
    assert (decision.allow, decision.violations[0].rule) == (False, rule)
    assert all((decision.violations[0].title, decision.violations[0].message, decision.violations[0].fix))
    assert Decision.from_document(decision.to_document()) == decision


def test_a_decision_of_another_version_is_refused() -> None:
    document = Decision.of(Question.LIST, [], Obligations(), PROVENANCE).to_document()
    with pytest.raises(ValueError, match="version 2"):
        Decision.from_document({**document, "version": 2})


def _fields(decision: Decision) -> dict:
    return {name: getattr(decision, name) for name in Decision.__dataclass_fields__}
