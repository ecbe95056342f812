"""The training loop, one for pre-training and fine-tuning, on one device or under torchrun."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from hashlib import sha256

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lanser_cli import console
from lanser_cli.errors import UsageError
from lanser_cli.models.classifier import SpeechClassifier
from lanser_cli.training.batches import Crops, StepSampler, batches
from lanser_cli.training.examples import Example
from lanser_cli.training.finite import FiniteGuard
from lanser_cli.training.identity import architecture_fields, check_same, recipe_fields
from lanser_cli.training.ranks import Ranks
from lanser_cli.training.recipe import Recipe
from lanser_cli.training.runs import RunFolder


def choose_device(text: str) -> torch.device:
    """The device to train on: under torchrun, each rank its own GPU.

    Raises:
        UsageError: no such device here.
    """
    from lanser_cli.devices import parse_devices

    devices = parse_devices(text)
    if len(devices) > 1:
        raise UsageError(
            f"--device {text}: training on several devices is started by torchrun: "
            "torchrun --nproc-per-node=gpu -m lanser_cli pretrain ..."
        )
    local = Ranks.from_environment().local
    if local and devices[0].startswith("cuda"):
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
) -> SpeechClassifier:
    """Train a model on examples, logging and checkpointing into a run folder.

    Every draw is a function of the seed and the step, so a run resumed from a checkpoint goes on
    exactly as it would have without the interruption.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        LanserError: three steps had no finite gradient, or a weight is not finite.
        UsageError: ranks were started with other data or options than the first, or `run` has the
            checkpoint of another run.
    """
    ranks = Ranks.from_environment()
    model.to(device)
    trained = _trainable(model, recipe.freeze)
    optimizer = torch.optim.AdamW(trained, recipe.lr, weight_decay=recipe.weight_decay)
    crops = Crops(examples, model.crop_samples, recipe.seed, keep=recipe.workers == 0)
    fields = _fields(model, crops, recipe)
    step = skipped = 0
    state = run.load_checkpoint(device) if resume else None
    if state is not None:
        check_same(state["fields"], fields | {"number of ranks": str(ranks.count)}, str(run.path))
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, skipped = state["step"], state["skipped"]
    _check_same_ranks(fields | {"checkpoint (step)": str(step)}, ranks)
    guard = FiniteGuard(model, what, skipped)
    if ranks.leads:
        run.cut_log(step)
    sampler = StepSampler(
        len(crops),
        recipe.batch_size,
        recipe.epochs,
        steps=recipe.steps,
        seed=recipe.seed,
        rank=ranks.rank,
        ranks=ranks.count,
        start=step,
        resampled=recipe.resampled,
        buffer=recipe.shuffle_buffer,
        shards=crops.shards,
    )
    total = sampler.total
    if ranks.leads:
        console.info(
            f"{what}: {len(examples)} utterances, {ranks.count} x {recipe.batch_size} a step, "
            f"{sampler.steps_per_epoch} steps an epoch, {total} in all, on {device}"
            + (f"; {sampler.padded} places an epoch filled up, weight 0" if sampler.padded else "")
        )
    forward: nn.Module = model
    if ranks.count > 1:
        forward = nn.parallel.DistributedDataParallel(
            model, device_ids=[device.index] if device.type == "cuda" else None
        )
    autocast = recipe.on(device).precision == "bfloat16"
    _train_mode(model, recipe.freeze)
    value = 0.0
    with console.progress(what, total - step) as meter:
        loaded = batches(crops, sampler, recipe.workers, device)
        for keys, (waveform, target, weight) in zip(sampler, loaded, strict=True):
            guard.before_step()
            torch.manual_seed(zlib.crc32(f"{recipe.seed}/{step}/{ranks.rank}".encode()))
            lr = recipe.lr * schedule(step / total)
            for group in optimizer.param_groups:
                group["lr"] = lr
            waveform, target, weight = mixed(waveform, target, weight, recipe.mixup)
            with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                logits = forward(waveform)
            losses = nn.functional.cross_entropy(
                logits.float(),
                target,
                reduction="none",
                label_smoothing=recipe.label_smoothing,
            )
            loss = (losses * weight).sum() / _share_of_weight(weight, ranks.count)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(trained, 1.0)  # of the mean over ranks: equal on all
            step += 1
            if math.isfinite(norm.item()):
                optimizer.step()
            else:
                guard.undo_step(step, [crops.ids[index] for _, index, _ in keys])
            if ranks.leads and (step % 10 == 0 or step == total):
                found = loss.item()
                value = found if math.isfinite(found) else value
                epoch = step / sampler.steps_per_epoch
                run.log(step=step, epoch=round(epoch, 4), loss=value, lr=lr)
                meter.advance(10 if step % 10 == 0 else step % 10, f"loss {value:.3f}")
            if ranks.leads and step % recipe.checkpoint_every == 0 and step < total:
                run.save_checkpoint(
                    {
                        "model": model.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "step": step,
                        "skipped": guard.skipped,
                        "fields": fields | {"number of ranks": str(ranks.count)},
                    }
                )
    if ranks.leads:
        run.write_model(model)
        run.drop_checkpoint()
    return model.eval()


def schedule(progress: float) -> float:
    """Factor of the learning rate at `progress` 0..1: linear warm-up, then a cosine to zero."""
    warm_up = 0.1
    if progress < warm_up:
        return (progress + 1e-3) / (warm_up + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def mixed(
    waveform: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Mixup: every utterance with another of its batch, by one share drawn from Beta(a, a).

    Each target counts by its utterance's weight, in sum over the batch as without mixup.
    """
    if alpha <= 0 or len(waveform) < 2:
        return waveform, target, weight
    share = torch.distributions.Beta(alpha, alpha).sample().item()
    other = torch.randperm(len(waveform), device=waveform.device)
    ours, theirs = share * weight, (1 - share) * weight[other]
    total = ours + theirs
    mass = ours[:, None] * target + theirs[:, None] * target[other]
    return (
        share * waveform + (1 - share) * waveform[other],
        mass / total.clamp(min=1e-12)[:, None],
        total,
    )


def _share_of_weight(weight: Tensor, ranks: int) -> Tensor:
    """What a rank divides its sum by, so that the ranks' mean is the mean over all that counts."""
    total = weight.sum()
    if ranks > 1:
        dist.all_reduce(total)
    return total.clamp(min=1.0) / ranks


def _trainable(model: SpeechClassifier, freeze: bool) -> list[nn.Parameter]:
    for parameter in model.parameters():
        parameter.requires_grad_(not freeze)
    for parameter in model.backbone.get_classifier().parameters():
        parameter.requires_grad_(True)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _train_mode(model: SpeechClassifier, freeze: bool) -> None:
    """Training mode; a frozen backbone keeps its batch statistics as well."""
    model.train(not freeze)


def _fields(model: SpeechClassifier, crops: Crops, recipe: Recipe) -> dict[str, str]:
    """What must be the same on every rank and in a checkpoint, in a user's words."""
    return {
        "number of utterances": str(len(crops)),
        "utterances or their order": sha256(crops.ids.block).hexdigest()[:12],
        "labels": sha256(crops.targets.numpy().tobytes()).hexdigest()[:12],
        **architecture_fields(model.architecture),
        **recipe_fields(recipe),
    }


def _check_same_ranks(ours: dict[str, str], ranks: Ranks) -> None:
    """Refuse what would hang: ranks that would make other steps than the first."""
    if ranks.count == 1:
        return
    gathered: list[dict[str, str]] = [{}] * ranks.count
    dist.all_gather_object(gathered, ours)
    for rank, theirs in enumerate(gathered):
        for what, value in theirs.items():
            if value != gathered[0][what]:
                raise UsageError(
                    f"rank {rank} has another {what} than rank 0, {value} and not "
                    f"{gathered[0][what]}: start every rank with the same options and data"
                )
