"""The GLiClass scorer: one pass of such a model scores all hypotheses of a set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lanser_cli.digests import string64
from lanser_cli.entailment.scorer import EMBEDDED, model_digest, positions
from lanser_cli.errors import LanserError, UsageError, require
from lanser_cli.models.hub import loading

PREFIX = "gliclass:"
"""Of the name of a model: `gliclass:ID`, a hub id or a folder."""

_BATCH = 16


class GliclassScorer:
    """A uni-encoder of GLiClass, behind the protocol of scorers.

    The text and all hypotheses of a set are one input, so a score depends on the whole set.

    Args:
        name: `gliclass:ID`.
        sets: the hypotheses that are read together.
        device: a torch device.

    Raises:
        LanserError: the library or the model cannot be had.
        UsageError: it is a model of another kind, or the hypotheses leave no room for a text.
    """

    precision = "float32"

    def __init__(self, name: str, sets: Sequence[Sequence[str]], *, device: str = "cpu") -> None:
        require("gliclass", "gliclass")
        import torch
        from gliclass import GLiClassModel
        from gliclass.pipeline import UniEncoderZeroShotClassificationPipeline
        from transformers import AutoTokenizer

        self.name, self._folder = name, name.removeprefix(PREFIX)
        self._sets = [tuple(each) for each in sets]
        with loading(self._folder, f"--model {EMBEDDED}"):
            _check(self._folder, name)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(self._folder)
            model: Any = GLiClassModel.from_pretrained(self._folder, dtype=torch.float32)
        limit = min(self._tokenizer.model_max_length, positions(model.model.encoder_model), 1024)
        self._pipeline: Any = UniEncoderZeroShotClassificationPipeline(
            model, self._tokenizer, max_length=limit, device=device, progress_bar=False
        )
        self._room = {options: limit - self._length(options) for options in self._sets}
        if min(self._room.values()) <= 0:
            raise UsageError(
                f"the hypotheses are too long: with them model '{name}', which reads {limit} "
                "tokens, has no room for a transcript: use fewer labels or a shorter template"
            )

    @property
    def fingerprint(self) -> str:
        """Of the contents of the model's files, and of the sets."""
        return f"gliclass {model_digest(self._folder)}/{string64(repr(self._sets)):016x}"

    def score(
        self,
        premises: Sequence[str],
        hypotheses: Sequence[str],
        wanted: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """As of every scorer; those of a set are scored together, wanted or not.

        A premise too long for the model is cut at its end.

        Raises:
            LanserError: the model gives NaN.
        """
        scores = np.full((len(premises), len(hypotheses)), np.nan, np.float32)
        column_of = {hypothesis: column for column, hypothesis in enumerate(hypotheses)}
        order = sorted(range(len(premises)), key=lambda row: len(premises[row]))
        for options in self._sets:
            places = [place for place, option in enumerate(options) if option in column_of]
            columns = [column_of[options[place]] for place in places]
            for start in range(0, len(order) if places else 0, _BATCH):
                rows = order[start : start + _BATCH]
                texts = [self._cut(premises[row], self._room[options]) for row in rows]
                scores[np.ix_(rows, columns)] = self._odds(texts, options)[:, places]
        return scores if wanted is None else np.where(wanted, scores, np.float32(np.nan))

    def fault(self, premise: str) -> str | None:
        return None

    def truncates(self, premises: Sequence[str], hypotheses: Sequence[str]) -> list[bool]:
        room = min(self._room.values())
        return [len(self.tokens(premise)) > room for premise in premises]

    def knows(self, text: str) -> bool:
        tokens = self.tokens(text)
        return 2 * tokens.count(self._tokenizer.unk_token_id) <= len(tokens)

    def tokens(self, text: str) -> list[int]:
        found: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def _length(self, options: Sequence[str]) -> int:
        return len(self._tokenizer(self._pipeline.prepare_input("", options))["input_ids"])

    def _cut(self, text: str, room: int) -> str:
        """As much of the text as fits, since the library would cut the hypotheses behind it."""
        ends = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        offsets: list[tuple[int, int]] = ends["offset_mapping"]
        return text if len(offsets) <= room else text[: offsets[room - 1][1]]

    def _odds(self, texts: Sequence[str], options: Sequence[str]) -> NDArray[np.float32]:
        """Log-odds `[texts, options]`: what the library puts through a sigmoid."""
        import torch

        inputs = self._pipeline.prepare_inputs(texts, options, same_labels=True)
        with torch.inference_mode():
            logits = self._pipeline.model(**inputs, max_num_classes=len(options)).logits
        found: NDArray[np.float32] = logits[:, : len(options)].float().cpu().numpy()
        if not np.isfinite(found).all():
            raise LanserError(f"model '{self.name}' gave NaN scores: use another model")
        return found


def _check(folder: str, name: str) -> None:
    """Refuse what is not a uni-encoder of a kind that transformers has.

    Of other kinds the library would run code from the hub, or load a second model by its name.
    """
    from transformers import PreTrainedConfig
    from transformers.models.auto import CONFIG_MAPPING

    config, _ = PreTrainedConfig.get_config_dict(folder)
    inner = config.get("encoder_config")
    kind = inner.get("model_type", "deberta-v2") if isinstance(inner, dict) else None
    if config.get("architecture_type") != "uni-encoder" or kind not in CONFIG_MAPPING:
        raise UsageError(f"model '{name}' is not a uni-encoder of GLiClass: use another model")
