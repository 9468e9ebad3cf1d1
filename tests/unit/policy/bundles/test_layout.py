"""What a bundle holds, and what is no bundle of ours."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.policy.bundles.bundling import Files, released

from lockgate.policy.bundles.archive import pack, unpack
from lockgate.policy.bundles.layout import bundle_files, read_bundle
from lockgate.policy.port import PolicyLoadError


def refused(edit: Callable[[Files], Any]) -> str:
    """What is said about a bundle with one thing wrong."""
    files = bundle_files(released())
    edit(files)
    with pytest.raises(PolicyLoadError) as error:
        read_bundle(files, "release.tar.gz")
    assert str(error.value).startswith("release.tar.gz: ")
    return str(error.value)


def edit_json(file: str, **fields: Any) -> Callable[[Files], None]:
    def edit(files: Files) -> None:
        document = json.loads(files[file])
        for path, value in fields.items():
            place = document
            *parents, last = path.split("__")
            for parent in parents:
                place = place[parent]
            if value is ...:
                del place[last]
            else:
                place[last] = value
        files[file] = json.dumps(document).encode()

    return edit


def test_a_bundle_comes_back_from_its_files_and_its_archive_as_it_was() -> None:
    bundle = released()
    assert pack(bundle_files(bundle)) == pack(bundle_files(released()))
    back = read_bundle(unpack(pack(bundle_files(bundle)), "policy"), "policy library")
    assert back == bundle
    assert back.revision == bundle.revision


def test_the_text_people_wrote_is_in_it_and_is_no_data_of_opas() -> None:
    files = bundle_files(released())
    assert b"bindings:" in files["policy-data.yaml"]
    assert [path for path in files if path.rpartition("/")[2] in ("data.json", "data.yaml", "data.yml")] == [
        "data.json"
    ]


def test_the_module_is_not_named_in_the_manifest() -> None:
    assert "wasm" not in json.loads(bundle_files(released())[".manifest"])


@pytest.mark.parametrize("file", [".manifest", "lockgate.wasm", "data.json", "rules.json"])
def test_a_missing_file_is_named(file: str) -> None:
    assert refused(lambda files: files.pop(file)) == (
        f"release.tar.gz: {file}: is missing; make the bundle with `lockgate policy build`"
    )


@pytest.mark.parametrize(
    "file", ["etc/passwd", "lockgate/data.json", "data.yaml", "sub/.manifest", ".signatures.json.bak"]
)
def test_a_file_that_belongs_to_no_bundle_is_refused(file: str) -> None:
    assert f": {file}: is none of a bundle's files" in refused(lambda files: files.update({file: b"{}"}))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"roots": ...}, "roots: must be a list of roots"),
        ({"roots": []}, "roots: must be a list of roots"),
        ({"roots": [""]}, "roots: '' is no root"),
        ({"roots": ["other"]}, "roots: 'lockgate' is not among them"),
        ({"roots": ["lockgate/plan", "other"]}, "roots: 'lockgate' is not among them"),
        ({"roots": ["lockgate", "lockgate/plan"]}, "overlap"),
        ({"roots": ["lockgate", "lockgate"]}, "overlap"),
        ({"roots": ["lockgate", "../x"]}, "is no root"),
        ({"wasm": []}, "wasm: is not understood here; an OPA without a Wasm runtime refuses"),
        ({"rego_version": 0}, "rego_version: must be 1"),
        ({"revision": "v1.2"}, "revision: is 'v1.2', but these files are sha256:"),
        ({"revision": 7}, "revision: must be text"),
        ({"metadata": ...}, "metadata.lockgate: is missing"),
        ({"metadata__lockgate__format": 2}, "metadata.lockgate.format: must be 1"),
        ({"metadata__lockgate__more": 1}, "metadata.lockgate.more: is not known"),
        ({"metadata__lockgate__sequence": 0}, "metadata.lockgate.sequence: must be a whole number from 1"),
        ({"metadata__lockgate__sequence": True}, "metadata.lockgate.sequence: must be a whole number from 1"),
        ({"metadata__lockgate__sequence": ...}, "metadata.lockgate.sequence: must be a whole number from 1"),
        ({"metadata__lockgate__signed_at": "yesterday"}, "metadata.lockgate.signed_at: must be a time like"),
        ({"metadata__lockgate__max_age_seconds": -1}, "metadata.lockgate.max_age_seconds: must be a whole number"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused_by_its_field(fields: dict[str, Any], said: str) -> None:
    text = refused(edit_json(".manifest", **fields))
    assert ".manifest: " in text
    assert said in text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[]", "must hold `lockgate.parameters`"),
        (b'{"lockgate": {}}', "must hold `lockgate.parameters`"),
        (
            b'{"lockgate": {"parameters": {}, "request": {"decision": {"allow": true}}}}',
            "nothing else below `lockgate`",
        ),
        (
            b'{"lockgate": {"parameters": {}}, "system": {"authz": {"allow": true}}}',
            "'system', which is in none of the roots",
        ),
        (b'{"lockgate": {"parameters": {}, "parameters": {}}}', "stands twice"),
        (b'{"lockgate": {"parameters": {"a": NaN}}}', "NaN is not JSON"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_data_that_is_not_the_bundles_own_parameters_is_refused(data: bytes, said: str) -> None:
    text = refused(lambda files: files.update({"data.json": data}))
    assert ": data.json: " in text
    assert said in text


@pytest.mark.parametrize("file", ["lockgate.wasm", "lockgate/plan.rego", "rules.json", "data.json"])
def test_the_revision_is_over_module_rego_rule_texts_and_data(file: str) -> None:
    def edit(files: Files) -> None:
        files[file] = (
            files[file] + b"\n"
            if not file.endswith(".json")
            else files[file].replace(b'"title": "', b'"title": "x').replace(b'"parameters":{', b'"parameters":{"x":1,')
        )

    assert "revision: is " in refused(edit)


@pytest.mark.parametrize(
    "rules", [b"[]", b'{"version": 1, "opa": "1"}', b'{"version": 1, "opa": "1", "rules": {"a": {"title": "t"}}}']
)
def test_rule_texts_that_are_incomplete_are_refused(rules: bytes) -> None:
    assert ": rules.json: " in refused(lambda files: files.update({"rules.json": rules}))
