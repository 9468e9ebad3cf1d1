"""What every CredentialBroker must do, run on every provider; a provider states in its `Case` what it can issue."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from lockgate.contract.grant import PERMIT_TYPE, Permit
from lockgate.contract.intent import Phase
from lockgate.contract.keyset import KeyRole, Keyset
from lockgate.contract.signed import write_signed
from lockgate.keys.keysets import key_entry
from lockgate.keys.signer import FileSigner, generate_key
from lockgate.runner.credentials.file import FileBroker
from lockgate.runner.credentials.none import NoBroker
from lockgate.runner.credentials.permits import RUNNER_AUDIENCE
from lockgate.runner.credentials.port import (
    BrokerError,
    BrokerRefused,
    CredentialBroker,
    CredentialRequest,
    PermitShown,
)

NOW = 1_790_000_000_000
SECRET = "hunter2-hunter2"
GRANT = "sha256:" + "a" * 64


@dataclass
class Case:
    """One provider with a signer of permits; `issues` is whether it can issue at all."""

    broker: CredentialBroker
    signer: FileSigner
    issues: bool

    def permit(self, signer: FileSigner | None = None, *, age_ms: int = 0, **changes: Any) -> PermitShown:
        permit = Permit(
            version=1,
            deployment="acme",
            id=changes.pop("id", os.urandom(8).hex()),
            grant_sha256=GRANT,
            operation="op_1",
            attempt="at_1",
            fence=3,
            phase=Phase.APPLY,
            inputs_sha256=GRANT,
            check_sha256=None,
            audience=RUNNER_AUDIENCE,
            issued_at=NOW,
            not_after=NOW + 60_000,
        )
        return PermitShown(write_signed(replace(permit, **changes), PERMIT_TYPE, signer or self.signer), age_ms)


def request(scope: Any = "write", **changes: Any) -> CredentialRequest:
    given = CredentialRequest(
        scope=scope,
        target="web",
        attempt="at_1",
        fence=3,
        grant_sha256=GRANT,
        references={"token": "secret://web/token"},
        prefixes=("secret://web/",),
        ttl=60,
    )
    return replace(given, **changes)


def keyset_of(signer: FileSigner, other: FileSigner) -> Keyset:
    entries = (key_entry(KeyRole.GRANT, signer.public), key_entry(KeyRole.LOG, other.public))
    return Keyset(1, "acme", False, NOW, NOW + 1, entries)


def none_case(place: Path, signer: FileSigner, keyset: Keyset) -> Case:
    return Case(NoBroker(), signer, False)


def file_case(place: Path, signer: FileSigner, keyset: Keyset) -> Case:
    secrets = place / "secrets"
    (secrets / "web").mkdir(parents=True)
    (secrets / "db").mkdir()
    for name in ("web/token", "db/token"):
        (secrets / name).write_text(SECRET + "\n")
        (secrets / name).chmod(0o600)
    return Case(FileBroker(secrets, lambda: keyset, os.urandom, dev=False), signer, True)


PROVIDERS: dict[str, Callable[[Path, FileSigner, Keyset], Case]] = {"none": none_case, "file": file_case}


@pytest.fixture(params=PROVIDERS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    signer, other = generate_key(tmp_path / "grant.pem"), generate_key(tmp_path / "log.pem")
    yield PROVIDERS[request.param](tmp_path, signer, keyset_of(signer, other))


@pytest.fixture
def files(tmp_path: Path) -> Case:
    signer, other = generate_key(tmp_path / "grant.pem"), generate_key(tmp_path / "log.pem")
    return file_case(tmp_path, signer, keyset_of(signer, other))


async def test_a_provider_says_who_can_be_held_to_the_permit(case: Case) -> None:
    assert case.broker.name
    assert case.broker.trust in ("permit", "runner-trusted")
    assert isinstance(case.broker.read_scope_enforced, bool)


async def test_a_write_credential_is_issued_against_the_permit_of_this_attempt_or_not_at_all(case: Case) -> None:
    asked = request(permit=case.permit())
    if not case.issues:
        with pytest.raises(BrokerRefused):
            await case.broker.issue(asked)
        return
    credential = await case.broker.issue(asked)
    assert credential.accessor
    assert set(credential.files) == {"token"}
    assert SECRET in credential.secrets
    assert SECRET not in credential.accessor
    assert SECRET not in repr(credential)
    assert credential.expires_in is None or 0 < credential.expires_in <= asked.ttl
    assert await case.broker.revoke(credential.accessor)


WRONG: dict[str, Callable[[Case, Path], PermitShown | None]] = {
    "none": lambda case, place: None,
    "of another grant": lambda case, place: case.permit(grant_sha256="sha256:" + "b" * 64),
    "of another attempt": lambda case, place: case.permit(attempt="at_2"),
    "of another fence": lambda case, place: case.permit(fence=2),
    "of the plan phase": lambda case, place: case.permit(phase=Phase.PLAN),
    "of another deployment": lambda case, place: case.permit(deployment="other"),
    "for another broker": lambda case, place: case.permit(audience="elsewhere"),
    "that expired": lambda case, place: case.permit(age_ms=60_000),
    "from the future": lambda case, place: case.permit(age_ms=-1),
    "that lives too long": lambda case, place: case.permit(not_after=NOW + 3_600_000),
    "by a foreign key": lambda case, place: case.permit(generate_key(place / "foreign.pem")),
    "by a key of another role": lambda case, place: case.permit(FileSigner(place / "log.pem")),
    "that is nonsense": lambda case, place: PermitShown(b"{}", 0),
}


@pytest.mark.parametrize("which", WRONG)
async def test_a_write_credential_is_refused_with_a_permit(case: Case, tmp_path: Path, which: str) -> None:
    with pytest.raises(BrokerRefused):
        await case.broker.issue(request(permit=WRONG[which](case, tmp_path)))


async def test_a_permit_is_used_once(case: Case) -> None:
    asked = request(permit=case.permit())
    if case.issues:
        await case.broker.issue(asked)
    with pytest.raises(BrokerRefused):
        await case.broker.issue(asked)


async def test_revoking_is_idempotent_also_for_what_an_earlier_process_issued(case: Case) -> None:
    for _ in range(2):
        assert await case.broker.revoke("something-from-before") is True
        assert await case.broker.revoke_unheard("at_before", "write") is True


async def test_a_read_credential_is_given_only_where_it_cannot_write(case: Case) -> None:
    if not case.broker.read_scope_enforced:
        with pytest.raises(BrokerRefused):
            await case.broker.issue(request("read"))


BAD_REFERENCES = [
    {"token": "secret://db/token"},
    {"token": "secret://web/../db/token"},
    {"token": "secret://web//token"},
    {"token": "secret://web/"},
    {"token": "/etc/passwd"},
    {"token": "secret://web/token\n"},
    {"../token": "secret://web/token"},
    {"": "secret://web/token"},
    {},
    {f"t{number}": "secret://web/token" for number in range(100)},
]


@pytest.mark.parametrize("references", BAD_REFERENCES)
async def test_a_reference_out_of_bounds_is_refused(case: Case, references: dict[str, str]) -> None:
    with pytest.raises(BrokerRefused):
        await case.broker.issue(request(permit=case.permit(), references=references))


async def test_without_prefixes_nothing_is_given(case: Case) -> None:
    for prefixes in ((), ("",), ("secret://we",)):
        with pytest.raises(BrokerRefused):
            await case.broker.issue(request(permit=case.permit(), prefixes=prefixes))


async def test_file_a_read_secret_needs_the_regions_word_and_no_permit(files: Case) -> None:
    credential = await files.broker.issue(request("read", read_is_read_only=True))
    assert credential.files == {"token": (SECRET + "\n").encode()}


@pytest.mark.parametrize(
    "fault", ["readable by others", "a link", "over a linked directory", "a directory", "too large", "missing"]
)
async def test_file_a_secret_that_is_no_private_file_is_refused_without_its_content(
    files: Case, tmp_path: Path, fault: str
) -> None:
    web = tmp_path / "secrets" / "web"
    token = web / "token"
    if fault == "readable by others":
        token.chmod(0o640)
    elif fault == "over a linked directory":
        web.rename(tmp_path / "elsewhere")
        web.symlink_to(tmp_path / "elsewhere")
    else:
        token.unlink()
    if fault == "a link":
        token.symlink_to(tmp_path / "secrets" / "db" / "token")
    elif fault == "a directory":
        token.mkdir()
    elif fault == "too large":
        token.write_bytes(b"x" * 100_000)
        token.chmod(0o600)
    with pytest.raises(BrokerError) as caught:
        await files.broker.issue(request(permit=files.permit()))
    assert SECRET not in str(caught.value)


async def test_file_every_line_of_a_secret_is_known_to_the_redactor(files: Case, tmp_path: Path) -> None:
    token = tmp_path / "secrets" / "web" / "token"
    token.write_bytes(b"-----BEGIN-----\nline-one-of-it\n  line-two-of-it\n")
    credential = await files.broker.issue(request(permit=files.permit()))
    assert {"line-one-of-it", "line-two-of-it"} <= set(credential.secrets)
    token.write_bytes(b"\xff\xfe\x00binary")
    credential = await files.broker.issue(request(permit=files.permit()))
    assert b"\xff\xfe\x00binary".hex() in credential.secrets
