"""A real OPA takes our bundles and signatures, and we take its."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.policy.bundles.bundling import key_pair, released, signatures, signed_files
from tests.unit.policy.bundles.test_signature import decode

from lockgate.policy.bundles.archive import pack
from lockgate.policy.bundles.digests import file_digest
from lockgate.policy.bundles.layout import WASM, bundle_files
from lockgate.policy.bundles.signature import FILE
from lockgate.policy.opa import OpaFailed, run_opa


def opa_verifies(opa: Path, archive: bytes, folder: Path, algorithm: str, key_id: str = "release") -> None:
    """`opa build --verification-key`: it opens the bundle, and fails unless the signature holds."""
    (folder / "in.tar.gz").write_bytes(archive)
    arguments = ["build", "--bundle", "in.tar.gz", "--verification-key", "release.pub.pem", "--signing-alg", algorithm]
    run_opa(opa, [*arguments, "--verification-key-id", key_id, "--output", "out.tar.gz"], folder=folder)


@pytest.mark.opa
@pytest.mark.parametrize("kind", ["ES256", "EdDSA", "RS256"])
def test_opa_verifies_what_we_signed_and_refuses_what_we_refuse(opa: Path, tmp_path: Path, kind: str) -> None:
    key, _ = key_pair(tmp_path, kind)
    files = signed_files(released(), key)
    opa_verifies(opa, pack(files), tmp_path, kind)
    with pytest.raises(OpaFailed, match="digest mismatch"):
        opa_verifies(opa, pack(files | {"lockgate/plan.rego": files["lockgate/plan.rego"] + b"\n"}), tmp_path, kind)
    key_pair(tmp_path, kind)  # another key in the same file
    with pytest.raises(OpaFailed, match="failed to verify JWT signature"):
        opa_verifies(opa, pack(files), tmp_path, kind)


@pytest.mark.opa
@pytest.mark.parametrize("kind", ["ES256", "EdDSA", "RS256"])
def test_we_verify_what_opa_signed(opa: Path, tmp_path: Path, kind: str) -> None:
    _, verifier = key_pair(tmp_path, kind)
    files = signed_files(released(), key_pair(tmp_path / "..", "ES256", "unused")[0])
    folder = tmp_path / "bundle"
    for path, content in files.items():
        if path != FILE:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    (tmp_path / "claims.json").write_text(json.dumps({"keyid": "release"}))
    arguments = ["sign", "--bundle", ".", "--signing-key", "../release.pem", "--signing-alg", kind]
    run_opa(opa, [*arguments, "--claims-file", "../claims.json", "--output-file-path", ".."], folder=folder)
    theirs = (tmp_path / FILE).read_bytes()
    assert "kid" not in decode(signatures({FILE: theirs}).split(".")[0]), "opa names the key in a claim"
    assert verifier.verify(files | {FILE: theirs}, "x") == "release"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.opa
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(documents=st.lists(st.dictionaries(st.text(), JSON, max_size=5), min_size=20, max_size=20), ascii=st.booleans())
def test_any_document_has_the_digest_that_opa_gives_it(
    opa: Path, tmp_path: Path, documents: list[dict[str, Any]], ascii: bool
) -> None:
    folder = tmp_path / "documents"
    for index, document in enumerate(documents):
        (folder / str(index)).mkdir(parents=True, exist_ok=True)
        (folder / str(index) / "data.json").write_text(json.dumps(document, ensure_ascii=ascii), encoding="utf-8")
    key_pair(tmp_path)
    run_opa(opa, ["sign", "--bundle", ".", "--signing-key", "../release.pem", "--signing-alg", "ES256"], folder=folder)
    listed = decode(signatures({FILE: (folder / FILE).read_bytes()}).split(".")[1])["files"]
    (folder / FILE).unlink()
    assert len(listed) == len(documents)
    for entry in listed:
        assert file_digest(entry["name"], (folder / entry["name"]).read_bytes()) == entry["hash"], entry["name"]


@pytest.mark.opa
def test_opa_answers_from_the_rego_in_the_bundle_and_names_its_revision(opa: Path, tmp_path: Path) -> None:
    key, _ = key_pair(tmp_path)
    (tmp_path / "b.tar.gz").write_bytes(pack(signed_files(released(), key)))
    asked = ["eval", "--bundle", "b.tar.gz", "--format", "json", "data.lockgate.request.decision"]
    said = json.loads(run_opa(opa, asked, folder=tmp_path))
    assert said["result"][0]["expressions"][0]["value"]["allow"] is False
    shown = json.loads(run_opa(opa, ["inspect", "--format", "json", "b.tar.gz"], folder=tmp_path))
    assert shown["manifest"]["revision"] == released().revision
    assert shown["manifest"]["roots"] == list(released().roots)


@pytest.mark.opa
def test_opa_takes_no_file_of_a_bundle_for_a_wasm_module_which_it_would_decode_anew_for_every_request(
    opa: Path, tmp_path: Path
) -> None:
    files = bundle_files(released())
    modules = {}
    for name, content in (("ours", files), ("theirs", files | {"policy.wasm": files[WASM]})):
        (tmp_path / f"{name}.tar.gz").write_bytes(pack(content))
        shown = json.loads(run_opa(opa, ["inspect", "--format", "json", f"{name}.tar.gz"], folder=tmp_path))
        modules[name] = [module["path"] for module in shown.get("wasm_modules", ())]
    assert modules == {"ours": [], "theirs": ["policy.wasm"]}
