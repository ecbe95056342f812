"""Crosswalks: what leads where, what is a gap, and that nothing of the probability is lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanser_cli.entailment import Taxonomy, load_crosswalk, load_taxonomy, taxonomy_names
from lanser_cli.errors import UsageError

GO = load_taxonomy("goemotions")


def ways(target: str, source: Taxonomy = GO) -> dict[str, str | None]:
    found = load_crosswalk(target, source)
    labels = found.target.labels
    return {
        label: None if index is None else labels[index]
        for label, index in zip(source.labels, found.index, strict=True)
    }


@pytest.mark.parametrize("target", ["ekman6", "meld7", "crema6", "savee7", "iemocap4"])
def test_goemotions_leads_to_the_speech_corpora(target: str) -> None:
    found = ways(target)
    labels = load_taxonomy(target).labels
    assert set(found.values()) - {None} == set(labels)
    joy = next(name for name in ("joy", "happy", "happiness") if name in labels)
    assert found["gratitude"] == found["amusement"] == joy
    assert found["grief"] == next(name for name in ("sadness", "sad") if name in labels)
    assert found["neutral"] == ("neutral" if "neutral" in labels else None)


def test_what_the_target_lacks_is_left_out() -> None:
    found = ways("iemocap4")
    assert found["disgust"] is None and found["fear"] is None and found["surprise"] is None
    assert found["annoyance"] == "angry"


@pytest.mark.parametrize(
    ("source", "target", "gap"),
    [
        ("goemotions", "emodb7", "boredom"),
        ("goemotions", "ravdess8", "calm"),
        ("goemotions", "plutchik8", "trust, anticipation"),
        ("ekman6", "meld7", "neutral"),
    ],
)
def test_a_gap_is_named(source: str, target: str, gap: str) -> None:
    with pytest.raises(UsageError, match=f"no label of {source} leads to {gap}: say it in a cross"):
        load_crosswalk(target, load_taxonomy(source))


def test_more_than_one_way_is_not_guessed() -> None:
    with pytest.raises(UsageError, match="'happy' could become .*amusement"):
        load_crosswalk("goemotions", load_taxonomy("crema6"))


@pytest.mark.parametrize("name", taxonomy_names())
def test_every_taxonomy_leads_to_itself(name: str) -> None:
    taxonomy = load_taxonomy(name)
    assert load_crosswalk(name, taxonomy).index == tuple(range(len(taxonomy.labels)))


def write(path: Path, mapping: object, to: str = "iemocap4") -> str:
    path.write_text(json.dumps({"to": to, "map": mapping}))
    return str(path)


MOODS = Taxonomy.of_labels(["glee", "rage", "grief", "nothing", "hunger"])
MAP = {"glee": "happy", "rage": "angry", "grief": "sad", "nothing": "neutral", "hunger": None}


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    assert ways(write(tmp_path / "walk.json", MAP), MOODS) == MAP


def without(*labels: str) -> dict[str, str | None]:
    return {label: way for label, way in MAP.items() if label not in labels}


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        (without("hunger"), "nothing is said about hunger: map each to a label, or to null"),
        ({**MAP, "rage": None}, "no label of custom leads to angry"),
        ({**MAP, "glea": "happy"}, "taxonomy custom has no 'glea': did you mean 'glee'?"),
        ({**MAP, "glee": "hapy"}, "taxonomy iemocap4 has no 'hapy': did you mean 'happy'?"),
        (["glee"], "'map' must be an object"),
    ],
)
def test_faults_of_a_file(mapping: object, sentence: str, tmp_path: Path) -> None:
    path = write(tmp_path / "walk.json", mapping)
    with pytest.raises(UsageError) as caught:
        load_crosswalk(path, MOODS)
    assert sentence in str(caught.value) and str(caught.value).startswith(path)


def test_other_faults(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown taxonomy 'meld': did you mean 'meld7'"):
        load_crosswalk("meld", GO)
    with pytest.raises(UsageError, match="cannot be read"):
        load_crosswalk(str(tmp_path / "gone.json"), GO)
    (tmp_path / "bad.json").write_text('{"to": "meld7", "map": {}, "form": 1}')
    with pytest.raises(UsageError, match="unknown key 'form'"):
        load_crosswalk(str(tmp_path / "bad.json"), GO)


@given(st.lists(st.lists(st.floats(0, 1), min_size=28, max_size=28), min_size=1, max_size=4))
def test_probabilities_are_added_up(rows: list[list[float]]) -> None:
    crosswalk = load_crosswalk("meld7", GO)
    values = np.array(rows) + 1e-3
    values /= values.sum(axis=1, keepdims=True)
    found = crosswalk.sum(values)
    assert found.shape == (len(rows), 7)
    assert np.abs(found.sum(axis=1) - 1).max() < 1e-12
    for column, label in enumerate(crosswalk.target.labels):
        sources = [GO.labels.index(name) for name, way in ways("meld7").items() if way == label]
        assert np.abs(found[:, column] - values[:, sources].sum(axis=1)).max() < 1e-12


def test_what_is_left_is_normalised() -> None:
    crosswalk = load_crosswalk("iemocap4", GO)
    values = np.zeros((2, 28))
    values[0, [GO.labels.index("fear"), GO.labels.index("joy"), GO.labels.index("anger")]] = (
        *(0.6, 0.3, 0.1),
    )
    values[1, GO.labels.index("fear")] = 1.0  # nothing is left of this one
    found = crosswalk.sum(values)
    by_name = dict(zip(crosswalk.target.labels, found[0], strict=True))
    assert by_name == pytest.approx({"happy": 0.75, "angry": 0.25, "sad": 0, "neutral": 0})
    assert found[1] == pytest.approx([0.25] * 4)
