"""The learner: a model and its optimizer; one call is one step of all ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lanser_cli.devices import Ranks
from lanser_cli.models.classifier import SpeechClassifier
from lanser_cli.models.norms import synchronised
from lanser_cli.training.batches import Batch
from lanser_cli.training.draws import Draws, blended, mixed
from lanser_cli.training.finite import FiniteGuard
from lanser_cli.training.recipe import Recipe

_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Stepped:
    """What came of a step.

    Attributes:
        loss: summed over this rank's utterances.
        norm: of the gradient of the mean loss, before clipping; equal on all ranks.
        heard: utterances of this rank that were read and count.
        finite: whether the weights were changed.
    """

    loss: float
    norm: float
    heard: float
    finite: bool


class Learner:
    """A model in training.

    Args:
        pieces: forward and backward passes that a step is made of, whose gradients add up.

    Attributes:
        guard: undoes steps that are not finite.
    """

    def __init__(
        self,
        model: SpeechClassifier,
        recipe: Recipe,
        device: torch.device,
        ranks: Ranks,
        what: str,
        pieces: int = 1,
    ) -> None:
        self._model, self._recipe, self._ranks, self._pieces = model, recipe, ranks, pieces
        model.to(device)
        if ranks.count > 1:
            synchronised(model, device)
        groups = _parameters(model, recipe)
        self._trained = [parameter for group in groups for parameter in group["params"]]
        self._optimizer = torch.optim.AdamW(groups, fused=device.type == "cuda")
        precision = recipe.on(device).precision
        self._scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
        self._cast = torch.autocast(
            device.type, _TYPES.get(precision, torch.bfloat16), enabled=precision in _TYPES
        )
        if recipe.compile:
            model.backbone.compile()
        self._forward: nn.Module = model
        if ranks.count > 1:
            self._forward = nn.parallel.DistributedDataParallel(
                model,
                device_ids=[device.index] if device.type == "cuda" else None,
                broadcast_buffers=False,  # they are equal: the norms are those of all ranks
                gradient_as_bucket_view=True,
                # In one piece on a CPU: to send some while others are computed takes cores from it.
                bucket_cap_mb=None if device.type == "cuda" else 10_000,
            )
        model.train(not recipe.freeze)  # a frozen backbone keeps its batch statistics as well
        self.guard = FiniteGuard(model, what)

    def step(
        self,
        number: int,
        batch: Batch,
        emphasis: Tensor,
        draws: Draws,
        lr: float,
        ids: Sequence[str],
        levels: Tensor | None = None,
    ) -> Stepped:
        """Learn from a batch.

        Args:
            number: of the step, from 1, for messages.
            emphasis: how much more than others each utterance counts, `[batch]`; 1 for alike.
            draws: on the device, as the batch is.
            ids: of the utterances, for messages.
            levels: of their speakers, as `LogMel` takes them.

        Raises:
            LanserError: it is the third step without a finite gradient.
        """
        self.guard.before_step()
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._backward(batch, emphasis, draws, levels)
        self._scaler.unscale_(self._optimizer)
        found = nn.utils.clip_grad_norm_(self._trained, 1.0)
        total, norm, heard = torch.stack([loss, found, batch[2].sum()]).tolist()
        finite = math.isfinite(norm)
        if finite:
            self._scaler.step(self._optimizer)
        elif self._scaler.is_enabled() and self._scaler.get_scale() > 1 and self._all_finite(loss):
            self.guard.put_back()  # too large for float16 at this scale, which now shrinks
        else:
            self.guard.undo_step(number, ids)
        self._scaler.update()
        return Stepped(total, norm, heard, finite)

    def _backward(
        self, batch: Batch, emphasis: Tensor, draws: Draws, levels: Tensor | None
    ) -> Tensor:
        """Fill in the gradient of the mean loss over all ranks; the sum over this one's rows."""
        waveform, target, heard = batch
        factor = self._ranks.count / summed_weight(heard, self._ranks.count)
        waveform, target, weight = mixed(waveform, target, heard * emphasis, draws.share)
        levels = None if levels is None else blended(levels, draws.share)
        total = torch.zeros((), device=waveform.device)
        pieces = torch.arange(len(waveform)).tensor_split(self._pieces)
        for number, rows in enumerate(pieces, start=1):
            piece = slice(int(rows[0]), int(rows[-1]) + 1)
            with self._apart() if number < len(pieces) else nullcontext():
                speakers = None if levels is None else levels[piece]
                with self._cast:
                    logits = self._forward(waveform[piece], draws.masks[piece], speakers)
                losses = nn.functional.cross_entropy(
                    logits.float(),
                    target[piece],
                    reduction="none",
                    label_smoothing=self._recipe.label_smoothing,
                )
                loss = (losses * weight[piece]).sum()
                self._scaler.scale(loss * factor).backward()
            total += loss.detach()
        return total

    def _all_finite(self, loss: Tensor) -> bool:
        """Whether the loss of every rank is, which no scale has changed."""
        wrong = (~loss.isfinite()).float()
        if self._ranks.count > 1:
            dist.all_reduce(wrong)
        return not bool(wrong)

    def _apart(self) -> Any:
        """For pieces that are not a step's last: their gradients need not travel."""
        return self._forward.no_sync() if self._ranks.count > 1 else nullcontext()

    def state(self) -> dict[str, Any]:
        """All that changes as it learns, to go on from."""
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "skipped": self.guard.skipped,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.guard.skipped = state["skipped"]


def summed_weight(weight: Tensor, ranks: int) -> Tensor:
    """The weight of all utterances of a step, on whatever rank; at least 1."""
    total = weight.sum()
    if ranks > 1:
        dist.all_reduce(total)
    return total.clamp(min=1.0)


def _parameters(model: SpeechClassifier, recipe: Recipe) -> list[dict[str, Any]]:
    """What is trained: matrices and filters, which decay, and norms and biases, which do not."""
    for parameter in model.parameters():
        parameter.requires_grad_(not recipe.freeze)
    for parameter in model.backbone.get_classifier().parameters():
        parameter.requires_grad_(True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [one for one in trained if one.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [one for one in trained if one.dim() <= 1], "weight_decay": 0.0},
    ]
