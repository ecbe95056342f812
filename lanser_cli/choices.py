"""What an option can be, where there are few choices.

Types, so that a wrong word is refused, with the choices named, before anything heavy is imported.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, TypeAlias

Segmenting: TypeAlias = Literal["none", "vad", "fixed"]
"""How recordings are cut: not at all, at pauses, by the clock."""

Channel: TypeAlias = Literal["mix", "left", "right", "each"]
"""Which channel of a recording is heard: their mean, the first, the second, each as a record."""

ScoringPrecision: TypeAlias = Literal["auto", "float32", "bfloat16", "int8"]
"""What an entailment model computes in."""

HearingPrecision: TypeAlias = Literal["auto", "float32", "int8"]
"""What an ASR model computes in."""

Calibration: TypeAlias = Literal["none", "null", "batch"]
"""What is subtracted from a label's score: nothing, its mean over everyday talk, or the input."""

LlmMode: TypeAlias = Literal["pair", "choice"]
"""What a language model is asked: yes or no to each label, or the letter of one of all."""

Codec: TypeAlias = Literal["flac", "opus"]
"""flac keeps 16 bits of every sample; opus (in Ogg) is smaller and lossy."""

SplitBy: TypeAlias = Literal["speaker", "recording", "record"]
"""What is never in two splits."""


class Check(str, Enum):
    """What an audit compares. An enum, since an option that repeats takes no Literal."""

    ID = "id"
    SPEAKER = "speaker"
    SENTENCE = "sentence"
    TEXT = "text"
    AUDIO = "audio"
    FINGERPRINT = "fingerprint"


Targets: TypeAlias = Literal["hard", "soft"]
"""The weak label alone, or the probabilities of all labels."""

Control: TypeAlias = Literal["none", "shuffled", "prior", "clusters", "sentiment", "gold"]
"""What takes the place of the weak label: nothing, or what says less, or more, than it does."""

TrainingPrecision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
"""What a network trains in."""

ClassWeights: TypeAlias = Literal["none", "sqrt", "balanced"]
"""How much more rare classes count: not at all, or by one over the (root of) their frequency."""

Normalising: TypeAlias = Literal["none", "utterance", "speaker"]
"""Whose mean and deviation each band of log-mel is freed of, besides those of the training data."""

Probe: TypeAlias = Literal["ridge", "mlp"]
"""What reads a target off a representation: a weighted sum, or one hidden layer."""

Perturbing: TypeAlias = Literal["gain", "noise", "telephone"]
"""How sound is changed to see what a model bears."""

Removing: TypeAlias = Literal["none", "batch"]
"""What is taken from a trained model's answers: nothing, or their mean over the input."""

Scaling: TypeAlias = Literal["none", "speaker"]
"""Whether features are brought to one mean and spread for each speaker, test speakers too."""

Toolkit: TypeAlias = Literal["lhotse", "nemo", "hf"]
"""Whose manifest lines are written: lhotse's cuts, NeMo's, or Hugging Face's metadata.jsonl."""

Exporting: TypeAlias = Literal["onnx", "torch"]
"""What a trained model becomes: ONNX, or a program of torch.export."""

Stratifying: TypeAlias = Literal["label", "disagreement", "margin"]
"""What puts records into strata: the weak label, how many answers voters gave, its margin."""
