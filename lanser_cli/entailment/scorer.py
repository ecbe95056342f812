"""The pair scorer: how much a premise entails a hypothesis, by any transformers NLI model."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from lanser_cli import console
from lanser_cli.choices import ScoringPrecision
from lanser_cli.entailment.pairs import PairEncoder
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.models.hub import loading

if TYPE_CHECKING:
    import torch

EMBEDDED = "embedded"
"""The small cross-encoder that ships in the package."""

EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
_WORD = 100
"""Characters of a word; of a longer one WordPiece makes a single unknown token."""

_MODEL_FILES = {".json", ".txt", ".model", ".safetensors", ".bin"}


class PairScorer:
    """A sequence-classification model with an entailment class.

    Args:
        model: hub id, folder, or `embedded`.
        device: a torch device.
        precision: float32, bfloat16, int8 (linear maps, on a CPU), or auto: bfloat16 on CUDA,
            else float32. A model that gives NaN in another precision than float32 is run in
            float32, and this is said once.
        entailment_label: the name of the entailment class, where the model does not tell.
        token_budget: tokens in a batch, padding included; default: what suits the device.

    Raises:
        LanserError: the model cannot be had.
        UsageError: it has no class that is plainly the entailment class, or there is no such
            precision on this device.
    """

    def __init__(
        self,
        model: str = EMBEDDED,
        *,
        device: str = "cpu",
        precision: ScoringPrecision = "auto",
        entailment_label: str | None = None,
        token_budget: int | None = None,
    ) -> None:
        import transformers

        self.name = model
        self._folder = str(EMBEDDED_FOLDER) if model == EMBEDDED else model
        self._device = device
        on_cuda = device.startswith("cuda")
        if precision not in get_args(ScoringPrecision):
            choices = ", ".join(get_args(ScoringPrecision))
            raise UsageError(f"--precision '{precision}': choose from {choices}")
        if precision == "int8" and on_cuda:
            raise UsageError("--precision int8 is for CPUs: take bfloat16 on a GPU")
        self.precision: str = precision
        if precision == "auto":
            self.precision = "bfloat16" if on_cuda else "float32"
        # On CUDA small batches leave most of the card idle, so lengths are mixed until a batch is
        # large enough; on a CPU padding costs more than a small batch does.
        self._budget = token_budget or (65_536 if on_cuda else 2048)
        self._enough = min(self._budget, 8192 if on_cuda else 1)
        with loading(self._folder, f"--model {EMBEDDED}"):
            config = transformers.AutoConfig.from_pretrained(self._folder)
            tokenizer = transformers.AutoTokenizer.from_pretrained(self._folder)
        self._model_type: str = config.model_type
        self._entailment = entailment_index(
            config.label2id, config.id2label, model, entailment_label
        )
        self._load()
        limits = (tokenizer.model_max_length, positions(self._model), 512)
        self._pairs = PairEncoder(tokenizer, min(limits), model)
        self._padding = (tokenizer.pad_token_id or 0, tokenizer.padding_side)
        if self.precision != "float32":
            self.score(["One pair tells whether the model gives NaN."], ["It does not."])

    @property
    def fingerprint(self) -> str:
        """Scorers that have it in common give the same scores; of the model's files' contents."""
        return f"{self._digest}/{self.precision}/{self._entailment}"

    def score(
        self,
        premises: Sequence[str],
        hypotheses: Sequence[str],
        wanted: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.float32]:
        """Log-odds of entailment, `log p(entailment) - log p(not)`, for every premise x hypothesis.

        A premise too long for the model is truncated, a hypothesis never.

        Args:
            wanted: `[premises, hypotheses]`; pairs for which it is false are not scored.

        Returns:
            float32 `[premises, hypotheses]`; NaN where not wanted.

        Raises:
            LanserError: the model gives NaN, in float32 as well.
            UsageError: a hypothesis is too long for the model.
        """
        import torch

        scores = np.full((len(premises), len(hypotheses)), np.nan, np.float32)
        rows, columns = np.nonzero(np.ones_like(scores) if wanted is None else wanted)
        if not len(rows):
            return scores
        heads, tails = self._pairs.heads(premises), self._pairs.tails(hypotheses)
        tail_lengths = np.array([len(tail) for tail in tails])[columns]
        room = self._pairs.limit - tail_lengths
        cuts = np.minimum(np.array([len(head) for head in heads])[rows], room)
        lengths = cuts + tail_lengths
        order = np.argsort(lengths, kind="stable")
        odds = []
        with torch.inference_mode():
            for batch in self._batches(lengths[order]):
                pairs = [(heads[rows[i]][: cuts[i]], tails[columns[i]]) for i in order[batch]]
                odds.append(self._within_memory(pairs))
            found = torch.cat(odds).cpu().numpy()
        if not np.isfinite(found).all():
            if self.precision == "float32":
                raise LanserError(f"model '{self.name}' gave NaN scores: use another model")
            console.warn(
                f"model '{self.name}' gives NaN in {self.precision}, so it is run in float32"
            )
            self.precision = "float32"
            self._load()
            return self.score(premises, hypotheses, wanted)
        scores[rows[order], columns[order]] = found
        return scores

    def fault(self, premise: str) -> str | None:
        return None

    def truncates(self, premises: Sequence[str], hypotheses: Sequence[str]) -> list[bool]:
        """Whether each premise is too long to be read whole next to one of the hypotheses."""
        return self._pairs.truncates(premises, hypotheses)

    def knows(self, text: str) -> bool:
        """Whether the text is in a script that the model can read; the embedded one reads Latin.

        Nor is a text read that is mostly words longer than any, such as an address or a key.
        """
        if text.isascii() and (
            len(text) <= _WORD or max(map(len, text.split()), default=0) <= _WORD
        ):
            return True
        if self._pairs.unknown_share(text) > 0.5:
            return False
        if self.name != EMBEDDED:
            return True
        letters = [character for character in text if character.isalpha()]
        latin = sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
        return 2 * latin >= len(letters)

    def tokens(self, text: str) -> list[int]:
        """What the model reads in place of the text."""
        return self._pairs.tokens(text)

    def _load(self) -> None:
        import torch
        import transformers

        from lanser_cli.entailment.inference import accelerate, loaded_in

        on_cpu = not self._device.startswith("cuda")
        dtype = getattr(torch, loaded_in(self._model_type, self.precision, on_cpu))
        with loading(self._folder, f"--model {EMBEDDED}"):
            self._model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
                self._folder, dtype=dtype
            )
        self._model.to(self._device).eval()
        with torch.no_grad():
            accelerate(self._model, self.precision, on_cpu)

    def _within_memory(self, pairs: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
        """`_odds`, in halves where a GPU has no memory for all; later batches are smaller."""
        import torch

        try:
            return self._odds(pairs)
        except torch.OutOfMemoryError:
            if len(pairs) == 1:
                raise
        # Behind the handler: while the error is alive, so are the tensors of the frames it was in.
        torch.cuda.empty_cache()
        longest = max(len(head) + len(tail) for head, tail in pairs)
        self._budget = min(self._budget, len(pairs) * longest // 2)
        console.warn(
            f"model '{self.name}' ran out of memory with {len(pairs)} pairs at once: going on with "
            f"{self._budget} tokens at most"
        )
        middle = len(pairs) // 2
        return torch.cat([self._within_memory(part) for part in (pairs[:middle], pairs[middle:])])

    def _odds(self, pairs: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
        """Log-odds of one batch, on the device: float32 `[pairs]`."""
        import torch

        logits = self._model(**self._inputs(pairs)).logits.float()
        others = torch.cat(
            [logits[:, : self._entailment], logits[:, self._entailment + 1 :]], dim=1
        )
        return logits[:, self._entailment] - torch.logsumexp(others, dim=1)

    def _inputs(self, pairs: Sequence[tuple[list[int], list[int]]]) -> dict[str, torch.Tensor]:
        """What the model is called with; no attention mask where nothing is padded."""
        import torch

        encoder = self._pairs
        padding, side = self._padding
        lengths = [len(head) + len(tail) for head, tail in pairs]
        shape = (len(pairs), max(lengths))
        values = {"input_ids": np.full(shape, padding)}
        if encoder.typed:
            values["token_type_ids"] = np.zeros(shape, np.int64)
        if min(lengths) < shape[1]:
            values["attention_mask"] = np.zeros(shape, np.int64)
        for row, ((head, tail), length) in enumerate(zip(pairs, lengths, strict=True)):
            place = slice(shape[1] - length, None) if side == "left" else slice(length)
            values["input_ids"][row, place] = head + tail
            if encoder.typed:
                types = [encoder.head_type] * len(head) + encoder.tail_types(tail)
                values["token_type_ids"][row, place] = types
            if "attention_mask" in values:
                values["attention_mask"][row, place] = 1
        inputs = {name: torch.from_numpy(value) for name, value in values.items()}
        if self._device.startswith("cuda"):
            inputs = {
                name: value.pin_memory().to(self._device, non_blocking=True)
                for name, value in inputs.items()
            }
        return inputs

    def _batches(self, lengths: NDArray[np.intp]) -> Iterator[slice]:
        """Cut sorted lengths into batches within the budget, of one length where that is enough."""
        start = 0
        for end in range(1, len(lengths) + 1):
            longest = lengths[end - 1]
            if (
                end == len(lengths)
                or (end + 1 - start) * lengths[end] > self._budget
                or (lengths[end] > longest and (end - start) * longest >= self._enough)
            ):
                yield slice(start, end)
                start = end

    @cached_property
    def _digest(self) -> str:
        return model_digest(self._folder)


def model_digest(folder: str) -> str:
    """16 hex digits of a SHA-256 over the files of a model, in a folder or of the hub's cache."""
    from transformers.utils import cached_file

    config = cached_file(folder, "config.json")
    files = sorted(path for path in Path(config).parent.iterdir() if path.suffix in _MODEL_FILES)
    if any(path.suffix == ".safetensors" for path in files):
        files = [path for path in files if path.suffix != ".bin"]
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.name} {path.stat().st_size} ".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()[:16]


def positions(model: Any) -> int:
    """How many tokens the model has positions for; 512 where it has no table of them."""
    positions: int = getattr(model.config, "max_position_embeddings", None) or 512
    for name, module in model.named_modules():
        # RoBERTa and its kin count positions from behind the padding's, so 2 of 514 are never used.
        if (
            name.endswith("position_embeddings")
            and getattr(module, "padding_idx", None) is not None
        ):
            return positions - int(module.padding_idx) - 1
    return positions


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
