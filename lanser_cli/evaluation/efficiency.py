"""Label efficiency: UAR against the share of labels used, from scratch and from a trained start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from lanser_cli import console, jsonl
from lanser_cli.devices import Ranks
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.evaluation import curve, report
from lanser_cli.evaluation.about import About
from lanser_cli.evaluation.seeds import measure_run
from lanser_cli.output import write_json, write_jsonl
from lanser_cli.parts import parse_part, take_part
from lanser_cli.provenance import command_line, versions
from lanser_cli.records import Record, Reject
from lanser_cli.shards.gather import gather
from lanser_cli.tally import Ledger
from lanser_cli.training import runs
from lanser_cli.training.examples import human_label_set
from lanser_cli.training.finetune import tune
from lanser_cli.training.folds import Fold, Protocol, divide, subset
from lanser_cli.training.heard import TRANSDUCTIVE
from lanser_cli.training.identity import SIDES, architecture_fields, digest_of_folds
from lanser_cli.training.loop import choose_device
from lanser_cli.training.recipe import Recipe
from lanser_cli.training.runs import RunFolder
from lanser_cli.training.speakers import known_speakers
from lanser_cli.training.start import Start
from lanser_cli.training.tuning_identity import identity_of
from lanser_cli.training.unread import unread_reject

Arm = Literal["scratch", "init"]
ARMS: tuple[Arm, ...] = ("scratch", "init")


@dataclass(frozen=True, slots=True)
class Point:
    """One fine-tuning over all folds: what it starts from, the share of labels, the seed."""

    arm: Arm
    fraction: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm}-{self.fraction:g}-seed-{self.seed}"


@dataclass(frozen=True, slots=True)
class Grid:
    """All points of a curve.

    Attributes:
        fractions: of the training labels, growing, in 0..1.
        seeds: how many, from that of the recipe on. Each draws its own part of the labels, the
            same in both arms.
    """

    fractions: tuple[float, ...]
    seeds: int

    @classmethod
    def parse(cls, fractions: str, seeds: int) -> Grid:
        """Read `.05,.1,1`, each to six digits: a point is named by them.

        Raises:
            UsageError: not numbers above 0 and up to 1.
        """
        try:
            found = tuple(sorted({float(f"{float(word):g}") for word in fractions.split(",")}))
        except ValueError:
            found = ()
        if not found or not 0 < found[0] <= found[-1] <= 1:
            raise UsageError(
                f"--fractions '{fractions}': write numbers above 0 and up to 1 with commas between "
                "them, such as .05,.1,.25,.5,1"
            )
        return cls(found, seeds)

    @property
    def identity(self) -> dict[str, str]:
        """What a resumed call must share with the first."""
        fractions = ",".join(f"{fraction:g}" for fraction in self.fractions)
        return {"--fractions": fractions, "--seeds": str(self.seeds)}

    def points(self, first_seed: int) -> list[Point]:
        """Both arms, fraction by fraction, seed by seed."""
        return [
            Point(arm, fraction, first_seed + number)
            for fraction in self.fractions
            for number in range(self.seeds)
            for arm in ARMS
        ]


def efficiency(
    inputs: Sequence[str] | None,
    output: Path,
    protocol: Protocol,
    recipe: Recipe,
    ledger: Ledger,
    *,
    grid: Grid,
    start: Start,
    by: str | None = None,
    part: str | None = None,
    device: str = "auto",
    resume: bool = False,
    fetch: Path | None = None,
) -> dict[str, Any]:
    """Fine-tune every point, measure the curves, and write points.jsonl and a report.

    Args:
        inputs, fetch: as `gather` takes them.
        start: the start of the one arm; the other has its architecture, untrained.
        by: key whose values the intervals take for independent.
        part: `I/N`: train this share of the points, and measure nothing.

    Returns:
        What was made; without `part` also the numbers of the curves.

    Raises:
        UsageError: no start, a wrong part, or `output` holds other curves.
        LanserError: as `tune`; or points have not tested the same records.
    """
    if start.init is None:
        raise UsageError("efficiency compares a trained start with scratch: name it with --init")
    share = parse_part(part)
    architecture = start.architecture()
    runs.load_model(start.source)  # what is damaged is said before anything is trained
    scratch = Start(
        model=architecture.name,
        crop=architecture.crop_seconds,
        trim=architecture.trim,
        normalise=architecture.front_end.normalise,
    )
    records = gather(inputs, ledger, fetch, take=protocol.take)
    records, speakers = known_speakers(records, architecture, ledger)
    whole = divide(records, replace(protocol, fraction=1.0))
    labels = human_label_set(records)
    made_with = recipe.on(choose_device(device))
    untrained = replace(scratch.architecture(), labels=labels)
    of_scratch = identity_of(records, protocol, made_with, untrained)
    trained = architecture_fields(replace(architecture, labels=labels))
    theirs = {"init": of_scratch | trained | start.identity, "scratch": of_scratch}
    same = theirs["init"] | grid.identity | {SIDES: digest_of_folds(whole)}
    if not any(fold.test for fold in whole):
        raise UsageError("efficiency needs a test: leave --folds 0 out")
    tested = {record.id: record for fold in whole for record in fold.test}
    if by is not None and (odd := [r for r in tested.values() if r.word(by) is None]):
        raise UsageError(
            f"--by {by}: {len(odd)} of {len(tested)} test records do not have it, such as "
            f"'{odd[0].id}': name another key"
        )
    start.seen(whole)  # what --init must not have heard is said before scratch is trained
    draws = range(protocol.subset_seed, protocol.subset_seed + grid.seeds)
    used = {record.id for fold in whole for record in fold.judged}
    for fold in whole:
        for draw in draws:
            used.update(r.id for r in subset(fold.training, grid.fractions[-1], draw))
    if Ranks.from_environment().leads:
        _open(output, same, grid, resume=resume or share is not None)
    points = grid.points(recipe.seed)
    starts = {"init": start, "scratch": scratch}
    rejects: dict[str, Reject] = {}
    by_id = {record.id: record for record in records}
    for number, point in enumerate(take_part(points, share), start=1):
        folder = output / "points" / point.name
        draw = draws[point.seed - recipe.seed]
        if (folder / "predictions.jsonl").exists():
            _check_point(folder, theirs[point.arm], point, draw, whole)
            for fold in whole:
                for name in RunFolder(folder / f"fold-{fold.name}").unread:
                    rejects.setdefault(name, unread_reject(by_id[name], "finetune"))
            continue
        console.info(f"efficiency: {point.name}, point {number}")
        tune(
            records,
            folder,
            replace(protocol, fraction=point.fraction, subset_seed=draw),
            replace(recipe, seed=point.seed),
            _Rejects(rejects),
            start=starts[point.arm],
            device=device,
            resume=(folder / "config.json").exists(),
            speakers=speakers,
        )
    made: dict[str, Any] = {"run": str(output), "points": len(points)}
    if protocol.standard:
        made |= {"protocol": protocol.protocol, "missing": protocol.missing(records)}
    if speakers is not None:
        made["transductive"] = True
        console.warn(f"efficiency: transductive: {TRANSDUCTIVE}")
    if share is None and Ranks.from_environment().leads:
        found = {point: _read(output / "points" / point.name) for point in points}
        _check_alike(output, found)
        for record in records:
            if record.id in tested and record.id not in next(iter(found.values())):
                lost = Reject.of(record, "efficiency", "was rejected when it was tested")
                rejects.setdefault(record.id, lost)
        made |= _measure(output, found, recipe, by)
    for reject in rejects.values():
        ledger.reject(reject)
    ledger.done = len(used - rejects.keys())
    if unused := len(records) - len(used):
        ledger.dropped[f"beyond --fractions {grid.fractions[-1]:g}"] += unused
    return made


class _Rejects(Ledger):
    """The ledger of a point: every point rejects the same records, and they are said once."""

    def __init__(self, found: dict[str, Reject]) -> None:
        super().__init__("efficiency")
        self._found = found

    def reject(self, reject: Reject) -> None:
        self._found.setdefault(str(reject.id), reject)


def _check_point(
    folder: Path, same: dict[str, str], point: Point, draw: int, folds: Sequence[Fold]
) -> None:
    """Refuse a point that is there already and was made otherwise than it would be now.

    Args:
        same: the identity of its arm, with other labels and another seed.
        draw: the seed of its part of the labels.
        folds: with all labels.

    Raises:
        UsageError: it was, or nothing says how.
    """
    if not (folder / "config.json").exists():
        raise UsageError(f"{folder} has answers, and no config.json says whose: remove it")
    parts = (replace(f, training=subset(f.training, point.fraction, draw)) for f in folds)
    own = {
        "--fraction": str(point.fraction),
        "--subset-seed": str(draw),
        "--seed": str(point.seed),
        SIDES: digest_of_folds(parts),
    }
    RunFolder(folder).check_same(same | own)


def _open(output: Path, same: dict[str, str], grid: Grid, *, resume: bool) -> None:
    """Make the folder, or go on with it; several parts may do so at once."""
    path = output / "config.json"
    if path.exists():
        if not resume:
            raise UsageError(f"{output} holds curves already: go on with --resume, or remove it")
        RunFolder(output).check_same(same)
        return
    (output / "points").mkdir(parents=True, exist_ok=True)
    about = {"schema": runs.SCHEMA, "verb": "efficiency", "argv": command_line()}
    about |= {"versions": versions(), **asdict(grid), "identity": same}
    with TemporaryDirectory(prefix=".", dir=output) as own:  # in containers pids may be equal
        mine = Path(own, path.name)
        write_json(mine, about)
        os.replace(mine, path)


def _read(folder: Path) -> dict[str, Record]:
    """The test records of a point by id."""
    items = jsonl.read_records([str(folder / "predictions.jsonl")], "efficiency")
    return {item.id: item for item in items if isinstance(item, Record)}


def _check_alike(output: Path, found: dict[Point, dict[str, Record]]) -> None:
    """Refuse to measure points that have not tested the same records.

    Raises:
        LanserError: such as where some sound could not be read for a while.
    """
    every = {name: point for point, records in found.items() for name in records}
    for point, records in found.items():
        if lost := [name for name in every if name not in records]:
            raise LanserError(
                f"{output}/points/{point.name} has not tested '{lost[0]}', which "
                f"{every[lost[0]].name} has: remove its folder, then go on with --resume"
            )


def _measure(
    output: Path, found: dict[Point, dict[str, Record]], recipe: Recipe, by: str | None
) -> dict[str, Any]:
    """Write points.jsonl and the report; the numbers of the result line."""
    lines = []
    for point, records in found.items():
        result = measure_run(records.values(), by=by)
        numbers = {"uar": result.uar.value, "wa": result.wa.value, "n": result.n}
        units = {"unit": result.unit, "by_unit": result.by_unit}
        lines.append({**asdict(point), "steps": recipe.steps, **numbers, **units})
    write_jsonl(output / "points.jsonl", lines)
    curves = curve.Curves.of({(p.arm, p.fraction, p.seed): r for p, r in found.items()}, by)
    [init] = [p for p in list(found)[:2] if p.arm == "init"]
    about = About.of(output / "points" / init.name)
    report.efficiency(output, curves, about)
    console.info(f"efficiency: report in {output / 'report.html'}")
    return {**curves.summary(), "seen": None if about.seen is None else asdict(about.seen)}
