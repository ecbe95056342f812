"""The training loop, one for pre-training and fine-tuning, on one device or several ranks."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from hashlib import sha256

import torch
import torch.distributed as dist

from lanser_cli import console
from lanser_cli.devices import Ranks, parse_devices
from lanser_cli.errors import Stopped, UsageError
from lanser_cli.models.classifier import SpeechClassifier
from lanser_cli.origin import check_same
from lanser_cli.training.ahead import made_ahead
from lanser_cli.training.batches import Batch, Crops, StepSampler, batches
from lanser_cli.training.checkpoints import Timetable
from lanser_cli.training.draws import Draws, Key
from lanser_cli.training.examples import Example, emphasis
from lanser_cli.training.identity import architecture_fields, recipe_fields
from lanser_cli.training.learner import Learner
from lanser_cli.training.meter import Meter
from lanser_cli.training.ranks import check_same_ranks, summed
from lanser_cli.training.recipe import Recipe
from lanser_cli.training.runs import RunFolder
from lanser_cli.training.speakers import Speakers
from lanser_cli.training.stop import SIGNALS, Stop
from lanser_cli.training.unread import Unread


def choose_device(text: str) -> torch.device:
    """The device to train on: of several ranks on a machine, each its own GPU.

    Raises:
        UsageError: no such device here.
    """
    ranks = Ranks.from_environment()
    if ranks.count > 1 and ":" in text:
        raise UsageError(
            f"--device {text}: of several processes each takes the GPU of its own number: say "
            "--device cuda, and which GPUs with CUDA_VISIBLE_DEVICES"
        )
    devices = parse_devices(text)
    if len(devices) > 1:
        raise UsageError(
            f"--device {text}: training on several devices is started by torchrun: "
            "torchrun --nproc-per-node=gpu -m lanser_cli pretrain ..."
        )
    local, count = ranks.local, torch.cuda.device_count()
    # Of one GPU alone, srun has given it to this rank; torchrun gives none.
    if local and devices[0].startswith("cuda") and (count != 1 or "RANK" in os.environ):
        if local >= count:
            raise UsageError(
                f"rank {local} of this machine has no GPU of its own, since there are {count}: "
                "start as many as there are: torchrun --nproc-per-node=gpu ..."
            )
        return torch.device(f"cuda:{local}")
    return torch.device(devices[0])


def train(
    model: SpeechClassifier,
    examples: Sequence[Example],
    recipe: Recipe,
    run: RunFolder,
    device: torch.device,
    *,
    resume: bool = False,
    what: str = "train",
    speakers: Speakers | None = None,
) -> SpeechClassifier:
    """Train a model on examples, logging and checkpointing into a run folder.

    Every draw is a function of seed, epoch and utterance, so a run resumed from a checkpoint goes
    on exactly as it would have without the interruption. Which utterances cannot be read is then
    in `run.unread`.

    Args:
        speakers: the levels of all speakers, if the model takes them off.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        LanserError: three steps had no finite gradient, a weight is not finite, or too much sound
            cannot be read.
        Stopped: a signal asked for it; there is a checkpoint.
        UsageError: ranks were started with other data or options than the first, there are more of
            them than utterances, or `run` has the checkpoint of another run.
    """
    with recipe.arithmetic():
        return _Training(model, examples, recipe, run, device, resume, what, speakers).finish()


class _Training:
    """A run from its start, or from its last checkpoint, to its end."""

    def __init__(
        self,
        model: SpeechClassifier,
        examples: Sequence[Example],
        recipe: Recipe,
        run: RunFolder,
        device: torch.device,
        resume: bool,
        what: str,
        speakers: Speakers | None,
    ) -> None:
        self.model, self.recipe, self.run, self.device, self.what = model, recipe, run, device, what
        self.ranks = ranks = Ranks.from_environment()
        if ranks.count > len(examples):
            raise UsageError(
                f"{what}: {ranks.count} processes train on {len(examples)} utterances: start at "
                "most one for each"
            )
        self.crops = crops = Crops(
            examples,
            model.crop_samples,
            recipe.seed,
            keep=recipe.workers == 0,
            trim=model.architecture.trim,
            augmentation=recipe.augmentation,
        )
        self.emphasis = torch.tensor(emphasis(examples, recipe.class_weights), device=device)
        records = [example.record for example in examples]
        self.levels = None if speakers is None else speakers.table(records, device)
        self.unread = Unread(what, len(examples))
        self.fields = _fields(model, crops, self.emphasis, recipe) | {
            "number of ranks": str(ranks.count)
        }
        self.step = 0
        state = run.checkpoints.load(device) if resume else None
        if state is not None:
            check_same(state["fields"], self.fields, str(run.path))
            self.step = state["step"]
        check_same_ranks(self.fields | {"checkpoint (step)": str(self.step)}, ranks)
        if ranks.leads:
            run.cut_log(self.step)
        self.sampler = StepSampler(
            len(crops),
            recipe.batch_size * recipe.accumulate,
            recipe.epochs,
            steps=recipe.steps,
            seed=recipe.seed,
            rank=ranks.rank,
            ranks=ranks.count,
            start=self.step,
            resampled=recipe.resampled,
            buffer=recipe.shuffle_buffer,
            shards=crops.shards,
        )
        self.total = self.sampler.total
        pieces = min(recipe.accumulate, self.sampler.smallest)
        self.learner = Learner(model, recipe, device, ranks, what, pieces)
        self.meter = Meter(
            run if ranks.leads else None,
            what,
            step=self.step,
            total=self.total,
            steps_per_epoch=self.sampler.steps_per_epoch,
            tensorboard=recipe.tensorboard,
        )
        if state is not None:
            self.learner.load(state)
            self.meter.sums = state["meter"]
            self.unread.asked, self.unread.missed, places = state["unread"]
            self.unread.places = set(places)

    def finish(self) -> SpeechClassifier:
        """Make the steps that are left, and write the model."""
        self._introduce()
        timetable = Timetable(self.recipe.checkpoint_every, self.recipe.checkpoint_minutes)
        # While a GPU computes, this process only waits; a CPU's cores have no time to spare.
        prepared = self._prepared()
        ready = made_ahead(prepared) if self.device.type == "cuda" else prepared
        signals = 0
        with Stop() as stop, self.meter:
            for keys, batch, draws in self.meter.waiting(ready):
                signals = self._advance(keys, batch, draws, stop)
                due = timetable.due(self.step)
                if self.step < self.total and (due or signals):
                    self._save()
                if self.step < self.total and signals:
                    raise self._stopped(signals)
        places = self.unread.gathered(self.ranks)
        self._conclude([self.crops.ids[place] for place in sorted(places)])
        if signals and self.ranks.count > 1:  # a rank that ends first would have the others killed
            dist.barrier()
        stop.pass_on(signals)
        return self.model.eval()

    def _introduce(self) -> None:
        if self.ranks.leads:
            console.info(
                f"{self.what}: {len(self.crops)} utterances, {self.ranks.count} x "
                f"{self.sampler.batch_size} a step, {self.sampler.steps_per_epoch} steps an epoch, "
                f"{self.total} in all, on {self.device}"
            )

    def _prepared(self) -> Iterator[tuple[list[Key], Batch, Draws]]:
        """What each step needs, on the device."""
        loaded = batches(self.crops, self.sampler, self.recipe.workers, self.device)
        for keys, batch in zip(self.sampler, loaded, strict=True):
            draws = Draws.of(self.recipe.seed, keys, self.recipe.mixup)
            yield keys, batch, draws.to(self.device)

    def _advance(self, keys: Sequence[Key], batch: Batch, draws: Draws, stop: Stop) -> int:
        """Make a step; the number of the signal that any rank has got since, or 0."""
        indices = [index for _, index, _ in keys]
        lr = self.recipe.lr * schedule(self.step / self.total)
        self.step += 1
        ids = [self.crops.ids[index] for index in indices]
        levels = None if self.levels is None else self.levels[indices]
        made = self.learner.step(self.step, batch, self.emphasis[indices], draws, lr, ids, levels)
        ours = sum(counts for _, _, counts in keys)
        if made.heard < ours:
            self.unread.note(keys, batch[2].tolist())
        numbers = (made.loss if made.finite else 0.0, made.heard, ours, self.meter.waited)
        loss, heard, asked, waited, *wished = summed(
            (*numbers, *stop.wished), self.ranks, self.device
        )
        if heard < asked:  # so that a checkpoint, which one rank writes, has those of all
            self.unread.places = self.unread.gathered(self.ranks)
        self.unread.add(asked, asked - heard)
        self.meter.add(asked)
        if made.finite:
            self.meter.learnt(loss, heard, made.norm)
        if self.meter.due(self.step):
            skipped = self.learner.guard.skipped
            self.meter.line(self.step, lr, waited / self.ranks.count, skipped)
        return next((one.value for one, came in zip(SIGNALS, wished, strict=True) if came), 0)

    def _save(self) -> None:
        if self.ranks.leads:
            self.run.checkpoints.save(
                {
                    **self.learner.state(),
                    "step": self.step,
                    "meter": self.meter.sums,
                    "unread": (self.unread.asked, self.unread.missed, sorted(self.unread.places)),
                    "fields": self.fields,
                }
            )

    def _stopped(self, number: int) -> Stopped:
        said = f"{self.what}: stopped at step {self.step} of {self.total}; go on with --resume"
        return Stopped(number, said if self.ranks.leads else "")

    def _conclude(self, unread: list[str]) -> None:
        if self.ranks.leads:
            if unread:
                console.warn(
                    f"{self.what}: {len(unread)} of {len(self.crops)} utterances cannot be read "
                    "and were left out"
                )
            self.run.write_unread(unread)
            self.run.write_model(self.model)
            self.run.checkpoints.drop()


def schedule(progress: float) -> float:
    """Factor of the learning rate at `progress` 0..1: linear warm-up, then a cosine to zero."""
    warm_up = 0.1
    if progress < warm_up:
        return (progress + 1e-3) / (warm_up + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def _fields(
    model: SpeechClassifier, crops: Crops, emphasis: torch.Tensor, recipe: Recipe
) -> dict[str, str]:
    """What must be the same on every rank and in a checkpoint, in a user's words."""
    counts = emphasis.cpu().numpy().tobytes()
    return {
        "number of utterances": str(len(crops)),
        "utterances or their order": sha256(crops.ids.block).hexdigest()[:12],
        "labels": sha256(crops.targets.numpy().tobytes()).hexdigest()[:12],
        "weights of utterances": sha256(counts).hexdigest()[:12],
        **architecture_fields(model.architecture),
        **recipe_fields(recipe),
    }
