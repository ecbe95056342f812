"""The page of a report: one HTML file that needs no other, next to its numbers and its figures."""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from lanser_cli import __version__, console
from lanser_cli.errors import LanserError, require
from lanser_cli.output import write_json, write_whole
from lanser_cli.provenance import command_line, versions
from lanser_cli.shape import load_json
from lanser_cli.summary import is_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = 1

_INTERVAL = re.compile(r"[-+]?\d[\d.]* \[[-+\d., ]+\]")
"""A number and its interval within a text, which stay on one line."""


class Page:
    """A report folder: add words, tables and figures in the order of reading; `write` the whole.

    All text is taken for plain text.

    Attributes:
        can_plot: whether figures can be drawn, which needs the extra `plots`.
    """

    def __init__(self, folder: Path, title: str) -> None:
        self._folder, self._title = folder, title
        self._parts: list[str] = []
        self._figures: list[str] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LanserError(f"{folder}: cannot be made: {error.strerror}") from None
        self.can_plot = _can_plot()

    def heading(self, words: str, level: int = 2) -> None:
        self._parts.append(f'<h{level} dir="auto">{escape(words)}</h{level}>')

    def text(self, words: str, kind: str = "") -> None:
        """A paragraph; `note` is smaller, `warning` stands out."""
        whole = _INTERVAL.sub(r'<span class="number">\g<0></span>', escape(words))
        self._parts.append(f"<p{_class(kind)}>{whole}</p>")

    def table(
        self,
        head: Sequence[str],
        rows: Sequence[Sequence[object]],
        sounds: Sequence[str | None] = (),
    ) -> None:
        """A table that scrolls where it is too wide; numbers stand to the right.

        Args:
            sounds: a `data:` URI for each row, to be heard in one more column; None where there is
                none at hand.
        """
        cells = [[_cell(cell) for cell in row] for row in rows]
        for row, sound in zip(cells, sounds, strict=False):
            row.append(f"<td>{_audio(sound)}</td>")
        names = [*head, *(["sound"] if sounds else [])]
        self._table("", [_head(name, rows, place) for place, name in enumerate(names)], cells)

    def facts(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Names and what stands behind each."""
        lines = [
            f'<dt>{escape(name)}</dt><dd dir="auto">{escape(said)}</dd>' for name, said in pairs
        ]
        self._parts.append("<dl>\n" + "\n".join(lines) + "\n</dl>")

    def matrix(
        self, corner: str, names: Sequence[str], counts: Sequence[Sequence[int]], of: Sequence[int]
    ) -> None:
        """Counts, with their share of `of`, which is the sum of each row and of what is left out.

        Args:
            corner: what rows and columns are.
        """
        head = [f'<th scope="col" dir="auto">{escape(name)}</th>' for name in [corner, *names]]
        rows = []
        for name, row, whole in zip(names, counts, of, strict=True):
            cells = [f'<th scope="row" dir="auto">{escape(name)}</th>']
            for count in row:
                share = count / whole if whole else 0.0
                text = f"{count}<small>{share:.0%}</small>"
                cells.append(f'<td style="--share: {share:.3f}">{text}</td>')
            rows.append(cells)
        self._table("matrix", head, rows)

    def figure(self, name: str, figure: Figure, words: str) -> None:
        """Save a figure as NAME.png and NAME.svg, and show the latter.

        Its text is text there, so a browser's fonts have letters that this machine's have not.

        Args:
            words: what is to be seen, for those who cannot see it.
        """
        svg = self.keep(name, figure)
        data = base64.b64encode(svg.read_bytes()).decode()
        image = f'<img alt="{escape(words)}" src="data:image/svg+xml;base64,{data}">'
        self._parts.append(f"<figure>{image}</figure>")

    def keep(self, name: str, figure: Figure) -> Path:
        """Save a figure as NAME.png and NAME.svg without showing it; the path of the latter."""
        png, svg = (self._folder / f"{name}.{kind}" for kind in ("png", "svg"))
        with warnings.catch_warnings():  # of letters that the font lacks: they are drawn as boxes
            warnings.filterwarnings("ignore", r"Glyph \d+|Matplotlib currently does not support")
            figure.savefig(png, dpi=150, bbox_inches="tight", metadata={"Software": None})
            figure.savefig(svg, bbox_inches="tight", metadata={"Date": None}, transparent=True)
        self._figures.append(name)
        return svg

    @contextmanager
    def folded(self, words: str) -> Iterator[None]:
        """What is added inside shows when the reader asks for it."""
        self._parts.append(f'<details><summary dir="auto">{escape(words)}</summary>')
        yield
        self._parts.append("</details>")

    def write(self, numbers: Mapping[str, Any], name: str = "report.json") -> None:
        """Write the numbers to `name`, and `report.html`; figures of the one before are removed."""
        about = {"schema": SCHEMA, "argv": command_line(), "versions": versions()}
        stale = _figures(self._folder / name) - set(self._figures)
        write_json(self._folder / name, {**about, **numbers, "figures": self._figures})
        for figure in stale:
            for kind in ("png", "svg"):
                (self._folder / f"{figure}.{kind}").unlink(missing_ok=True)
        template = (files("lanser_cli.evaluation") / "page.html").read_text(encoding="utf-8")
        page = Template(template).substitute(
            title=escape(self._title),
            body="\n".join(self._parts),
            command=escape(" ".join(command_line())),
            version=__version__,
        )
        write_whole(self._folder / "report.html", page)

    def _table(self, kind: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        lines = [f"<tr>{''.join(cells)}</tr>" for cells in rows]
        self._parts.append(
            f'<div class="scroll" tabindex="0"><table{_class(kind)}>\n'
            f"<thead><tr>{''.join(head)}</tr></thead>\n<tbody>\n"
            + "\n".join(lines)
            + "\n</tbody></table></div>"
        )


def _figures(report: Path) -> set[str]:
    """The figures of a report that is there, by name; none if it cannot be read."""
    with suppress(LanserError):
        found = load_json(report, "a report")
        if isinstance(found, dict) and isinstance(found.get("figures"), list):
            return {str(name) for name in found["figures"] if Path(str(name)).name == name}
    return set()


def _cell(value: object) -> str:
    kind = "number" if is_number(value) else ""
    return f'<td dir="auto"{_class(kind)}>{escape(str(value))}</td>'


def _head(name: str, rows: Sequence[Sequence[object]], place: int) -> str:
    kind = "number" if any(is_number(row[place]) for row in rows if place < len(row)) else ""
    return f'<th scope="col" dir="auto"{_class(kind)}>{escape(name)}</th>'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _audio(source: str | None) -> str:
    if source is None:
        return "sound not at hand"
    return f'<audio controls preload="none" src="{source}"></audio>'


def _can_plot() -> bool:
    """Figures are an extra; without it a report has its numbers all the same."""
    try:
        matplotlib = require("matplotlib", "plots")
    except LanserError as error:
        console.warn(f"no figures in the report: {error}")
        return False
    matplotlib.rcParams["text.parse_math"] = False  # a $ in a label is a dollar
    matplotlib.rcParams["svg.fonttype"] = "none"  # text as text
    matplotlib.rcParams["svg.hashsalt"] = "lanser"  # the same figure gives the same bytes
    return True
