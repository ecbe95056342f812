"""Any folder of audio; a clip in ROOT/angry/ has the label angry.

The label is the name of the first folder below the one given, however deep the clip lies in it; a
clip that lies directly in the folder given has no label. Licence and speakers: yours to know.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lanser_cli.audio.walk import SUFFIXES
from lanser_cli.corpora.base import STAGE, audio_files, check_folder, utterance
from lanser_cli.errors import LanserError
from lanser_cli.records import Outcome, Reject, make_id


def read(root: Path, *, labels: bool = True) -> Iterator[Outcome]:
    """Records with an `id` made from the path below `root` and, with `labels`, a `label`.

    Raises:
        LanserError: no audio file below `root`.
    """
    check_folder(root)
    if next(audio_files(root), None) is None:
        suffixes = " ".join(sorted(SUFFIXES))
        raise LanserError(f"{root}: no audio file in this folder or below it ({suffixes})")
    return (_outcome(path, root, labels) for path in audio_files(root))


def _outcome(path: Path, root: Path, labels: bool) -> Outcome:
    below = os.path.relpath(path, root)
    try:
        below.encode("utf-8")
    except UnicodeEncodeError:
        return Reject(None, STAGE, f"{str(path)!a}: file name is not UTF-8: rename it", None)
    parts = Path(below).parts
    label = parts[0] if labels and len(parts) > 1 else None
    return utterance(path, {"id": make_id(below), "label": label})
