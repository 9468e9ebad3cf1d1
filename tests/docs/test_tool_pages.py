"""The page about OpenTofu, done with the real program and providers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from tests.docs.pages import TOOL_PAGES, read_page
from tests.docs.reader import Reader
from tests.docs.test_pages import follow

PROGRAM = "/usr/local/bin/tofu"


@pytest.mark.tofu
@pytest.mark.slow
def test_the_page_about_opentofu_does_what_it_says(
    readers: Callable[[], AbstractContextManager[Reader]], tofu: Path, provider_mirror: Path
) -> None:
    (page,) = map(read_page, TOOL_PAGES)
    with readers() as reader:
        reader.programs = (tofu.parent,)
        shutil.copytree(provider_mirror, reader.home / "providers")
        blocks = tuple(replace(block, text=block.text.replace(PROGRAM, str(tofu))) for block in page.to_run)
        follow(blocks, reader)
