"""A real llama.cpp server, whose tiny model means nothing by what it says, labels texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from string import ascii_uppercase

import numpy as np
import pytest
import urllib3
from conftest import EKMAN, Lanser, read_jsonl, write_jsonl
from live_server import FAVOURITE, LONGEST, running, write_model

from lanser_cli.entailment.llm_scorer import _CHOICE, _PAIR, LlmScorer
from lanser_cli.entailment.server import Server

MISSING = [name for name in ("xllamacpp", "gguf") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"no llama.cpp: {' and '.join(MISSING)} of the extra dev are not here"
)

TEXTS = (
    "What a joy that you came!",
    "Leave me alone.",
    "Did you hear that noise?",
    "I lost my keys again, and it rains.",
    "Gosh, is that for me?",
    "Das schmeckt ja fürchterlich.",
)
ByHand = Callable[[str, str], list[float]]
HYPOTHESES = [f"This person feels {emotion}." for emotion in EKMAN]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture(scope="module")
def address(model: Path) -> Iterator[str]:
    with running(model) as address:
        yield address


@pytest.fixture
def said(tmp_path: Path) -> Path:
    items = [{"id": f"n{number}", "text": text} for number, text in enumerate(TEXTS)]
    return write_jsonl(tmp_path / "said.jsonl", items)


def label(lanser: Lanser, path: Path, address: str, *words: object) -> list[dict]:
    line = ("entail-label", path, "-t", "ekman6", "--model", f"llm:tiny@{address}", *words)
    return read_jsonl(lanser(*line).stdout)


def answer(address: str, prompt: str) -> tuple[str, list[tuple[str, float]]]:
    """What the server says where nothing binds it: a token, and the likeliest ones."""
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 1, "temperature": 0}
    body |= {"logprobs": True, "top_logprobs": 100}
    reply = urllib3.request("POST", f"{address}/v1/chat/completions", json=body).json()
    [token] = reply["choices"][0]["logprobs"]["content"]
    return token["token"], [(each["token"], each["logprob"]) for each in token["top_logprobs"]]


def log_probability(tokens: list[tuple[str, float]], *words: str) -> float:
    return math.log(sum(math.exp(odds) for token, odds in tokens if token.strip() in words))


def pair_scores(address: str, text: str) -> list[float]:
    """By direct requests, `log p(yes) - log p(no)` of each hypothesis."""
    prompts = [_PAIR.format(premise=text, hypothesis=hypothesis) for hypothesis in HYPOTHESES]
    answers = [answer(address, prompt)[1] for prompt in prompts]
    return [
        log_probability(tokens, "Yes", "yes") - log_probability(tokens, "No", "no")
        for tokens in answers
    ]


def choice_prompt(text: str) -> str:
    listed = [f"{letter}. {each}" for letter, each in zip("ABCDEF", HYPOTHESES, strict=True)]
    return _CHOICE.format(premise=text, options="\n".join(listed))


def choice_scores(address: str, text: str) -> list[float]:
    """By one direct request, the log-probability of the letter of each hypothesis."""
    tokens = answer(address, choice_prompt(text))[1]
    return [log_probability(tokens, letter) for letter in "ABCDEF"]


def test_it_is_known_by_its_kind_its_version_and_its_file(address: str, tmp_path: Path) -> None:
    build = urllib3.request("GET", f"{address}/props").json()["build_info"]
    server = Server(f"llm:tiny@{address}")
    assert (server.kind, server.most_tokens) == ("llama.cpp", 100)
    assert server.identity.startswith(f"llama.cpp {build}, tiny ")
    with running(write_model(tmp_path / "other.gguf", seed=1)) as elsewhere:
        assert Server(f"llm:tiny@{elsewhere}").identity != server.identity


def test_it_is_the_same_with_other_room_for_texts(model: Path, address: str) -> None:
    with running(model, longest=LONGEST // 2) as again:
        identities = {Server(f"llm:tiny@{each}").identity for each in (address, again)}
    assert len(identities) == 1


@pytest.mark.parametrize(("mode", "by_hand"), [("pair", pair_scores), ("choice", choice_scores)])
def test_labels_are_what_the_server_itself_holds_likeliest(
    lanser: Lanser, said: Path, address: str, mode: str, by_hand: ByHand
) -> None:
    found = label(lanser, said, address, "--llm-mode", mode)
    assert [item["text"] for item in found] == list(TEXTS)
    for item in found:
        scores = np.array(by_hand(address, item["text"]))
        odds = np.log([item["emotion_scores"][emotion] for emotion in EKMAN])
        np.testing.assert_allclose(odds - odds.mean(), scores - scores.mean(), atol=1e-3)
        assert sum(item["emotion_scores"].values()) == pytest.approx(1.0, abs=1e-5)
        assert scores[EKMAN.index(item["emotion"])] > scores.max() - 1e-3
        assert item["entailment"]["server"].startswith("llama.cpp ")


def test_its_answers_are_bound_to_those_allowed(address: str) -> None:
    server = Server(f"llm:tiny@{address}")
    for text in TEXTS:
        pair = _PAIR.format(premise=text, hypothesis=HYPOTHESES[0])
        for prompt, answers in ((pair, ("Yes", "No")), (choice_prompt(text), tuple("ABCDEF"))):
            assert answer(address, prompt)[0] == FAVOURITE
            assert server.first_token(prompt, answers)[0] in answers


def test_more_labels_than_letters_are_chosen_from_in_rounds(address: str) -> None:
    options = [f"I feel {letter}." for letter in (*ascii_uppercase, *"1234")]
    scorer = LlmScorer(Server(f"llm:tiny@{address}"), [options])
    assert np.isfinite(scorer.score(TEXTS, options)).all()


def test_a_text_that_it_has_no_room_for_is_a_reject_with_its_reason(
    lanser: Lanser, tmp_path: Path, address: str
) -> None:
    texts = ("ha" * LONGEST, TEXTS[0])
    path = write_jsonl(tmp_path / "in.jsonl", [{"id": text[:2], "text": text} for text in texts])
    rejects = tmp_path / "rejects.jsonl"
    line = ("entail-label", path, "-t", "ekman6", "--model", f"llm:tiny@{address}")
    [found] = read_jsonl(lanser(*line, "--rejects", rejects, check=3).stdout)
    [reject] = read_jsonl(rejects)
    assert (found["id"], reject["id"]) == ("Wh", "ha")
    assert "HTTP 400" in reject["error"] and "exceeds the available context" in reject["error"]


def test_a_cache_answers_when_it_is_stopped(
    lanser: Lanser, said: Path, model: Path, tmp_path: Path
) -> None:
    words = ("--cache", tmp_path / "cache")
    with running(model) as address:
        first = label(lanser, said, address, *words)
    assert label(lanser, said, address, *words) == first
    line = ("entail-label", said, "-t", "ekman6", "--model", f"llm:tiny@{address}")
    assert b"nothing answers there" in lanser(*line, check=1).stderr
