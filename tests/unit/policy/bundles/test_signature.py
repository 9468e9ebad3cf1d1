"""A signature counts for exactly its files, by a pinned key, under that key's own algorithm."""

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.policy.bundles.bundling import Files, key_files, key_pair, released, signatures, signed_files

from lockgate.keys.privatefile import KeyFileError
from lockgate.policy.bundles.digests import file_digest
from lockgate.policy.bundles.keys import (
    BundleKey,
    generate_signing_key,
    signing_key,
    verifying_key,
    write_verifying_key,
)
from lockgate.policy.bundles.signature import FILE, Verifier, sign_files
from lockgate.policy.port import PolicyLoadError


def refused(verifier: Verifier, files: Files) -> str:
    with pytest.raises(PolicyLoadError) as error:
        verifier.verify(files, "release.tar.gz")
    assert str(error.value).startswith("release.tar.gz: ")
    return str(error.value)


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def part(document: Any) -> str:
    return encode(json.dumps(document).encode())


def decode(text: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def signed_again(files: Files, key: BundleKey, **changes: Any) -> Files:
    """Signed by `key` with other header fields or claims; `...` takes one away."""
    header, claims, _ = signatures(files).split(".")
    documents = {"header": decode(header), "claims": decode(claims)}
    for name, value in changes.items():
        which, _, field = name.partition("__")
        documents[which][field] = value
        if value is ...:
            del documents[which][field]
    text = part(documents["header"]) + "." + part(documents["claims"])
    return files | {FILE: json.dumps({"signatures": [text + "." + encode(key.sign(text.encode()))]}).encode()}


@pytest.mark.parametrize("kind", ["ES256", "EdDSA", "RS256"])
def test_what_a_pinned_key_signed_is_accepted_and_the_key_named(tmp_path: Path, kind: str) -> None:
    key, verifier = key_pair(tmp_path, kind)
    assert key.algorithm == kind
    assert verifier.verify(signed_files(released(), key), "x") == "release"


def test_several_keys_may_be_pinned_so_that_one_can_follow_another(tmp_path: Path) -> None:
    old, pinned = key_pair(tmp_path, name="2026")
    new, also = key_pair(tmp_path, "EdDSA", "2027")
    both = Verifier({**pinned.keys, **also.keys})
    assert both.verify(signed_files(released(), old), "x") == "2026"
    assert both.verify(signed_files(released(), new), "x") == "2027"
    assert "is by the key '2026', which is not pinned here (2027)" in refused(also, signed_files(released(), old))


def test_no_pinned_key_accepts_nothing(tmp_path: Path) -> None:
    key, _ = key_pair(tmp_path)
    assert "not pinned here (none)" in refused(Verifier({}), signed_files(released(), key))


def test_another_key_under_a_pinned_name_is_refused(tmp_path: Path) -> None:
    _, verifier = key_pair(tmp_path, name="release")
    impostor, _ = key_pair(tmp_path, name="release")
    assert "the signature is not by the key 'release'" in refused(verifier, signed_files(released(), impostor))


@pytest.mark.parametrize("alg", ["none", "None", "", "HS256", "RS256", "ES384", None, 7])
def test_the_algorithm_is_the_keys_own_whatever_the_header_says(tmp_path: Path, alg: Any) -> None:
    key, verifier = key_pair(tmp_path)
    files = signed_again(signed_files(released(), key), key, header__alg=alg)
    assert "the key 'release' is one for ES256" in refused(verifier, files)


def test_a_public_key_is_no_shared_secret(tmp_path: Path) -> None:
    """The confusion of HS256: signing with the bytes of the public key, which everybody has."""
    key, verifier = key_pair(tmp_path, "RS256")
    public = tmp_path / "release.pub.pem"
    _, claims, _ = signatures(signed_files(released(), key)).split(".")
    text = part({"alg": "HS256", "kid": "release"}) + "." + claims
    forged = text + "." + encode(hmac.new(public.read_bytes(), text.encode(), hashlib.sha256).digest())
    files = signed_files(released(), key) | {FILE: json.dumps({"signatures": [forged]}).encode()}
    assert "says algorithm 'HS256'" in refused(verifier, files)


def test_an_unsigned_bundle_is_told_how_to_be_signed(tmp_path: Path) -> None:
    key, verifier = key_pair(tmp_path)
    files = signed_files(released(), key)
    del files[FILE]
    assert "lockgate policy bundle sign" in refused(verifier, files)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"header__crit": ["b64"], "header__b64": False}, "the header holds 'b64', which is not understood"),
        ({"header__jwk": {"kty": "EC"}}, "the header holds 'jwk'"),
        ({"claims__scope": "write"}, "is for the scope 'write', not ''"),
        ({"claims__exp": 1}, "the payload holds the claim 'exp'"),
        ({"claims__keyid": "other"}, "header and claims name two keys"),
        ({"claims__files": []}, "`files` must list 1 to"),
        ({"claims__files": ...}, "`files` must list 1 to"),
        ({"claims__files": [{"name": "data.json"}]}, "each of `files` must be {name, hash, algorithm}"),
        ({"claims__files": [{"name": "x", "hash": "00", "algorithm": "MD5"}]}, "hashes 'x' by 'MD5'"),
        ({"claims__files": [{"name": "x", "hash": "00", "algorithm": "SHA-256"}] * 2}, "lists 'x' twice"),
    ],
)
def test_claims_that_are_not_understood_or_for_something_else_are_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    key, verifier = key_pair(tmp_path)
    assert said in refused(verifier, signed_again(signed_files(released(), key), key, **changes))


def test_a_signature_for_one_scope_is_none_for_another(tmp_path: Path) -> None:
    key, verifier = key_pair(tmp_path)
    scoped = Verifier(verifier.keys, "production")
    assert scoped.verify(signed_files(released(), key, "production"), "x") == "release"
    assert "is for the scope '', not 'production'" in refused(scoped, signed_files(released(), key))


def test_a_missing_an_extra_and_a_changed_file_are_named(tmp_path: Path) -> None:
    key, verifier = key_pair(tmp_path)
    good = signed_files(released(), key)
    missing = {path: content for path, content in good.items() if path != "lockgate/plan.rego"}
    assert "lockgate/plan.rego: is in the signature, and missing" in refused(verifier, missing)
    assert "more.rego: is not in the signature" in refused(verifier, good | {"more.rego": b"package more\n"})
    for path in set(good) - {FILE}:
        content = good[path].replace(b'"title"', b'"titel"') if path == "rules.json" else good[path] + b" "
        if path in ("data.json", ".manifest"):
            content = good[path].replace(b":", b':{"x":0,"y":', 1) + b"}"
        assert f": {path}: " in refused(verifier, good | {path: content})


def test_of_json_documents_the_meaning_is_signed_not_the_spaces(tmp_path: Path) -> None:
    """As OPA has it; what we read of such a file is the same, since one document has one meaning here."""
    key, verifier = key_pair(tmp_path)
    good = signed_files(released(), key)
    assert verifier.verify(good | {"data.json": good["data.json"] + b"\n"}, "x") == "release"
    twice = good | {"data.json": b'{"lockgate":{},' + good["data.json"][1:]}
    assert "data.json: " in refused(verifier, twice)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"signatures": []}', b'{"signatures": ["a.b.c", "a.b.c"]}', b'{"signatures": [7]}',
     b'{"signatures": ["a.b"]}', b'{"signatures": ["=.=.="]}', b'{"signatures": ["W10.W10.W10"]}',
     b'{"signatures": ["e30.e30.e30"], "plugin": "mine"}', b"{" * 10_000],
)  # fmt: skip
def test_what_is_no_signature_file_is_refused(tmp_path: Path, content: bytes) -> None:
    key, verifier = key_pair(tmp_path)
    assert f": {FILE}: " in refused(verifier, signed_files(released(), key) | {FILE: content})


def test_signing_is_no_change_of_what_is_signed(tmp_path: Path) -> None:
    key, verifier = key_pair(tmp_path)
    files = signed_files(released(), key)
    again = files | {FILE: sign_files(files, key)}
    assert verifier.verify(again, "x") == "release"


@pytest.mark.parametrize("kind", ["ES384", "weak"])
def test_keys_that_are_not_for_this_are_refused(tmp_path: Path, kind: str) -> None:
    private, public = key_files(tmp_path, kind)
    for read in (lambda: signing_key("k", private), lambda: verifying_key("k", public)):
        with pytest.raises(KeyFileError, match="P-256, Ed25519, or RSA of 2048 bits"):
            read()


def test_a_private_key_that_others_can_read_signs_nothing_and_one_is_never_pinned(tmp_path: Path) -> None:
    private, public = key_files(tmp_path)
    private.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        signing_key("k", private)
    with pytest.raises(KeyFileError, match="private key; give the public one"):
        verifying_key("k", private)
    public.chmod(0o600)
    with pytest.raises(KeyFileError, match="no private key"):
        signing_key("k", public)


def test_a_made_key_is_its_owners_alone_and_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "release.pem"
    generate_signing_key(path)
    public = tmp_path / "release.pub"
    write_verifying_key(path, public)
    assert path.stat().st_mode & 0o777 == 0o600
    pinned = Verifier({"r": verifying_key("r", public)})
    assert pinned.verify(signed_files(released(), signing_key("r", path)), "x") == "r"
    with pytest.raises(KeyFileError, match="never overwritten"):
        generate_signing_key(path)


@pytest.mark.parametrize(
    ("text", "hashed"),
    [
        ('{"b": 1.0, "a": [true, null, 10e2]}', '{"a":[true,null,10e2],"b":1.0}'),
        ('{"é<&>": "\\u2028\\u007f\\n\\b"}', '{"é<&>":"\\u2028\x7f\\n\\b"}'),
        ("{}", "{}"),
        ('["\\ud83d\\ude00"]', '["😀"]'),
    ],
)
def test_documents_are_hashed_as_gos_encoder_writes_them(text: str, hashed: str) -> None:
    assert file_digest("data.json", text.encode()) == hashlib.sha256(hashed.encode()).hexdigest()
