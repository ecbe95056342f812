"""The probe as a whole: measure the sound, embed it by several models, compare, report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lanser_cli import console
from lanser_cli.devices import parse_devices
from lanser_cli.errors import LanserError
from lanser_cli.evaluation import report
from lanser_cli.models.classifier import SpeechClassifier
from lanser_cli.pipe import windows
from lanser_cli.prosody.probes import ProbeScore, compare, protocol, shuffled
from lanser_cli.prosody.targets import TARGETS, UNITS, measure
from lanser_cli.records import Record, Reject
from lanser_cli.shards.gather import gather
from lanser_cli.tally import Ledger
from lanser_cli.training import runs
from lanser_cli.training.predict import WINDOW, embed, load_window, per_utterance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

TRAINED, UNTRAINED, INPUT, CONTROL = "trained", "untrained", "mean log-mel", "trained, shuffled"
FEWEST = 20
"""Utterances below which a probe says nothing."""


def probe_run(
    inputs: Sequence[str] | None,
    run: Path,
    ledger: Ledger,
    *,
    output: Path | None = None,
    folds: int = 5,
    device: str = "auto",
    seed: int = 0,
    fetch: Path | None = None,
) -> dict[str, Any]:
    """Probe the representation of a run folder for prosody.

    Next to the trained network stand three controls: the same network untrained, the mean log-mel
    spectrum (what its input says in the plainest way), and the trained representation dealt out
    to other utterances.

    Args:
        inputs, fetch: as `gather` takes them.
        output: folder for the report.

    Returns:
        The numbers; docs/formats.md specifies them.

    Raises:
        LanserError: too few utterances could be read.
        UsageError: the run has the models of several folds.
    """
    device = parse_devices(device)[0]
    trained = runs.load_model(runs.one_model(run, "--run"), device)
    records = gather(inputs, ledger, fetch, take=lambda record: record)
    torch.manual_seed(seed)
    untrained = SpeechClassifier(trained.architecture).to(device).eval()
    # What tells the two apart is to be the training, not the scale of the input.
    untrained.front_end.load_state_dict(trained.front_end.state_dict())
    kept, features, targets = _measured(records, ledger, trained, untrained)
    ledger.done = len(kept)
    if len(kept) < FEWEST:
        raise LanserError(f"{len(kept)} utterances could be read; a probe needs {FEWEST} at least")
    features[CONTROL] = shuffled(features[TRAINED], seed)
    named = [record.speaker for record in kept]
    speakers = [str(name) for name in named] if all(named) else None
    table = compare(features, targets, speakers, folds=folds, seed=seed)
    # What hardly any utterance has (pitch in whispers) or all share cannot be probed.
    shown = [target for target in TARGETS if math.isfinite(table[TRAINED][target].r2)]
    if not shown:
        raise LanserError("no prosodic target differs among these utterances: nothing to probe")
    means = {
        name: round(float(np.mean([scores[target].r2 for target in shown])), 6)
        for name, scores in table.items()
    }
    numbers = {
        "run": str(run),
        "utterances": len(kept),
        "protocol": protocol(speakers, folds),
        "mean_r2": means,
        "r2": {
            name: {target: asdict(scores[target]) for target in shown}
            for name, scores in table.items()
        },
    }
    console.info(
        f"probe-prosody: mean R2 {means[TRAINED]:.3f} trained, {means[UNTRAINED]:.3f} untrained, "
        f"{means[INPUT]:.3f} mean log-mel, {means[CONTROL]:.3f} shuffled"
    )
    if output is not None:
        _write_report(output, numbers, table, shown)
    return numbers


def _measured(
    records: Sequence[Record],
    ledger: Ledger,
    trained: SpeechClassifier,
    untrained: SpeechClassifier,
) -> tuple[list[Record], dict[str, Array], dict[str, Array]]:
    """Records that could be read, their representations by name, their prosody by target."""
    kept: list[Record] = []
    vectors: dict[str, list[Array]] = {TRAINED: [], UNTRAINED: [], INPUT: []}
    prosody: list[dict[str, float]] = []
    with console.progress("probe-prosody", len(records)) as meter:
        for window in windows(records, WINDOW):
            outcomes, waveforms = load_window(window, "probe-prosody")
            for outcome in outcomes:
                if isinstance(outcome, Reject):
                    ledger.reject(outcome)
            if waveforms:
                clips = list(waveforms.values())
                kept += [window[index] for index in waveforms]
                prosody += [measure(clip.numpy()) for clip in clips]
                vectors[TRAINED].append(embed(trained, clips))
                vectors[UNTRAINED].append(embed(untrained, clips))
                spectra = per_utterance(
                    trained, clips, lambda crops: trained.front_end(crops).mean(dim=(1, 3))
                )
                vectors[INPUT].append(spectra.double().numpy())
            meter.advance(len(window))
    features = {name: np.concatenate(parts) for name, parts in vectors.items() if parts}
    targets = {name: np.array([values[name] for values in prosody]) for name in TARGETS}
    return kept, features, targets


def _write_report(
    folder: Path,
    numbers: dict[str, Any],
    table: dict[str, dict[str, ProbeScore]],
    shown: Sequence[str],
) -> None:
    page = report.Report(folder, "What the representation knows of prosody")
    page.text(
        f"R2 of ridge regressions from the representation to prosody, on "
        f"{numbers['utterances']} utterances; {numbers['protocol']}. In brackets: 95 % bootstrap "
        "intervals. 'untrained' is the same network before training."
    )
    rows: list[list[str]] = []
    for target in shown:
        scores = [table[name][target] for name in table]
        cells = [f"{score.r2:.3f} [{score.low:.3f}, {score.high:.3f}]" for score in scores]
        rows.append([f"{target} ({UNITS[target]})", *cells])
    rows.append(["mean", *(f"{numbers['mean_r2'][name]:.3f}" for name in table)])
    page.table(["", *table], rows)
    if page.can_plot:
        bars = {name: [table[name][target].r2 for target in shown] for name in table}
        page.figure("r2", report.bar_figure(shown, bars, "R2", "Linear probes of prosody"))
    page.write(numbers)
    console.info(f"probe-prosody: report in {folder / 'report.html'}")
