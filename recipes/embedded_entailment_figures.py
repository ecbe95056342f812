"""The figures of train_embedded_entailment.py: how right a model is on texts people labelled."""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from embedded_entailment_lists import LISTS, read_nli, read_words
from embedded_entailment_texts import as_heard, read_set
from sklearn.metrics import accuracy_score, f1_score, recall_score
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
MAX_TOKENS = 96
DEV = ["go_dev", "meld_train", "xed_dev", "spoken_dev"]
TEST = ["go_test", "meld_test", "emory_test", "xed_test", "spoken_test"]


def log_odds(logits: torch.Tensor) -> torch.Tensor:
    """The log-odds of entailment against the other two classes."""
    return logits[..., 0] - logits[..., 1:].logsumexp(-1)


@torch.inference_mode()
def score(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    hypotheses: list[str],
    fast: bool,
) -> np.ndarray:
    """The log-odds of entailment of each hypothesis (column) for each text (row)."""
    out = np.zeros((len(texts), len(hypotheses)), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    step = max(1, 160 // len(hypotheses))
    for start in range(0, len(order), step):
        rows = order[start : start + step]
        pairs = tokenizer(
            [texts[n] for n in rows for _ in hypotheses],
            hypotheses * len(rows),
            truncation="only_first",
            max_length=MAX_TOKENS,
            padding=True,
            return_tensors="pt",
        ).to(model.device)
        with torch.autocast(model.device.type, torch.bfloat16, enabled=fast):
            logits = model(**pairs).logits.float()
        out[rows] = log_odds(logits).view(len(rows), -1).cpu().numpy()
    return out


def figures(scores: np.ndarray, gold: list[int]) -> dict[str, dict[str, float]]:
    """Plain figures, and with each label's mean score over the set subtracted ("prior removed")."""
    out = {}
    for name, values in (("plain", scores), ("prior_removed", scores - scores.mean(0))):
        guess = values.argmax(1)
        out[name] = {
            "accuracy": accuracy_score(gold, guess),
            "uar": recall_score(gold, guess, labels=sorted(set(gold)), average="macro"),
            "weighted_f1": f1_score(gold, guess, average="weighted", zero_division=0),
        }
    return {name: {k: round(float(v), 4) for k, v in row.items()} for name, row in out.items()}


def evaluate(options: argparse.Namespace) -> dict[str, dict]:
    """The figures of `options.evaluate`, a set and a template each."""
    model = AutoModelForSequenceClassification.from_pretrained(options.evaluate).float().eval()
    model.to(DEVICE)
    tokenizer = AutoTokenizer.from_pretrained(options.evaluate)
    words = read_words("goemotions") | read_words("more")
    labels = (options.data / "text/go_labels.txt").read_text().split()
    out: dict[str, dict] = {}

    def report(
        name: str, texts: list[str], gold: list[str], classes: list[str], part: int = 0
    ) -> None:
        for template in options.templates:
            form = "adjective" if template in LISTS["templates"]["adjective"] else "noun"
            filled = [template.format(getattr(words[label], form)[0]) for label in classes]
            scores = score(model, tokenizer, texts, filled, options.fast)
            answers = [classes.index(label) for label in gold]
            row = {"n": len(texts), **figures(scores, answers)}
            if part:
                row[f"first_{part}"] = figures(scores[:part], answers[:part])
            if "neutral" in classes and len(classes) < 10:
                kept = [n for n, label in enumerate(gold) if label != "neutral"]
                columns = [n for n, label in enumerate(classes) if label != "neutral"]
                rest = [columns.index(answers[n]) for n in kept]
                row["without_neutral"] = figures(scores[np.ix_(kept, columns)], rest)
                row["without_neutral"]["n"] = len(kept)
            out[f"{name} | {template}"] = row
            print(name, template, json.dumps(row), flush=True)

    for name in options.sets:
        if name.startswith(("go_", "xed_")):
            found = read_set(options.data, name, labels)
            single = [(as_heard(text), names[0]) for text, names in found if len(names) == 1]
            single = single[: options.first] if options.first else single
            of_go = name.startswith("go_")
            classes = labels if of_go else sorted({label for _, label in single})
            report(name, [t for t, _ in single], [n for _, n in single], classes, 1500 * of_go)
            rare = [(t, n) for t, n in single if of_go and n in options.unseen]
            if rare:  # told from one another, and from all 28
                texts, gold = [t for t, _ in rare], [n for _, n in rare]
                report(f"{name} unseen", texts, gold, sorted(set(gold)))
                report(f"{name} unseen of all", texts, gold, labels)
        elif name == "snli":
            _, pairs = read_nli(options.data / "nli", options.held_out)
            with torch.inference_mode():
                batch = tokenizer(
                    [item.premise for item in pairs],
                    [item.hypotheses[0] for item in pairs],
                    padding=True,
                    return_tensors="pt",
                ).to(model.device)
                guess = model(**batch).logits.argmax(-1).tolist()
            right = [g == item.nli_class for g, item in zip(guess, pairs, strict=True)]
            out[name] = {"n": len(pairs), "accuracy": round(float(np.mean(right)), 4)}
            print(name, json.dumps(out[name]), flush=True)
        else:
            found = read_set(options.data, name, labels)[: options.first or None]
            texts, gold = [as_heard(text) for text, _ in found], [label for _, (label,) in found]
            report(name, texts, gold, sorted(set(gold)))
    return out
