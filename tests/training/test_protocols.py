"""Standard protocols: what they count is what their publishers say, and what is missing is said."""

from __future__ import annotations

import csv
import json
from collections import Counter

import pytest
from conftest import ROOT, read_jsonl

from lanser_cli import corpora
from lanser_cli.errors import LanserError, UsageError
from lanser_cli.records import Record
from lanser_cli.training.folds import Protocol, divide
from lanser_cli.training.protocols import Standard, standard, standards

PUBLISHED = {
    "iemocap-4-loso": (5531, 5),
    "iemocap-4-speaker": (5531, 10),
    "crema-d-6-5fold": (7442, 91),
    "savee-7-loso": (480, 4),
    "ravdess-8-loso": (1440, 24),
    "ravdess-8-6fold": (1440, 24),
    "emodb-7-loso": (535, 10),
    "emodb-4-loso": (339, 10),
    "meld-7-split": (13708, 3),
    "tess-7-loso": (2800, 2),
    "nemo-6-loso": (4481, 9),
}
"""Clips and folds' values, as the corpora's papers and readers say."""


def test_every_protocol_adds_up_to_what_its_corpus_publishes():
    assert {name: (one.clips, one.values) for name, one in standards().items()} == PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_its_labels_are_those_that_the_corpus_reader_gives(name):
    """Of which the titles of `lanser manifest` say the clips, too."""
    from importlib import import_module

    kind = next(kind for kind in corpora.KINDS if name.startswith(kind))
    labels = import_module(f"lanser_cli.corpora.{kind.replace('-', '_')}").LABELS
    known = set(labels.values() if isinstance(labels, dict) else labels)
    assert set(standard(name).labels) <= known
    if name != "emodb-4-loso":
        assert set(standard(name).labels) == known
        assert f"{PUBLISHED[name][0]:,} clips" in corpora.titles()[kind].replace(
            "utterances", "clips"
        )


def test_the_example_in_the_documentation_is_a_row_of_the_table():
    text = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    example = json.loads(text.split("```json protocol\n")[1].split("```")[0])
    assert Standard("nemo-6-loso", **example) == standard("nemo-6-loso")


def test_crema_d_has_so_many_clips_of_each_label(data):
    from lanser_cli.corpora.crema_d import LABELS

    with (data("crema_d_meta") / "SentenceFilenames.csv").open() as stream:
        names = [row["Filename"] for row in csv.DictReader(stream)]
    counts = Counter(LABELS[name.split("_")[2]] for name in names)
    assert standard("crema-d-6-5fold").labels == counts


@pytest.mark.parametrize(("name", "kind"), [("emodb-4-loso", "emodb"), ("nemo-6-loso", "nemo")])
def test_a_whole_corpus_has_nothing_missing(data, name, kind, capsys):
    how = standard(name)
    records = [one for one in corpora.read(kind, data(kind)) if isinstance(one, Record)]
    folds = divide(records, Protocol(protocol=name))
    assert how.missing(records) == "" and "not comparable" not in capsys.readouterr().err
    assert len(folds) == how.values
    assert all({r.speaker for r in fold.test} == {fold.name} for fold in folds)
    assert sum(len(fold.test) for fold in folds) == how.clips


def test_half_a_corpus_is_named_as_such(data, capsys):
    records = [one for one in corpora.read("ravdess", data("ravdess")) if isinstance(one, Record)]
    folds = divide(records, Protocol(protocol="ravdess-8-6fold"))
    said = capsys.readouterr().err
    for words in ("720 of 1440 clips", "calm 96 of 192", "speaker 12 of 24", "not comparable"):
        assert words in said
    assert [len(fold.test) for fold in folds] == [120] * 6


def test_other_labels_are_left_out_by_name():
    how = standard("emodb-4-loso")
    assert how.take(Record({"id": "a", "label": "boredom"})) == "label boredom"
    assert how.take(Record({"id": "a"})) == "no label"
    assert isinstance(how.take(Record({"id": "a", "label": "anger"})), Record)


def test_meld_is_tested_on_its_own_split_and_validated_on_dev():
    labels = list(standard("meld-7-split").labels)
    records = [
        Record({"id": f"{part}{n}", "label": label, "split": part, "speaker": "Joey",
                "dialogue": f"{part}_dia{n}"})
        for part in ("train", "dev", "test")
        for n, label in enumerate(labels)
    ]  # fmt: skip
    [fold] = divide(records, Protocol(protocol="meld-7-split"))
    for side, part in ((fold.training, "train"), (fold.validation, "dev"), (fold.test, "test")):
        assert {record.split for record in side} == {part}
    with pytest.raises(UsageError, match="leave --validation out"):
        Protocol(protocol="meld-7-split", validation=2)
    other = records[0].with_fields(split="valid")
    assert Protocol(protocol="meld-7-split").take(other) == "split valid"
    shared = [*records[:-1], records[-1].with_fields(split="dev")]
    shared += [records[-1].with_fields(id="x", split="train")]
    with pytest.raises(LanserError, match="test_dia6 is in training and in validation"):
        divide(shared, Protocol(protocol="meld-7-split"))


def test_a_protocol_stands_for_folds_group_and_test():
    for words in ({"folds": 3}, {"group": "sentence"}, {"test": "speaker=03"}):
        with pytest.raises(UsageError, match="leave --folds"):
            Protocol(protocol="emodb-7-loso", **words)
    with pytest.raises(UsageError, match="there are: crema-d-6-5fold, .*tess-7-loso"):
        Protocol(protocol="iemocap")


def test_records_of_another_corpus_are_refused():
    wrong = [Record({"id": "a", "label": "anger", "speaker": "x"})]
    with pytest.raises(LanserError, match="no record has the label happiness"):
        divide(wrong, Protocol(protocol="emodb-4-loso"))
    with pytest.raises(LanserError, match="have no 'fold', such as 'a'.*lanser manifest iemocap"):
        divide(wrong, Protocol(protocol="iemocap-4-loso"))


def test_a_run_says_its_protocol_and_what_is_missing(data, tmp_path, lanser):
    corpus = tmp_path / "emodb.jsonl"
    lanser("manifest", "emodb", data("emodb"), "-o", corpus)
    few = [line for line in corpus.read_text().splitlines() if '"speaker": "0' in line
           or '"speaker":"0' in line]  # fmt: skip
    corpus.write_text("\n".join(few[::3]) + "\n")
    done = lanser(
        *("finetune", corpus, "--protocol", "emodb-4-loso", "--model", "resnet18-slim"),
        *("--device", "cpu", "--crop", "0.5", "--steps", "1", "-o", tmp_path / "run"),
    )
    [made] = read_jsonl(done.stdout)
    assert made["protocol"] == "emodb-4-loso" and "speaker 3 of 10" in made["missing"]
    assert sorted(p.name for p in (tmp_path / "run").glob("fold-*")) == [
        "fold-03", "fold-08", "fold-09",
    ]  # fmt: skip
