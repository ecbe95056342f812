"""What fine-tuning starts from: fresh weights, those of a run, or what lies between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lanser_cli.choices import Normalising
from lanser_cli.errors import UsageError
from lanser_cli.models.classifier import Architecture, SpeechClassifier
from lanser_cli.models.front_end import FrontEnd
from lanser_cli.training import heard, runs
from lanser_cli.training.folds import Fold
from lanser_cli.training.identity import INIT, digest_of_weights


@dataclass(frozen=True, slots=True)
class Start:
    """What training starts from.

    Attributes:
        init: run folder to take the front-end and backbone from; None starts from scratch.
        shrink: the share of fresh weights in those of its backbone, 0..1 (after Ash and Adams, "On
            Warm-Starting Neural Network Training", 2020).
        model: name of an architecture; None: that of `init`, or the default.
        crop: the seconds it hears at once; None likewise.
        trim, normalise: as `Architecture` and `FrontEnd` have them; off and None: those of `init`.
        allow_seen: test also on what `init` has heard.
    """

    init: Path | None = None
    shrink: float = 0.0
    model: str | None = None
    crop: float | None = None
    trim: bool = False
    normalise: Normalising | None = None
    allow_seen: bool = False

    def architecture(self) -> Architecture:
        """What to fine-tune; its labels are those of the data.

        Raises:
            UsageError: `init` is another architecture, or has several models.
        """
        if self.init is None:
            front_end = FrontEnd(normalise=self.normalise or "none")
            return Architecture(
                self.model or "resnet50", (), self.crop or 3.0, front_end, self.trim
            )
        found = runs.read_architecture(self.source)
        if self.model not in (None, found.name):
            raise UsageError(f"--init {self.init} is a {found.name}, not a {self.model}")
        if self.normalise not in (None, found.front_end.normalise):
            raise UsageError(f"--init {self.init} has --normalise {found.front_end.normalise}")
        crop, trim = self.crop or found.crop_seconds, self.trim or found.trim
        return replace(found, crop_seconds=crop, trim=trim)

    @property
    def source(self) -> Path:
        """The folder with the weights to start from."""
        assert self.init is not None
        return runs.one_model(self.init, "--init")

    @property
    def identity(self) -> dict[str, str]:
        """What a resumed run must share with the first besides what one from scratch must."""
        if self.init is None:
            return {}
        shrunk = {"--shrink": str(self.shrink)} if self.shrink else {}  # runs before it had none
        return {INIT: digest_of_weights(self.source), **shrunk}

    def network(self, architecture: Architecture, seed: int) -> SpeechClassifier:
        """A network as training begins with it.

        Args:
            seed: of the weights that are fresh.

        Raises:
            LanserError: the weights of `init` are damaged.
        """
        torch.manual_seed(seed)
        model = SpeechClassifier(architecture)
        if self.init is not None:
            runs.transfer(model, self.init, self.shrink)
        return model

    def seen(self, folds: Sequence[Fold]) -> dict[str, Any] | None:
        """What `init` has heard of the test and validation sides; None from scratch.

        Raises:
            UsageError: something, and that is not allowed.
        """
        if self.init is None:
            return None
        judged = {record.id: record for fold in folds for record in fold.judged}
        seen = heard.compare(list(judged.values()), self.source)
        heard.refuse(seen, allowed=self.allow_seen)
        return asdict(seen)
