"""What a run's answers lose when the sound is changed: gain, noise, a telephone's band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from lanser_cli import console, jsonl
from lanser_cli.audio import sound
from lanser_cli.audio.perturbation import Perturbation
from lanser_cli.devices import parse_devices
from lanser_cli.errors import LanserError
from lanser_cli.evaluation.answers import Answers, predictions_of
from lanser_cli.evaluation.difference import Difference, difference
from lanser_cli.records import Record
from lanser_cli.stage import windows
from lanser_cli.training import runs
from lanser_cli.training.predict import WINDOW, Predictor
from lanser_cli.training.speakers import Speakers, by_speaker

CLEAN = "clean"


def robustness(
    run: Path,
    perturbations: Sequence[Perturbation],
    *,
    truth: str = "label",
    by: str | None = None,
    device: str = "auto",
) -> dict[str, Difference]:
    """Answer a run's test records anew, with the sound changed, and compare with it unchanged.

    Each record is answered by the model of the fold that tested it.

    Returns:
        By the name of the change: the difference to the answers to unchanged sound.

    Raises:
        LanserError: the run has no predictions, no sound can be read, or nothing says which
            fold's model tested a record.
    """
    path = predictions_of(str(run))
    read = jsonl.read_records([path], "eval")
    records = [item for item in read if isinstance(item, Record) and item.word(truth) is not None]
    models = _models_of(run, records)
    architecture = runs.read_architecture(next(iter(models)))
    where = parse_devices(device)[0]

    def answers(change: Perturbation | None) -> Answers:
        answered: list[Record] = []
        load = sound.load if change is None else partial(_changed, change)
        speakers = None
        if by_speaker(architecture):  # whose sound is changed in all clips
            speakers = Speakers.measured(records, architecture, "eval", lambda _: None, load=load)
        for folder, own in models.items():
            model = runs.load_model(folder, where)
            predictor = Predictor([model], "eval", load=load, speakers=speakers)
            for window in windows(own, WINDOW):
                answered += [one for one in predictor(window) if isinstance(one, Record)]
                meter.advance(len(window))
        if lost := len(records) - len(answered):
            console.warn(f"eval: {run}: the sound of {lost} records cannot be read: left out")
        if not answered:
            raise LanserError(f"{run}: --perturb: none of the sound can be read")
        return Answers.of(answered, truth=truth, by=by)

    with console.progress("eval --perturb", len(records) * (1 + len(perturbations))) as meter:
        clean = answers(None)
        return {
            change.name: difference((CLEAN, change.name), clean, answers(change))
            for change in perturbations
        }


def _changed(change: Perturbation, record: Record) -> sound.Waveform:
    """A record's sound, changed."""
    return change.apply(sound.load(record), record.id)


def _models_of(run: Path, records: Sequence[Record]) -> Mapping[Path, list[Record]]:
    """The records that each model of a run tested."""
    folders = runs.model_folders(run)
    if len(folders) == 1:
        return {folders[0]: list(records)}
    if folders[0].parent != run:
        raise LanserError(
            f"{run}: --perturb: this run has several seeds: name the folder of one, such as "
            f"{folders[0].parent}"
        )
    tested: dict[Path, list[Record]] = {folder: [] for folder in folders}
    for record in records:
        fold = record.word("test_fold")
        found = run / f"fold-{fold}"
        if found not in tested:
            raise LanserError(f"{run}: --perturb: nothing says which fold tested '{record.id}'")
        tested[found].append(record)
    return tested
