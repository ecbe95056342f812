"""A vector for each text, from the encoder of the embedded entailment model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lanser_cli.entailment.scorer import EMBEDDED, EMBEDDED_FOLDER
from lanser_cli.models.hub import loading

_BATCH = 64


def text_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """The mean over tokens of the last layer, of length one: float32 `[texts, features]`.

    Each text is encoded alone, without a hypothesis, and once if it occurs more often.
    """
    import torch
    import transformers

    with loading(str(EMBEDDED_FOLDER), f"--model {EMBEDDED}"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(EMBEDDED_FOLDER))
        encoder = transformers.AutoModel.from_pretrained(
            str(EMBEDDED_FOLDER), add_pooling_layer=False
        ).eval()
    different = sorted(set(texts), key=lambda text: (len(text), text))
    vectors: dict[str, NDArray[np.float32]] = {}
    for start in range(0, len(different), _BATCH):
        batch = different[start : start + _BATCH]
        inputs = tokenizer(
            batch, return_tensors="pt", padding=True, truncation=True, max_length=128
        )
        with torch.inference_mode():
            states = encoder(**inputs).last_hidden_state
            mask = inputs["attention_mask"][:, :, None]
            means = (states * mask).sum(dim=1) / mask.sum(dim=1)
        unit = torch.nn.functional.normalize(means, dim=1).numpy()
        vectors |= dict(zip(batch, unit, strict=True))
    return np.stack([vectors[text] for text in texts])
