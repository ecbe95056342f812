#!/usr/bin/env python3
"""Train and evaluate the small entailment model that ships with lanser.

The model is a cross-encoder (premise = transcript, hypothesis = a filled template such as "This
text expresses joy.") that starts from the sentence encoder all-MiniLM-L6-v2. It has three stages:

1. teachers: the encoder with one softmax over the 28 GoEmotions labels, on the text alone. One pass
   a text tells about all 28 labels, so this is the cheapest way to teach the encoder. A text of
   another source counts for the sum of the labels that its own stands for. The posteriors of
   several teachers, of different seeds, are averaged. With `--large` all but the first, from which
   students start, are of a larger encoder;
2. students: the cross-encoder, from the first teacher's encoder. Each text is paired with several
   hypotheses under one template, and the entailment log-odds of that list are fitted to the gold
   labels blended with the teachers' posterior: a listwise softmax, and a lighter binary
   cross-entropy that keeps the absolute scale. Some lists are coarse (joy stands for all pleasant
   labels), as in the taxonomies of speech corpora; a few come from sentences that name an emotion,
   also one outside the 28. Pairs of natural language inference run along, on the three classes;
3. the mean of the students' weights (M. Wortsman et al., "Model soups", ICML 2022). Students of one
   run differ in their seed; `--mean-of` takes the mean of what several runs left, with other seeds,
   texts or settings.

Half of what is read is in bare lower-case words, and half of that has a recogniser's errors: see
`Ear` in embedded_entailment_texts.py. Texts that a set to test on has, exactly or nearly, are left
out and counted. `spoken_sentences.tsv` beside this script holds sentences in spoken style for every
label of the taxonomies that ship, most for Ekman's six and neutral; `spoken_dev.tsv` and
`spoken_test.tsv` hold others of those seven. A language model wrote all of them for this project.

The data folder holds text/go_{train,dev,test}.tsv and text/go_labels.txt (GoEmotions),
text/xed_en.tsv and text/xed_neutral.txt (XED; a twentieth by a hash is xed_dev, another xed_test),
nli/snli_{dev,test}.txt, nli/conj.tsv and nli/med.tsv, and, for the evaluation alone,
text/meld_{train,test}.csv and text/emory_test.csv. Settings are chosen on go_dev, meld_train,
xed_dev and spoken_dev, which are what is measured by default; the test sets are for the end.
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
from embedded_entailment_figures import DEV, DEVICE, MAX_TOKENS, TEST, evaluate, log_odds
from embedded_entailment_lists import (
    CLASSES,
    Item,
    ListOptions,
    Shipped,
    coarse_groups,
    emotion_items,
    read_nli,
    spoken_items,
    stated_items,
    xed_items,
)
from embedded_entailment_texts import (
    Comment,
    Ear,
    Held,
    as_heard,
    read_comments,
    read_set,
    read_spoken,
    read_xed,
)
from torch.nn import functional
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

SPOKEN = Path(__file__).parent / "spoken_sentences.tsv"
ABLE = torch.cpu.get_capabilities()
FAST = DEVICE.type == "cuda" or bool(ABLE.get("amx_bf16") or ABLE.get("avx512_bf16"))
"""Whether a GPU or this processor multiplies bfloat16; elsewhere training is in float32."""


@dataclasses.dataclass
class Texts:
    """What is trained on, by source: texts with the names of their labels."""

    comments: list[Comment]
    lines: list[Comment]
    sentences: list[Comment]

    @classmethod
    def read(cls, options: argparse.Namespace, labels: list[str]) -> Texts:
        """All three, less what is tested on and the labels that are to stay unseen."""
        held = Held()
        for name in (*DEV, *TEST):
            held.add(text for text, _ in read_set(options.data, name, labels))
        read = {
            "GoEmotions": read_comments(options.data / "text/go_train.tsv", labels),
            "XED": read_xed(options.data / "text", "train"),
            "spoken": read_spoken(options.spoken),
        }
        fine = set(options.unseen)
        unseen = {"GoEmotions": fine, "XED": fine, "spoken": Shipped.read().said_as(fine)}
        kept = {}
        rng = random.Random(options.seed)
        for name, texts in read.items():
            some = rng.sample(texts, math.ceil(len(texts) * min(1.0, options.share)))
            apart, removed = held.without(some)
            print(name, len(some), "texts, removed as in a set to test on", removed, flush=True)
            kept[name] = [one for one in apart if unseen[name].isdisjoint(one[1])]
        return cls(*kept.values())


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
    model: PreTrainedModel,
    losses: Iterator[torch.Tensor],
    total: int,
    options: argparse.Namespace,
    name: str,
    rate: float,
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
        if n % 50 == 0 or n in (total, options.steps):
            print(f"{name} {n}/{total} loss {mean:.3f} {time.time() - start:.0f} s", flush=True)
        if n == options.steps:
            return


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
    ).to(DEVICE)


def logits_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ids: dict[str, list[list[int]]]
) -> torch.Tensor:
    """Logits `[rows, classes]`, float32, of tokens that are not yet padded."""
    padded = tokenizer.pad(ids, return_tensors="pt").to(DEVICE)
    with torch.autocast(DEVICE.type, torch.bfloat16, enabled=FAST):
        return model(**padded).logits.float()


def lessons(texts: Texts, labels: list[str]) -> tuple[list[str], torch.Tensor]:
    """The texts that teachers learn from, and which of their labels are right: 0 or 1 each."""
    groups = coarse_groups(labels)
    common = Shipped.read().common
    rows = [(text, [labels.index(name) for name in names]) for text, names in texts.comments]
    rows += [
        (text, [n for name in names for n in groups.get(name, [])]) for text, names in texts.lines
    ]
    for text, (name,) in texts.sentences:
        near = groups.get(common.get(name) or "", [])
        rows.append((text, [labels.index(name)] if name in labels else near))
    right = torch.zeros(len(rows), len(labels))
    for row, (_, places) in enumerate(rows):
        right[row, places] = 1
    some = right.any(1)
    return [text for (text, _), one in zip(rows, some.tolist(), strict=True) if one], right[some]


def train_teacher(
    seed: int,
    base: Path,
    rate: float,
    texts: list[str],
    right: torch.Tensor,
    comments: int,
    options: argparse.Namespace,
    labels: list[str],
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Stage 1. The first `comments` texts have all their labels, each a share of one."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    model, tokenizer = load(base, labels).train(), AutoTokenizer.from_pretrained(base)
    plan = []
    for _ in range(options.teacher_epochs):
        heard = [as_heard(text, rng, options.ear) for text in texts]
        plan += encode(heard, tokenizer, options.tokens // 2, rng)

    def losses() -> Iterator[torch.Tensor]:
        for rows, ids in plan:
            chances = logits_of(model, tokenizer, ids).log_softmax(-1)
            mask = right[rows].to(DEVICE)
            each = (chances * mask).sum(-1) / mask.sum(-1)
            together = chances.masked_fill(mask == 0, -math.inf).logsumexp(-1)
            commented = (torch.tensor(rows) < comments).to(DEVICE)
            yield -torch.where(commented, each, together).mean()

    optimise(model, losses(), len(plan), options, f"teacher {seed}", rate)
    return model.eval(), tokenizer


def encode(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, budget: int, rng: random.Random
) -> list[tuple[list[int], dict]]:
    """Batches of texts: their places, and their tokens."""
    ids = tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]
    plan = batches([len(i) for i in ids], [1] * len(ids), budget, rng)
    return [(rows, {"input_ids": [ids[n] for n in rows]}) for rows in plan]


@torch.inference_mode()
def posterior_of(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: list[str]
) -> np.ndarray:
    """A teacher's probabilities `[texts, labels]`."""
    out = np.zeros((len(texts), model.config.num_labels), dtype=np.float32)
    plain = [as_heard(text) for text in texts]
    for rows, ids in encode(plain, tokenizer, 4000, random.Random(0)):
        out[rows] = logits_of(model, tokenizer, ids).softmax(-1).cpu().numpy()
    return out


def teach(texts: Texts, dev: list[Comment], labels: list[str], options: argparse.Namespace) -> None:
    """Stage 1, all teachers: writes the first, and the posterior of all texts that have one.

    Each says how right it is on the comments of `dev` that have one of these labels alone.
    """
    learned, right = lessons(texts, labels)
    taught = [text for text, _ in texts.comments + texts.lines]
    asked = [(text, labels.index(n)) for text, (n, *more) in dev if n in labels and not more]
    posteriors = []
    for n in range(options.teachers):
        large = n > 0 and options.large is not None
        of = (options.large, options.large_rate) if large else (options.base, options.rate)
        teacher, tokenizer = train_teacher(
            *(options.seed + n, *of, learned, right, len(texts.comments), options, labels)
        )
        if n == 0:
            teacher.save_pretrained(options.work)
        guess = posterior_of(teacher, tokenizer, [text for text, _ in asked]).argmax(1)
        rightly = np.mean(guess == [label for _, label in asked])
        print(f"teacher {options.seed + n} is right on {rightly:.3f} of GoEmotions dev", flush=True)
        posteriors.append(posterior_of(teacher, tokenizer, taught))
    np.save(options.work / "posterior.npy", np.mean(posteriors, axis=0))


def train(options: argparse.Namespace) -> None:
    """All stages; writes the model in float16 with its tokenizer to `options.out`."""
    labels = (options.data / "text/go_labels.txt").read_text().split()
    if wrong := set(options.unseen).difference(labels) or {"neutral"}.intersection(options.unseen):
        raise SystemExit(f"--unseen {' '.join(wrong)}: choose from the emotions {' '.join(labels)}")
    texts = Texts.read(options, labels)
    dev = read_set(options.data, "go_dev", labels)
    labels = [name for name in labels if name not in options.unseen]
    options.ear = Ear.of(text for text, _ in texts.comments)
    nli, _ = read_nli(options.data / "nli", options.held_out)
    tokenizer = AutoTokenizer.from_pretrained(options.base)
    if not (options.work / "posterior.npy").exists():
        teach(texts, dev, labels, options)
    posterior = np.load(options.work / "posterior.npy")
    seeds = [options.seed + 1000 + n for n in range(options.students)]
    students = [
        train_student(seed, texts, posterior, labels, nli, tokenizer, options) for seed in seeds
    ]
    save(mean_of(students), tokenizer, options.out)


def train_student(
    seed: int,
    texts: Texts,
    posterior: np.ndarray,
    labels: list[str],
    nli: list[Item],
    tokenizer: PreTrainedTokenizerBase,
    options: argparse.Namespace,
) -> PreTrainedModel:
    """Stage 2, from the first teacher's encoder."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    model = load(options.work, CLASSES).train()
    names = [field.name for field in dataclasses.fields(ListOptions)]
    lists = ListOptions(**{name: getattr(options, name) for name in names})
    apart = Shipped.read().said_as(options.unseen)
    count = math.ceil(options.stated * min(1.0, options.share))
    of_comments, of_lines = np.split(posterior, [len(texts.comments)])
    plan = []
    for epoch in range(options.epochs):
        items = list(emotion_items(texts.comments, of_comments, labels, lists, rng))
        items += xed_items(texts.lines, of_lines, labels, lists, rng)
        items += spoken_items(texts.sentences, lists, rng, copies=options.copies, unseen=apart)
        items += stated_items(texts.comments, lists, rng, count=count, unseen=apart)
        if epoch < options.nli_epochs:
            items += rng.sample(nli, math.ceil(len(nli) * min(1.0, options.share)))
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
            logits = logits_of(model, tokenizer, pairs)
            if rows[0].nli_class >= 0:
                classes = torch.tensor([item.nli_class for item in rows], device=DEVICE)
                yield options.nli_weight * functional.cross_entropy(logits, classes)
                continue
            scores = log_odds(logits).view(len(rows), -1)
            known = torch.tensor([item.known for item in rows], device=DEVICE)
            seen = ~known.isnan()
            target = torch.tensor([item.target for item in rows], device=DEVICE)
            listwise = functional.cross_entropy(scores, target)
            own = functional.binary_cross_entropy_with_logits(scores[seen], known[seen])
            yield listwise + options.own_weight * own

    optimise(model, losses(), len(plan), options, f"student {seed}", options.rate)
    return model


@torch.no_grad()
def mean_of(models: list[PreTrainedModel]) -> PreTrainedModel:
    """The first of models that share their start, with the mean of their weights."""
    for name, mean in models[0].named_parameters():
        mean.copy_(torch.stack([model.get_parameter(name) for model in models]).mean(0))
    return models[0]


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Write a model in float16, to be small, with its tokenizer."""
    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
    # The file holds float16; float32 here makes transformers compute in it.
    config = json.loads((out / "config.json").read_text("utf-8"))
    config["dtype"] = "float32"
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def main() -> None:
    """Parse the command line; train, evaluate, or both."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="the data folder")
    parser.add_argument("--base", type=Path, help="train from this all-MiniLM-L6-v2 folder")
    parser.add_argument("--large", type=Path, help="an encoder for the teachers, bigger than base")
    parser.add_argument("--out", type=Path, help="write the model here")
    parser.add_argument("--work", type=Path, help="keep the teacher here (and use a kept one)")
    parser.add_argument("--evaluate", type=Path, help="evaluate this model instead of training")
    parser.add_argument("--mean-of", type=Path, nargs="+", help="write the mean of these to --out")
    parser.add_argument("--spoken", type=Path, default=SPOKEN, help="sentences in spoken style")
    parser.add_argument("--templates", nargs="+", default=["This person feels {}."])
    parser.add_argument("--sets", nargs="+", default=DEV, help=f"among {' '.join(TEST)} snli too")
    parser.add_argument("--first", type=int, default=0, help="evaluate on the first N of each set")
    parser.add_argument("--fast", action="store_true", help="evaluate in bfloat16")
    parser.add_argument("--seed", type=int, default=20230820)
    parser.add_argument("--share", type=float, default=1.0, help="train on this share, as a trial")
    parser.add_argument("--steps", type=int, default=0, help="stop each stage then, as a trial")
    parser.add_argument("--teachers", type=int, default=3)
    parser.add_argument("--students", type=int, default=2)
    parser.add_argument("--copies", type=int, default=2, help="lists a spoken sentence")
    parser.add_argument("--spoken-coarse", type=float, default=0.5, help="share of coarse ones")
    parser.add_argument("--teacher-epochs", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--nli-epochs", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1.5e-4)
    parser.add_argument("--large-rate", type=float, default=6e-5, help="of the larger teachers")
    parser.add_argument("--tokens", type=int, default=3000, help="tokens a batch, about")
    parser.add_argument("--list-size", type=int, default=4, help="hypotheses a comment")
    parser.add_argument("--coarse", type=float, default=0.15, help="share of coarse lists")
    parser.add_argument("--outside", type=float, default=0.15, help="share with an outside label")
    parser.add_argument("--stated", type=int, default=4000, help="lists of stated emotions")
    parser.add_argument("--gold", type=float, default=0.5, help="weight of gold against teacher")
    parser.add_argument("--balance", type=float, default=0.1, help="power of the inverse prior")
    parser.add_argument("--keep-neutral", type=float, default=1.0, help="of the neutral comments")
    parser.add_argument("--own-weight", type=float, default=0.3, help="of the binary loss")
    parser.add_argument("--nli-weight", type=float, default=0.7, help="of the inference loss")
    parser.add_argument("--held-out", type=int, default=1000, help="SNLI test pairs kept apart")
    parser.add_argument(
        "--unseen", nargs="*", default=[], help="labels to keep out of training, to test on"
    )
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.mean_of and options.out:
        models = [AutoModelForSequenceClassification.from_pretrained(f) for f in options.mean_of]
        save(mean_of(models), AutoTokenizer.from_pretrained(options.mean_of[0]), options.out)
        return
    if not options.data:
        parser.error("--data is needed, but for --mean-of with --out")
    if options.evaluate:
        print(json.dumps(evaluate(options), indent=2))
        return
    if not (options.base and options.out):
        parser.error("training needs --base and --out")
    if options.large and options.teachers < 2:
        parser.error("--large needs --teachers 2 or more")
    options.work = options.work or options.out / "teacher"
    train(options)


if __name__ == "__main__":
    main()
