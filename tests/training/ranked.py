"""What ranks do in tests that look beneath the commands: functions for `Quick`'s `main`."""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lanser_cli.errors import LanserError
from lanser_cli.models.architectures import ARCHITECTURES, Shape
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.records import Record
from lanser_cli.training import learner
from lanser_cli.training.checkpoints import Checkpoints
from lanser_cli.training.examples import Example, human_examples
from lanser_cli.training.loop import train
from lanser_cli.training.ranks import process_group
from lanser_cli.training.recipe import Recipe
from lanser_cli.training.runs import RunFolder

CPU = torch.device("cpu")


def trains(arguments: list[str]) -> None:
    """DATA FOLDER SETTINGS: train on tones with a recipe of these settings, which are JSON."""
    data, folder, settings = arguments
    with process_group(CPU):
        torch.manual_seed(0)
        architecture = Architecture("resnet18-slim", ("high", "low"), crop_seconds=0.4)
        run = RunFolder(Path(folder))
        run.create(resume=True)
        recipe = Recipe(**json.loads(settings))
        train(SpeechClassifier(architecture), _tones(data), recipe, run, CPU)


def injects(arguments: list[str]) -> None:
    """DATA FOLDER: hear NaN at sampled steps of 40, twice and thrice, in each rank of all.

    With checkpoints of which there are many, few, and none.
    """
    data, folder = arguments
    os.fsync = lambda file: None  # hundreds of checkpoints
    ARCHITECTURES["tiny"] = Shape("basic", (1, 1, 1, 1), (8, 8, 8, 8), 8)  # for hundreds of steps
    plain, examples = learner.mixed, _tones(data)[:16]
    with process_group(CPU) as ranks:
        cases = itertools.product((1, 4, 7, 500), range(ranks.count))
        for place, (every, culprit) in enumerate(cases):
            steps = random.Random(place).sample(range(1, 41), 3)
            for bad in ({40, steps[0]}, set(steps)):
                count = iter(range(1, 41))

                def mixed(waveform: torch.Tensor, *rest: object) -> object:
                    if next(count) in bad and ranks.rank == culprit:  # noqa: B023
                        waveform = torch.full_like(waveform, float("nan"))
                    return plain(waveform, *rest)  # type: ignore[arg-type]

                learner.mixed = mixed  # type: ignore[assignment]
                torch.manual_seed(0)
                model = SpeechClassifier(Architecture("tiny", ("high", "low"), 0.15))
                name = f"{every}-{culprit}-{'-'.join(map(str, sorted(bad)))}"
                run = RunFolder(Path(folder) / name)
                run.create(resume=True)
                size = 16 // ranks.count
                recipe = Recipe(40, batch_size=size, precision="float32", checkpoint_every=every)
                ended = ""
                try:
                    train(model, examples, recipe, run, CPU)
                except LanserError as error:
                    ended = str(error)
                assert bool(ended) == (len(bad) == 3), ended
                assert not ended or (f"step {max(bad)}" in ended and "as 2 before it" in ended)


def misses(arguments: list[str]) -> None:
    """DATA FOLDER: print the places of unreadable sound that each checkpoint of an epoch holds."""
    data, folder = arguments
    save = Checkpoints.save

    def said(self: Checkpoints, state: Mapping[str, Any]) -> None:
        print(json.dumps(state["unread"][2]), flush=True)
        save(self, state)

    Checkpoints.save = said  # type: ignore[method-assign]
    with process_group(CPU):
        model = SpeechClassifier(Architecture("resnet18-slim", ("high", "low"), 0.15))
        run = RunFolder(Path(folder))
        run.create(resume=True)
        recipe = Recipe(1, batch_size=2, precision="float32", checkpoint_every=1)
        train(model, _tones(data), recipe, run, CPU)


def averages(arguments: list[str]) -> None:
    """Print the mean loss of two uneven ranks."""
    with process_group(CPU) as ranks:
        weight = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])[ranks.rank]
        loss = torch.tensor([[1.0, 2.0, 3.0], [10.0, 99.0, 99.0]])[ranks.rank]
        ours = (loss * weight).sum() * ranks.count / learner.summed_weight(weight, ranks.count)
        torch.distributed.all_reduce(ours)
        if ranks.leads:
            print(ours.item() / ranks.count)


def _tones(data: str) -> list[Example]:
    records = [Record(json.loads(line)) for line in Path(data).read_text().splitlines()]
    return human_examples(records, ("high", "low"))
