"""`lanser manifest`: a labelled corpus as its publisher hands it out → records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lanser_cli import corpora
from lanser_cli.commands import options
from lanser_cli.errors import UsageError
from lanser_cli.pipe import Pipe, one_process, unique

Kind = Annotated[
    str,
    typer.Argument(
        metavar="KIND",
        help="Which corpus, see above.",
        show_default=False,
    ),
]
Root = Annotated[
    Path, typer.Argument(metavar="ROOT", help="The corpus' folder; for csv the CSV or TSV file.")
]


def command(
    kind: Kind,
    root: Root,
    audio_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="csv: column of the audio path (default: audio_filepath)."
        ),
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="csv: column of the label (default: label).")
    ] = None,
    speaker_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="csv: column of the speaker (default: speaker)."),
    ] = None,
    no_labels: Annotated[
        bool, typer.Option("--no-labels", help="folder: sub-folders are not labels.")
    ] = False,
    output: options.Output = None,
    rejects: options.Rejects = None,
    resume: options.Resume = False,
    force: options.Force = False,
    part: options.Part = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Turn a labelled corpus into records: JSONL with label, speaker, duration and split.

    Every clip of the corpus becomes a record, a reject with the reason, or is counted as left out.
    A corpus' file names, labels, licence and citation: pydoc lanser_cli.corpora.ravdess

        lanser manifest ravdess RAVDESS/ -o ravdess.jsonl

        lanser manifest csv clips.csv --audio-column path --label-column emotion > clips.jsonl

    For csv every other column is kept under its own name, and paths are relative to the table.
    """
    columns = {"audio": audio_column, "label": label_column, "speaker": speaker_column}
    if any(columns.values()) and kind != "csv":
        raise UsageError(f"--audio-column, --label-column, --speaker-column: for csv, not {kind}")
    if no_labels and kind != "folder":
        raise UsageError(f"--no-labels: for folder, not {kind}")
    pipe = Pipe(
        *("manifest", output), inputs=[root], rejects=rejects, resume=resume, force=force, part=part
    )
    settings: dict[str, dict[str, object]] = {
        "csv": {**columns},
        "folder": {"labels": not no_labels},
    }
    items = unique(corpora.read(kind, root, **settings.get(kind, {})), "manifest")
    named = {f"--{name}-column": columns[name] for name in columns}
    made_with = {"kind": kind, **named, "--no-labels": no_labels}
    return pipe.run(items, one_process(list), made_with).exit_code


_LIST = "\n".join(f"      {kind:10}{title}" for kind, title in corpora.titles().items())
command.__doc__ = f"{command.__doc__ or ''}\n    KIND is one of\n\n    \b\n{_LIST}\n"
