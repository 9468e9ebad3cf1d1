"""Which files an OPA bundle of ours holds, and the policy they make; it knows no archive, no signature and no engine.

The module is not named under the manifest's `wasm`: an OPA built without a Wasm runtime refuses a bundle that does (`engine not found`), and
one that has it would evaluate the module instead of the Rego. Nor is it called `policy.wasm`: what is called so OPA keeps in its store, and
decodes anew whenever it asks `system.authz` about a request (ADR 34).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import rfc8785

from lockgate.contract import strictjson
from lockgate.policy.bundle import AUTHZ_ROOT, ROOT, PolicyBundle
from lockgate.policy.bundles.manifest import Manifest, read_manifest, write_manifest
from lockgate.policy.glue import GLUE_NAME, is_of
from lockgate.policy.port import PolicyLoadError

MANIFEST: Final = ".manifest"
SIGNATURES: Final = ".signatures.json"
WASM: Final = "lockgate.wasm"
DATA: Final = "data.json"
RULES: Final = "rules.json"
DATA_TEXT: Final = "policy-data.yaml"
"""What people wrote. Not `data.yaml`: OPA would take that for data."""

KNOWN: Final = frozenset({MANIFEST, SIGNATURES, WASM, DATA, RULES, DATA_TEXT})
MAX_JSON_BYTES: Final = 32 << 20
MAX_DEPTH: Final = 64


def bundle_files(bundle: PolicyBundle) -> dict[str, bytes]:
    """The files of an unsigned bundle: path → content. A PolicyBundle gives the same bytes always."""
    rules = {"version": 1, "opa": bundle.opa, "rules": {name: dict(text) for name, text in bundle.rules.items()}}
    files = {
        MANIFEST: write_manifest(Manifest(bundle.revision, bundle.roots, bundle.release)),
        WASM: bundle.wasm,
        DATA: bundle.data,
        RULES: (json.dumps(rules, indent=1, sort_keys=True) + "\n").encode(),
        DATA_TEXT: bundle.data_text.encode(),
    }
    return files | {path: text.encode() for path, text in bundle.modules.items()}


def read_bundle(files: Mapping[str, bytes], name: str, key: str | None = None) -> PolicyBundle:
    """The policy in the files of a bundle called `name`, whose signature by `key` was verified (None: nobody's was).

    Raises PolicyLoadError naming the file and field. That its module answers every question is for the engine to say.
    """
    for path in (MANIFEST, WASM, DATA, RULES):
        if path not in files:
            raise PolicyLoadError(name, "is missing; make the bundle with `lockgate policy build`", field=path)
    for path in files:
        if path not in KNOWN and not path.endswith(".rego"):
            raise PolicyLoadError(name, f"is none of a bundle's files: {', '.join(sorted(KNOWN))}, *.rego", field=path)
    manifest = read_manifest(files[MANIFEST], name)
    data = read_json(files[DATA], name, DATA)
    _check_roots(data, manifest.roots, name)
    rules = _rules(read_json(files[RULES], name, RULES), name)
    bundle = PolicyBundle(
        wasm=files[WASM],
        data=_canonical(data, name),
        rules=rules["rules"],
        source=name,
        modules={path: _text(content, name, path) for path, content in files.items() if path.endswith(".rego")},
        roots=manifest.roots,
        data_text=_text(files.get(DATA_TEXT, b""), name, DATA_TEXT),
        opa=rules["opa"],
        release=manifest.release,
        key=key,
    )
    if bundle.revision != manifest.revision:
        problem = f"is {manifest.revision[:80]!r}, but these files are {bundle.revision}; build the bundle again"
        raise PolicyLoadError(name, problem, field=f"{MANIFEST}: revision")
    if not is_of(bundle.modules, data[ROOT]["parameters"].get("bring", {})):
        problem = "is not what joins the rules that the data brings to the library; build the bundle again"
        raise PolicyLoadError(name, problem, field=GLUE_NAME)
    return bundle


def read_json(content: bytes, name: str, path: str) -> Any:
    """A JSON file of the bundle, read strictly. Raises PolicyLoadError."""
    try:
        return strictjson.loads(content, max_bytes=MAX_JSON_BYTES, max_depth=MAX_DEPTH)
    except strictjson.StrictJSONError as error:
        raise PolicyLoadError(name, str(error), field=path) from None


def _check_roots(data: Any, roots: tuple[str, ...], name: str) -> None:
    """As OPA: data outside the roots belongs to somebody else. Inside `lockgate` there are parameters and nothing that would stand for a rule."""
    owned = data.get(ROOT) if isinstance(data, dict) else None
    if not isinstance(owned, dict) or set(owned) != {"parameters"} or not isinstance(owned["parameters"], dict):
        raise PolicyLoadError(
            name, f"must hold `{ROOT}.parameters`, an object, and nothing else below `{ROOT}`", field=DATA
        )
    # Data there could only stand beside the rule that says who may ask.
    for path in _leaves(data, set(roots) - {AUTHZ_ROOT}):
        raise PolicyLoadError(name, f"holds {path!r}, which is in none of the roots {list(roots)}", field=DATA)


def _leaves(data: Mapping[str, Any], roots: set[str]) -> list[str]:
    """Paths of data that no root covers."""
    outside, pending = [], [(key, value) for key, value in data.items()]
    while pending:
        path, value = pending.pop()
        if path in roots:
            continue
        if isinstance(value, dict) and any(root.startswith(path + "/") for root in roots):
            pending += [(f"{path}/{key}", item) for key, item in value.items()]
        else:
            outside.append(path)
    return outside


def _rules(document: Any, name: str) -> dict[str, Any]:
    fields = document if isinstance(document, dict) else {}
    if set(fields) != {"version", "opa", "rules"} or fields["version"] != 1 or not isinstance(fields["opa"], str):
        raise PolicyLoadError(name, "must be {version: 1, opa, rules}", field=RULES)
    rules = fields["rules"]
    if not isinstance(rules, dict):
        raise PolicyLoadError(name, "`rules` must be an object", field=RULES)
    for rule, text in rules.items():
        if not isinstance(text, dict) or not all(
            isinstance(text.get(part), str) for part in ("title", "message", "fix")
        ):
            raise PolicyLoadError(name, f"the rule {rule[:64]!r} must have title, message and fix", field=RULES)
    return fields


def _canonical(data: Any, name: str) -> bytes:
    try:
        return rfc8785.dumps(data)
    except rfc8785.CanonicalizationError as error:
        raise PolicyLoadError(name, str(error), field=DATA) from None


def _text(content: bytes, name: str, path: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PolicyLoadError(name, f"is not UTF-8 at byte {error.start}", field=path) from None
