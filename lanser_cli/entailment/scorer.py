"""The pair scorer: how much a premise entails a hypothesis, by any transformers NLI model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanser_cli.errors import LanserError, UsageError
from lanser_cli.hub import loading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EMBEDDED = "embedded"
"""The small cross-encoder that ships in the package."""

_EMBEDDED_FOLDER = Path(__file__).parent / "embedded"


class PairScorer:
    """A sequence-classification model with an entailment class.

    Args:
        model: hub id, folder, or `embedded`.
        device: a torch device. CUDA computes in bfloat16, the CPU in float32.
        entailment_label: the name of the entailment class, where the model does not tell.
        token_budget: padded tokens in a batch.

    Raises:
        LanserError: the model cannot be had.
        UsageError: it has no class that is plainly the entailment class.
    """

    def __init__(
        self,
        model: str = EMBEDDED,
        *,
        device: str = "cpu",
        entailment_label: str | None = None,
        token_budget: int = 4096,
    ) -> None:
        import torch
        import transformers

        folder = str(_EMBEDDED_FOLDER) if model == EMBEDDED else model
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        with loading(folder, f"--model {EMBEDDED}"):
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
            self._model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=dtype
            )
        self._model.to(device).eval()
        self._entailment = entailment_index(
            self._model.config.label2id, self._model.config.id2label, model, entailment_label
        )
        limits = [
            self._tokenizer.model_max_length,
            getattr(self._model.config, "max_position_embeddings", 512) or 512,
            512,
        ]
        self._max_tokens = min(limits)
        if getattr(self._model.config, "model_type", "") in ("roberta", "xlm-roberta"):
            # RoBERTa counts positions from padding_idx + 1, so two of its 514 are never used.
            self._max_tokens = min(self._max_tokens, self._model.config.max_position_embeddings - 2)
        self._budget = token_budget
        self.name = model

    def score(self, premises: Sequence[str], hypotheses: Sequence[str]) -> NDArray[np.float32]:
        """Log-odds of entailment, `log p(entailment) - log p(not)`, for every premise x hypothesis.

        A premise too long for the model is truncated, a hypothesis never.

        Returns:
            float32 `[premises, hypotheses]`.
        """
        import numpy as np
        import torch

        pairs = [(premise, hypothesis) for premise in premises for hypothesis in hypotheses]
        if not pairs:
            return np.empty((len(premises), len(hypotheses)), np.float32)
        encoded = self._tokenizer(
            [premise for premise, _ in pairs],
            [hypothesis for _, hypothesis in pairs],
            truncation="only_first",
            max_length=self._max_tokens,
        )
        lengths = [len(tokens) for tokens in encoded["input_ids"]]
        scores = np.empty(len(pairs), np.float32)
        with torch.inference_mode():
            for batch in self._batches(lengths):
                inputs = self._tokenizer.pad(
                    {key: [values[index] for index in batch] for key, values in encoded.items()},
                    return_tensors="pt",
                ).to(self._model.device)
                logits = self._model(**inputs).logits.float()
                others = torch.cat(
                    [logits[:, : self._entailment], logits[:, self._entailment + 1 :]], dim=1
                )
                odds = logits[:, self._entailment] - torch.logsumexp(others, dim=1)
                scores[batch] = odds.cpu().numpy()
        if not np.isfinite(scores).all():
            raise LanserError(f"model '{self.name}' gave NaN scores: try --device cpu")
        return scores.reshape(len(premises), len(hypotheses))

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Indices sorted by length, cut so that a padded batch keeps within the token budget."""
        batch: list[int] = []
        for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
            if batch and (len(batch) + 1) * lengths[index] > self._budget:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch


def entailment_index(
    label2id: Mapping[str, int] | None,
    id2label: Mapping[int, str] | None,
    model: str,
    entailment_label: str | None = None,
) -> int:
    """The index of the entailment class, from the model's own names; never a guess.

    Case does not matter. "not_entailment" and its like are not entailment.

    Raises:
        UsageError: none or several fit; the message lists the labels and names the option.
    """
    names = {int(index): str(name) for index, name in (id2label or {}).items()}
    for name, index in (label2id or {}).items():
        names.setdefault(int(index), str(name))
    listed = ", ".join(f"{index}: {name}" for index, name in sorted(names.items()))
    if entailment_label is not None:
        fitting = [i for i, name in names.items() if name.lower() == entailment_label.lower()]
        wish = f"a class called '{entailment_label}'"
    else:
        fitting = [i for i, name in names.items() if _says_entailment(name)]
        wish = "a class that is plainly entailment"
    if len(fitting) != 1 or len(names) < 2:
        raise UsageError(
            f"model '{model}' does not have {wish} (its classes: {listed}): "
            "name the class with --entailment-label"
        )
    return fitting[0]


def _says_entailment(name: str) -> bool:
    word = name.lower().replace("-", "_").replace(" ", "_")
    return word.startswith("entail") or word == "is_entailed"
