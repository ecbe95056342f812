"""The reports of eval, compare and efficiency: what stands on their pages, in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lanser_cli.evaluation import figures, history
from lanser_cli.evaluation.about import About
from lanser_cli.evaluation.answers import heard_in_words
from lanser_cli.evaluation.curve import Curves
from lanser_cli.evaluation.difference import COMPARED, Difference, signed
from lanser_cli.evaluation.figures import MOST_DRAWN
from lanser_cli.evaluation.findings import labels_saved
from lanser_cli.evaluation.metrics import Result
from lanser_cli.evaluation.mistakes import SECONDS, Mistake
from lanser_cli.evaluation.page import Page
from lanser_cli.training.heard import TRANSDUCTIVE

SCORE_NAMES = dict(zip(COMPARED, ("UAR", "WA", "macro F1"), strict=True))


@dataclass(frozen=True, slots=True)
class Entry:
    """What the report of `lanser eval` says of one input.

    Attributes:
        result: how good its answers are.
        about: of a run, what it says of itself; else None.
        use: of a run, what training started from, and the fraction of labels it used.
        mistakes: its surest.
        perturbed: of a run, by change of sound: the difference it makes.
        heard: how many records the model was trained on, or their speakers.
        joined: the same of the runs whose answers it fuses, or what stands beside a file.
    """

    result: Result
    about: About | None = None
    use: tuple[str, float] | None = None
    mistakes: Sequence[Mistake] = ()
    perturbed: Mapping[str, Difference] | None = None
    heard: int = 0
    joined: Sequence[About] = ()

    @property
    def abouts(self) -> list[About]:
        """What every run says of itself that had a part in the answers."""
        return [*self.joined, *([self.about] if self.about else [])]

    @property
    def transductive(self) -> bool:
        """Whether one of these has used all of the test side's sound or texts."""
        return any(about.transductive for about in self.abouts)


def evaluation(
    folder: Path,
    entries: Mapping[str, Entry],
    *,
    differences: Sequence[Difference] | str = (),
    audit: Mapping[str, Any] | None = None,
    audio: bool = True,
) -> None:
    """The report of `lanser eval`.

    Where runs used different fractions of the labels, these are drawn as label-efficiency curves.

    Args:
        entries: by the name of the input.
        differences: of the others to the first; or why they cannot be compared.
        audit: `certificate.Citation.about`.
        audio: whether the surest mistakes can be listened to.
    """
    page = Page(folder, "Evaluation")
    results = {name: entry.result for name, entry in entries.items()}
    page.table(
        ["", "records", "UAR", "chance", "WA", "macro F1", "weighted F1"],
        [
            [name, result.n, result.uar, f"{result.chance:.3f}", result.wa]
            + [result.macro_f1, result.weighted_f1]
            for name, result in results.items()
        ],
    )
    page.text(
        "UAR: mean recall over the classes. WA: share of right answers. In brackets: Student's t "
        "on the jackknife over units.",
        "note",
    )
    if audit is not None:
        page.text(_audit_words(audit), "" if audit["passed"] else "warning")
    made_by = {one.about.verb for one in entries.values() if one.about}
    if "finetune" in made_by and "baseline" not in made_by:
        page.text(
            "No baseline stands here: lanser baseline, in the same folds, says what a linear "
            "classifier reaches without a network.",
            "note",
        )
    if len(results) > 1:
        _differences(page, differences)
    uses = {name: entry.use for name, entry in entries.items() if entry.use}
    if page.can_plot and len(results) > 1:
        page.figure("scores", figures.scores_figure(results), "UAR of each, with its interval")
    if page.can_plot and len({fraction for _, fraction in uses.values()}) > 1:
        drawn = figures.efficiency_figure(results, uses)
        page.figure("label-efficiency", drawn, "UAR against the fraction of labels, with intervals")
    for number, (name, entry) in enumerate(entries.items(), start=1):
        _entry(page, number, name, entry, audio)
    numbers: dict[str, Any] = {"results": {name: one.as_json() for name, one in results.items()}}
    if abouts := {name: one.about for name, one in entries.items() if one.about}:
        numbers["runs"] = {name: about.as_json() for name, about in abouts.items()}
    if apart := [name for name, one in entries.items() if one.transductive]:
        numbers["transductive"] = apart
    if heard := {name: one.heard for name, one in entries.items() if one.heard}:
        numbers["heard"] = heard
    if perturbed := {name: one.perturbed for name, one in entries.items() if one.perturbed}:
        numbers["perturbed"] = {
            name: {words: lost.as_json()["uar"] for words, lost in changes.items()}
            for name, changes in perturbed.items()
        }
    if not isinstance(differences, str) and differences:
        numbers["differences"] = [each.as_json() for each in differences]
    if audit is not None:
        numbers["audit"] = audit
    page.write(numbers)


def _entry(page: Page, number: int, name: str, entry: Entry, audio: bool) -> None:
    """All about one input."""
    result, about = entry.result, entry.about
    page.heading(name)
    page.text(f"{name}: {result.interval}.")
    for warning in dict.fromkeys(one.warning for one in entry.abouts if one.warning):
        page.text(f"WARNING: {name}: {warning}.", "warning")
    if entry.heard:
        page.text(f"WARNING: {heard_in_words(entry.heard, result.n)}.", "warning")
    if result.strays or result.missing:
        strays = ", ".join(f"{count} {word}" for word, count in result.strays.items())
        page.text(
            f"{result.missing} answers are missing, and {sum(result.strays.values())} are never "
            f"the truth{f' ({strays})' if strays else ''}; each counts as wrong.",
            "warning",
        )
    _classes(page, number, name, result)
    _parts_of(page, name, result, about)
    if entry.perturbed:
        _perturbed(page, name, entry.perturbed)
    if about and page.can_plot and (losses := history.losses(Path(name))):
        page.heading("Loss", 3)
        page.figure(f"loss-{number}", figures.losses_figure(losses), "Loss against the epoch")
    _mistakes(page, entry.mistakes, audio)
    if about:
        with page.folded("How it was made"):
            page.facts(history.made(Path(name)))


def _differences(page: Page, differences: Sequence[Difference] | str) -> None:
    if isinstance(differences, str):
        page.text(f"Not compared: {differences}.", "note")
        return
    for each in differences:
        page.text(each.verdict)
    _difference_table(page, differences)


def _classes(page: Page, number: int, name: str, result: Result) -> None:
    """What was taken for what, and how good the answers are class by class."""
    if len(result.labels) > MOST_DRAWN:
        page.text(f"{name}: {len(result.labels)} classes are too many for a figure.")
    else:
        page.heading("Truth and answer", 3)
        page.matrix("truth ↓ answer →", result.labels, result.confusion, result.support)
        if page.can_plot:
            page.keep(f"confusion-{number}", figures.confusion_figure(name, result))
    counts = np.asarray(result.confusion)
    page.heading("Classes", 3)
    page.table(
        ["class", "records", "recall", "precision", "F1"],
        [
            [label, size, f"{result.recalls[label]:.3f}"]
            + [_share(hits, given), _share(2 * hits, given + size)]
            for label, size, hits, given in zip(
                result.labels, result.support, counts.diagonal(), counts.sum(axis=0), strict=True
            )
        ],
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "–"


def _mistakes(page: Page, mistakes: Sequence[Mistake], audio: bool) -> None:
    if not mistakes:
        return
    page.heading("Surest mistakes", 3)
    page.table(
        ["record", "truth", "answer", "probability", "transcript"],
        [
            [one.record.id, one.truth, one.answer, f"{one.probability:.3f}", one.record.text or ""]
            for one in mistakes
        ],
        [one.clip() for one in mistakes] if audio else (),
    )
    if audio:
        page.text(f"Sound: the first {SECONDS:g} s, as Opus.", "note")


def _perturbed(page: Page, name: str, changes: Mapping[str, Difference]) -> None:
    page.text(f"{name} with the sound changed; the difference is to unchanged sound:")
    table = [(words, lost.scores["uar"]) for words, lost in changes.items()]
    page.table(
        ["sound", "UAR", "difference"],
        [["unchanged", f"{table[0][1].reference:.3f}", ""]]
        + [[words, f"{uar.other:.3f}", signed(uar.difference)] for words, uar in table],
    )


def comparison(folder: Path, differences: Sequence[Difference], doubts: Mapping[str, str]) -> None:
    """The report of `lanser compare`: a row for each score of each comparison.

    Args:
        doubts: why the scores of a run are not what they seem, by its name.
    """
    page = Page(folder, "Comparison")
    for name, doubt in doubts.items():
        page.text(f"WARNING: {name}: {doubt}.", "warning")
    for each in differences:
        page.text(each.verdict)
    _difference_table(page, differences)
    for name in sorted({name for each in differences for name in each.transductive}):
        page.text(f"{name} is transductive: {TRANSDUCTIVE}.")
    if page.can_plot:
        drawn = figures.difference_figure(differences)
        page.figure("differences", drawn, "Difference of UAR of each, with its interval")
    page.write({"differences": [each.as_json() for each in differences]})


def _difference_table(page: Page, differences: Sequence[Difference]) -> None:
    page.table(
        ["", "against", "score", "other", "reference", "difference", "p", "p (Holm)"]
        + ["detectable", "units"],
        [
            [each.other, each.reference, SCORE_NAMES[name], f"{one.other:.3f}"]
            + [f"{one.reference:.3f}", signed(one.difference), f"{one.p:.4f}", f"{one.p_holm:.4f}"]
            + ["" if one.detectable is None else f"{one.detectable:.3f}"]
            + [f"{each.units} {each.unit}s"]
            for each in differences
            for name, one in each.scores.items()
        ],
    )
    page.text(
        "Difference: other less reference; in brackets: Student's t on the paired jackknife over "
        "units. p: share of sign flips over units that make the difference as large; Holm: "
        "adjusted for all comparisons made here. Detectable: the least true difference that "
        "so many units find at 0.05 with a power of 80 %.",
        "note",
    )
    for words in dict.fromkeys(each.reservation for each in differences if each.reservation):
        page.text(f"{words}.")


def efficiency(folder: Path, curves: Curves, about: About) -> None:
    """The report of `lanser efficiency`: both curves, and what lies between them."""
    page = Page(folder, "Label efficiency")
    first = next(iter(curves.results.values()))[0]
    if about.warning:
        page.text(f"WARNING: --init: {about.warning}.", "warning")
    page.table(
        ["labels used", "UAR from scratch", "UAR from --init", "difference"],
        [
            [f"{fraction:g}", scratch.uar, init.uar, difference]
            for fraction, scratch, init, difference in zip(
                curves.fractions, *curves.results.values(), curves.differences, strict=True
            )
        ],
    )
    page.text(f"Mean difference along the logarithm of the labels used: {curves.area}.")
    page.text(labels_saved(curves.summary()))
    page.text(
        f"Both arms make the same steps from the same labels, folds and seeds; {first.interval}, "
        "Student's t on the jackknife, each left out of both curves at once."
    )
    if page.can_plot:
        results: dict[str, Result] = {}
        uses: dict[str, tuple[str, float]] = {}
        for arm, found in curves.results.items():
            for fraction, result in zip(curves.fractions, found, strict=True):
                name = f"{arm} {fraction:g}"
                results[name], uses[name] = result, (arm, fraction)
        drawn = figures.efficiency_figure(results, uses)
        page.figure("label-efficiency", drawn, "UAR against the fraction of labels, with intervals")
    page.write(curves.as_json() | {"about": about.as_json()})


def _parts_of(page: Page, name: str, result: Result, about: About | None) -> None:
    """What a result is made of: seeds, folds, speakers."""
    if result.seeds:
        page.text(
            f"{name}: mean of {len(result.seeds)} seeds, between which UAR has a standard "
            f"deviation of {result.sd:.3f}; the interval is over {result.unit}s of that mean."
        )
        page.table(
            ["seed", "UAR", "WA"],
            [[seed, f"{one['uar']:.3f}", f"{one['wa']:.3f}"] for seed, one in result.seeds.items()],
        )
    if result.folds:
        page.text(
            f"{name}: UAR of all folds' records pooled {result.uar.value:.3f}, mean of the folds' "
            f"UAR {result.folds_uar:.3f}."
        )
        validation = about.validation if about else {}
        page.table(
            ["fold", "records", "UAR", *(["validation UAR"] if validation else [])],
            [
                [fold, one["n"], f"{one['uar']:.3f}"]
                + ([f"{validation[fold]:.3f}"] if fold in validation else [])
                for fold, one in result.folds.items()
            ],
        )
    if result.by_unit:
        with page.folded(f"UAR of each {result.unit}"):
            rows = [[unit, f"{uar:.3f}"] for unit, uar in result.by_unit.items()]
            page.table([result.unit, "UAR"], rows)


def _audit_words(audit: Mapping[str, Any]) -> str:
    """The certificate in a few sentences."""
    sides = ", ".join(f"{side['name']} ({side['records']} records)" for side in audit["sides"])
    words = [f"Audit of {sides}: {'passed' if audit['passed'] else 'WARNING: it FAILED'}."]
    for key, what in (
        ("found", "Shared"),
        ("allowed", "Shared, and allowed"),
        ("not_checked", "Not checked"),
        ("missing", "Not all checked"),
    ):
        if audit[key]:
            words.append(f"{what}: {', '.join(audit[key])}.")
    if rejected := sum(side["rejected"] for side in audit["sides"]):
        words.append(f"{rejected} records were rejected: no sound of theirs was compared.")
    return " ".join([*words, f"Certificate: {audit['file']}, SHA-256 {audit['sha256']}."])
