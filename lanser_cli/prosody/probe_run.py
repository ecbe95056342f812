"""The probe as a whole: measure the sound, embed it by several networks, compare, report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lanser_cli import console
from lanser_cli.audio.measured import Measured, measured
from lanser_cli.choices import Probe
from lanser_cli.devices import parse_devices
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.prosody import controls, layers, words
from lanser_cli.prosody.held_out import Part, divide, rows_of, run_of, seeds_of
from lanser_cli.prosody.layers import Features
from lanser_cli.prosody.probes import splits
from lanser_cli.prosody.report import write_report
from lanser_cli.prosody.table import TRAINED, Table, mean, table, varying
from lanser_cli.prosody.targets import TARGETS, UNITS, measurer
from lanser_cli.records import Record
from lanser_cli.shards.gather import gather
from lanser_cli.stage import windows
from lanser_cli.tally import Ledger
from lanser_cli.training import runs
from lanser_cli.training.predict import WINDOW, load_window, per_utterance
from lanser_cli.training.speakers import by_speaker

FEWEST = 20
"""Utterances below which a probe says nothing."""

SEEDS = 5
"""Networks that were not trained."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the networks of a seed, and their controls, make of the records.

    Attributes:
        columns: as `table` takes them.
        answers: the label that each record's own network gives it.
    """

    columns: dict[str, list[Features]]
    answers: list[str]


@dataclass(frozen=True, slots=True)
class Probed:
    """What the probes of a seed's networks found.

    Attributes:
        parts: its networks.
        folds: outer folds of all of them.
        tables: of prosody and, where it differs among utterances, of duration.
        recalls: as `words.recalls` gives them.
        answers: as in `Heard`.
    """

    parts: list[Part]
    folds: int
    tables: list[Table]
    recalls: dict[str, NDArray[np.float64]]
    answers: list[str]


Networks = list[list[Path]]
"""Of each seed the folders of networks, which hold each speaker out once."""


def probe_run(
    inputs: Sequence[str] | None,
    folders: Sequence[Path],
    ledger: Ledger,
    *,
    output: Path | None = None,
    folds: int = 5,
    by: str = "speaker",
    probe: Probe = "ridge",
    device: str = "auto",
    seed: int = 0,
    fetch: Path | None = None,
) -> dict[str, Any]:
    """Probe the representations of runs for prosody, next to controls, and judge.

    Every network of a run is probed, each on the speakers that it was not trained on. Of several
    seeds of a run, or several runs, each is probed by itself on the same records, and the mean of
    their scores is judged: one network alone may be lucky.

    Args:
        inputs, fetch: as `gather` takes them.
        folders: of the runs.
        output: folder for the report.
        folds: outer folds of each network's probes.
        by: key whose values are taken for speakers, such as `voice` where one voice has several
            names. Which speakers a network was tested on, its run says by `speaker` all the same.

    Returns:
        What the result line holds; docs/formats.md specifies it and `probe.json`.

    Raises:
        UsageError: a run normalises by speaker, or is named twice, or two have networks of unlike
            layers.
        LanserError: too few utterances could be read, a speaker is not named, a network has one
            speaker alone to be probed on, or every speaker one utterance.
    """
    where = parse_devices(device)[0]
    networks = _networks(folders)
    records = gather(inputs, ledger, fetch, take=partial(_named, by))
    apart = held_out(networks, records, ledger, folds, by)
    kept = measured(apart, ledger, measurer, what="probe-prosody: prosody")
    ledger.done = len(kept)
    if len(kept) < FEWEST:
        raise LanserError(f"{len(kept)} utterances could be read; a probe needs {FEWEST} at least")
    speakers = [str(record.word(by)) for record in kept]
    every = {name: np.array([one.found[name] for one in kept]) for name in UNITS}
    targets = varying({name: every[name] for name in TARGETS})
    lasting = varying({"duration": every["duration"]})
    if not targets:
        raise LanserError("no prosodic target differs among these utterances: nothing to probe")
    others, missing = controls.known(kept)
    missing += [f"{name}: nothing that differs" for name in TARGETS if name not in targets]

    def probed(one_seed: Sequence[Path]) -> Probed:
        parts = divide(one_seed, kept)
        rows = [part.rows for part in parts]
        groups = splits(speakers, rows, folds)
        heard = _heard(kept, parts, where, seed)
        columns = {**heard.columns, **{name: [{"": one}] for name, one in others.items()}}
        columns[controls.SHUFFLED] = [
            {
                name: controls.shuffled(one, rows, seed)
                for name, one in heard.columns[TRAINED][0].items()
            }
        ]
        tables = [
            table(columns, these, speakers, groups, probe=probe, seed=seed)
            for these in (targets, lasting)
            if these
        ]
        recalls = words.recalls(kept, heard.columns, speakers, groups)
        return Probed(parts, len(groups), tables, recalls, heard.answers)

    probes = [probed(one_seed) for one_seed in networks]  # in turn, since features are large
    found, *duration = map(mean, zip(*(one.tables for one in probes), strict=True))
    fixed = words.fixed_sentence(kept, [one.recalls for one in probes], speakers)
    parts = [part for one in probes for part in one.parts]
    known = set.intersection(*(set(runs.read_architecture(one.folder).labels) for one in parts))
    answers = [one.answers for one in probes]
    numbers = {
        "runs": [str(folder) for folder in folders],
        "networks": len(parts),
        "held_out": _held_out_in_words(parts),
        "utterances": len(speakers),
        "speakers": len(set(speakers)),
        "folds": sum(one.folds for one in probes),
        "probe": probe,
        "left_out": list(missing),
        **found.as_json(),
        "duration": duration[0].by_target()["duration"] if duration else None,
        "fixed_sentence": fixed and fixed.about,
        "words_against_voice": words.against_voice(kept, answers, speakers, known),
        "by_unit": {**found.by_unit(), "fixed_sentence": fixed and fixed.by_unit},
    }
    _say(found, numbers, missing)
    if output is not None:
        write_report(output, numbers, found)
    return _summary(numbers)


def _named(by: str, record: Record) -> Record | str:
    """The record, or which name it lacks."""
    lacking = [key for key in ("speaker", by) if not record.word(key)]
    return f"no {lacking[0]}" if lacking else record


def _networks(folders: Sequence[Path]) -> Networks:
    """Those of all runs, a seed each.

    Raises:
        UsageError: they cannot be probed together, or at all.
    """
    found = [networks for folder in folders for networks in seeds_of(folder)]
    layers_of: dict[str, Path] = {}
    for networks in found:
        architecture = runs.read_architecture(networks[0])
        layers_of.setdefault(architecture.name, run_of(networks))
        if by_speaker(architecture):
            raise UsageError(
                f"{run_of(networks)} was trained with --normalise speaker, and the probe does not "
                "tell a network who speaks: probe a run without"
            )
    if len(layers_of) > 1:
        named = " and ".join(f"{folder} is a {name}" for name, folder in layers_of.items())
        raise UsageError(f"{named}: their layers are not the same, so probe them one by one")
    if len({networks[0].resolve() for networks in found}) < len(found):
        raise UsageError("--run: a run is named twice, and would count twice")
    return found


def held_out(
    networks: Networks, records: Sequence[Record], ledger: Ledger, folds: int, by: str
) -> list[Record]:
    """The records of speakers whom each seed has a network for that never heard them."""
    divided = [divide(one_seed, records) for one_seed in networks]
    common = reduce(np.intersect1d, map(rows_of, divided))
    for one_seed, parts in zip(networks, divided, strict=True):
        run = run_of(one_seed)
        if heard := sum(part.heard for part in parts):
            console.warn(
                f"probe-prosody: {run} was trained on {heard} of these {len(records)} records, or "
                "on their speakers or voices: probe it on others"
            )
        elif not all(part.known for part in parts):
            console.info(
                f"probe-prosody: {run} names no speakers that it was tested on: make sure that it "
                "was not trained on the speakers of these records"
            )
    if not len(common):
        raise LanserError(
            "probe-prosody: no speaker was held out in all of these runs: probe them one by one"
        )
    speakers = [str(record.word(by)) for record in records]
    for parts in divided:  # refuses one speaker now, and not when all have been measured
        shared = [np.intersect1d(part.rows, common) for part in parts]
        splits(speakers, [rows for rows in shared if len(rows)], folds)
    if len({speakers[row] for row in common}) == len(common):
        raise LanserError(
            f"probe-prosody: each {by} has one utterance, and scores are of what differs within "
            "one: give two or more of some"
        )
    kept = [records[row] for row in common]
    if lost := len(records) - len(kept):
        ledger.dropped["speaker not held out"] += lost
    return kept


def _heard(records: Sequence[Measured], parts: Sequence[Part], device: str, seed: int) -> Heard:
    """Embed every record by its own network, and by networks that were not trained."""
    names = [TRAINED, *(f"{controls.UNTRAINED} {n}" for n in range(SEEDS))]
    collected: dict[str, list[Features]] = {name: [] for name in names}
    statistics: list[controls.Matrix] = []
    answers: list[str] = []
    with console.progress("probe-prosody: networks", len(records)) as meter:
        for part in parts:
            trained = runs.load_model(part.folder, device)
            networks = {TRAINED: trained}
            for number, name in enumerate(names[1:]):
                networks[name] = layers.untrained(
                    trained.architecture, trained.front_end, seed + number
                ).to(device)
            for clips in _sounds([records[row] for row in part.rows]):
                for name, network in networks.items():
                    collected[name].append(layers.embed(network, clips))
                statistics.append(controls.log_mel_statistics(trained, clips))
                probabilities = per_utterance(trained, clips, lambda x, m=trained: m(x).softmax(-1))
                labels = trained.architecture.labels
                answers += [labels[int(index)] for index in probabilities.argmax(dim=1)]
                meter.advance(len(clips))
    # Networks come one after the other; their rows go back to the order of the records.
    order = np.argsort(np.concatenate([part.rows for part in parts]))
    stacked = {
        name: {layer: rows[order] for layer, rows in layers.stack(each).items()}
        for name, each in collected.items()
    }
    return Heard(
        {
            TRAINED: [stacked[TRAINED]],
            controls.UNTRAINED: [stacked[name] for name in names[1:]],
            controls.LOG_MEL: [{"": np.concatenate(statistics)[order]}],
        },
        [answers[row] for row in order],
    )


def _sounds(records: Sequence[Measured]) -> Iterator[list[torch.Tensor]]:
    for window in windows(records, WINDOW):
        outcomes, waveforms = load_window(window, "probe-prosody")
        if lost := next((outcome for outcome in outcomes if outcome is not None), None):
            raise LanserError(f"{lost.id}: could be read before, and now cannot: probe again")
        yield list(waveforms.values())


def _held_out_in_words(parts: Sequence[Part]) -> str:
    if any(part.heard for part in parts):
        return "no"
    return "by the run" if all(part.known for part in parts) else "not known"


def _summary(numbers: dict[str, Any]) -> dict[str, Any]:
    """What the result line holds: all but the tables by target, layer and speaker."""
    left_out = ("targets", "layers", "by_unit")
    return {name: value for name, value in numbers.items() if name not in left_out}


def _say(found: Table, numbers: dict[str, Any], missing: Sequence[str]) -> None:
    for line in missing:
        console.info(f"probe-prosody: left out: {line}")
    if lost := {name: count for name, count in found.missing.items() if count}:
        listed = ", ".join(f"{name} of {count}" for name, count in lost.items())
        console.info(f"probe-prosody: not defined: {listed}, of {numbers['utterances']} utterances")
    for name, one in numbers["median"].items():
        console.info(
            f"probe-prosody: {name}: median R2 {one['r2']}, within speakers {one['within']}"
        )
    console.info(f"probe-prosody: {found.decisive.sentence('prosody within a speaker')}")
