"""why: one record's weak label taken apart, and computed again."""

from __future__ import annotations

import hashlib
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Lanser, read_jsonl, save_nli, write_jsonl
from llm_server import served

from lanser_cli.entailment.made_by import options_in
from lanser_cli.entailment.why import Agreed, shown
from lanser_cli.records import Record

TEXTS = ("i lost my keys", "what a day this was", "he never said goodbye", "")


@pytest.fixture(scope="module")
def nli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model whose scores differ a lot."""
    folder = tmp_path_factory.mktemp("nli") / "spread"
    return save_nli(folder, ("CONTRADICTION", "NEUTRAL", "ENTAILMENT"), spread=0.3)


@pytest.fixture(scope="module")
def heard(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("why")
    sound = clips / "clip-00.wav"
    values = [
        {"id": f"r-{n}", "audio_filepath": str(sound), "text": text, "dialogue": "d"}
        for n, text in enumerate(TEXTS)
    ]
    return write_jsonl(folder / "heard.jsonl", values)


def test_a_label_is_taken_apart_and_comes_out_again(
    heard: Path, clips: Path, lanser: Lanser, nli: Path, tmp_path: Path
) -> None:
    weak = tmp_path / "weak.jsonl"
    options = ("--model", nli, "--labels", "joy,anger,fear", "--device", "cpu")
    more = ("--template", "It is {}.", "--template", "They feel {}.", "--calibrate", "batch")
    made = lanser("entail-label", heard, *options, *more, "--context", 2, "-q", "-o", weak)
    assert made.stderr.startswith(b"--calibrate batch: a mean over 3 different texts is no prior")
    done = lanser("why", "r-2", weak, "--device", "cpu")
    [found] = read_jsonl(done.stdout)
    [stored] = [value for value in read_jsonl(weak) if value["id"] == "r-2"]
    assert found["differs"] == [] and b"are the same" in done.stderr
    assert shlex.split(found["command"])[:3] == ["lanser", "entail-label", str(heard)]
    assert found["premise"] == (
        'Earlier: "i lost my keys" "what a day this was" Now: "he never said goodbye"'
    )
    samples, _ = soundfile.read(clips / "clip-00.wav", dtype="int16")
    assert found["audio"]["sha256"] == hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest()
    parts = {part["label"]: part for part in found["labels"]}
    assert parts["joy"]["hypotheses"] == ["It is joy.", "They feel joy."]
    odds = np.array([part["log_odds"] - part["prior"] for part in found["labels"]])
    chances = np.exp(odds) / np.exp(odds).sum()  # the softmax, made here by hand
    for part, chance in zip(found["labels"], chances, strict=True):
        assert part["probability"] == pytest.approx(chance, abs=1e-4)
        assert part["probability"] == pytest.approx(stored["emotion_scores"][part["label"]])
    assert found["labels"][0]["label"] == stored["emotion"]
    [found] = read_jsonl(lanser("why", "r-3", weak, "--device", "cpu").stdout)
    assert found["labels"] == [] and found["differs"] == []
    assert found["computed"]["abstained"] == "empty"


def test_without_a_neighbour_the_record_itself_says_how_and_a_change_is_found(
    heard: Path, lanser: Lanser, nli: Path
) -> None:
    options = ("--model", nli, "--labels", "joy,anger,fear", "--device", "cpu")
    weak = read_jsonl(lanser("entail-label", heard, *options, "--calibrate", "null").stdout)
    first = {**weak[0], "votes": {"a": "joy", "b": None}, "agreement": 1.0}
    done = lanser("why", "r-0", "--device", "cpu", input=json.dumps(first).encode())
    [found] = read_jsonl(done.stdout)
    assert found["differs"] == [] and found["votes"] == {"a": "joy", "b": None}
    words = shlex.split(found["command"])
    assert words[words.index("--labels") + 1] == "joy,anger,fear"
    scores = {**weak[0]["emotion_scores"], "joy": 0.5}
    changed = {**weak[0], "emotion": "nothing", "emotion_scores": scores}
    done = lanser("why", "r-0", "--device", "cpu", input=json.dumps(changed).encode())
    [found] = read_jsonl(done.stdout)
    assert found["differs"] == ["emotion", "emotion_scores"]
    assert b"differs in emotion, emotion_scores" in done.stderr
    done = lanser("why", "r-3", input=json.dumps(weak[3]).encode(), check=1)
    assert b"does not say which labels it was to choose from" in done.stderr


def test_what_cannot_be_explained_is_one_error(heard: Path, lanser: Lanser) -> None:
    assert b"there is no record 'x' in it" in lanser("why", "x", heard, check=1).stderr
    assert b"was not labelled by lanser entail-label" in lanser("why", "r-0", heard, check=1).stderr
    about = dict.fromkeys(("model", "taxonomy", "calibration", "precision"), "x")
    strange = {"id": "r-0", "text": "so", "entailment": {**about, "templates": []}}
    done = lanser("why", "r-0", input=json.dumps(strange).encode(), check=1)
    assert b"'entailment.calibration' must be none, null or batch" in done.stderr


def test_what_a_record_cannot_say_is_not_made_up(heard: Path, lanser: Lanser, nli: Path) -> None:
    def again(*options: object, code: int = 0) -> tuple[dict, bytes]:
        made = lanser("entail-label", heard, "--model", nli, "--device", "cpu", *options)
        first = read_jsonl(made.stdout)[0]
        done = lanser("why", "r-0", "--device", "cpu", input=json.dumps(first).encode(), check=code)
        return ({} if code else read_jsonl(done.stdout)[0]), done.stderr

    assert again("-t", "ekman6", "--top-k", 2)[0]["differs"] == []
    for options, lacks in (
        (("--labels", "joy,anger,sadness,neutral", "--crosswalk", "iemocap4"), b"which labels"),
        (("--labels", "joy,anger,fear", "--top-k", 2), b"which labels"),
        (("-t", "ekman6", "--min-score", 1), b"which limit"),
    ):
        assert b"does not say " + lacks in again(*options, code=1)[1]


def test_a_flagged_transcript_that_was_labelled_is_labelled_again(
    lanser: Lanser, nli: Path
) -> None:
    value = {"id": "r-0", "text": "so it is", "asr": {"flags": ["no_speech"]}}
    options = ("--model", nli, "-t", "ekman6", "--device", "cpu", "--keep-flagged")
    weak = lanser("entail-label", *options, input=json.dumps(value).encode()).stdout
    [found] = read_jsonl(lanser("why", "r-0", "--device", "cpu", input=weak).stdout)
    assert found["differs"] == [] and "--keep-flagged" in shlex.split(found["command"])


def test_which_model_chose_the_candidates_is_in_the_record(
    heard: Path, lanser: Lanser, nli: Path
) -> None:
    options = ("-t", "ekman6", "--top-k-first", "2", "--first-model", nli, "--device", "cpu")
    record = read_jsonl(lanser("entail-label", heard, *options).stdout)[0]
    assert record["entailment"]["first_model"] == str(nli)
    done = lanser("why", "r-0", "--device", "cpu", input=json.dumps(record).encode())
    [found] = read_jsonl(done.stdout)
    assert found["differs"] == [] and f"--first-model {nli}" in found["command"]


def test_what_a_scorer_of_another_kind_was_asked_is_asked_again() -> None:
    def given(**about: object) -> dict:
        common = {"taxonomy": "ekman6", "templates": ["{}"], "calibration": "none"}
        return options_in(Record({"id": "a", "entailment": {**common, **about}}))

    fast = given(model="gliclass:x", precision="float32")
    assert "precision" not in fast and "llm_mode" not in fast
    identity = "other of unknown version, x, choice 0f, {} 0123456789abcdef"
    asked = [
        given(model="llm:x", precision="server", server=identity.format(way))
        for way in ("pair", "choice")
    ]
    assert [each.get("llm_mode") for each in asked] == [None, "choice"]


def test_a_server_on_another_machine_is_asked_again_only_where_that_is_allowed(
    heard: Path, lanser: Lanser
) -> None:
    with served() as server:
        model = server.model.replace("127.0.0.1", "127.1")  # not known to be this machine
        options = ("-t", "ekman6", "--model", model, "--allow-remote")
        weak = json.dumps(read_jsonl(lanser("entail-label", heard, *options).stdout)[0]).encode()
        asked = len(server.asked)
        assert (
            b"--allow-remote sends them there" in lanser("why", "r-0", input=weak, check=2).stderr
        )
        assert len(server.asked) == asked
        [found] = read_jsonl(lanser("why", "r-0", "--allow-remote", input=weak).stdout)
    assert found["differs"] == [] and "--allow-remote" in shlex.split(found["command"])


def test_a_batch_prior_is_that_of_the_whole_input_or_an_error(
    heard: Path, lanser: Lanser, nli: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "heard.jsonl"
    whole.write_bytes(heard.read_bytes())
    options = ("--model", nli, "-t", "ekman6", "--device", "cpu", "--calibrate", "batch")
    part, weak, prior = (tmp_path / name for name in ("part.jsonl", "weak.jsonl", "prior.json"))
    lanser("entail-label", whole, *options, "--part", "1/3", "-o", part)
    lanser("entail-label", whole, *options, "--prior", prior, "-o", weak)
    [found] = read_jsonl(lanser("why", "r-0", part, "--device", "cpu").stdout)
    assert found["differs"] == []
    whole.unlink()
    assert b"is a part of" in lanser("why", "r-0", part, "--device", "cpu", check=1).stderr
    assert read_jsonl(lanser("why", "r-0", weak, "--device", "cpu").stdout)[0]["differs"] == []
    prior.unlink()
    assert b"is gone" in lanser("why", "r-0", weak, "--device", "cpu", check=1).stderr
    assert not prior.exists()


def label_by_batch(lanser: Lanser, nli: Path, folder: Path) -> list[dict]:
    """Write heard.jsonl and, labelled with a prior that no file keeps, weak.jsonl."""
    values = [{"id": f"u{n}", "text": f"what a day number {n} was {'so ' * n}"} for n in range(24)]
    write_jsonl(folder / "heard.jsonl", values)
    options = ("--model", nli, "-t", "ekman6", "--device", "cpu", "--calibrate", "batch")
    lanser("entail-label", "heard.jsonl", *options, "-o", "weak.jsonl", cwd=folder)
    return values


def test_the_prior_of_a_sample_is_not_that_of_the_whole_and_that_is_said(
    lanser: Lanser, nli: Path, tmp_path: Path
) -> None:
    label_by_batch(lanser, nli, tmp_path)
    lanser("pick", "weak.jsonl", "-n", "7", "-o", "some.jsonl", cwd=tmp_path)
    chosen = read_jsonl(tmp_path / "some.jsonl")[0]["id"]
    done = lanser("why", chosen, "some.jsonl", "--device", "cpu", cwd=tmp_path)
    [found] = read_jsonl(done.stdout)
    assert found["prior_texts"] == 7 and "margin" in found["differs"]
    assert b"the prior is now of the 7 texts of this file and not of those" in done.stderr
    assert b"name the whole file" in done.stderr
    done = lanser("why", chosen, "weak.jsonl", "--device", "cpu", cwd=tmp_path)
    [found] = read_jsonl(done.stdout)
    assert found["prior_texts"] is None and found["differs"] == []
    assert b"the prior is now" not in done.stderr


def test_what_was_said_before_a_record_is_that_of_the_run_or_an_error(
    lanser: Lanser, nli: Path, tmp_path: Path
) -> None:
    texts = ("what a day", "i lost my keys", "so it is", "he never said goodbye", "so it is")
    values = [{"id": f"u{n}", "dialogue": "d", "text": text} for n, text in enumerate(texts)]
    heard, part, some = (tmp_path / f"{name}.jsonl" for name in ("heard", "part", "some"))
    write_jsonl(heard, values)
    line = ("--model", nli, "-t", "ekman6", "--device", "cpu", "--context", 1)
    lanser("entail-label", heard, *line, "--part", "1/2", "-o", part)
    [found] = read_jsonl(lanser("why", "u4", part, "--device", "cpu").stdout)
    assert found["premise"] == 'Earlier: "he never said goodbye" Now: "so it is"'
    assert found["differs"] == [] and found["context"] is None
    whole = read_jsonl(lanser("entail-label", heard, *line).stdout)
    write_jsonl(some, [whole[2], whole[4]])
    done = lanser("why", "u2", some, "--device", "cpu", check=1)
    assert b"came after 1 utterances of its dialogue, and 0 are in" in done.stderr
    done = lanser("why", "u4", some, "--device", "cpu")
    [found] = read_jsonl(done.stdout)
    assert found["context"] == 1 and "emotion_scores" in found["differs"]
    assert b"what this file has of its dialogue, which may not be" in done.stderr
    heard.unlink()
    done = lanser("why", "u4", part, "--device", "cpu", check=1)
    assert b"what was said before this record is of all of that" in done.stderr


def test_an_input_that_is_another_by_now_is_not_what_a_prior_was_measured_on(
    lanser: Lanser, nli: Path, tmp_path: Path
) -> None:
    values = label_by_batch(lanser, nli, tmp_path)
    write_jsonl(tmp_path / "heard.jsonl", values[:7])
    [found] = read_jsonl(lanser("why", "u3", "weak.jsonl", "--device", "cpu", cwd=tmp_path).stdout)
    assert found["differs"] == [] and found["prior_texts"] is None


def test_an_agreed_label_is_told_by_its_votes_and_a_new_one_has_none(
    lanser: Lanser, nli: Path, tmp_path: Path
) -> None:
    for name, said in (("a", ("joy", "fear")), ("b", ("joy", "joy")), ("c", (None, "fear"))):
        values = [{"id": f"u{n}", "text": "so it is", "emotion": one} for n, one in enumerate(said)]
        write_jsonl(tmp_path / f"{name}.jsonl", values)
    files = ("a.jsonl", "b.jsonl", "c.jsonl")
    lanser("agree", *files, "-o", "agreed.jsonl", cwd=tmp_path)
    stored = read_jsonl(tmp_path / "agreed.jsonl")[1]
    done = lanser("why", "u1", "agreed.jsonl", cwd=tmp_path)
    [found] = read_jsonl(done.stdout)
    assert list(found) == ["id", "text", "stored", "votes", "agreement"]
    assert found["votes"] == {"a.jsonl": "fear", "b.jsonl": "joy", "c.jsonl": "fear"}
    assert found["agreement"] == stored["agreement"] == 0.6667
    assert found["stored"]["emotion_scores"] == stored["emotion_scores"]
    assert b"was agreed from 3 votes" in done.stderr and b"file of a voter" in done.stderr
    table = shown(Agreed.of(Record({**stored, "votes": {"a.jsonl": "fear", "c.jsonl": None}})))
    assert table.rows[0][0] == stored["emotion"] and "c.jsonl: no vote" in table.notes[0]
    mute = json.dumps({"id": "u1", "entailment": {"model": "agree"}}).encode()
    assert table.sentence.endswith("takes one vote apart.") and "from 1 votes" in table.sentence
    assert b"has no 'votes'" in lanser("why", "u1", input=mute, check=1).stderr
    line = ("entail-label", "--model", nli, "-t", "ekman6", "--device", "cpu")
    silent = {**stored, "id": "u2", "text": ""}
    theirs = {"id": "u3", "text": "so it is", "votes": {"up": 3}}
    lines = "".join(json.dumps(value) + "\n" for value in (stored, silent, theirs))
    again = read_jsonl(lanser(*line, input=lines.encode()).stdout)
    assert all("votes" not in value and "agreement" not in value for value in again[:2])
    assert again[0]["entailment"]["model"] == str(nli) and again[2]["votes"] == {"up": 3}
