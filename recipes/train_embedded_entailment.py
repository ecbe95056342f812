#!/usr/bin/env python3
"""Train and evaluate the small entailment model that ships with lanser.

The model is a cross-encoder (premise = transcript, hypothesis = a filled template such as "This
text expresses joy.") that starts from the sentence encoder all-MiniLM-L6-v2. It has two stages:

1. a teacher: the encoder with one softmax over the 28 GoEmotions labels, on the comment alone.
   One pass a comment tells about all 28 labels, so this is the cheapest way to teach the encoder;
2. the cross-encoder, from the teacher's encoder. Each comment is paired with several hypotheses
   under one template, and the entailment log-odds of that list are fitted to the gold labels
   blended with the teacher's posterior: a listwise softmax, and a lighter binary cross-entropy
   that keeps the absolute scale. Some lists are coarse (joy stands for all pleasant labels), as
   in the taxonomies of speech corpora; a few come from sentences that name an emotion, also one
   outside the 28. Pairs of natural language inference run along, on the three classes.

The data folder holds text/go_{train,dev,test}.tsv and text/go_labels.txt (GoEmotions),
nli/snli_{dev,test}.txt, nli/conj.tsv and nli/med.tsv, and, for the evaluation alone,
text/meld_{train,test}.csv and text/emory_test.csv.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from embedded_entailment_lists import (
    CLASSES,
    EMORY,
    LISTS,
    Comment,
    ListOptions,
    as_heard,
    emotion_items,
    read_comments,
    read_nli,
    read_utterances,
    read_words,
    stated_items,
)
from sklearn.metrics import accuracy_score, f1_score, recall_score
from torch.nn import functional
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

MAX_TOKENS = 96


def batches(
    lengths: list[int], sizes: list[int], budget: int, rng: random.Random
) -> list[list[int]]:
    """Batches of indices with one list size and like lengths, of about `budget` tokens each."""
    order = sorted(range(len(lengths)), key=lambda n: (sizes[n], lengths[n] + 3 * rng.random()))
    out: list[list[int]] = []
    longest = 0
    for n in order:
        longest = max(longest, lengths[n])
        full = out and longest * sizes[n] * (len(out[-1]) + 1) > budget
        if not out or full or sizes[out[-1][0]] != sizes[n]:
            out.append([])
            longest = lengths[n]
        out[-1].append(n)
    rng.shuffle(out)
    return out


def optimise(
    model: PreTrainedModel, losses: Iterator[torch.Tensor], total: int, rate: float, name: str
) -> None:
    """AdamW over `total` losses, with a warm-up and a cosine decay of the rate to zero."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=rate, fused=True)
    warm = max(1, total // 16)

    def factor(n: int) -> float:
        if n < warm:
            return (n + 1) / warm
        return 0.5 + 0.5 * math.cos(math.pi * (n - warm) / max(1, total - warm))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    start, mean = time.time(), 0.0
    for n, loss in enumerate(losses, 1):
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        mean += (loss.item() - mean) / min(n, 100)
        if n % 50 == 0 or n == total:
            print(f"{name} {n}/{total} loss {mean:.3f} {time.time() - start:.0f} s", flush=True)


def load(folder: Path, classes: list[str]) -> PreTrainedModel:
    """The encoder of `folder` under a new head; no dropout, which so few passes do not need."""
    return AutoModelForSequenceClassification.from_pretrained(
        folder,
        id2label=dict(enumerate(classes)),
        label2id={name: n for n, name in enumerate(classes)},
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        ignore_mismatched_sizes=True,
        dtype=torch.float32,
    )


def train_teacher(
    comments: list[Comment],
    labels: list[str],
    tokenizer: PreTrainedTokenizerBase,
    options: argparse.Namespace,
    rng: random.Random,
) -> None:
    """Stage 1; keeps the teacher and its posterior of the training comments in `options.work`."""
    model = load(options.base, labels).train()
    gold = torch.zeros(len(comments), len(labels))
    for row, (_, names) in enumerate(comments):
        gold[row, [labels.index(name) for name in names]] = 1 / len(names)

    def encode(texts: list[str], budget: int) -> list[tuple[list[int], dict]]:
        ids = tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        plan = batches([len(i) for i in ids], [1] * len(ids), budget, rng)
        return [(rows, {"input_ids": [ids[n] for n in rows]}) for rows in plan]

    plan = []
    for _ in range(options.teacher_epochs):
        plan += encode([as_heard(text, rng) for text, _ in comments], options.tokens // 2)

    def losses() -> Iterator[torch.Tensor]:
        for rows, ids in plan:
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(**tokenizer.pad(ids, return_tensors="pt")).logits
            yield functional.cross_entropy(logits.float(), gold[rows])

    optimise(model, losses(), len(plan), options.rate, "teacher")
    model.eval()
    posterior = np.zeros((len(comments), len(labels)), dtype=np.float32)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for rows, ids in encode([as_heard(text) for text, _ in comments], 4000):
            logits = model(**tokenizer.pad(ids, return_tensors="pt")).logits
            posterior[rows] = logits.float().softmax(-1).numpy()
    options.work.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(options.work)
    np.save(options.work / "posterior.npy", posterior)


def check_unseen(names: list[str], labels: list[str]) -> set[str]:
    """The labels to keep out of training altogether: their comments, words and sentences."""
    for name in names:
        if name not in labels or name == "neutral":
            raise SystemExit(f"--unseen {name}: choose from the emotions {', '.join(labels)}")
    return set(names)


def log_odds(logits: torch.Tensor) -> torch.Tensor:
    """The log-odds of entailment against the other two classes."""
    return logits[..., 0] - logits[..., 1:].logsumexp(-1)


def train(options: argparse.Namespace) -> None:
    """Both stages; writes the model in float16 with its tokenizer to `options.out`."""
    torch.manual_seed(options.seed)
    rng = random.Random(options.seed)
    labels = (options.data / "text/go_labels.txt").read_text().split()
    comments = read_comments(options.data / "text/go_train.tsv", labels)
    unseen = check_unseen(options.unseen, labels)
    comments = [(text, names) for text, names in comments if unseen.isdisjoint(names)]
    labels = [name for name in labels if name not in unseen]
    comments = rng.sample(comments, min(len(comments), options.limit))
    nli, _ = read_nli(options.data / "nli", options.held_out)
    tokenizer = AutoTokenizer.from_pretrained(options.base)
    if not (options.work / "posterior.npy").exists():
        train_teacher(comments, labels, tokenizer, options, rng)
    posterior = np.load(options.work / "posterior.npy")
    rng = random.Random(options.seed + 1)  # the same second stage whether or not the first was kept
    torch.manual_seed(options.seed + 1)
    model = load(options.work, CLASSES).train()

    names = [field.name for field in dataclasses.fields(ListOptions)]
    lists = ListOptions(**{name: getattr(options, name) for name in names})
    plan = []
    share = min(1.0, len(comments) / 43_410)
    for epoch in range(options.epochs):
        items = list(emotion_items(comments, posterior, labels, lists, rng))
        items += stated_items(int(options.stated * share), comments, options.list_size, unseen, rng)
        items += rng.sample(nli, int(len(nli) * share)) if epoch < options.nli_epochs else []
        firsts = [item.premise for item in items for _ in item.hypotheses]
        seconds = [hypothesis for item in items for hypothesis in item.hypotheses]
        pairs = tokenizer(firsts, seconds, truncation="only_first", max_length=MAX_TOKENS)
        ends = np.cumsum([0] + [len(item.hypotheses) for item in items]).tolist()
        lengths = [
            max(len(ids) for ids in pairs["input_ids"][ends[n] : ends[n + 1]])
            for n in range(len(items))
        ]
        sizes = [len(item.hypotheses) for item in items]
        for rows in batches(lengths, sizes, options.tokens, rng):
            flat = [m for n in rows for m in range(ends[n], ends[n + 1])]
            plan.append(
                ([items[n] for n in rows], {k: [v[m] for m in flat] for k, v in pairs.items()})
            )

    def losses() -> Iterator[torch.Tensor]:
        for rows, pairs in plan:
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(**tokenizer.pad(pairs, return_tensors="pt")).logits
            logits = logits.float()
            if rows[0].nli_class >= 0:
                classes = torch.tensor([item.nli_class for item in rows])
                yield options.nli_weight * functional.cross_entropy(logits, classes)
                continue
            scores = log_odds(logits).view(len(rows), -1)
            known = torch.tensor([item.known for item in rows])
            seen = ~known.isnan()
            listwise = functional.cross_entropy(scores, torch.tensor([i.target for i in rows]))
            own = functional.binary_cross_entropy_with_logits(scores[seen], known[seen])
            yield listwise + options.own_weight * own

    optimise(model, losses(), len(plan), options.rate, "student")
    save(model, tokenizer, options.out)


def average(folders: list[Path], out: Path) -> None:
    """Write the mean of the weights of models that share their start, as two students do."""
    models = [AutoModelForSequenceClassification.from_pretrained(f).float() for f in folders]
    with torch.no_grad():
        for name, mean in models[0].named_parameters():
            mean.copy_(torch.stack([model.get_parameter(name) for model in models]).mean(0))
    save(models[0], AutoTokenizer.from_pretrained(folders[0]), out)


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Write a model in float16, to be small, with its tokenizer."""
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    # The file holds float16; float32 here makes transformers compute in it.
    config = json.loads((out / "config.json").read_text("utf-8"))
    config["dtype"] = "float32"
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


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
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            logits = model(**pairs).logits.float()
        out[rows] = log_odds(logits).view(len(rows), -1).numpy()
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
        if name.startswith("go_"):
            path = options.data / f"text/{name}.tsv"
            single = [(as_heard(t), n[0]) for t, n in read_comments(path, labels) if len(n) == 1]
            single = single[: options.first] if options.first else single
            report(name, [t for t, _ in single], [n for _, n in single], labels, 1500)
            rare = [(t, n) for t, n in single if n in check_unseen(options.unseen, labels)]
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
                )
                guess = model(**batch).logits.argmax(-1).tolist()
            right = [g == item.nli_class for g, item in zip(guess, pairs, strict=True)]
            out[name] = {"n": len(pairs), "accuracy": round(float(np.mean(right)), 4)}
            print(name, json.dumps(out[name]), flush=True)
        else:
            texts, gold = read_utterances(options.data / f"text/{name}.csv")
            gold = [EMORY.get(label, label) for label in gold]
            texts, gold = texts[: options.first or None], gold[: options.first or None]
            report(name, texts, gold, sorted(set(gold)))
    return out


def main() -> None:
    """Parse the command line; train, evaluate, or both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--base", type=Path, help="train from this all-MiniLM-L6-v2 folder")
    parser.add_argument("--out", type=Path, help="write the model here")
    parser.add_argument("--work", type=Path, help="keep the teacher here (and use a kept one)")
    parser.add_argument("--evaluate", type=Path, help="evaluate this model instead of training")
    parser.add_argument(
        "--average", type=Path, nargs="+", help="write the mean of these models to --out instead"
    )
    parser.add_argument("--templates", nargs="+", default=["This person feels {}."])
    parser.add_argument("--sets", nargs="+", default=["go_test", "meld_test", "emory_test", "snli"])
    parser.add_argument("--first", type=int, default=0, help="evaluate on the first N of each set")
    parser.add_argument("--fast", action="store_true", help="evaluate in bfloat16")
    parser.add_argument("--seed", type=int, default=20230820)
    parser.add_argument("--limit", type=int, default=10**9, help="train on so many comments")
    parser.add_argument("--teacher-epochs", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--nli-epochs", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1.5e-4)
    parser.add_argument("--tokens", type=int, default=3000, help="tokens a batch, about")
    parser.add_argument("--list-size", type=int, default=4, help="hypotheses a comment")
    parser.add_argument("--coarse", type=float, default=0.15, help="share of coarse lists")
    parser.add_argument("--outside", type=float, default=0.15, help="share with an outside label")
    parser.add_argument("--stated", type=int, default=2500, help="lists of stated emotions")
    parser.add_argument("--gold", type=float, default=0.7, help="weight of gold against teacher")
    parser.add_argument("--balance", type=float, default=0.25, help="power of the inverse prior")
    parser.add_argument("--keep-neutral", type=float, default=0.8, help="of the neutral comments")
    parser.add_argument("--own-weight", type=float, default=0.3, help="of the binary loss")
    parser.add_argument("--nli-weight", type=float, default=0.7, help="of the inference loss")
    parser.add_argument("--held-out", type=int, default=1000, help="SNLI test pairs kept apart")
    parser.add_argument(
        "--unseen", nargs="*", default=[], help="labels to keep out of training, to test on"
    )
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.evaluate:
        print(json.dumps(evaluate(options), indent=2))
        return
    if options.average and options.out:
        average(options.average, options.out)
        return
    if not (options.base and options.out):
        parser.error("training needs --base and --out")
    options.work = options.work or options.out / "teacher"
    train(options)


if __name__ == "__main__":
    main()
