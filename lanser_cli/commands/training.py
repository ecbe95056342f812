"""The options of verbs that train and test a model, worded once."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from lanser_cli import choices
from lanser_cli.commands import completion
from lanser_cli.commands.groups import MODEL, OUTPUT, RUNNING, SOUND, TEST, TRAINING
from lanser_cli.errors import UsageError, missing_extra
from lanser_cli.models.architectures import architectures_in_words


def _tensorboard(value: bool) -> bool:
    if value and find_spec("tensorboard") is None:
        raise missing_extra("tensorboard", "tensorboard")
    return value


RunOutput = Annotated[
    Path, OUTPUT.option("-o", "--output", help="Run folder to make.", metavar="RUN")
]


_ARCHITECTURE = MODEL.option(
    autocompletion=completion.architecture, help=f"{architectures_in_words()}."
)


Architecture = Annotated[str, _ARCHITECTURE]
ArchitectureOrInit = Annotated[str | None, _ARCHITECTURE]


BatchSize = Annotated[int, TRAINING.option(min=1, help="Utterances a step, on each device.")]


Steps = Annotated[
    int | None,
    TRAINING.option(min=1, help="Optimizer steps in all, instead of --epochs: alike for any data."),
]


LearningRate = Annotated[float, TRAINING.option(min=0.0, help="Peak learning rate of AdamW.")]


Mixup = Annotated[float, SOUND.option(min=0.0, help="Alpha of mixup; 0 for none.")]


_CROP = SOUND.option(min=0.1, max=600, help="Seconds of sound seen at once.")


Crop = Annotated[float, _CROP]
CropOrInit = Annotated[float | None, _CROP]


Precision = Annotated[
    choices.TrainingPrecision, TRAINING.option(help="Numeric precision of training.")
]


LoaderWorkers = Annotated[
    int, RUNNING.option(min=0, help="Decoding processes; 0 decodes in the training process.")
]


CheckpointEvery = Annotated[int, RUNNING.option(min=1, help="Steps between checkpoints.")]


CheckpointMinutes = Annotated[
    float, RUNNING.option(min=0.0, help="Minutes after which there is a checkpoint too.")
]


Accumulate = Annotated[
    int, TRAINING.option(min=1, help="Batches whose gradients add up to one step.")
]


WeightDecay = Annotated[
    float, TRAINING.option(min=0.0, help="Weight decay of AdamW; norms and biases have none.")
]


LabelSmoothing = Annotated[
    float, TRAINING.option(min=0.0, max=1.0, help="Share of a target spread over all labels.")
]


ClassWeights = Annotated[
    choices.ClassWeights,
    TRAINING.option(help="Rare classes count more: by one over their frequency, or its root."),
]


GainDb = Annotated[
    float, SOUND.option(min=0.0, max=60.0, help="Make each crop up to this much louder or softer.")
]


NoiseDb = Annotated[
    str | None,
    SOUND.option(metavar="LOW..HIGH", help="White noise so many dB below each crop: 10..40."),
]


Tempo = Annotated[
    float,
    SOUND.option(
        min=0.0, max=0.5, help="Make each crop up to this share faster or slower, at its pitch."
    ),
]


Trim = Annotated[
    bool, SOUND.option("--trim", help="Leave out silence at both ends, also when the run is used.")
]


_NORMALISE = SOUND.option(
    help="Normalise log-mel by mean and deviation, also when the run is used: of each utterance, "
    "or of all of a speaker's sound (transductive: test speakers' too)."
)


Normalise = Annotated[choices.Normalising, _NORMALISE]
NormaliseOrInit = Annotated[choices.Normalising | None, _NORMALISE]


Compile = Annotated[bool, RUNNING.option("--compile", help="Compile the network, on a GPU.")]


Deterministic = Annotated[
    bool, RUNNING.option("--deterministic", help="Only algorithms with the same bits each time.")
]


TensorBoard = Annotated[
    bool,
    OUTPUT.option(
        "--tensorboard",
        callback=_tensorboard,
        help="Write events for TensorBoard into the run folder.",
    ),
]


Folds = Annotated[
    int | None,
    TEST.option(
        not_with="--test",
        min=0,
        help="Folds; default the records' own, else 5. 0: train on all, no test.",
    ),
]


Group = Annotated[
    str,
    TEST.option(
        metavar="KEY,...", help="Keys whose values are never in training and test at once."
    ),
]


Test = Annotated[
    str | None,
    TEST.option(metavar="KEY=A,B", help="One hold-out instead of folds: speaker=09,10."),
]


StandardProtocol = Annotated[
    str | None,
    TEST.option(
        metavar="NAME",
        autocompletion=completion.protocol,
        help="A standard protocol, such as emodb-7-loso, in place of these three; a wrong name "
        "lists all.",
    ),
]


Fraction = Annotated[
    float, TEST.option(min=0.0, max=1.0, help="Share of the training labels to use, above 0.")
]


_SUBSET_SEED = "Seed of the choice of a share of the labels."


SubsetSeed = Annotated[int, TEST.option(only_with=("--fraction",), help=_SUBSET_SEED)]
SubsetSeedOfCurve = Annotated[int, TEST.option(help=_SUBSET_SEED)]


Shrink = Annotated[
    float,
    MODEL.option(
        only_with=("--init",),
        min=0.0,
        max=1.0,
        help="Share of fresh weights mixed into those of --init: 0 takes these whole.",
    ),
]


AllowSeen = Annotated[
    bool,
    TEST.option(
        "--allow-seen",
        only_with=("--init",),
        help="Test also on what --init has heard; reports say so.",
    ),
]


def length(
    epochs: int | None, steps: int | None, default: tuple[int | None, int | None]
) -> tuple[int | None, int | None]:
    """Epochs and steps to train for at least: the verb's own where neither option says it.

    Raises:
        UsageError: both do.
    """
    if epochs is not None and steps is not None:
        raise UsageError("say how long to train by --epochs or by --steps, not by both")
    return default if (epochs, steps) == (None, None) else (epochs, steps)
