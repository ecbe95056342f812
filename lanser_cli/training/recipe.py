"""How to train: the settings of a run, whatever it learns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from os import environ

import torch

from lanser_cli.choices import ClassWeights, TrainingPrecision
from lanser_cli.errors import UsageError
from lanser_cli.origin import option
from lanser_cli.training.augmentation import Augmentation, parse_range


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: passes over the data, at least; None where `steps` alone says how long.
        batch_size: utterances a step and rank, or a piece of a step with `accumulate`.
        accumulate: batches whose gradients add up to one step.
        lr: peak learning rate of AdamW, after a linear warm-up over a tenth of the steps; a cosine
            takes it to zero.
        weight_decay: of AdamW, on filters and matrices; norms and biases do not decay.
        class_weights: how much more an utterance of a rare class counts.
        score_weighted: an utterance counts by the score of its weak label.
        label_smoothing: mass spread over all labels, 0..1.
        mixup: alpha of mixup (Zhang et al. 2018); 0 for none.
        gain_db: each crop is made up to this much louder or softer, dB; 0 for none.
        noise_db: `LOW..HIGH`: white noise so many dB below each crop; None for none.
        tempo: each crop is made up to this share faster or slower, 0..0.5, its pitch kept.
        freeze: train the last layer only.
        precision: auto, float32, bfloat16 or float16.
        compile: compile the network, on a GPU.
        threads: of PyTorch on a CPU; None leaves its own choice.
        deterministic: only algorithms that give the same bits each time.
        workers: decoding processes; 0 decodes in the training process and keeps short data in memory.
        checkpoint_every: steps between checkpoints.
        checkpoint_minutes: minutes after which there is one too.
        tensorboard: write events for TensorBoard into the run folder.
        seed: of everything that is drawn.
        resampled: draw utterances with replacement.
        shuffle_buffer: shuffle in blocks of this many, shard by shard; 0 shuffles all at once.
        steps: of the optimizer, at least; None where `epochs` alone says how long.

    Raises:
        UsageError: both `resampled` and `shuffle_buffer`, `noise_db` is no range, a number is
            not finite, or neither of `epochs` and `steps` is given.
    """  # noqa: E501

    epochs: int | None
    batch_size: int = 32
    accumulate: int = 1
    lr: float = 1e-3
    weight_decay: float = 0.05
    class_weights: ClassWeights = "none"
    score_weighted: bool = False
    label_smoothing: float = 0.1
    mixup: float = 0.2
    gain_db: float = 0.0
    noise_db: str | None = None
    tempo: float = 0.0
    freeze: bool = False
    precision: TrainingPrecision = "auto"
    compile: bool = False
    threads: int | None = None
    deterministic: bool = False
    workers: int = 0
    checkpoint_every: int = 500
    checkpoint_minutes: float = 10.0
    tensorboard: bool = False
    seed: int = 0
    resampled: bool = False
    shuffle_buffer: int = 0
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.epochs is None and self.steps is None:
            raise UsageError("say how long to train by --epochs or by --steps")
        for name, value in asdict(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"{option(name)} {value}: a number that has an end is needed")
        if self.resampled and self.shuffle_buffer:
            raise UsageError(
                "--resampled draws from everything at once: leave --shuffle-buffer out"
            )
        if self.noise_db is not None:
            parse_range(self.noise_db, "--noise-db")

    @property
    def augmentation(self) -> Augmentation:
        """What is done to each crop."""
        noise = None if self.noise_db is None else parse_range(self.noise_db, "--noise-db")
        return Augmentation(self.gain_db, noise, self.tempo)

    def on(self, device: torch.device) -> Recipe:
        """The recipe with its precision resolved for a device: float32, bfloat16 or float16.

        Raises:
            UsageError: it is to be compiled, and that device is no GPU.
        """
        if self.compile and device.type != "cuda":
            raise UsageError("--compile is for a GPU: leave it out, or name one by --device")
        if self.precision != "auto":
            return self
        if bfloat16_pays(device):
            return replace(self, precision="bfloat16")
        return replace(self, precision="float16" if device.type == "cuda" else "float32")

    def place(self, device: torch.device, ranks: int) -> dict[str, object]:
        """What a run's config says of where it ran."""
        gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
        threads = self.threads or torch.get_num_threads()
        return {"device": str(device), "gpu": gpu, "threads": threads, "ranks": ranks}

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """PyTorch's threads and choice of algorithms as the recipe has them, for a while."""
        threads = torch.get_num_threads()
        strict = torch.are_deterministic_algorithms_enabled()
        cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        if self.deterministic:
            environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
            torch.use_deterministic_algorithms(True)
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn


def bfloat16_pays(device: torch.device) -> bool:
    """Whether this device has arithmetic for bfloat16; elsewhere it is emulated, and slow."""
    if device.type == "cuda":
        with torch.cuda.device(device):  # it is asked of the current one
            return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("amx_bf16") or able.get("avx512_bf16"))
