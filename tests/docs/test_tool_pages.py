"""The pages about OpenTofu and about a Terraform policy of one's own, done with the real programs and providers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.docs.pages import TOOL_PAGES, Block, Page, read_page
from tests.docs.reader import Reader
from tests.docs.test_pages import follow

PROGRAM = "/usr/local/bin/tofu"


@pytest.mark.tofu
@pytest.mark.slow
def test_the_page_about_opentofu_does_what_it_says(
    readers: Callable[[], AbstractContextManager[Reader]], tofu: Path, provider_mirror: Path
) -> None:
    page = _page("use-opentofu.md")
    with readers() as reader:
        reader.programs = (tofu.parent,)
        shutil.copytree(provider_mirror, reader.home / "providers")
        follow(_with_program(page.to_run, tofu), reader)


@pytest.mark.opa
@pytest.mark.tofu
@pytest.mark.slow
def test_a_terraform_policy_becomes_a_rule_as_its_page_says(
    readers: Callable[[], AbstractContextManager[Reader]], tofu: Path, opa: Path
) -> None:
    page = _page("bring-your-terraform-policy.md")
    with readers() as reader:
        reader.programs = (tofu.parent, opa.parent)
        follow(_with_program(page.to_run, tofu), reader)


def _page(name: str) -> Page:
    (path,) = (path for path in TOOL_PAGES if path.name == name)
    return read_page(path)


def _with_program(blocks: tuple[Block, ...], tofu: Path) -> tuple[Block, ...]:
    return tuple(replace(block, text=block.text.replace(PROGRAM, str(tofu))) for block in blocks)
