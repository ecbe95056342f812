"""A language model on a server as the judge: its scores, its faults, and what stays secret."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from email.utils import formatdate
from multiprocessing.dummy import DummyProcess
from pathlib import Path

import numpy as np
import pytest
from conftest import read_jsonl, write_jsonl
from llm_server import ENTRIES, KEY, VERSIONS, Scripted, log_odds, served

from lanser_cli.app import main
from lanser_cli.entailment import server as server_module
from lanser_cli.entailment.calibration import everyday
from lanser_cli.entailment.llm_scorer import LlmScorer
from lanser_cli.entailment.server import SLOTS, Server
from lanser_cli.errors import LanserError

TEXTS = ("what a joy", "no anger here", "joy joy", "fear of the dark", "just so")
LABELS = "joy,fear,anger"


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    """A server that says that it is vLLM; tries follow one another without a pause."""
    monkeypatch.setattr(server_module, "_WAITS", (0.0, 0.0, 0.0))
    monkeypatch.setenv("LANSER_LLM_KEY", KEY)
    with served() as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return said(tmp_path, *TEXTS)


def said(folder: Path, *texts: str) -> Path:
    items = [{"id": f"n{number}", "text": text} for number, text in enumerate(texts)]
    return write_jsonl(folder / "in.jsonl", items)


def label(path: Path, server: Scripted, *words: object, code: int = 0) -> list[dict]:
    """The records that the command makes of a file."""
    out = path.parent / "out.jsonl"
    line = ["entail-label", path, "--labels", LABELS, "-o", out, *words]
    line += [] if "--model" in words else ["--model", server.model]
    line += [] if "--resume" in words else ["--force"]
    assert main([str(word) for word in line]) == code
    return read_jsonl(out) if out.exists() else []


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("vllm", {"structured_outputs", "chat_template_kwargs"}),
        ("llama.cpp", {"grammar", "chat_template_kwargs"}),
        ("ollama", {"reasoning_effort"}),
        ("other", set()),
    ],
)
def test_a_score_is_the_log_odds_of_yes_however_it_is_written(kind: str, own: set[str]) -> None:
    with served(kind) as server:
        scorer = LlmScorer(Server(server.model))
        found = scorer.score(TEXTS, ["I feel joy.", "I feel fear."], None)
    expected = [[log_odds(text, f"I feel {word}.") for word in ("joy", "fear")] for text in TEXTS]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert scorer.fingerprint.startswith(kind) and "tiny" in scorer.fingerprint
    common = {"model", "messages", "max_tokens", "temperature", "seed", "logprobs", "top_logprobs"}
    assert all(set(body) == common | own for body in server.asked)


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 405, 501])
@pytest.mark.parametrize("kind", ["vllm", "llama.cpp", "other"])
def test_a_server_may_refuse_what_other_kinds_have(kind: str, status: int) -> None:
    with served(kind) as server:
        elsewhere = {"Location": "http://127.0.0.1:9/login"} if status < 400 else {}
        paths = ("/version", "/props", "/api/version", "/api/tags")
        server.refused = dict.fromkeys(paths, (status, elsewhere))
        scorer = LlmScorer(Server(server.model))
        assert np.isfinite(scorer.score(["joy"], ["I feel joy."])).all()
    assert scorer.fingerprint.startswith(f"{kind} of unknown version, tiny")


@pytest.mark.parametrize(("status", "message"), [(401, "refuses the key"), (307, "not followed")])
def test_a_server_that_refuses_to_list_its_models_is_an_error(
    path: Path,
    scripted: Scripted,
    capsys: pytest.CaptureFixture[str],
    status: int,
    message: str,
) -> None:
    scripted.refused["/v1/models"] = (status, {"Location": "http://127.0.0.1:9/v1/models"})
    label(path, scripted, code=1)
    assert message in capsys.readouterr().err
    assert not scripted.asked


def test_a_digest_holds_as_long_as_the_server_is_the_same() -> None:
    fingerprints = set()
    for version in ("1", "1", "2"):
        with served("ollama") as server:
            server.versions["/api/version"] = {"version": version}
            fingerprints |= {LlmScorer(Server(server.model)).fingerprint}
    assert len(fingerprints) == 2


def test_two_files_of_llama_cpp_are_two_models_and_no_path_is_shown() -> None:
    fingerprints = []
    for file in ("/models/one.gguf", "/models/one.gguf", "/models/other.gguf"):
        with served("llama.cpp") as server:
            server.versions["/props"] = {**server.versions["/props"], "model_path": file}
            fingerprints.append(LlmScorer(Server(server.model)).fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert not [each for each in fingerprints if "gguf" in each]


def test_the_room_that_vllm_has_for_texts_is_no_part_of_what_its_model_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fingerprints = []
    for room, root in ((2048, "one"), (1024, "one"), (1024, "two")):
        monkeypatch.setitem(ENTRIES["vllm"], "max_model_len", room)
        monkeypatch.setitem(ENTRIES["vllm"], "root", root)
        with served() as server:
            fingerprints.append(LlmScorer(Server(server.model)).fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_the_room_that_llama_cpp_has_for_texts_is_no_part_of_what_its_model_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fingerprints = []
    for meta in ({"size": 1, "n_ctx": 1024}, {"size": 1, "n_ctx": 512}, {"size": 2, "n_ctx": 512}):
        monkeypatch.setitem(ENTRIES["llama.cpp"], "meta", meta)
        with served("llama.cpp") as server:
            fingerprints.append(LlmScorer(Server(server.model)).fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


@pytest.mark.parametrize("most", [20, 6, 2])
def test_choice_gives_every_letter_its_probability_in_one_round_or_several(most: int) -> None:
    options = [f"This person feels {word}." for word in "abcdefghijklmnopqrstuvwxyzäöü"]
    with served() as server:
        server.most = most
        scorer = LlmScorer(Server(server.model), [options])
        found = scorer.score(["a c or an ü"], options)[0].astype(float)
    odds = np.array([log_odds("a c or an ü", option) for option in options])
    np.testing.assert_allclose(found - found[0], odds - odds[0], atol=1e-4)
    assert all(len(body["structured_outputs"]["choice"]) <= 20 for body in server.asked)


def test_templates_that_say_the_same_are_asked_once_and_at_once_refused(
    path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--template", "I feel {}.", "--template", "I feel {adjective}.")  # --labels has one
    by_both = label(path, scripted, *words)
    asked = [body["messages"][0]["content"] for body in scripted.asked]
    assert len(set(asked)) == len(asked)
    by_one = label(path, scripted, *words[:2])
    assert [one["emotion_scores"] for one in by_both] == [one["emotion_scores"] for one in by_one]
    label(path, scripted, *words, "--llm-mode", "choice", code=2)
    assert "two templates say 'I feel joy.'" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["pair", "choice"])
def test_labels_calibration_and_templates_work_as_with_any_model(
    path: Path, scripted: Scripted, mode: str
) -> None:
    words = ("--template", "I feel {}.", "--template", "{} it is", "--calibrate", "null")
    found = label(path, scripted, "--llm-mode", mode, *words)
    frames = ("I feel {}.", "{} it is")
    for item, text in zip(found, TEXTS, strict=True):
        odds = []
        for word in LABELS.split(","):
            of = [
                np.mean([log_odds(premise, frame.format(word)) for frame in frames])
                for premise in (text, *everyday())
            ]
            odds.append(math.exp(of[0] - np.mean(of[1:])))
        scores = [value / sum(odds) for value in odds]
        assert list(item["emotion_scores"].values()) == pytest.approx(scores, abs=1e-4)
        about = item["entailment"]
        assert (about["precision"], about["model"]) == ("server", scripted.model)
        assert about["server"].startswith("vllm 0.12.0, tiny ") and mode in about["server"]


def test_faults_of_one_answer_are_rejects_with_reasons_and_never_labels(
    tmp_path: Path, scripted: Scripted
) -> None:
    texts = ["it is broken", "speechless", "too chatty", "onesided", "much too long", "what a joy"]
    texts += ["packed, as nobody asked", "endless"]
    scripted.statuses["long"] = [(400, {})] * 99
    rejects = tmp_path / "rejects.jsonl"
    found = label(said(tmp_path, *texts), scripted, "--rejects", rejects, code=3)
    assert [item["id"] for item in found] == ["n5"]
    rejected = {item["id"]: item["error"] for item in read_jsonl(rejects)}
    reasons = {
        "n0": "broke its answer off",
        "n1": "does not have the log-probabilities",
        "n2": "answers 'Well'",
        "n3": "not both yes and no",
        "n4": "HTTP 400",
        "n6": "is not JSON",
        "n7": "longer than 16 MB",
    }
    assert rejected.keys() == reasons.keys()
    assert all(part in rejected[name] for name, part in reasons.items())


def test_a_choice_that_is_none_of_the_labels_is_a_reject_and_never_a_label(
    tmp_path: Path, scripted: Scripted
) -> None:
    path, rejects = said(tmp_path, "outside", "chatty", "what a joy"), tmp_path / "rejects.jsonl"
    found = label(path, scripted, "--llm-mode", "choice", "--rejects", rejects, code=3)
    assert [(item["id"], item["emotion"]) for item in found] == [("n2", "joy")]
    errors = [item["error"] for item in read_jsonl(rejects)]
    assert errors == [f"the model answers '{answer}' and not A to C" for answer in ("Z", "Well")]


def test_what_passes_is_tried_again_after_as_long_as_the_server_asks(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(Server, "_wait", lambda _, seconds, given_up: slept.append(seconds))
    in_a_minute = formatdate(server_module.time.time() + 60, usegmt=True)
    answers = [(429, {"Retry-After": "7"}), (503, {"Retry-After": in_a_minute}), (500, {})]
    scripted.statuses["joy"] = answers
    [found] = label(said(tmp_path, "what a joy"), scripted, "--labels", "joy,fear")
    assert found["emotion"] == "joy"
    seven, sixty = sorted(filter(None, slept))
    assert seven == 7.0 and 50 < sixty <= 60


def test_every_5xx_is_tried_again_but_those_that_no_wait_changes(
    tmp_path: Path, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(Server, "_wait", lambda _, seconds, given_up: slept.append(seconds))
    scripted.statuses = {
        "joy": [(520, {}), (529, {"Retry-After": "9"}), (507, {})],
        "fear": [(501, {})],
        "anger": [(505, {})],
    }
    path, rejects = said(tmp_path, "what a joy", "fear", "anger"), tmp_path / "rejects.jsonl"
    [found] = label(path, scripted, "--llm-mode", "choice", "--rejects", rejects, code=3)
    assert found["id"] == "n0" and sorted(slept) == [0.0, 0.0, 9.0]
    errors = [item["error"] for item in read_jsonl(rejects)]
    assert ["HTTP 501" in errors[0], "HTTP 505" in errors[1]] == [True, True]


def test_a_server_that_stops_ends_the_run_and_resume_goes_on(
    tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    path = said(tmp_path, *(f"joy number {number}" for number in range(260)))
    choice = ("--llm-mode", "choice")
    whole = label(path, scripted, *choice)
    (tmp_path / "out.jsonl").unlink()
    scripted.dies_after = len(scripted.asked) + 256 + 2  # amid the second window
    assert label(path, scripted, *choice, code=1) == []
    message = capsys.readouterr().err
    assert "nothing answers there" in message and "--resume" in message
    with served(port=scripted.server_address[1]) as again:
        resumed = label(path, again, *choice, "--resume")
        assert len(again.asked) == 1 + 4  # a first question, and the rest
    assert resumed == whole


def test_a_run_is_not_resumed_with_another_model_of_the_server(
    tmp_path: Path, scripted: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    path = said(tmp_path, *(f"joy number {number}" for number in range(260)))
    scripted.dies_after = 3 * 256 + 2
    assert label(path, scripted, code=1) == []
    with served("llama.cpp", port=scripted.server_address[1]) as again:
        assert label(path, again, "--resume", code=2) == []
        said_so = "made with another --model (its files), vllm 0.12.0, tiny"
        assert said_so in capsys.readouterr().err
        again.kind, again.versions = "vllm", dict(VERSIONS["vllm"])
        assert len(label(path, again, "--resume")) == 260


def test_a_run_that_ends_leaves_no_question_that_is_asked_again(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_WAITS", (60.0,))
    scripted.statuses = {"secret": [(401, {})], "busy": [(503, {})] * 9}
    scripted.latency = 0.2  # so that all are asked before one is answered
    scorer = LlmScorer(Server(scripted.model))
    before = threading.enumerate()
    with pytest.raises(LanserError, match="refuses the key"):
        scorer.score(["a secret", *["busy"] * 8], ["This person feels joy."])
    new = [thread for thread in threading.enumerate() if thread not in before]
    threads = [thread for thread in new if isinstance(thread, DummyProcess)]
    for thread in threads:
        thread.join(5)
    assert not [thread for thread in threads if thread.is_alive()]
    assert np.isfinite(scorer.score(["joy"], ["This person feels joy."])).all()  # it goes on


def test_a_cache_answers_in_place_of_the_server(path: Path, scripted: Scripted) -> None:
    words = ("--cache", path.parent / "cache")
    first = label(path, scripted, *words)
    asked = len(scripted.asked)
    assert label(path, scripted, *words) == first
    assert len(scripted.asked) == asked
    label(path, scripted, *words, "--llm-mode", "choice")  # asks otherwise: other scores
    assert len(scripted.asked) > asked


def test_a_cache_answers_in_place_of_a_server_that_is_gone_but_for_no_other_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_WAITS", (0.0,))
    path = said(tmp_path, *TEXTS)
    words = ("--cache", tmp_path / "cache", "--calibrate", "batch", "--llm-mode", "choice")
    with served() as one:
        first = label(path, one, *words)
        port = one.server_address[1]
    assert label(path, one, *words) == first
    assert capsys.readouterr().err.count("scores are those in the cache, of vllm 0.12.0, tiny") == 1
    label(path, one, *words[2:], code=1)  # without the cache
    label(path, one, *words[:2], code=1)  # asked otherwise
    label(said(tmp_path, *TEXTS, "a new one"), one, *words, code=1)
    assert capsys.readouterr().err.count("error: --model llm:tiny@") == 3
    with served(port=port) as another:
        another.versions["/version"] = {"version": "0.13.0"}
        more = label(said(tmp_path, *TEXTS), another, *words)
        assert another.asked
    again = label(path, another, *words)
    assert again == more and "0.13.0" in again[0]["entailment"]["server"]
    assert "of vllm 0.13.0, tiny" in capsys.readouterr().err
    with served() as elsewhere:  # nothing is known of what answered there
        pass
    label(path, elsewhere, *words, code=1)


def test_a_text_that_is_there_twice_is_asked_of_once_and_found_in_the_cache(
    tmp_path: Path, scripted: Scripted
) -> None:
    path = said(tmp_path, *TEXTS, *TEXTS)
    words = ("--cache", tmp_path / "cache", "--calibrate", "batch")
    first = label(path, scripted, *words)
    assert len(scripted.asked) == 1 + len(TEXTS) * 3
    assert label(path, scripted, *words) == first
    assert len(scripted.asked) == 1 + len(TEXTS) * 3


def test_a_server_that_comes_back_is_not_asked_in_the_name_of_what_it_was(
    scripted: Scripted,
) -> None:
    scorer = LlmScorer(Server(scripted.model, last_identity="vllm 0.11, tiny 0123456789abcdef"))
    with pytest.raises(LanserError, match="nothing answers there"):
        scorer.score(["joy"], ["I feel joy."])
    assert not scripted.asked


def test_the_key_is_sent_and_written_nowhere(
    tmp_path: Path, scripted: Scripted, capfd: pytest.CaptureFixture[str]
) -> None:
    scripted.statuses["echo"] = [(400, {})] * 9  # the server repeats the key in its refusal
    path = said(tmp_path, "what a joy", "an echo")
    words = ("--cache", tmp_path / "cache", "--rejects", tmp_path / "rejects.jsonl", "--verbose")
    label(path, scripted, *words, code=3)
    assert scripted.keys == {f"Bearer {KEY}"}
    assert "no, Bearer ..." in (tmp_path / "rejects.jsonl").read_text()
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(written) >= 5
    assert not [file for file in written if KEY.encode() in file.read_bytes()]
    out, err = capfd.readouterr()
    assert KEY not in out + err


def test_no_part_of_the_key_is_shown_where_what_a_server_says_is_cut(
    tmp_path: Path,
    scripted: Scripted,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, rejects = said(tmp_path, "a parrot", "garbled", "what a joy"), tmp_path / "rejects.jsonl"
    label(path, scripted, "--rejects", rejects, "--verbose", code=3)
    errors = [item["error"] for item in read_jsonl(rejects)]
    assert "Bearer ...' and not yes or no" in errors[0]
    assert errors[1].endswith("must be a finite number")
    scripted.statuses["joy"] = [(429, {"Retry-After": KEY})] * 99
    label(path, scripted, code=1)
    monkeypatch.setitem(ENTRIES, "vllm", {"id": f"of-{KEY}", "owned_by": "vllm"})
    label(path, scripted, code=2)
    shown = "".join([*capfd.readouterr(), *errors])
    assert "its models: of-..." in shown and "HTTP 429" in shown
    assert KEY[:4] not in shown


def test_no_word_comes_back_from_a_server_that_repeats_them_in_its_refusal(
    tmp_path: Path, scripted: Scripted, capfd: pytest.CaptureFixture[str]
) -> None:
    scripted.statuses["whisper"] = [(400, {})] * 9
    path, rejects = said(tmp_path, "a whisper", "what a joy"), tmp_path / "rejects.jsonl"
    label(path, scripted, "--no-text", "--rejects", rejects, "--verbose", code=3)
    [reject] = read_jsonl(rejects)
    assert "HTTP 400" in reject["error"]
    assert "whisper" not in rejects.read_text() + "".join(capfd.readouterr())


@pytest.mark.parametrize("key", [f"{KEY}\r\nX-Other: 1", f"{KEY}€"])
def test_a_key_that_no_header_can_hold_is_refused_without_being_shown(
    key: str,
    path: Path,
    scripted: Scripted,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LANSER_LLM_KEY", key)
    label(path, scripted, code=2)
    message = capsys.readouterr().err
    assert "LANSER_LLM_KEY: is no key" in message and KEY not in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "llm:tiny@http://10.1.2.3:8000"), "--allow-remote"),
        (("--model", "llm:tiny@http://localhost.example.org"), "--allow-remote"),
        (("--model", "llm:tiny@http://name:secret@127.0.0.1"), "NAME@URL"),
        (("--model", "llm:tiny"), "NAME@URL"),
        (("--model", "llm:other@{url}"), "its models: tiny"),
        (("--precision", "int8"), "--precision"),
        (("--llm-mode", "choice", "--top-k-first", "2"), "--top-k-first"),
        (("--llm-mode", "choice", "--model", "embedded"), "llm:NAME@URL"),
    ],
)
def test_a_set_up_that_cannot_work_is_refused_before_anything_is_sent(
    path: Path,
    scripted: Scripted,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    message: str,
) -> None:
    url = scripted.model.partition("@")[2]
    label(path, scripted, *(word.replace("{url}", url) for word in words), code=2)
    assert message in capsys.readouterr().err
    assert not scripted.asked


@pytest.mark.parametrize(
    ("status", "headers", "message"),
    [
        (401, {}, "refuses the key"),
        (307, {"Location": "http://127.0.0.1:9/v1/chat/completions"}, "not followed"),
        (404, {}, "no chat completions"),
        (429, {"Retry-After": "86400"}, "asks to wait 86400 s"),
        (529, {}, "overloaded or down (HTTP 529)"),
        (400, {}, "a plain question fails"),
    ],
)
def test_a_server_that_refuses_everything_ends_the_run(
    path: Path,
    scripted: Scripted,
    capsys: pytest.CaptureFixture[str],
    status: int,
    headers: dict[str, str],
    message: str,
) -> None:
    scripted.statuses[""] = [(status, headers)] * 9
    assert label(path, scripted, code=1) == []
    assert message in capsys.readouterr().err


def test_no_more_requests_are_in_flight_than_slots() -> None:
    with served(latency=0.02) as server:
        LlmScorer(Server(server.model)).score([f"text {n}" for n in range(50)], ["a joy", "a fear"])
        assert SLOTS // 2 < server.most_flying <= SLOTS
