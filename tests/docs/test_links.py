"""Links of the documentation lead somewhere, and no page names a machine's own paths or a registry."""

from __future__ import annotations

import re

import pytest
from tests.docs.pages import ROOT, all_pages, read_page

PAGES = [read_page(path) for path in all_pages()]
OWN_PAGES = [page for page in PAGES if "docs/reference/" not in page.name]


def anchors(text: str) -> set[str]:
    """The anchors GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    broken = []
    for link in page.links():
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        path = (page.path.parent / place).resolve() if place else page.path
        if (
            not path.exists()
            or not path.is_relative_to(ROOT)
            or (anchor and path.suffix == ".md" and anchor not in anchors(path.read_text("utf-8")))
        ):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", OWN_PAGES, ids=lambda page: page.name)
def test_a_page_has_one_title_first(page):
    lines = [line for line in page.text.splitlines() if line.strip() and not line.startswith("<!--")]
    assert lines[0].startswith("# ")
    assert (
        len([line for line in re.sub(r"```.*?```", "", page.text, flags=re.S).splitlines() if line.startswith("# ")])
        == 1
    )


def test_every_page_is_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in seen or path.suffix != ".md" or not path.is_file():
            continue
        seen.add(path)
        links = [link.partition("#")[0] for link in read_page(path).links() if not re.match(r"[a-z]+:", link)]
        waiting += [(path.parent / link).resolve() for link in links if link]
    assert sorted(page.name for page in PAGES if page.path not in seen) == []


def test_no_two_decisions_share_a_number():
    numbers = [int(path.name[:4]) for path in (ROOT / "docs" / "adr").glob("[0-9]*.md")]
    assert len(numbers) == len(set(numbers))
