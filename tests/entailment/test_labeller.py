"""Transcripts to weak labels: arg-max, probabilities, abstentions, and no work done twice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lanser_cli.entailment import (
    Cascade,
    LabelScorer,
    PairScorer,
    Taxonomy,
    Template,
    label,
    load_crosswalk,
    load_taxonomy,
)
from lanser_cli.entailment.crosswalk import Crosswalk
from lanser_cli.entailment.entail_label import Summary
from lanser_cli.entailment.labeller import Labeller
from lanser_cli.errors import LanserError
from lanser_cli.records import Record, Reject
from lanser_cli.stage import one_process

MOODS = Taxonomy(
    "moods",
    "the tests",
    ("joy", "fear", "anger"),
    ("joy", "fear", "anger"),
    ("joyful", "afraid", "angry"),
    ("joy", "fear", "anger"),
)


def test_a_model_that_falls_back_to_float32_amid_a_run_says_so_of_what_it_labels_then(
    tiny_nli: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = PairScorer(str(tiny_nli), precision="bfloat16")
    labeller = Labeller(Cascade(LabelScorer(scorer, MOODS, (Template("I feel {}."),))))
    odds = scorer._odds

    def frail(pairs: Sequence[tuple[list[int], list[int]]]) -> object:
        return odds(pairs) * (1.0 if scorer.precision == "float32" else math.nan)

    precisions = []
    for text in ("what a day", "so it is"):
        [made] = labeller([Record({"id": "a", "text": text})])
        assert isinstance(made, Record)
        precisions.append(made.fields["entailment"]["precision"])
        monkeypatch.setattr(scorer, "_odds", frail)
    assert precisions == ["bfloat16", "float32"]


class CountingScorer:
    """Log-odds by a rule: how many letters of the hypothesis the premise has, and its length."""

    name, precision, fingerprint = "counting", "float32", "0123"

    def __init__(self) -> None:
        self.premises: list[str] = []
        self.pairs = 0

    def score(
        self,
        premises: Sequence[str],
        hypotheses: Sequence[str],
        wanted: np.ndarray | None = None,
    ) -> np.ndarray:
        self.premises += premises
        table = [[self.rule(p, h) for h in hypotheses] for p in premises]
        scores = np.array(table, np.float32).reshape(len(premises), len(hypotheses))
        self.pairs += scores.size if wanted is None else int(wanted.sum())
        return scores if wanted is None else np.where(wanted, scores, np.float32(np.nan))

    def rule(self, premise: str, hypothesis: str) -> float:
        return rule(premise, hypothesis)

    def truncates(self, premises: Sequence[str], hypotheses: Sequence[str]) -> list[bool]:
        return [len(premise) > 50 for premise in premises]

    def knows(self, text: str) -> bool:
        return text.isascii()

    def tokens(self, text: str) -> list[int]:
        return list(text.encode())


def rule(premise: str, hypothesis: str) -> float:
    return 0.5 * sum(hypothesis.count(c) for c in set(premise)) - 0.1 * len(hypothesis)


def labeller(*templates: str, **options: object) -> tuple[Labeller, CountingScorer]:
    scorer = CountingScorer()
    chosen = tuple(Template(text) for text in templates or ("{}",))
    return Labeller(Cascade(LabelScorer(scorer, MOODS, chosen)), **options), scorer  # type: ignore[arg-type]


def record(text: str | None = "oh joy", identifier: str = "a", **fields: object) -> Record:
    return Record({"id": identifier, "mine": 1, "text": text, **fields})


def only(function: Labeller, item: Record) -> Record:
    (outcome,) = function([item])
    assert isinstance(outcome, Record)
    return outcome


@pytest.mark.parametrize("text", ["oh joy", "fear", "rage again", "x"])
def test_the_label_is_the_arg_max_and_the_scores_are_its_softmax(text: str) -> None:
    found = only(labeller()[0], record(text))
    odds = [rule(text, noun) for noun in MOODS.nouns]
    total = sum(math.exp(value) for value in odds)
    assert found.emotion == MOODS.labels[odds.index(max(odds))]
    scores = found.emotion_scores
    assert scores is not None and list(scores) == list(MOODS.labels)
    for value, name in zip(odds, MOODS.labels, strict=True):
        assert scores[name] == pytest.approx(math.exp(value) / total, abs=2e-6)
    assert sum(scores.values()) == pytest.approx(1.0, abs=1e-5)
    assert found.fields["emotion_score"] == scores[str(found.emotion)] == max(scores.values())
    best, second = sorted(odds)[:-3:-1]
    assert found.fields["entailment"]["margin"] == pytest.approx(best - second, abs=1e-3)


def test_what_is_written() -> None:
    found = only(labeller("I feel {}.", "So {adjective}.")[0], record())
    assert list(found.fields) == [
        *("id", "mine", "text", "emotion", "emotion_score", "emotion_scores", "entailment"),
    ]
    about = found.fields["entailment"]
    assert about["model"] == "counting"
    assert about["taxonomy"] == "moods"
    assert about["templates"] == ["I feel {}.", "So {adjective}."]
    assert "abstained" not in about


def test_several_templates_are_averaged_in_log_odds() -> None:
    templates = (Template("I feel {}."), Template("So {adjective}."), Template("{} it is"))
    found = LabelScorer(CountingScorer(), MOODS, templates).raw(["oh joy", "rage"])
    for row, text in enumerate(("oh joy", "rage")):
        for column in range(3):
            words = (MOODS.nouns[column], MOODS.adjectives[column], MOODS.nouns[column])
            hypotheses = (f"I feel {words[0]}.", f"So {words[1]}.", f"{words[2]} it is")
            mean = sum(rule(text, hypothesis) for hypothesis in hypotheses) / 3
            assert found[row, column] == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize("top_k", [1, 2, 3, 9])
def test_top_k_keeps_the_best_and_their_probabilities(top_k: int) -> None:
    whole = only(labeller()[0], record()).emotion_scores
    found = only(labeller(top_k=top_k)[0], record())
    assert whole is not None and found.emotion_scores is not None
    best = sorted(whole, key=lambda name: -whole[name])[:top_k]
    assert found.emotion_scores == {name: whole[name] for name in whole if name in best}
    assert found.emotion == best[0]


def test_a_tie_goes_to_the_first_label() -> None:
    class Even(CountingScorer):
        def rule(self, premise: str, hypothesis: str) -> float:
            return 0.0

    found = only(Labeller(Cascade(LabelScorer(Even(), MOODS, (Template("{}"),)))), record())
    assert found.emotion == "joy"
    assert found.fields["entailment"]["margin"] == 0.0


def test_repeated_transcripts_are_scored_once() -> None:
    function, scorer = labeller()
    texts = ["kids are talking", "dogs are sitting", "kids are talking", " kids are talking\n"] * 8
    found = function([record(text, f"n{n}") for n, text in enumerate(texts)])
    assert scorer.premises == ["kids are talking", "dogs are sitting"]
    assert [item.id for item in found] == [f"n{n}" for n in range(32)]
    answers = [item.fields["emotion_scores"] for item in found if isinstance(item, Record)]
    assert len(answers) == 32
    assert answers[0] == answers[2] == answers[3] == answers[30] != answers[1]


@pytest.mark.parametrize("text", ["", "  ", "\n\t"])
def test_empty_text_abstains(text: str) -> None:
    function, scorer = labeller(keep_flagged=True)
    found = only(function, record(text))
    assert scorer.premises == []
    assert found.fields["entailment"]["abstained"] == "empty"
    for key in ("emotion", "emotion_score", "emotion_scores"):
        assert key in found.fields and found.fields[key] is None
    assert found.text == text


def test_flagged_text_abstains_with_the_reason() -> None:
    flagged = record(asr={"flags": ["repetition", "speech_rate"]})
    function, scorer = labeller()
    found = only(function, flagged)
    assert found.emotion is None
    assert found.fields["entailment"]["abstained"] == "repetition"
    assert scorer.premises == []
    kept = only(labeller(keep_flagged=True)[0], flagged)
    assert kept.emotion == "joy"
    assert "abstained" not in kept.fields["entailment"]
    assert only(function, record(asr={"flags": []})).emotion == "joy"


def test_an_earlier_label_does_not_survive_an_abstention() -> None:
    found = only(labeller()[0], record("", emotion="joy", emotion_score=0.9))
    assert found.emotion is None and found.fields["emotion_score"] is None


def test_no_text_is_a_reject_and_so_is_half_a_character() -> None:
    function, _ = labeller()
    items = [record(None, "none"), record("fear", "b"), record("\ud800 joy", "half"), record()]
    outcomes = function([*items, Record({"id": "absent"})])
    assert [outcome.id for outcome in outcomes] == ["none", "b", "half", "a", "absent"]
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Reject, Record, Reject, Record, Reject]
    first, half = outcomes[0], outcomes[2]
    assert isinstance(first, Reject) and "run lanser transcribe before" in first.error
    assert isinstance(half, Reject) and "not valid Unicode" in half.error


def test_label_as_a_function(capsys: pytest.CaptureFixture) -> None:
    scorer = CountingScorer()
    items = [record(f"text {n}", f"n{n}") for n in range(150)]
    items[70] = record(None, "bad")
    rejects: list[Reject] = []
    found = list(label(iter(items), MOODS, scorer, on_reject=rejects.append))
    assert [item.id for item in found] == [item.id for item in items if item.id != "bad"]
    assert [reject.id for reject in rejects] == ["bad"]
    assert list(label([items[70]], MOODS, scorer)) == []
    captured = capsys.readouterr()
    assert "rejected: bad: has no 'text'" in captured.err and captured.out == ""


@pytest.mark.parametrize("text", ["...", "?!", "🙂 🙂", "- - -"])
def test_text_without_a_word_abstains(text: str) -> None:
    function, scorer = labeller()
    assert only(function, record(text)).fields["entailment"]["abstained"] == "no words"
    assert scorer.premises == []


MARKERS = ["[Music]", "(applause)", "[BLANK_AUDIO]", "*sighs*", "<unk>", "♪♪", "<|en|><|HAPPY|>"]


@pytest.mark.parametrize("text", MARKERS)
def test_a_marker_of_a_recogniser_is_no_word(text: str) -> None:
    """Records of others come with them; transcribe has parted them from the text already."""
    function, scorer = labeller()
    assert only(function, record(text)).fields["entailment"]["abstained"] == "no words"
    assert scorer.premises == []


def test_the_words_beside_a_marker_are_what_is_judged() -> None:
    function, scorer = labeller()
    found = only(function, record("<|en|><|HAPPY|><|Speech|>i [laughter] went home"))
    assert scorer.premises == ["i went home"]
    assert found.text == "<|en|><|HAPPY|><|Speech|>i [laughter] went home", "the text stays"
    assert (
        found.fields["emotion_scores"]
        == only(function, record("i went home")).fields["emotion_scores"]
    )


def test_a_text_that_whisper_invents_is_doubted_where_nobody_says_what_was_heard() -> None:
    function, _ = labeller()
    found = only(function, record("Thanks for watching!"))
    assert found.emotion is not None and found.fields["entailment"]["doubt"] == "hallucination"
    for other in (record("oh joy"), record("Thanks for watching!", asr={"flags": []})):
        assert "doubt" not in only(function, other).fields["entailment"]


def test_a_script_the_model_cannot_read_abstains() -> None:
    found = only(labeller()[0], record("это просто текст"))
    assert found.emotion is None
    assert found.fields["entailment"]["abstained"] == "unknown script"


def test_a_text_whose_end_was_not_read_says_so() -> None:
    assert only(labeller()[0], record("joy " * 20)).fields["entailment"]["truncated"] is True
    assert "truncated" not in only(labeller()[0], record("joy")).fields["entailment"]


@pytest.mark.parametrize(
    ("threshold", "reason"), [({"min_score": 0.9}, "low score"), ({"min_margin": 9}, "low margin")]
)
def test_below_a_threshold_it_abstains_and_keeps_the_soft_labels(
    threshold: dict, reason: str
) -> None:
    free = only(labeller()[0], record())
    found = only(labeller(**threshold)[0], record())
    assert found.emotion is None and found.fields["emotion_score"] is None
    assert found.fields["entailment"]["abstained"] == reason
    assert found.emotion_scores == free.emotion_scores
    assert found.fields["entailment"]["margin"] == free.fields["entailment"]["margin"]
    score, margin = free.fields["emotion_score"], free.fields["entailment"]["margin"]
    name = next(iter(threshold))
    just = {"min_score": score - 1e-5, "min_margin": margin}[name]
    assert only(labeller(**{name: just})[0], record()).emotion == free.emotion


def test_a_prior_is_subtracted_in_log_odds_and_the_label_before_it_kept() -> None:
    scorer = CountingScorer()
    plain = only(Labeller(Cascade(LabelScorer(scorer, MOODS, (Template("{}"),)))), record())
    prior = np.array([5.0, 0.0, 0.0], np.float32)
    label_scorer = LabelScorer(scorer, MOODS, (Template("{}"),), prior)
    found = only(Labeller(Cascade(label_scorer), calibrate="null"), record())
    odds = [rule("oh joy", noun) for noun in MOODS.nouns]
    total = math.exp(odds[0] - 5) + math.exp(odds[1]) + math.exp(odds[2])
    assert plain.emotion == found.fields["entailment"]["uncalibrated"] == "joy" != found.emotion
    assert found.emotion_scores is not None
    assert found.emotion_scores["joy"] == pytest.approx(math.exp(odds[0] - 5) / total, abs=2e-6)
    assert found.fields["entailment"]["calibration"] == "null"
    assert "uncalibrated" not in plain.fields["entailment"]


class BackwardScorer(CountingScorer):
    """Finds likely what the other finds unlikely."""

    def rule(self, premise: str, hypothesis: str) -> float:
        return -rule(premise, hypothesis)


def test_a_small_model_leaves_only_its_candidates_to_be_scored() -> None:
    scorer, first = CountingScorer(), BackwardScorer()
    template = (Template("{}"),)
    two = (LabelScorer(scorer, MOODS, template), LabelScorer(first, MOODS, template))
    odds = [rule("oh joy", noun) for noun in MOODS.nouns]
    worst_two = sorted(range(3), key=lambda index: odds[index])[:2]
    found = only(Labeller(Cascade(*two, 2)), record())
    assert (first.pairs, scorer.pairs) == (3, 2)
    assert found.emotion_scores is not None
    assert set(found.emotion_scores) == {MOODS.labels[index] for index in worst_two}
    assert sum(found.emotion_scores.values()) == pytest.approx(1.0, abs=1e-5)
    assert found.emotion == MOODS.labels[max(worst_two, key=lambda index: odds[index])]
    assert found.fields["entailment"]["candidates"] == 2
    everything = only(Labeller(Cascade(*two, 3)), record())
    assert everything.emotion_scores == only(labeller()[0], record()).emotion_scores


def test_a_crosswalk_adds_probabilities_up() -> None:
    emotions = load_taxonomy("goemotions")
    crosswalk = load_crosswalk("meld7", emotions)
    label_scorer = LabelScorer(CountingScorer(), emotions, (Template("{}"),))
    fine = only(Labeller(Cascade(label_scorer)), record()).emotion_scores
    found = only(Labeller(Cascade(label_scorer, crosswalk=crosswalk)), record())
    assert fine is not None and found.emotion_scores is not None
    assert list(found.emotion_scores) == list(load_taxonomy("meld7").labels)
    fear = fine["fear"] + fine["nervousness"]
    assert found.emotion_scores["fear"] == pytest.approx(fear, abs=5e-6)
    assert found.emotion == max(found.emotion_scores, key=lambda name: found.emotion_scores[name])  # type: ignore[index]
    about = found.fields["entailment"]
    assert (about["taxonomy"], about["crosswalk"]) == ("goemotions", "meld7")
    best, second = sorted(found.emotion_scores.values())[:-3:-1]
    assert about["margin"] == pytest.approx(math.log(best / second), abs=1e-3)


def test_candidates_are_labels_of_the_crosswalk_and_all_that_lead_to_them_is_scored() -> None:
    """Else the surest of all would be what the one candidate says that leads anywhere."""
    emotions = Taxonomy.of_labels(["joy", "fear", "surprise", "anger", "worry", "calm"])
    three = Taxonomy.of_labels(["sad", "glad", "afraid"])
    crosswalk = Crosswalk(emotions, three, (1, 2, None, 0, 2, 1))
    scorer, first = CountingScorer(), FearScorer()
    two = [LabelScorer(one, emotions, (Template("{}"),)) for one in (scorer, first)]
    found = only(Labeller(Cascade(*two, 2, crosswalk=crosswalk)), record())
    # `first` finds fear, and surprise, which leads nowhere; then all alike, of which glad has two.
    odds = {noun: rule("oh joy", noun) for noun in ("joy", "fear", "worry", "calm")}
    assert (first.pairs, scorer.pairs) == (6, 4)
    glad, afraid = (sum(math.exp(odds[n]) for n in p) for p in (("joy", "calm"), ("fear", "worry")))
    assert found.emotion_scores == {
        "glad": pytest.approx(glad / (glad + afraid), abs=1e-6),
        "afraid": pytest.approx(afraid / (glad + afraid), abs=1e-6),
    }
    about = found.fields["entailment"]
    assert about["margin"] == pytest.approx(abs(math.log(glad / afraid)), abs=1e-3)
    assert about["candidates"] == 2
    whole = Labeller(Cascade(two[0], crosswalk=crosswalk))
    all_three = only(Labeller(Cascade(*two, 3, crosswalk=crosswalk)), record())
    assert scorer.pairs == 4 + 5 and all_three.emotion_scores == pytest.approx(
        only(whole, record()).emotion_scores, abs=2e-6
    )


class FearScorer(CountingScorer):
    """Takes everything for fear or surprise."""

    def rule(self, premise: str, hypothesis: str) -> float:
        return float(hypothesis in ("fear", "surprise"))


def test_the_summary_counts_what_became_of_the_texts(capsys: pytest.CaptureFixture) -> None:
    prior = np.array([5.0, 0.0, 0.0], np.float32)
    label_scorer = LabelScorer(CountingScorer(), MOODS, (Template("{}"),), prior)
    texts = ["oh joy", "oh joy", "fear", "", "...", "anger " * 20]
    items = [record(text, f"n{n}") for n, text in enumerate(texts)]
    summary = Summary()
    process = summary.watching(one_process(Labeller(Cascade(label_scorer), calibrate="null")))
    assert len(next(iter(process([items])))) == len(items)
    answered = Labeller(Cascade(label_scorer), calibrate="null")(items)
    emotions = [item.emotion for item in answered if isinstance(item, Record)]
    assert summary.labels.total() == 4 and summary.abstained == {"empty": 1, "no words": 1}
    assert summary.labels == Counter(name for name in emotions if name)
    assert summary.truncated == 1
    summary.say()
    said = capsys.readouterr().err
    assert "labels before calibration: joy" in said and "labels after it: " in said
    assert "abstained: 1 empty, 1 no words" in said and "1 too long for the model" in said
    assert "--context" not in said
    summary.context = 2  # which no record has a dialogue for
    summary.say()
    assert "--context: no record has a 'dialogue'" in capsys.readouterr().err
    summary.in_context = 1
    summary.say()
    assert "--context" not in capsys.readouterr().err


# ---------------------------------------------------------------- the model that ships


@pytest.fixture(scope="module")
def embedded():  # type: ignore[no-untyped-def]
    from lanser_cli.entailment import PairScorer

    try:
        return PairScorer()
    except LanserError as error:
        pytest.fail(f"the model that ships cannot be loaded: {error}")


PLAIN = {
    "i am so happy today": "joy",
    "this is the best day of my life, i love it": "joy",
    "i am furious with you": "anger",
    "how dare you, i am so angry": "anger",
    "i am terrified of the dark": "fear",
    "i was so scared that i could not move": "fear",
    "i cried all night because my dog died": "sadness",
    "i feel so lonely and miserable": "sadness",
    "that is disgusting, it makes me sick": "disgust",
    "wow, what a surprise, i never expected that": "surprise",
}


def test_a_word_that_the_embedded_model_makes_one_unknown_piece_of_is_no_text(embedded) -> None:  # type: ignore[no-untyped-def]
    key = "deadbeef" * 20
    assert not embedded.knows(key) and not embedded.knows(f"{key}\n{key} {key}")
    assert embedded.knows(f"i am so happy about {key}") and embedded.knows("so happy " * 20)


def test_the_embedded_model_knows_plain_feelings(embedded) -> None:  # type: ignore[no-untyped-def]
    items = [Record({"id": f"n{n}", "text": text}) for n, text in enumerate(PLAIN)]
    found = [item.emotion for item in label(items, load_taxonomy("ekman6"), embedded)]
    right = [answer == wanted for answer, wanted in zip(found, PLAIN.values(), strict=True)]
    assert sum(right) >= 8, dict(zip(PLAIN, found, strict=True))


@pytest.mark.parametrize("text", ["...", "你好，我很高兴", "это просто текст", "🙂"])
def test_the_embedded_model_does_not_judge_what_it_cannot_read(embedded, text: str) -> None:  # type: ignore[no-untyped-def]
    (found,) = label([record(text)], load_taxonomy("ekman6"), embedded)
    assert found.emotion is None
    assert found.fields["entailment"]["abstained"] in ("no words", "unknown script")


@pytest.mark.parametrize(
    "text", ["so so " + "a" * 5000, "word " * 10_000, "naïve café, señor?", "ok 🙂"]
)
def test_the_embedded_model_bears_any_text(embedded, text: str) -> None:  # type: ignore[no-untyped-def]
    (found,) = label([record(text)], load_taxonomy("ekman6"), embedded)
    assert found.emotion in load_taxonomy("ekman6").labels
    assert found.emotion_scores is not None
    assert sum(found.emotion_scores.values()) == pytest.approx(1.0, abs=1e-5)


def test_the_embedded_model_is_small_and_says_where_it_comes_from() -> None:
    from safetensors import safe_open

    from lanser_cli.entailment.scorer import EMBEDDED_FOLDER

    weights = EMBEDDED_FOLDER / "model.safetensors"
    assert weights.stat().st_size <= 50 * 1024**2
    with safe_open(weights, "np") as tensors:
        kinds = {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118
    assert kinds <= {"F16", "I64"} and "F16" in kinds
    cards = [path for path in EMBEDDED_FOLDER.iterdir() if path.suffix == ".md"]
    assert cards, "no model card"
    card = cards[0].read_text(encoding="utf-8").lower()
    for word in ("license", "data", "minilm"):
        assert word in card.replace("licence", "license")
