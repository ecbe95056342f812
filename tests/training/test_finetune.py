"""Protocols: who is trained on and who is tested on."""

from __future__ import annotations

import numpy as np
import pytest

from lanser_cli.errors import LanserError, RecordError, UsageError
from lanser_cli.records import Record
from lanser_cli.training import heard
from lanser_cli.training.folds import Protocol, divide, subset
from lanser_cli.training.speakers import Speakers


def corpus(speakers=6, clips=8, **fields):
    return [
        Record({"id": f"{s}-{c}", "speaker": f"s{s}", "label": "ab"[c % 2], **fields})
        for s in range(speakers)
        for c in range(clips)
    ]


def speakers(records):
    return {record.speaker for record in records}


@pytest.mark.parametrize("folds, expected", [(None, 5), (3, 3), (6, 6), (20, 6)])
def test_folds_keep_speakers_apart_and_test_everyone_once(folds, expected):
    records = corpus()
    divided = divide(records, Protocol(folds=folds))
    assert len(divided) == expected
    for fold in divided:
        assert not speakers(fold.training) & speakers(fold.test)
        assert len(fold.training) + len(fold.test) == len(records)
    tested = [record.id for fold in divided for record in fold.test]
    assert sorted(tested) == sorted(record.id for record in records)


def test_the_corpus_own_folds_are_used():
    records = [
        record.with_fields(fold=str(1 + index // 16)) for index, record in enumerate(corpus())
    ]
    divided = divide(records, Protocol())
    assert [fold.name for fold in divided] == ["1", "2", "3"]
    assert speakers(divided[0].test) == {"s0", "s1"}


def test_own_folds_of_some_records_alone_are_said_to_be_not_used(capsys):
    first, *others = corpus()
    divided = divide([first, *(one.with_fields(fold="1") for one in others)], Protocol())
    assert len(divided) == 5
    assert "1 of 48 records have no 'fold', so the corpus' own folds" in capsys.readouterr().err


def test_a_fold_whose_name_leads_out_of_the_run_is_refused():
    records = [one.with_fields(fold=f"../{one.speaker}") for one in corpus()]
    with pytest.raises(UsageError, match="'../s0' cannot name a folder"):
        divide(records, Protocol())


def test_an_empty_word_is_neither_a_label_nor_a_speaker():
    first, *others = corpus()
    assert Protocol().take(first.with_fields(label="")) == "no label"
    with pytest.raises(UsageError, match="1 of 48 records have no 'speaker', such as '0-0'"):
        divide([first.with_fields(speaker=""), *others], Protocol())


def test_nobody_is_normalised_or_heard_by_an_empty_name():
    record = Record({"id": "x", "speaker": "", "voice": ""})
    with pytest.raises(RecordError, match="has no 'speaker'"):
        Speakers({"": np.zeros((2, 64), np.float32)}).of(record)
    assert heard.marks(record) == heard.marks(Record({"id": "x"}))


def test_own_folds_that_share_speakers_are_refused():
    records = [record.with_fields(fold=str(index % 2)) for index, record in enumerate(corpus())]
    with pytest.raises(
        LanserError, match="speaker s0, s1.* in training and in test.*say --folds N"
    ):
        divide(records, Protocol())


def test_hold_out():
    protocol = Protocol(test="speaker=s1,s4")
    [fold] = divide(corpus(), protocol)
    assert speakers(fold.test) == {"s1", "s4"}
    assert speakers(fold.training) == {"s0", "s2", "s3", "s5"}


def test_hold_out_of_nobody_is_named():
    with pytest.raises(LanserError, match="speaker s9: there are: s0, s1"):
        divide(corpus(), Protocol(test="speaker=s1,s9"))


@pytest.mark.parametrize("text", ["speaker", "=a", "speaker=", ""])
def test_hold_out_must_be_key_and_values(text):
    with pytest.raises(UsageError, match="write KEY=VALUE"):
        Protocol(test=text)


def test_a_hold_out_that_shares_a_speaker_is_refused():
    records = [record.with_fields(sentence=str(i % 2)) for i, record in enumerate(corpus())]
    with pytest.raises(LanserError, match="in training and in test"):
        divide(records, Protocol(test="sentence=1"))
    [fold] = divide(records, Protocol(test="sentence=1", group="sentence"))
    assert len(fold.test) == 24


def test_no_folds_train_on_all():
    [fold] = divide(corpus(), Protocol(folds=0))
    assert len(fold.training) == 48 and not fold.test


def test_one_fold_is_no_division():
    """It was said that all records had the same speaker."""
    with pytest.raises(UsageError, match="--folds 1 leaves nothing to train on"):
        Protocol(folds=1)


def test_one_speaker_cannot_be_divided():
    with pytest.raises(LanserError, match="all records have the same 'speaker'"):
        divide(corpus(speakers=1), Protocol())


def test_a_record_without_speaker_is_named():
    with pytest.raises(UsageError, match="1 of 49 records have no 'speaker', such as 'x'.*--group"):
        divide([*corpus(), Record({"id": "x", "label": "a"})], Protocol())


def test_fractions_are_stratified_and_nested():
    records = corpus(clips=20)
    tenth, half = subset(records, 0.1, seed=0), subset(records, 0.5, seed=0)
    assert {record.id for record in tenth} < {record.id for record in half}
    for part, count in ((tenth, 6), (half, 30)):
        assert [sum(r.label == label for r in part) for label in "ab"] == [count, count]
    assert subset(records, 0.5, seed=1) != half
    assert len(subset(records, 0.0, seed=0)) == 2, "one a label at least"


def test_no_labels_at_all_are_no_fraction():
    with pytest.raises(UsageError, match="--fraction 0 leaves nothing to train on"):
        Protocol(fraction=0.0)  # no report would read the config of such a run


def test_the_fraction_is_of_training_records_only():
    for fold in divide(corpus(), Protocol(folds=3, fraction=0.25)):
        assert len(fold.test) == 16 and len(fold.training) == 8


@pytest.mark.parametrize("folds", [2, 4, 6, 8, 12])
def test_folds_are_alike_in_sex_and_label(folds):
    """24 speakers whose sexes take turns, as in RAVDESS: no test fold of one sex."""
    records = [
        record.with_fields(sex=("male", "female")[int(record.speaker[1:]) % 2])
        for record in corpus(speakers=24)
    ]
    for seed in range(3):
        for fold in divide(records, Protocol(folds=folds, seed=seed)):
            assert {record.fields["sex"] for record in fold.test} == {"male", "female"}
            assert {record.label for record in fold.test} == {"a", "b"}


def test_folds_do_not_depend_on_the_order_of_the_input():
    records = corpus()
    tests = [
        sorted(sorted(record.id for record in fold.test) for fold in divide(one, Protocol()))
        for one in (records, records[::-1])
    ]
    assert tests[0] == tests[1]


def test_a_class_that_a_fold_lacks_is_said(capsys):
    records = [
        record.with_fields(label="rare")
        if record.speaker == "s0" and record.label == "a"
        else record
        for record in corpus()
    ]
    divide(records, Protocol(folds=3))
    said = capsys.readouterr().err
    assert "has no rare in its training" in said and said.count("has no rare in its test") == 2


def test_a_class_that_validation_takes_from_training_is_said(capsys):
    """Said by the test speaker, and by the only one that is set apart."""
    for apart in ("s1", "s2", "s3"):
        records = [
            record.with_fields(label="rare")
            if record.speaker in ("s0", apart) and record.label == "a"
            else record
            for record in corpus()
        ]
        [fold] = divide(records, Protocol(test="speaker=s0", validation=1))
        there = "rare" in {record.label for record in fold.training}
        assert there == (apart not in speakers(fold.validation))
        assert ("fold 1 has no rare in its training" in capsys.readouterr().err) != there
    assert {record.label for record in fold.test} > {"rare"}


def test_a_fraction_takes_as_much_of_each_speaker():
    records = corpus(speakers=5, clips=20)
    half, fifth = subset(records, 0.5, seed=3), subset(records, 0.2, seed=3)
    assert {record.id for record in fifth} < {record.id for record in half}
    for part, count in ((half, 5), (fifth, 2)):
        for speaker in speakers(records):
            mine = [record.label for record in part if record.speaker == speaker]
            assert [mine.count(label) for label in "ab"] == [count, count]


def test_the_choice_of_a_fraction_has_a_seed_of_its_own():
    def trained(**words):
        return [
            [record.id for record in fold.training]
            for fold in divide(corpus(), Protocol(folds=3, fraction=0.5, **words))
        ]

    assert trained() != trained(subset_seed=1)
    whole = [
        [record.id for record in fold.test]
        for seed in (0, 1)
        for fold in divide(corpus(), Protocol(folds=3, fraction=0.5, subset_seed=seed))
    ]
    assert whole[:3] == whole[3:], "the folds stay"


@pytest.mark.parametrize("count", [2, 3])
def test_validation_speakers_are_of_both_sexes_and_on_no_other_side(count):
    records = [
        record.with_fields(sex=("male", "female")[int(record.speaker[1:]) % 2])
        for record in corpus(speakers=12)
    ]
    for fold in divide(records, Protocol(folds=4, validation=count, fraction=0.5)):
        apart = speakers(fold.validation)
        assert len(apart) == count
        assert not apart & (speakers(fold.training) | speakers(fold.test))
        assert {record.fields["sex"] for record in fold.validation} == {"male", "female"}
        assert len(fold.validation) == count * 8, "the fraction is of training records only"


def test_validation_leaves_someone_to_train_on():
    with pytest.raises(UsageError, match="--validation 4: fold 1 has 4 values of 'speaker'"):
        divide(corpus(), Protocol(folds=3, validation=4))


def test_no_value_of_several_groups_straddles_and_every_record_is_tested_once():
    records = [
        record.with_fields(sentence=f"t{int(record.id[-1]) // 2}") for record in corpus(speakers=6)
    ]
    folds = divide(records, Protocol(folds=3, group="speaker,sentence"))
    assert [fold.name for fold in folds] == ["1-1", "1-2", "2-1", "2-2", "3-1", "3-2"]
    for fold in folds:
        for key in ("speaker", "sentence"):
            sides = [{record.fields[key] for record in side} for side in (fold.training, fold.test)]
            assert sides[0] and sides[1] and not sides[0] & sides[1]
    tested = [record.id for fold in folds for record in fold.test]
    assert sorted(tested) == sorted(record.id for record in records)


def test_a_hold_out_must_keep_every_group_apart():
    records = [record.with_fields(sentence="one") for record in corpus()]
    with pytest.raises(LanserError, match="sentence one is in training and in test"):
        divide(records, Protocol(test="speaker=s1", group="speaker,sentence"))


def test_test_records_without_a_group_value_are_counted(capsys):
    nameless = [Record({"id": f"n{n}", "label": "ab"[n % 2], "day": "2"}) for n in range(3)]
    divide([*corpus(), *nameless], Protocol(test="day=2"))
    said = "3 of 3 test records have no 'speaker', such as 'n0'"
    assert said in capsys.readouterr().err
    divide([*corpus(), *nameless], Protocol(test="speaker=s1"))
    assert "3 of 43 training records have no 'speaker'" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no record has 'speakr'; did you mean 'speaker'"):
        divide(corpus(), Protocol(test="speaker=s1", group="speakr"))
