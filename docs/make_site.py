"""Write the documentation as a site: README.md, and all it leads to, as pages that link each other.

    python docs/make_site.py FOLDER

Pages are written for GitHub, and found here as there: a link leads to a file or folder of the
repository. Markdown becomes a page, a folder a list of its files, any other text a page that
shows it; a picture is copied. A link that leads nowhere ends the build.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections import Counter
from html import escape
from itertools import pairwise
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from markdown_it import MarkdownIt  # rich brings it
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[1]
START = ROOT / "README.md"
LISTED = re.findall(r"^\| \[.*?\]\((.*?)\)", START.read_text(encoding="utf-8"), re.MULTILINE)
MENU = [START, *(ROOT / to for to in LISTED)]
"""The start, and what the table of pages in README.md lists."""

TEMPLATE = Template((ROOT / "docs/site.html").read_text(encoding="utf-8"))
MARKDOWN = MarkdownIt("commonmark").enable("table")
PICTURES = (".svg", ".png")


def build(folder: Path) -> list[Path]:
    """Write the site; the files and folders of the repository that are in it."""
    found = list(MENU)
    for source in found:  # which grows, for pages name more
        place = folder / target(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix in PICTURES:
            shutil.copyfile(source, place)
        else:
            page, links = rendered(source)
            place.write_text(page, encoding="utf-8")
            found += sorted(links.difference(found))
    return found


def target(source: Path) -> Path:
    """Where the site has a file or folder of the repository."""
    inside = source.relative_to(ROOT)
    if source.is_dir():
        return inside / "index.html"
    if source.suffix == ".md":
        return inside.with_name("index.html" if source == START else f"{source.stem}.html")
    return inside if source.suffix in PICTURES else inside.with_name(f"{source.name}.html")


def rendered(source: Path) -> tuple[str, set[Path]]:
    """The page of a file or folder, and what of the repository it links."""
    tokens = MARKDOWN.parse(markdown(source))
    inline = (token for each in tokens for token in each.children or ())
    links = {to for token in inline if (to := lead(token, source))}
    headings = anchors(tokens)
    parts = "\n".join(
        f'<li><a href="#{at}">{name}</a>' for tag, at, name in headings if tag == "h2"
    )
    menu = [
        f'<a href="{relative(to, source)}"{" aria-current=page" * (to == source)}>'
        f"{'lanser' if to == START else to.stem}</a>"
        for to in MENU
    ]
    page = TEMPLATE.substitute(
        title="lanser" if source == START else f"{headings[0][2]} · lanser",
        menu="\n".join(menu),
        contents=parts and f"<details><summary>On this page</summary><ul>{parts}</ul></details>",
        body=MARKDOWN.renderer.render(tokens, MARKDOWN.options, {}),
    )
    return page, links


def markdown(source: Path) -> str:
    """The text of a Markdown file; of anything else, Markdown that shows it."""
    title = f"# `{source.relative_to(ROOT)}`\n\n"
    if source.is_dir():
        inside = (path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file())
        return title + "".join(f"* [`{one}`]({one})\n" for one in inside if one.suffix != ".pyc")
    text = source.read_text(encoding="utf-8")
    return text if source.suffix == ".md" else f"{title}~~~~~~\n{text}\n~~~~~~\n"


def lead(token: Token, source: Path) -> Path | None:
    """What of the repository a link or picture names; its address becomes that in the site."""
    name = "src" if token.type == "image" else "href"
    address = urlsplit(str(token.attrGet(name) or ""))
    if address.scheme or not address.path:
        return None
    to = ((source if source.is_dir() else source.parent) / address.path).resolve()
    if not (to.exists() and to.is_relative_to(ROOT)):
        sys.exit(f"{source.relative_to(ROOT)}: the link {address.path} leads nowhere")
    token.attrSet(name, address._replace(path=relative(to, source)).geturl())
    return to


def relative(to: Path, source: Path) -> str:
    return Path(os.path.relpath(target(to), target(source).parent)).as_posix()


def anchors(tokens: list[Token]) -> list[tuple[str, str, str]]:
    """Tag, anchor and words (as HTML) of each heading; it gets the anchor that GitHub gives it."""
    found, seen = [], Counter[str]()
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            words = "".join(each.content for each in inline.children or ())
            anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            heading.attrSet("id", f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
            seen[anchor] += 1
            found.append((heading.tag, str(heading.attrGet("id")), escape(words)))
    return found


if __name__ == "__main__":
    build(Path(sys.argv[1]))
    print(Path(sys.argv[1]) / "index.html", file=sys.stderr)
