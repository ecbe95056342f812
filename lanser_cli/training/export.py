"""The verb export: a run folder to one file for other programs, sound in, probabilities out."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lanser_cli import __version__
from lanser_cli.audio.sound import SAMPLE_RATE
from lanser_cli.choices import Exporting
from lanser_cli.destination import check_writable, is_stream, places
from lanser_cli.digests import file_sha256
from lanser_cli.errors import LanserError, UsageError, already_there, require
from lanser_cli.models.portable import Portable
from lanser_cli.output import commit
from lanser_cli.training import runs
from lanser_cli.training.predict import Predictor
from lanser_cli.training.speakers import by_speaker

_SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
_MOST_BYTES = 2_000_000_000
"""Of an ONNX file, which is one message of Protocol Buffers."""

TOLERANCE = 1e-5
"""How far a probability may be from that of `predict`."""


def export(run: Path, to: Exporting, output: Path, *, force: bool = False) -> dict[str, Any]:
    """Write the network of a run, or the mean of its folds' networks, as `Portable`.

    The file is tried before it appears: a batch of three lengths gives what `predict` answers.

    Args:
        output: NAME.onnx, or NAME.pt2 for torch.
        force: whether it may be overwritten.

    Returns:
        What was made, and by how much its probabilities differ from those of `predict`.

    Raises:
        UsageError: the run normalises by speaker; or there is no such output.
        LanserError: not a finished run; the extra `export` is missing; or the file answers
            otherwise.
    """
    _check(output, to, force)
    folders = runs.model_folders(run)
    architecture = runs.read_architecture(folders[0])
    if by_speaker(architecture):
        raise UsageError(
            f"{run} was trained with --normalise speaker: it must be told the levels of who "
            "speaks, over all of their sound, which no model of one clip knows: use lanser predict"
        )
    weights = [folder / "model.safetensors" for folder in folders]
    if to == "onnx":
        _check_onnx(run, sum(path.stat().st_size for path in weights))
    predictor = Predictor([runs.load_model(folder) for folder in folders])
    sounds = _sounds(round(architecture.crop_seconds * SAMPLE_RATE))
    wanted, _ = predictor.answers(sounds)
    about = {
        "labels": list(architecture.labels),
        "sample_rate": SAMPLE_RATE,
        "lanser": __version__,
        "weights": [file_sha256(path) for path in weights],
    }
    portable = Portable([runs.load_model(folder) for folder in folders]).eval()
    final, partial = places(output)
    write = _write_onnx if to == "onnx" else _write_torch
    try:
        with _silent():
            answer = write(portable, partial, about)
            lengths = torch.tensor([len(sound) for sound in sounds])
            found = answer(nn.utils.rnn.pad_sequence(sounds, batch_first=True), lengths)
        difference = float((found - wanted).abs().max())
        if not difference <= TOLERANCE:
            raise LanserError(
                f"{output}: answers otherwise than {run}, by {difference:.1e}: it is not written; "
                "this is an error in lanser, please report it"
            )
        commit(partial, final)
    finally:
        partial.unlink(missing_ok=True)
    return {"file": str(output), "run": str(run), "models": len(folders), **about} | {
        "difference": round(difference, 9)
    }


def _check(output: Path, to: Exporting, force: bool) -> None:
    suffix = _SUFFIXES[to]
    if output.suffix != suffix or is_stream(output):
        raise UsageError(f"export --to {to} needs -o NAME{suffix}, a file that it makes")
    check_writable(output)
    if output.exists() and not force:
        raise already_there(output)


def _check_onnx(run: Path, size: int) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, "export")
    if size > _MOST_BYTES:
        raise UsageError(
            f"{run}: {size / 1e9:.1f} GB of weights, and an ONNX file holds 2 GB: name one of its "
            "folds, or take --to torch"
        )


def _sounds(crop: int) -> list[Tensor]:
    """Noise that swells: less than a crop, a crop and a bit, and several, with silence around."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for count in (crop // 2 + 1, crop + 1, 3 * crop + 7):
        swell = torch.linspace(0, torch.pi, count).sin()
        found.append(0.1 * swell * torch.randn(count, generator=generator))
    return found


@contextmanager
def _silent() -> Iterator[None]:
    """Exporters warn of each other's ways, which are none of the user's."""
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")
        yield


def _program(portable: Portable) -> torch.export.ExportedProgram:
    size = portable.size
    example = (torch.zeros(2, 2 * size), torch.tensor([2 * size, size // 2]))
    dynamic = torch.export.Dim.DYNAMIC
    shapes = {"sound": {0: dynamic, 1: dynamic}, "lengths": {0: dynamic}}
    return torch.export.export(portable, example, dynamic_shapes=shapes)


Answer = Callable[[Tensor, Tensor], Tensor]


def _write_torch(portable: Portable, path: Path, about: dict[str, Any]) -> Answer:
    program = _program(portable)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    with path.open("wb") as stream:  # not its name, which torch wants to end in .pt2
        torch.export.save(program, stream, extra_files={"lanser.json": json.dumps(about)})
    with path.open("rb") as stream:
        return torch.export.load(stream).module()


def _write_onnx(portable: Portable, path: Path, about: dict[str, Any]) -> Answer:
    import onnxruntime

    made = torch.onnx.export(
        _program(portable),
        input_names=["sound", "lengths"],
        output_names=["probabilities"],
        verbose=False,
    )
    made.model.metadata_props.update(
        {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in about.items()
        }
    )
    for node in made.model.graph:
        node.metadata_props.clear()  # which lines of whose files made it
    made.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda sound, lengths: torch.from_numpy(
        session.run(None, {"sound": sound.numpy(), "lengths": lengths.numpy()})[0]
    )
