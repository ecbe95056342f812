"""The documentation is a site too: each page is there, and each link leads somewhere."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "docs"))
import make_site


class Page(HTMLParser):
    """The links of a page, and the anchors it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.append(str(value))
            elif name == "id":
                self.anchors.append(str(value))


def test_every_link_of_the_site_leads_to_a_page_and_a_heading_that_are_there(
    tmp_path: Path,
) -> None:
    found = make_site.build(tmp_path)
    assert {*ROOT.glob("docs/*.md"), ROOT / "CONTRIBUTING.md"} <= set(found)
    pages = {path: Page(path) for path in tmp_path.rglob("*.html")}
    followed = set()
    for path, page in pages.items():
        assert len(page.anchors) == len(set(page.anchors)), path
        for link in page.links:
            address = urlsplit(link)
            if address.scheme:
                continue
            to = (path.parent / unquote(address.path)).resolve() if address.path else path
            assert to.is_file() and to.is_relative_to(tmp_path), f"{path}: {link}"
            if address.fragment:
                assert address.fragment in pages[to].anchors, f"{path}: {link}"
            followed.add(to)
    assert followed == {path for path in tmp_path.rglob("*") if path.is_file()}


def test_a_link_to_what_is_not_there_ends_the_build() -> None:
    [_, inline, _] = make_site.MARKDOWN.parse("[a page](docs/nowhere.md#at)")
    with pytest.raises(SystemExit, match=r"README\.md: the link docs/nowhere\.md leads nowhere"):
        make_site.lead(inline.children[0], make_site.START)
