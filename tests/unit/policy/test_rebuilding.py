"""A bundle's module is compared with what its Rego compiles to: one signature over both says nothing about that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.ownrules import AUTHZ, DATA, SCORE, team_folder

from lockgate.policy.building import build_policy
from lockgate.policy.bundle import PolicyBundle, load_library
from lockgate.policy.port import PolicyLoadError
from lockgate.policy.rebuilding import OtherCompiler, check_module

pytestmark = pytest.mark.opa
BESIDE = 'package lockgate.plan_integrity\n\npinned if input.reason == "please"\n'


@pytest.fixture(scope="module")
def brought(opa: Path, tmp_path_factory: pytest.TempPathFactory) -> PolicyBundle:
    return build_policy(DATA + SCORE + AUTHZ, "data.yaml", [team_folder(tmp_path_factory.mktemp("team"))], opa)


def test_what_is_shipped_and_what_is_built_is_what_its_rego_compiles_to(opa: Path, brought: PolicyBundle) -> None:
    check_module(load_library(), opa)
    check_module(brought, opa)


def test_the_module_of_another_rego_is_refused(opa: Path, brought: PolicyBundle) -> None:
    with pytest.raises(PolicyLoadError, match=r"lockgate\.wasm.*is not what the bundle's Rego compiles to"):
        check_module(replace(load_library(), wasm=brought.wasm), opa)


def test_rego_that_only_a_server_would_load_is_part_of_the_comparison(opa: Path) -> None:
    library = load_library()
    named_as_a_test = {**library.modules, "lockgate/plan_test.rego": BESIDE}
    with pytest.raises(PolicyLoadError, match="is not what the bundle's Rego compiles to"):
        check_module(replace(library, modules=named_as_a_test), opa)


def test_another_compiler_is_named_and_compares_nothing(opa: Path) -> None:
    with pytest.raises(OtherCompiler, match=r"the bundle says OPA .9\.9\.9. compiled it"):
        check_module(replace(load_library(), opa="9.9.9"), opa)


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("x.rego", "package x\n\nnow := time.now_ns()\n", "it reads the clock"),
        ("x.rego", "package x\n\nthis is no Rego\n", "x.rego:3"),
        ("lockgate/plan.rego/x.rego", "package x\n", "cannot lie beside the others"),
        ("../x.rego", "package x\n", "must stay below the bundle"),
    ],
)
def test_rego_that_does_not_compile_is_named(opa: Path, path: str, text: str, said: str) -> None:
    library = load_library()
    with pytest.raises(PolicyLoadError) as refused:
        check_module(replace(library, modules={**library.modules, path: text}), opa)
    assert said in str(refused.value)
