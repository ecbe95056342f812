"""Write docs/man/ from the commands: a manual page for lanser, and one for each verb."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

FOLDER = Path(__file__).parent / "man"

EXIT_CODES = (
    ("0", "All records are done."),
    ("1", "The run failed; the last line of standard error says why and what to do."),
    ("2", "The command line, the settings file or a variable asks for what does not exist."),
    ("3", "The run is over, but some records were rejected, each with a reason."),
    ("130", "Ctrl-C stopped it; 143 and 138 are SIGTERM and SIGUSR1."),
    ("141", "Who read its output went away."),
)


def pages() -> dict[str, str]:
    """Each page by its name, such as `lanser-eval.1`."""
    import typer

    from lanser_cli.app import VERBS, program

    root = typer.Context(program, info_name="lanser", **program.context_settings)
    verbs = {verb: program.commands[verb] for verb in VERBS}
    found = {"lanser.1": _top(program, VERBS)}
    for verb, command in verbs.items():
        context = typer.Context(command, info_name=verb, parent=root)
        found[f"lanser-{verb}.1"] = _page(verb, command, context, VERBS[verb])
    return found


def _top(command, verbs) -> str:
    lines = [
        *_head("lanser", "speech emotion recognition without human labels"),
        *(".SH SYNOPSIS", ".B lanser", "VERB [OPTIONS] [INPUT...]", ".br"),
        *(".B lanser help", "VERB", ".SH DESCRIPTION", *_text(command.help), ".SH VERBS"),
    ]
    for verb, words in verbs.items():
        lines += [".TP", f".BR lanser\\-{_escaped(verb)} (1)", _escaped(words)]
    lines += [
        ".SH SETTINGS",
        "What an option is set to on the command line goes before a variable, a variable before",
        "the settings file, and the file before the default.",
        *(".TP", ".BI LANSER_ VERB _ OPTION"),
        "sets an option of a verb: LANSER_ENTAIL_LABEL_TAXONOMY=ekman6.",
        *(".TP", ".BI LANSER_ OPTION"),
        "sets an option of the group Running for all verbs that have it: LANSER_DEVICE=cpu.",
        *(".TP", ".B LANSER_CONFIG"),
        "names the settings file, a TOML file with a table for each verb, as",
        ".B \\-\\-config",
        "does.",
        ".SH COMPLETION",
        ".B lanser \\-\\-install\\-completion",
        "installs it for bash, zsh or fish.",
    ]
    return _end(lines, [f"lanser\\-{_escaped(verb)}" for verb in verbs])


def _page(verb, command, context, words) -> str:
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        *_head(f"lanser-{verb}", words.rstrip(".")),
        *(".SH SYNOPSIS", f".B lanser {_escaped(verb)}", _escaped(usage)),
        *(".SH DESCRIPTION", *_text(command.help), ".SH OPTIONS"),
    ]
    for title, rows in command.sections(context):
        lines.append(f'.SS "{title}"')
        for names, what in rows:
            lines += [".TP", f".B {_escaped(names)}", *_filled(what)]
    lines += [".SH EXAMPLES", *_raw(command.examples)]
    return _end(lines, ["lanser"])


def _head(name: str, words: str) -> list[str]:
    return [
        f'.TH "{_escaped(name.upper())}" 1 "" "lanser" "lanser"',
        ".SH NAME",
        f"{_escaped(name)} \\- {_escaped(words)}",
    ]


def _end(lines: list[str], others: list[str]) -> str:
    lines.append(".SH EXIT STATUS")
    for code, what in EXIT_CODES:
        lines += [".TP", f".B {code}", *_filled(what)]
    lines += [".SH SEE ALSO", ",\n".join(f".BR {name} (1)" for name in others)]
    return "\n".join(lines) + "\n"


def _text(text: str) -> Iterator[str]:
    """Paragraphs; what stands behind a backspace is left as it is."""
    for paragraph in cleandoc(text).split("\n\n"):
        first, *rest = paragraph.splitlines()
        if first.strip() == "\b":
            yield from _raw([line.strip() for line in rest])
        else:
            yield from (".PP", *_filled(paragraph))


def _filled(text: str) -> list[str]:
    return [_escaped(line) for line in textwrap.wrap(" ".join(text.split()), 90)]


def _raw(lines: list[str]) -> list[str]:
    return [".PP", ".RS 4", ".nf", *map(_escaped, lines), ".fi", ".RE"]


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for old in set(FOLDER.glob("*.1")) - {FOLDER / name for name in made}:
        old.unlink()
    for name, page in made.items():
        (FOLDER / name).write_text(page, encoding="utf-8")
    print(FOLDER, file=sys.stderr)
