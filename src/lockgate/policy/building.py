"""Makes a policy bundle of the library, policy data and rules of one's own; who signs or loads it is not its concern."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rfc8785

from lockgate.policy.brought import RESERVED_ROOTS, segments
from lockgate.policy.bundle import ROOT, PolicyBundle, library_bundle, library_manifest, library_modules
from lockgate.policy.compile import build_wasm, opa_version
from lockgate.policy.glue import GLUE_NAME, glue
from lockgate.policy.located import Located, read_located
from lockgate.policy.opa import OpaFailed, run_opa
from lockgate.policy.own import OwnPolicy, read_own
from lockgate.policy.parameters import read_parameters
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.purity import explained
from lockgate.policy.staging import staged, translated


def build_policy(text: str, name: str, folders: Sequence[Path], opa: Path) -> PolicyBundle:
    """The bundle of the library, the data `text` of a file called `name`, and the rules under `bring`, which lie in `folders`.

    Raises PolicyLoadError with file, line and field for data, entry or module; OpaFailed, with the author's file and line, for what OPA refuses.
    """
    parameters = read_parameters(text, name)
    own = read_own(folders, opa)
    require_rules(read_located(text, name), own)
    check_own(own, parameters, opa)
    return _compiled(text, parameters, own, opa)


def require_rules(located: Located, own: OwnPolicy) -> None:
    """Every entry names a rule that is there and takes no arguments. Raises PolicyLoadError with file, line and field of the entry."""
    for index, entry in enumerate(located.value.get("bring", ())):
        path = segments(entry["path"])
        found = own.rule(path)
        if found is None:
            raise located.refuse(("bring", index, "path"), _not_there(path, own))
        if found.function:
            problem = (
                f"is a function ({found.file}:{found.line}): it takes arguments, and only a rule has a value of its own"
            )
            raise located.refuse(("bring", index, "path"), problem)


def _not_there(path: tuple[str, ...], own: OwnPolicy) -> str:
    name = ".".join(("data", *path))
    if not own.files:
        return f"there is no rule {name}: name the folder it lies in with --source"
    there = sorted({".".join(("data", *rule)) for file in own.files if not file.is_test for rule in file.rules})
    shown = ", ".join(there[:8]) + (", …" if len(there) > 8 else "")
    return f"there is no rule {name} in the given folders; there are {shown or 'none at all'}"


def check_own(own: OwnPolicy, parameters: Mapping[str, Any], opa: Path) -> None:
    """`opa check` of everything together, tests too, under the pure capabilities. Raises OpaFailed with the author's file and line."""
    with staged(opa, own, parameters["bring"], tests=True) as folder:
        try:
            run_opa(opa, ["check", "--bundle", ".", "--capabilities", "capabilities.json"], folder=folder)
        except OpaFailed as failed:
            raise OpaFailed(explained(own.named(str(failed)))) from None


def _compiled(text: str, parameters: dict[str, Any], own: OwnPolicy, opa: Path) -> PolicyBundle:
    with staged(opa, own, parameters["bring"], tests=False) as folder:
        for file in own.files:
            if not file.is_test:
                (folder / file.place).write_text(translated(opa, file), encoding="utf-8")
        (folder / ".manifest").write_text(json.dumps({"rego_version": 1, "roots": [""]}))
        wasm, data = build_wasm(opa, folder)
        modules = {
            **library_modules(),
            GLUE_NAME: glue(parameters["bring"]),
            **{file.place: (folder / file.place).read_text("utf-8") for file in own.files if not file.is_test},
        }
    _require_own_data(data)
    library = library_bundle(wasm, library_manifest(), parameters, text)
    return replace(
        library,
        data=rfc8785.dumps({**data, ROOT: {"parameters": parameters}}),
        source="policy build",
        modules=modules,
        roots=(*library.roots, *sorted({*own.roots, *data})),
        opa=opa_version(opa),
    )


def _require_own_data(data: Mapping[str, Any]) -> None:
    for root in RESERVED_ROOTS & set(data):
        raise PolicyLoadError(
            "data.json", f"holds `{root}` at its top, which is not yours: your data lies beside it", field=root
        )
