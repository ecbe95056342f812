"""IEMOCAP: 10 speakers in 5 sessions, the usual 4 classes, 5,531 clips.

C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N. Chang, S. Lee and
S. S. Narayanan (2008), "IEMOCAP: interactive emotional dyadic motion capture database", Language
Resources and Evaluation 42(4). https://sail.usc.edu/iemocap
Licence: by agreement with the University of Southern California, for research.

SessionN/dialog/EmoEvaluation/*.txt hold one line an utterance (times in s, name, label, valence,
activation, dominance), followed by the raters' lines, which are not read:

    [6.2901 - 8.2357]<TAB>Ses01F_impro01_F000<TAB>neu<TAB>[2.5000, 2.5000, 2.5000]

They have all utterances of one speaker, then those of the other. Records of a dialogue come in the
order in which they were said, as `lanser entail-label --context` needs them; what is left out is no
context either.

The sound is SessionN/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav, the transcript a line of
SessionN/dialog/transcriptions/Ses01F_impro01.txt. The letter before the last number is the
speaker's sex.

Labels: ang, neu, sad, and hap with exc ("excited") MERGED into "happy". Papers that leave `exc` out
report higher numbers on an easier task; compare like with like. Utterances with other labels (xxx:
the raters did not agree) are left out and counted.
`fold` is the session ("1".."5"): hold out one session, both of its speakers, at a time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from lanser_cli.corpora.base import STAGE, audio_files, check_folder, clips_in, utterance
from lanser_cli.errors import LanserError
from lanser_cli.records import Dropped, Outcome, Reject, make_id

LABELS = {"ang": "angry", "exc": "happy", "hap": "happy", "neu": "neutral", "sad": "sad"}
_LEFT_OUT = {
    "dis": "label disgusted",
    "fea": "label fearful",
    "fru": "label frustrated",
    "oth": "label other",
    "sur": "label surprised",
    "xxx": "no label agreed on",
}
_LINE = re.compile(r"\[[\d.]+ *- *[\d.]+\]\s+(\S+)\s+(\S+)\s+\[.*\]\s*")
_BEGIN = re.compile(r"\[(\d+\.?\d*)")
_NAME = re.compile(r"((Ses\d\d)[FM]_\w+)_([FM])\w*\d+")
_SPOKEN = re.compile(r"(\S+) +\[[^]]*\]: *(.*)")


def read(root: Path) -> Iterator[Outcome]:
    """Records with `speaker` (Ses01F), `label`, `fold`, `dialogue`, `sex` and, if there, `text`.

    Raises:
        LanserError: no evaluation files of any session below `root`.
    """
    check_folder(root)
    sessions = {
        str(number): sorted(root.glob(f"Session{number}/dialog/EmoEvaluation/Ses*.txt"))
        for number in range(1, 6)
    }
    if not any(sessions.values()):
        raise LanserError(
            f"{root}: no IEMOCAP annotations in it (Session1..5/dialog/EmoEvaluation/Ses*.txt); "
            "name the folder that holds Session1"
        )
    return (outcome for fold, files in sessions.items() for outcome in _session(root, fold, files))


def _session(root: Path, fold: str, evaluations: list[Path]) -> Iterator[Outcome]:
    folder = root / f"Session{fold}"
    sounds, doubled = clips_in(audio_files(folder / "sentences" / "wav"))
    yield from doubled
    unannotated = dict(sounds)
    for evaluation in evaluations:
        spoken = _transcripts(folder / "dialog" / "transcriptions" / evaluation.name)
        lines = evaluation.read_text(encoding="utf-8", errors="replace").splitlines()
        numbered = [(at, line) for at, line in enumerate(lines, 1) if line.startswith("[")]
        for number, line in sorted(numbered, key=_begin):
            where = f"{evaluation}:{number}"
            found = _LINE.fullmatch(line)
            name = found and _NAME.fullmatch(found[1])
            if not found or not name:
                why = f"{where}: not of the form [start - end] utterance label [ratings]"
                yield Reject(None, STAGE, why, line)
                continue
            identifier, label = found.groups()
            path = sounds.get(identifier)
            unannotated.pop(identifier, None)
            if label in _LEFT_OUT:
                yield Dropped(identifier, _LEFT_OUT[label])
            elif label not in LABELS:
                yield Reject(identifier, STAGE, f"{where}: unknown label '{label}'", line)
            elif path is None:
                why = f"{where}: no sound of '{identifier}' below {folder}/sentences/wav"
                yield Reject(identifier, STAGE, why, line)
            else:
                fields = {
                    "id": identifier,
                    "speaker": name[2] + name[3],
                    "lang": "en",
                    "label": LABELS[label],
                    "fold": fold,
                    "dialogue": name[1],
                    "sex": "male" if name[3] == "M" else "female",
                    "text": spoken.get(identifier),
                }
                yield utterance(path, fields)
    for stem in unannotated:
        yield Dropped(make_id(stem), "sound without annotation")


def _begin(numbered: tuple[int, str]) -> float:
    """When the utterance of a line begins, s; infinite where the line does not say it."""
    found = _BEGIN.match(numbered[1])
    return float(found[1]) if found else math.inf


def _transcripts(path: Path) -> dict[str, str]:
    """Utterance -> what was said; empty without the file. Lines without an id are passed over."""
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {found[1]: found[2].strip() for found in map(_SPOKEN.fullmatch, lines) if found}
