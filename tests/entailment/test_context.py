"""What was said before, put before the premise."""

from __future__ import annotations

import pickle
from pathlib import Path

from conftest import Lanser, read_jsonl, write_jsonl

from lanser_cli.entailment.context import (
    CONVERSATIONS,
    WORDS,
    InContext,
    premise,
    with_context,
)
from lanser_cli.records import Dropped, Outcome, Record, Reject


def record(identifier: str, text: str | None, dialogue: object = None, **fields: object) -> Record:
    extra = {} if dialogue is None else {"dialogue": dialogue}
    return Record({"id": identifier, "text": text, **extra, **fields})


def contexts(items: list[Outcome], count: int) -> list[list[str] | None]:
    found = with_context(items, count)
    return [list(item.said) if isinstance(item, InContext) else None for item in found]


def test_the_last_utterances_of_the_same_conversation() -> None:
    items = [record(f"a{n}", f"a says {n}", "a") for n in range(4)]
    items.insert(2, record("b0", "b says 0", "b"))
    items.insert(3, record("alone", "nobody hears"))
    assert contexts(list(items), 2) == [
        [],
        ["a says 0"],
        [],
        None,
        ["a says 0", "a says 1"],
        ["a says 1", "a says 2"],
    ]


def test_empty_utterances_and_rejects_are_no_context() -> None:
    reject = Reject("x", "entail-label", "broken", {})
    items = [record("a", " hi ", 7), record("b", "", 7), reject, record("c", None, 7)]
    items += [Dropped("d", "why"), record("e", "so", 7)]
    assert contexts(items, 3) == [[], ["hi"], None, ["hi"], None, ["hi"]]
    strangers = [record("a", "hi", ""), record("b", "so", "")]  # of no conversation
    assert contexts(strangers, 3) == [None, None]
    texts = ("[Music]", "(laughs) well", "ok")  # which holds what nobody said
    items = [record(str(number), text, 7) for number, text in enumerate(texts)]
    assert contexts(items, 3) == [[], [], ["well"]]


def test_context_is_no_key_of_the_record() -> None:
    """It survives the way to a worker, and neither a reject nor the labelled record shows it."""
    first, second = with_context([record("a", "hi", 7), record("b", None, 7, mine=1)], 2)
    assert isinstance(second, InContext)
    again = pickle.loads(pickle.dumps(second))
    assert again == second and again.said == ("hi",)
    assert first.fields == record("a", "hi", 7).fields
    assert Reject.of(second, "entail-label", "no text").record == second.fields
    assert type(second.with_fields(text="so")) is Record


def test_only_so_many_conversations_are_remembered() -> None:
    items: list[Outcome] = [record("first", "said first", "first")]
    items += [record(f"n{n}", "x", f"n{n}") for n in range(CONVERSATIONS)]
    items += [record("late", "y", "first"), record("near", "z", f"n{CONVERSATIONS - 1}")]
    assert contexts(items, 1)[-2:] == [[], ["x"]]


def test_the_premise_marks_them_apart_and_keeps_the_nearest() -> None:
    assert premise("now", []) == "now"
    assert premise("now", ["one", "two"]) == 'Earlier: "one" "two" Now: "now"'
    unparted = "そんなことを言われても困るよ" * 12
    assert premise("ね", [unparted] * 5).count(unparted) == 2
    long = "word " * (WORDS - 1)
    assert premise("now", ["far", long, "near"]) == 'Earlier: "' + long + '" "near" Now: "now"'
    assert premise("now", [long * 2]) == "now"


def test_parts_see_the_context_of_the_whole(lanser: Lanser, tiny_nli: Path, tmp_path: Path) -> None:
    items = [
        {"id": f"n{n}", "dialogue": str(n // 5), "text": f"turn {n} of us", "last": n}
        for n in range(20)
    ]
    path = write_jsonl(tmp_path / "talk.jsonl", items)
    line = ("entail-label", "--model", tiny_nli, "--labels", "joy,fear", "--device", "cpu", path)
    alone, heard = (
        read_jsonl(lanser(*line).stdout),
        read_jsonl(lanser(*line, "--context", "2").stdout),
    )
    assert [item["entailment"]["context"] for item in heard] == [0, 1, 2, 2, 2] * 4
    assert list(heard[0]) == list(alone[0])
    pairs = [(a["emotion_scores"], h["emotion_scores"]) for a, h in zip(alone, heard, strict=True)]
    assert all(a == h for a, h in pairs[::5]), "the first of a conversation has no context"
    assert sum(a != h for a, h in pairs) > 4
    again = write_jsonl(tmp_path / "heard.jsonl", heard)
    line_again = (*line[:-1], again)
    assert read_jsonl(lanser(*line_again, "--context", "2").stdout) == heard
    assert read_jsonl(lanser(*line_again).stdout) == alone, "no context that nobody asked for"
    parts = [read_jsonl(lanser(*line, "--context", "2", "--part", f"{n}/2").stdout) for n in (1, 2)]
    assert sorted((item for part in parts for item in part), key=lambda item: item["last"]) == heard
