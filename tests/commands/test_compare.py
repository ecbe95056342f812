"""lanser compare on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Lanser, read_jsonl, write_jsonl
from sklearn.metrics import recall_score


def predictions(path: Path, right: int, *, speakers: int = 6, corpus: str = "c") -> Path:
    """Ten clips a speaker; the first `right` of each are answered rightly."""
    return write_jsonl(
        path,
        [
            {
                "id": f"{corpus}-{speaker}-{clip}",
                "speaker": f"s{speaker}",
                "label": "ab"[clip % 2],
                "prediction": "ab"[clip % 2] if clip < right else "ba"[clip % 2],
            }
            for speaker in range(speakers)
            for clip in range(10)
        ],
    )


def test_others_are_compared_with_the_first_and_pairs_on_other_corpora_join_the_family(
    lanser: Lanser, tmp_path: Path
) -> None:
    files = [predictions(tmp_path / f"{right}.jsonl", right) for right in (4, 6, 8)]
    far = [predictions(tmp_path / f"far{n}.jsonl", n, speakers=4, corpus="d") for n in (4, 8)]
    report = tmp_path / "report"
    done = lanser("compare", *files, "--pair", f"{far[0]},{far[1]}", "-o", report)
    lines = read_jsonl(done.stdout)
    assert [(line["reference"], line["other"]) for line in lines] == [
        *((str(files[0]), str(other)) for other in files[1:]),
        (str(far[0]), str(far[1])),
    ]
    assert [line["uar"]["difference"] for line in lines] == pytest.approx([0.2, 0.4, 0.4])
    assert [line["uar"]["p"] for line in lines] == [2 / 64, 2 / 64, 2 / 16]
    assert [line["uar"]["p_holm"] for line in lines] == [6 / 64, 6 / 64, 2 / 16]
    assert "4 speakers cannot reach p < 0.05 of 3 comparisons" in done.stderr.decode()
    kept = json.loads((report / "report.json").read_text())
    assert kept["differences"] == lines
    page = (report / "report.html").read_text()
    assert "+0.200" in page and "cannot reach" in page


def test_a_comparison_that_is_named_twice_counts_once_and_none_with_itself(
    lanser: Lanser, tmp_path: Path
) -> None:
    """As of `compare RUN runs/*`: else p is adjusted for comparisons of nothing."""
    one, other = (str(predictions(tmp_path / f"{n}.jsonl", n)) for n in (4, 6))
    [line] = read_jsonl(lanser("compare", one, one, other, "--pair", f"{one},{other}").stdout)
    assert (line["reference"], line["other"], line["family"]) == (one, other, 1)
    assert line["uar"]["p_holm"] == line["uar"]["p"] == 2 / 64
    [line] = read_jsonl(lanser("compare", one, one).stdout)
    assert line["uar"]["p"] == 1


@pytest.mark.parametrize("words", [[], ["one.jsonl"], ["--pair", "one.jsonl"]])
def test_one_run_alone_is_a_usage_error(lanser: Lanser, words: list[str], tmp_path: Path) -> None:
    predictions(tmp_path / "one.jsonl", 4)
    done = lanser("compare", *words, cwd=tmp_path, check=2)
    assert done.stdout == b"" and done.stderr.count(b"\n") == 1


def test_other_ids_are_one_sentence(lanser: Lanser, tmp_path: Path) -> None:
    one = predictions(tmp_path / "one.jsonl", 4)
    other = predictions(tmp_path / "other.jsonl", 4, corpus="d")
    done = lanser("compare", one, other, check=1)
    assert done.stderr.count(b"\n") == 1 and b"'c-0-0' is in" in done.stderr


def test_the_unit_is_named_by_an_option(lanser: Lanser, tmp_path: Path) -> None:
    one, other = (predictions(tmp_path / f"{n}.jsonl", n) for n in (4, 6))
    done = lanser("compare", one, other, "--by", "id")
    [line] = read_jsonl(done.stdout)
    assert (line["unit"], line["units"], line["exact"]) == ("id", 60, False)
    lanser("compare", one, other, "--by", "voice", check=2)


def test_runs_of_several_seeds_are_compared_by_their_means(tmp_path: Path, lanser: Lanser) -> None:
    """UAR of each side is the mean over its seeds; one without seeds stands for each of them."""
    draw = np.random.default_rng(0)

    def run(name: str, seeds: tuple[str, ...]) -> tuple[Path, list[dict]]:
        values = []
        for n in range(96):
            label = "abc"[n % 3]
            given = {
                seed: label if draw.random() < 0.6 else "abc"[draw.integers(3)] for seed in seeds
            }
            answers = {"predictions": given} if len(seeds) > 1 else {"prediction": given[seeds[0]]}
            values.append({"id": f"r{n}", "speaker": f"s{n % 8}", "label": label, **answers})
        return write_jsonl(tmp_path / f"{name}.jsonl", values), values

    def mean_uar(values: list[dict]) -> float:
        truth = [value["label"] for value in values]
        several = [value.get("predictions", {"0": value.get("prediction")}) for value in values]
        return float(
            np.mean(
                [
                    recall_score(truth, [one[seed] for one in several], average="macro")
                    for seed in several[0]
                ]
            )
        )

    one, three, other = run("one", ("0",)), run("three", ("0", "1", "2")), run("x", ("5", "6"))
    [line] = read_jsonl(lanser("compare", one[0], three[0]).stdout)
    assert line["units"] == 8 and line["least_p"] == 2**-7
    assert line["uar"]["reference"] == pytest.approx(mean_uar(one[1]), abs=1e-6)
    assert line["uar"]["other"] == pytest.approx(mean_uar(three[1]), abs=1e-6)
    turned = [one | {"predictions": dict(reversed(one["predictions"].items()))} for one in three[1]]
    write_jsonl(tmp_path / "turned.jsonl", turned)
    [line] = read_jsonl(lanser("compare", three[0], tmp_path / "turned.jsonl").stdout)
    assert line["uar"]["difference"] == 0, "seeds go by their names, not their order"
    done = lanser("compare", three[0], other[0], check=1)
    assert b"compare runs of the same seeds" in done.stderr
