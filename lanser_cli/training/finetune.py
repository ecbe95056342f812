"""Fine-tuning on a labelled corpus, tested on speakers that were not in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lanser_cli import console
from lanser_cli.errors import UsageError
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.output import write_jsonl
from lanser_cli.records import Record, Reject
from lanser_cli.shards.gather import gather
from lanser_cli.stage import windows
from lanser_cli.tally import Ledger
from lanser_cli.training import heard, runs
from lanser_cli.training.examples import human_examples, human_label_set
from lanser_cli.training.folds import Fold, Protocol, divide
from lanser_cli.training.identity import SIDES, digest_of_folds
from lanser_cli.training.loop import choose_device, train
from lanser_cli.training.predict import WINDOW, Predictor
from lanser_cli.training.ranks import process_group
from lanser_cli.training.recipe import Recipe
from lanser_cli.training.runs import RunFolder
from lanser_cli.training.speakers import Speakers, by_speaker, known_speakers
from lanser_cli.training.start import Start
from lanser_cli.training.tuning_identity import identity_of
from lanser_cli.training.unread import unread_reject

TEST_FOLD = "test_fold"
"""Key of a test record that names the fold whose model predicted it."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What fine-tuning leaves besides its run folder.

    Attributes:
        labels: the classes.
        records: the test records of all folds in input order, with their `prediction` or, of
            several seeds, `predictions`; empty where there is no test.
        seen: what `--init` has heard of them; None from scratch.
        protocol: the name of the standard protocol, if it is one.
        missing: what is not as that protocol's corpus was published, in words.
        transductive: test speakers' sound, though not their labels, was used to answer.
    """

    labels: tuple[str, ...]
    records: list[Record]
    seen: dict[str, Any] | None
    protocol: str | None = None
    missing: str | None = None
    transductive: bool = False

    def summary(self) -> dict[str, Any]:
        """What a result line says besides the scores."""
        found: dict[str, Any] = {"labels": list(self.labels)}
        if self.protocol is not None:
            found |= {"protocol": self.protocol, "missing": self.missing}
        if self.transductive:
            found["transductive"] = True
        return found if self.seen is None else found | {"seen": self.seen}


def finetune(
    inputs: Sequence[str] | None,
    run: Path,
    protocol: Protocol,
    recipe: Recipe,
    ledger: Ledger,
    *,
    start: Start,
    seeds: int = 1,
    device: str = "auto",
    resume: bool = False,
    fetch: Path | None = None,
) -> Tested:
    """Train and test on the labelled records of inputs, as `tune` does.

    Args:
        inputs, fetch: as `gather` takes them.
    """
    if recipe.freeze and start.init is None:
        raise UsageError("--freeze keeps a trained backbone, which only --init RUN can give")
    if recipe.freeze and start.shrink:
        raise UsageError("--freeze keeps the backbone, and what --shrink mixes in must be trained")
    start.architecture()  # what cannot work is said before anything is read
    recipe.on(choose_device(device))
    if not resume:
        RunFolder(run).check_new()
    records = gather(inputs, ledger, fetch, take=protocol.take)
    tested = tune(
        *(records, run, protocol, recipe, ledger),
        start=start,
        seeds=seeds,
        device=device,
        resume=resume,
    )
    if tested.transductive and ledger.leads:
        console.warn(f"finetune: transductive: {heard.TRANSDUCTIVE}")
    return tested


def tune(
    records: Sequence[Record],
    run: Path,
    protocol: Protocol,
    recipe: Recipe,
    ledger: Ledger,
    *,
    start: Start,
    seeds: int = 1,
    device: str = "auto",
    resume: bool = False,
    speakers: Speakers | None = None,
) -> Tested:
    """Train and test every fold; write `fold-NAME/` folders and the pooled `predictions.jsonl`.

    Args:
        records: with their labels.
        ledger: has what is used and what is rejected.
        seeds: how many trainings, of `recipe.seed` and the numbers after it, over the same folds.
            More than one are each a run folder `seed-N`.
        speakers: their levels, where they are known already.

    Raises:
        LanserError: fewer than two labels, or records that cannot be divided so.
        UsageError: `start` cannot be started from or has heard what is tested, or `run` is another.
    """
    where = choose_device(device)
    architecture = start.architecture()
    if speakers is None:
        records, speakers = known_speakers(records, architecture, ledger)
    labels = human_label_set(records)
    architecture = replace(architecture, labels=labels)
    folds = divide(records, protocol)
    used = {r.id for fold in folds for side in (fold.training, fold.judged) for r in side}
    if unused := len(records) - len(used):
        ledger.dropped[f"beyond --fraction {protocol.fraction:g}"] += unused
    recipe, top = recipe.on(where), RunFolder(run)
    same = identity_of(records, protocol, recipe, architecture) | start.identity
    same[SIDES] = digest_of_folds(folds)
    several = {"--seeds": str(seeds)} if seeds > 1 else {}
    numbers = range(recipe.seed, recipe.seed + seeds)
    if resume:
        top.check_same(same | several)
    for inner, number in _inside(run, numbers, folds):  # an older run may be there without a top
        if resume:
            inner.check_same(same | {"--seed": str(number)})
        else:
            inner.check_new()
    seen = start.seen(folds)
    top.create(resume=resume)
    details: dict[str, Any] = {
        "protocol": asdict(protocol),
        "init": str(start.init) if start.init else None,
        "seen": seen,
    }
    missing = protocol.missing(records)
    if missing is not None:
        details["missing"] = missing
    by_seed: dict[str, dict[str, Record]] = {}
    with process_group(where) as ranks:
        details["place"] = recipe.place(where, ranks.count)
        if ranks.leads and seeds > 1:
            about = details | {"recipe": asdict(recipe), "identity": same | several}
            models = [f"seed-{number}/fold-{fold.name}" for number in numbers for fold in folds]
            top.write_config("finetune", architecture, **about, seeds=list(numbers), models=models)
        for number in numbers:
            one = _Seed(
                RunFolder(_of_seed(run, number, seeds)) if seeds > 1 else top,
                architecture,
                replace(recipe, seed=number),
                details | {"identity": same | {"--seed": str(number)}},
                start,
                where,
                resume,
                ranks.leads,
                speakers,
            )
            found = by_seed[str(number)] = one.tested(folds, ledger, used)
            _write(
                one.run.path / "predictions.jsonl", [found[r.id] for r in records if r.id in found]
            )
    answered = set.intersection(*map(set, by_seed.values()))  # sound may come and go between seeds
    pooled = [_pooled(record.id, by_seed) for record in records if record.id in answered]
    if seeds > 1:
        _write(run / "predictions.jsonl", pooled)
    ledger.done += len(used)
    return Tested(
        labels, pooled, seen, protocol.protocol, missing, transductive=by_speaker(architecture)
    )


def _of_seed(run: Path, number: int, seeds: int) -> Path:
    """The run folder of one seed of so many."""
    return run / f"seed-{number}" if seeds > 1 else run


def _inside(
    run: Path, numbers: Sequence[int], folds: Sequence[Fold]
) -> Iterator[tuple[RunFolder, int]]:
    """The run folders within that of a run, each with its seed."""
    for number in numbers:
        one = _of_seed(run, number, len(numbers))
        if one != run:
            yield RunFolder(one), number
        yield from ((RunFolder(one / f"fold-{fold.name}"), number) for fold in folds)


def _pooled(identifier: str, by_seed: Mapping[str, Mapping[str, Record]]) -> Record:
    """A test record with the answers of all seeds."""
    records = {seed: found[identifier] for seed, found in by_seed.items()}
    first, *others = records.values()
    if not others:
        return first
    kept = {key: first.fields[key] for key in first.fields if key not in ("prediction", "scores")}
    return Record(kept | {"predictions": {seed: one.prediction for seed, one in records.items()}})


def _write(path: Path, records: Sequence[Record]) -> None:
    """Write records, if there are any."""
    if records:
        write_jsonl(path, (record.fields for record in records))


@dataclass(frozen=True)
class _Seed:
    """The training of one seed, in a run folder of its own."""

    run: RunFolder
    architecture: Architecture
    recipe: Recipe
    details: dict[str, Any]
    start: Start
    device: torch.device
    resume: bool
    leads: bool
    speakers: Speakers | None

    def tested(self, folds: Sequence[Fold], ledger: Ledger, used: set[str]) -> dict[str, Record]:
        """Train every fold; the test records by id, each with its prediction.

        A record whose sound cannot be read is rejected, and no longer `used`.
        """
        details = self.details | {"recipe": asdict(self.recipe)}
        if self.leads:
            self.run.create(resume=True)
            models = [f"fold-{fold.name}" for fold in folds]
            self.run.write_config("finetune", self.architecture, **details, models=models)
        found: dict[str, Record] = {}
        for fold in folds:
            folder = RunFolder(self.run.path / f"fold-{fold.name}")
            network = self._model_of(fold, folder, details)
            if not self.leads:
                continue
            unread = set(folder.unread)
            for record in fold.training:
                if record.id in unread:
                    _refuse(unread_reject(record, "finetune"), ledger, used)
            predictor = Predictor([network], "finetune", speakers=self.speakers)
            test = self._predicted(predictor, fold.test, ledger, used)
            found |= {one.id: one.with_fields(**{TEST_FOLD: fold.name}) for one in test}
            if validation := self._predicted(predictor, fold.validation, ledger, used):
                _write(folder.path / "validation.jsonl", validation)
                console.info(f"finetune: fold {fold.name}: validation {_uar(validation)}")
        return found

    def _predicted(
        self, predictor: Predictor, records: Sequence[Record], ledger: Ledger, used: set[str]
    ) -> list[Record]:
        found = []
        for window in windows(records, WINDOW):
            for outcome in predictor(window):
                if isinstance(outcome, Record):
                    found.append(outcome)
                elif isinstance(outcome, Reject):
                    _refuse(outcome, ledger, used)
        return found

    def _model_of(self, fold: Fold, folder: RunFolder, details: dict[str, Any]) -> SpeechClassifier:
        if self.resume and folder.finished:
            console.info(f"fold {fold.name}: trained already")
            return runs.load_model(folder.path, str(self.device))
        model = self.start.network(self.architecture, self.recipe.seed)
        if self.leads:
            folder.create(resume=True)
            folder.write_config(
                "finetune",
                self.architecture,
                **details,
                test_speakers=_speakers(fold.test),
                validation_speakers=_speakers(fold.validation),
            )
            if not (folder.path / heard.FILE).exists():  # as when it is resumed
                marks = ((heard.marks(one), one.audio_filepath) for one in fold.training)
                source = None if self.start.init is None else self.start.source
                heard.write(folder.path, heard.heard(marks), source)
        examples = human_examples(fold.training, self.architecture.labels)
        return train(
            *(model, examples, self.recipe, folder, self.device),
            resume=self.resume,
            what=f"finetune fold {fold.name}",
            speakers=self.speakers,
        )


def _refuse(reject: Reject, ledger: Ledger, used: set[str]) -> None:
    """Reject a record, once, which is then no longer used."""
    if reject.id in used:
        ledger.reject(reject)
        used.discard(str(reject.id))


def _speakers(records: Sequence[Record]) -> list[str]:
    return sorted({record.speaker for record in records if record.speaker})


def _uar(records: Sequence[Record]) -> str:
    from sklearn.metrics import recall_score

    truth = [str(record.label) for record in records]
    answers = [str(record.prediction) for record in records]
    labels = sorted(set(truth))
    uar = recall_score(truth, answers, labels=labels, average="macro")
    return f"UAR {uar:.3f} over {len(records)} records of {', '.join(_speakers(records))}"
