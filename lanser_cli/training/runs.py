"""Run folders: what a training run leaves behind, and a model from it.

config.json          verb, arguments, versions, architecture with label set and front-end
model.safetensors    weights
metrics.jsonl        one line a logging step
checkpoints/         the last two states for an exact resume, while it trains
.lock                which process trains here
predictions.jsonl    where the verb predicts
validation.jsonl     the same of the utterances kept for validation, if any
unread.txt           which utterances could not be read in training, if any
heard.npy            what was heard, by the model it started from as well
fold-1/ ...          cross-validation: a run folder for each fold
seed-0/ ...          several seeds: a run folder for each
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanser_cli.devices import Ranks
from lanser_cli.errors import LanserError, UsageError, first_line
from lanser_cli.lock import FolderLock
from lanser_cli.origin import check_same
from lanser_cli.output import commit, write_json, write_whole
from lanser_cli.provenance import command_line, versions
from lanser_cli.shape import check_shape, read_json
from lanser_cli.training.config import ARCHITECTURE, CONFIG
from lanser_cli.training.identity import SIDES

if TYPE_CHECKING:
    from lanser_cli.models.classifier import Architecture, SpeechClassifier
    from lanser_cli.training.checkpoints import Checkpoints


SCHEMA = 1


class RunFolder:
    """A run folder being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: FolderLock | None = None

    @property
    def checkpoints(self) -> Checkpoints:
        from lanser_cli.training.checkpoints import Checkpoints

        return Checkpoints(self.path / "checkpoints")

    def create(self, *, resume: bool) -> None:
        """Make the folder, and lock it for as long as this object lives.

        Raises:
            UsageError: it holds a run already and `resume` is off.
            LanserError: it cannot be made, or another process trains into it.
        """
        if not resume:
            self.check_new()
        try:
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
            if self._lock is None and Ranks.from_environment().leads:
                self._lock = FolderLock(self.path)
        except OSError as error:
            raise LanserError(f"{self.path}: cannot be made: {error.strerror}") from None

    def check_new(self) -> None:
        """Before a run begins.

        Raises:
            UsageError: this folder holds one already.
            LanserError: it cannot be made.
        """
        if (self.path / "config.json").exists():
            raise UsageError(f"{self.path} holds a run already: go on with --resume, or remove it")
        above = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        if not above.is_dir():
            raise LanserError(f"{self.path}: cannot be made: {above} is no folder")
        if not os.access(above, os.W_OK | os.X_OK):
            raise LanserError(f"{self.path}: cannot be made: {above} cannot be written to")

    def check_same(self, now: Mapping[str, str]) -> None:
        """Before a run is resumed: refuse if the one in this folder is another.

        Args:
            now: as `identity` gives it.

        Raises:
            UsageError: it is; the message names what differs.
        """
        if (self.path / "config.json").exists():
            made = read_config(self.path).get("identity") or {}
            known = {name: now[name] for name in now if name in made or name != SIDES}
            check_same(made, known, str(self.path))

    @property
    def finished(self) -> bool:
        return (self.path / "model.safetensors").exists()

    def write_config(self, verb: str, architecture: Architecture, **details: Any) -> None:
        config = {
            "schema": SCHEMA,
            "verb": verb,
            "argv": command_line(),
            "versions": versions(),
            "architecture": asdict(architecture),
            **details,
        }
        write_json(self.path / "config.json", config)

    def write_model(self, model: SpeechClassifier) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        from lanser_cli.training.finite import check_finite

        partial = self.path / "model.safetensors.part"
        check_finite(model.state_dict(), str(self.path))
        tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        try:
            save_file(tensors, partial)
        except SafetensorError as error:
            partial.unlink(missing_ok=True)
            raise LanserError(
                f"{partial}: cannot be written ({error}): make room, then go on with --resume"
            ) from None
        commit(partial, self.path / "model.safetensors")

    def write_unread(self, ids: Sequence[str]) -> None:
        """Keep which utterances could not be read in training, if any: their ids, line by line."""
        if ids:
            write_whole(self.path / "unread.txt", "".join(f"{name}\n" for name in ids))

    @property
    def unread(self) -> list[str]:
        """The ids of the utterances that could not be read in training."""
        path = self.path / "unread.txt"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def log(self, numbers: Mapping[str, float]) -> None:
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(dict(numbers), allow_nan=False) + "\n")

    def cut_log(self, step: int) -> None:
        """Drop log lines behind a step that a resumed run starts from."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        kept = [line for line in lines if _step_of(line) <= step]
        write_whole(path, "".join(line + "\n" for line in kept))


def _step_of(line: str) -> float:
    """The step of a line of metrics.jsonl; of one that is torn or damaged, behind all steps."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return math.inf


def read_config(folder: Path) -> dict[str, Any]:
    """The config of a run folder.

    Raises:
        LanserError: it is none, of a newer schema, or a key in it is not what it must be.
    """
    path = folder / "config.json"
    if not folder.exists():
        raise LanserError(f"{folder}: there is no such run folder")
    if folder.is_file():
        raise LanserError(
            f"{folder}: a file and no run folder: name the folder that pretrain or finetune made"
        )
    if not path.is_file():
        raise LanserError(f"{folder}: not a run folder: there is no config.json in it")
    return read_json(path, "the config of a run", CONFIG, SCHEMA)


def use_of_labels(folder: Path) -> tuple[str, float]:
    """What a run started from, and the fraction of the labels it used."""
    config = read_config(folder)
    fraction = (config.get("protocol") or {}).get("fraction") or 1.0
    return config.get("init") or "from scratch", fraction


def model_folders(folder: Path) -> list[Path]:
    """The folders with weights: this one, or those of its folds and seeds.

    Raises:
        LanserError: no finished model, or not all that the run is to have.
    """
    config = read_config(folder)
    wanted = config.get("models") or ()
    if (folder / "model.safetensors").exists():
        return [folder]
    folds = sorted(folder.glob("fold-*/model.safetensors"))
    folds += sorted(folder.glob("seed-*/fold-*/model.safetensors"))
    if not folds and config.get("architecture") is None:
        made = f"lanser {config['verb']}" if config.get("verb") else "something else"
        raise LanserError(
            f"{folder}: there is no network in what {made} made: name a run of pretrain or finetune"
        )
    if not folds:
        raise LanserError(f"{folder}: no model.safetensors: the run is not finished (--resume)")
    if missing := [name for name in wanted if not RunFolder(folder / name).finished]:
        raise LanserError(
            f"{folder}: the run is not finished: there is no model in {', '.join(missing)}: go on "
            f"with --resume, or name one that is there, such as {folds[0].parent}"
        )
    return [path.parent for path in folds]


def one_model(folder: Path, option: str) -> Path:
    """The one folder with weights that an option names.

    Raises:
        UsageError: the run has several, one a fold; the message names them.
        LanserError: no finished model.
    """
    found = model_folders(folder)
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found)
        raise UsageError(
            f"{option} {folder}: this run has a model for each of its folds ({names}): name one, "
            f"such as {option} {found[0]}"
        )
    return found[0]


def read_architecture(folder: Path) -> Architecture:
    """The architecture in a run folder's config.

    Raises:
        LanserError: there is none that can be built.
    """
    from lanser_cli.models.classifier import Architecture
    from lanser_cli.models.front_end import FrontEnd

    given = read_config(folder).get("architecture")
    try:
        check_shape(given, ARCHITECTURE, "architecture")
        value = {key: found for key, found in dict(given or {}).items() if found is not None}
        settings = value.pop("front_end").items()
        front_end = FrontEnd(**{key: found for key, found in settings if found is not None})
        labels = tuple(value.pop("labels"))
        if front_end.low_hz >= front_end.high_hz:
            raise ValueError("'architecture.front_end.low_hz' must be below 'high_hz'")
        return Architecture(labels=labels, front_end=front_end, **value)
    except (ValueError, TypeError) as error:  # TypeError: a key that there is none of
        raise LanserError(f"{folder}/config.json: no usable architecture: {error}") from None


def load_model(folder: Path, device: str = "cpu") -> SpeechClassifier:
    """Rebuild a model from its run folder alone, in evaluation mode.

    Raises:
        LanserError: not a run folder, or its weights are damaged or do not fit its config.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from lanser_cli.models.classifier import SpeechClassifier

    model, path = SpeechClassifier(read_architecture(folder)), folder / "model.safetensors"
    try:
        model.load_state_dict(load_file(path, device="cpu"))
    except (SafetensorError, OSError) as error:
        raise LanserError(
            f"{path}: is damaged ({error}): copy it again from where it is whole, or train again"
        ) from None
    except RuntimeError as error:
        raise LanserError(
            f"{path} does not fit the config next to it: {first_line(error)}"
        ) from error
    return model.to(device).eval()


def transfer(model: SpeechClassifier, folder: Path, shrink: float = 0.0) -> None:
    """Copy front-end statistics and backbone from a run folder; the classifier stays fresh.

    Args:
        shrink: the share of the model's own in each weight of the backbone, 0..1; what its norms
            have counted is copied whole.

    Raises:
        LanserError: another architecture or front-end.
    """
    source = load_model(one_model(folder, "--init"))
    theirs, ours = source.architecture, model.architecture
    if (theirs.name, theirs.front_end) != (ours.name, ours.front_end):
        raise LanserError(f"{folder}: is a {theirs.name} with another front-end than {ours.name}")
    weights = {
        name: tensor
        for name, tensor in source.state_dict().items()
        if not name.startswith("backbone.fc.")
    }
    for name, own in model.named_parameters():
        if name in weights:
            weights[name] = weights[name].lerp(own.detach(), shrink)
    model.load_state_dict(weights, strict=False)
