"""The label-efficiency curve: its numbers, and one folder that parts and resumed calls fill."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
from conftest import ROOT, Lanser, read_jsonl, write_jsonl
from scipy.stats import t as student
from sklearn.metrics import balanced_accuracy_score

from lanser_cli.errors import UsageError
from lanser_cli.evaluation.curve import Curves, area, crossing
from lanser_cli.evaluation.efficiency import Grid
from lanser_cli.records import Record
from lanser_cli.training import heard
from lanser_cli.training.folds import subset

FRACTIONS = (0.1, 0.5, 1.0)
LINE = ("--device", "cpu", "--steps", "1", "--folds", "3", "--fractions", "1,.5", "--seeds", "2")
SHRUNK = ("--shrink", "0.5")


def made_up(speakers=6, clips=10):
    """Answers at each point; the init arm is right more often, most at few labels."""
    draw = np.random.default_rng(2)
    truths = ["abc"[draw.integers(3)] for _ in range(speakers * clips)]
    right = {"scratch": (0.3, 0.4, 0.6), "init": (0.5, 0.65, 0.7)}
    return {
        (arm, fraction, seed): {
            str(n): Record(
                {
                    "id": str(n),
                    "label": truth,
                    "speaker": f"s{n // clips}",
                    "prediction": truth if draw.random() < share else "abc"[draw.integers(3)],
                }
            )
            for n, truth in enumerate(truths)
        }
        for arm, shares in right.items()
        for fraction, share in zip(FRACTIONS, shares, strict=True)
        for seed in (0, 1)
    }


def uar(records):
    return balanced_accuracy_score([r.label for r in records], [r.prediction for r in records])


def test_the_area_is_the_mean_difference_along_the_logarithm_with_a_jackknife_over_speakers():
    points = made_up()

    def difference(left_out=None):
        gaps = []
        for fraction in FRACTIONS:
            means = {
                arm: fmean(
                    uar([r for r in points[arm, fraction, seed].values() if r.speaker != left_out])
                    for seed in (0, 1)
                )
                for arm in ("scratch", "init")
            }
            gaps.append(means["init"] - means["scratch"])
        widths = np.diff(np.log(FRACTIONS))
        return sum(w * (a + b) / 2 for w, a, b in zip(widths, gaps, gaps[1:], strict=False)) / sum(
            widths
        )

    curves = Curves.of(points)
    whole = difference()
    pseudo = [6 * whole - 5 * difference(f"s{number}") for number in range(6)]
    reach = student.ppf(0.975, 5) * stdev(pseudo) / np.sqrt(6)
    assert curves.area.value == pytest.approx(whole, abs=1e-6)
    assert curves.area.low == pytest.approx(whole - reach, abs=2e-6)
    assert curves.area.high == pytest.approx(whole + reach, abs=2e-6)
    for place, fraction in enumerate(FRACTIONS):
        expected = fmean(uar(points["init", fraction, seed].values()) for seed in (0, 1))
        assert curves.results["init"][place].uar.value == pytest.approx(expected, abs=1e-6)


def test_four_speakers_give_values_without_intervals():
    curves = Curves.of(made_up(speakers=4))
    assert curves.area.low is None and curves.differences[0].low is None


@pytest.mark.parametrize(
    ("goal", "expected"),
    [(0.3, 0.01), (0.5, 0.1), (0.6, 10**-0.5), (0.7, 1.0), (0.75, None)],
)
def test_labels_saved_are_read_off_the_curve(goal, expected):
    """UAR 0.4, 0.5, 0.7 at 1, 10 and 100 %: 0.6 is half way between the last two."""
    found = crossing((0.01, 0.1, 1.0), np.array([0.4, 0.5, 0.7]), goal)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-6))


def test_labels_are_saved_of_those_with_which_scratch_is_best():
    """Where more labels bring scratch nothing, they are not saved by leaving them out."""
    points = made_up()
    curves = Curves.of(points)
    assert curves.best == FRACTIONS[2]
    swapped = dict(zip(FRACTIONS, (FRACTIONS[0], FRACTIONS[2], FRACTIONS[1]), strict=True))
    turned = {
        (arm, swapped[fraction] if arm == "scratch" else fraction, seed): records
        for (arm, fraction, seed), records in points.items()
    }
    curves = Curves.of(turned)
    assert curves.best == FRACTIONS[1]
    made = curves.summary()
    assert made["labels_saved"] == pytest.approx(1 - made["reaches"] / FRACTIONS[1], abs=1e-6)
    late = replace(curves, reaches=FRACTIONS[2])
    assert late.summary()["labels_saved"] < 0, "it takes more"


def test_the_area_of_one_fraction_is_its_difference():
    assert area((1.0,), np.array([[0.25, 0.5]])).tolist() == [0.25, 0.5]


@pytest.mark.parametrize("text", ["", "0,1", "0.5,1.2", "half"])
def test_fractions_must_be_shares(text):
    with pytest.raises(UsageError, match="--fractions"):
        Grid.parse(text, 1)


def test_no_two_fractions_share_the_folder_of_a_point():
    grid = Grid.parse(".3333333,.33333334,1", 1)
    assert grid.fractions == (0.333333, 1.0)
    assert len({point.name for point in grid.points(0)}) == len(grid.points(0))


def contents(folder: Path) -> dict[Path, bytes]:
    """What each file below holds."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def whole(
    labelled: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory, lanser: Lanser
) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("efficiency") / "curve"
    done = lanser("efficiency", labelled, "--init", tiny_run, *SHRUNK, *LINE, "-o", folder)
    assert b"efficiency: 12 in, 12 used, 0 rejected" in done.stderr
    [made] = read_jsonl(done.stdout)
    return folder, made


def test_a_unit_that_records_lack_is_refused_before_anything_is_trained(
    labelled: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    line = (
        "efficiency",
        labelled,
        "--init",
        tiny_run,
        *LINE,
        "--by",
        "voice",
        "-o",
        tmp_path / "x",
    )
    assert b"--by voice: 12 of 12 test records do not have it" in lanser(*line, check=2).stderr
    assert not (tmp_path / "x").exists()


def test_a_start_that_has_heard_the_test_is_refused_before_anything_is_trained(
    labelled: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    shutil.copytree(tiny_run, tmp_path / "heard")
    traces = [(heard.marks(Record(one)), None) for one in read_jsonl(labelled)[:1]]
    heard.write(tmp_path / "heard", heard.heard(traces), None)
    line = ("efficiency", labelled, "--init", tmp_path / "heard", *LINE, "-o", tmp_path / "x")
    assert b"has heard 1 speaker, 1 id" in lanser(*line, check=2).stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_every_point_is_a_run_folder_and_a_line(whole: tuple[Path, dict]) -> None:
    folder, made = whole
    lines = read_jsonl(folder / "points.jsonl")
    assert len(lines) == made["points"] == 8
    assert {(one["arm"], one["fraction"], one["seed"]) for one in lines} == {
        (arm, fraction, seed)
        for arm in ("scratch", "init")
        for fraction in (0.5, 1.0)
        for seed in (0, 1)
    }
    for one in lines:
        point = folder / "points" / f"{one['arm']}-{one['fraction']:g}-seed-{one['seed']}"
        records = read_jsonl(point / "predictions.jsonl")
        expected = balanced_accuracy_score(
            [r["label"] for r in records], [r["prediction"] for r in records]
        )
        assert one["uar"] == pytest.approx(expected, abs=1e-6)
        assert set(one["by_unit"]) == {"s0", "s1", "s2"} and one["steps"] == 1
    arms = {
        arm: json.loads((folder / f"points/{arm}-0.5-seed-1/config.json").read_text())
        for arm in ("scratch", "init")
    }
    assert arms["scratch"]["protocol"] == arms["init"]["protocol"], "the same labels and folds"
    assert arms["scratch"]["architecture"] == arms["init"]["architecture"]
    assert arms["init"]["identity"]["--shrink"] == "0.5"
    assert "--shrink" not in arms["scratch"]["identity"]
    report = json.loads((folder / "report.json").read_text())
    assert report["area"] == made["area"] and report["fractions"] == [0.5, 1.0]
    for name in ("report.html", "label-efficiency.png", "label-efficiency.svg"):
        assert (folder / name).exists()


@pytest.mark.slow
def test_a_curve_is_no_run_to_measure_and_it_says_where_its_points_are(
    whole: tuple[Path, dict], lanser: Lanser
) -> None:
    for verb in (("eval",), ("compare", whole[0] / "points/init-1-seed-0")):
        error = lanser(*verb, whole[0], check=1).stderr.decode()
        assert f"holds the points of a curve: name one or more in {whole[0] / 'points'}" in error


@pytest.mark.slow
def test_the_example_in_the_documentation_is_a_point(whole: tuple[Path, dict]) -> None:
    text = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    example = json.loads(text.split("```json point\n")[1].split("```")[0])
    assert list(example) == list(read_jsonl(whole[0] / "points.jsonl")[0])


@pytest.mark.slow
def test_parts_and_a_killed_run_give_the_same_bytes(
    whole: tuple[Path, dict], labelled: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    folder, made = whole
    line = ("efficiency", labelled, "--init", tiny_run, *SHRUNK, *LINE)
    parts = tmp_path / "parts"
    for part in ("1/2", "2/2"):
        done = lanser(*line, "-o", parts, "--part", part)
        assert "area" not in read_jsonl(done.stdout)[0] and not (parts / "points.jsonl").exists()
    assert len(list(parts.glob("points/*/predictions.jsonl"))) == 8
    killed = tmp_path / "killed"
    shutil.copytree(folder, killed)
    for name in ("points.jsonl", "report.json"):
        (killed / name).unlink()
    shutil.rmtree(killed / "points" / "init-1-seed-1")
    half = killed / "points" / "scratch-0.5-seed-0"
    (half / "predictions.jsonl").unlink()
    (half / "fold-2" / "model.safetensors").unlink()
    for other in (parts, killed):
        [again] = read_jsonl(lanser(*line, "-o", other, "--resume").stdout)
        assert (other / "points.jsonl").read_bytes() == (folder / "points.jsonl").read_bytes()
        assert {**again, "run": ""} == {**made, "run": ""}
    short = killed / "points" / "init-1-seed-1" / "predictions.jsonl"
    short.write_text("".join(short.read_text().splitlines(True)[1:]))
    said = lanser(*line, "-o", killed, "--resume", check=1).stderr.decode()
    assert "points/init-1-seed-1 has not tested 'clip-00', which" in said


@pytest.mark.slow
def test_a_standard_protocol_says_the_folds_and_what_is_missing(
    labelled: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    labels = ("anger", "happiness", "neutral", "sadness")
    values = read_jsonl(labelled)
    for number, value in enumerate(values):
        value["label"] = labels[number % 4]
    values[0]["label"] = "boredom"
    data = write_jsonl(tmp_path / "data.jsonl", values)
    line = ("efficiency", data, "--init", tiny_run, "--device", "cpu", "--steps", "1")
    line += ("--fractions", "1", "--seeds", "1", "--protocol", "emodb-4-loso")
    assert b"leave --folds" in lanser(*line, "--folds", "3", "-o", tmp_path / "x", check=2).stderr
    done = lanser(*line, "-o", tmp_path / "curve")
    assert b"12 in, 11 used, 0 rejected, 1 dropped (label boredom)" in done.stderr
    assert done.stderr.count(b"not comparable with published results") == 1
    [made] = read_jsonl(done.stdout)
    assert made["protocol"] == "emodb-4-loso" and "speaker 3 of 10" in made["missing"]
    assert "speaker 3 of 10" in (tmp_path / "curve" / "report.html").read_text()
    folds = sorted(path.name for path in (tmp_path / "curve/points/init-1-seed-0").glob("fold-*"))
    assert folds == ["fold-s0", "fold-s1", "fold-s2"]


@pytest.mark.slow
def test_another_curve_is_not_put_into_the_folder(
    whole: tuple[Path, dict], labelled: Path, tiny_run: Path, lanser: Lanser
) -> None:
    folder, _ = whole
    before = contents(folder)
    line = ("efficiency", labelled, "--init", tiny_run, *SHRUNK, *LINE, "-o", folder)
    assert b"holds curves already" in lanser(*line, check=2).stderr
    other = lanser(*line, "--steps", "2", "--resume", check=2)
    assert b"--steps, 1 and not 2" in other.stderr
    other = lanser(*line, "--fractions", "1", "--part", "1/2", check=2)
    assert b"--fractions, 0.5,1 and not 1" in other.stderr
    assert contents(folder) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--steps", "2"), b"another --steps, 1 and not 2"),
        (("--subset-seed", "5"), b"another --subset-seed, 0 and not 5"),
        (("--weight-decay", "0.3"), b"another --weight-decay, "),
    ],
)
def test_points_of_another_curve_are_not_measured(
    whole: tuple[Path, dict],
    labelled: Path,
    tiny_run: Path,
    tmp_path: Path,
    lanser: Lanser,
    words: tuple[str, str],
    named: bytes,
) -> None:
    """Such as points that were brought together by hand, under no config of a curve."""
    shutil.copytree(whole[0] / "points", tmp_path / "curve" / "points")
    before = contents(tmp_path / "curve" / "points")
    line = ("efficiency", labelled, "--init", tiny_run, *SHRUNK, *LINE, "-o", tmp_path / "curve")
    said = lanser(*line, *words, check=2).stderr
    assert named in said and b"points/scratch-0.5-seed-0" in said
    (tmp_path / "curve/points/scratch-0.5-seed-0/config.json").unlink()
    (tmp_path / "curve/config.json").unlink()
    said = lanser(*line, *words, "--resume", check=2).stderr
    assert b"points/scratch-0.5-seed-0 has answers, and no config.json says whose" in said
    changed = {Path("scratch-0.5-seed-0/config.json")}
    assert contents(tmp_path / "curve" / "points").items() == {
        (path, data) for path, data in before.items() if path not in changed
    }


def test_a_curve_needs_a_start_and_a_test(
    labelled: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    done = lanser("efficiency", labelled, *LINE, "-o", tmp_path / "x", check=2)
    assert b"--init" in done.stderr
    line = ("efficiency", labelled, "--init", tiny_run, *LINE, "--folds", "0")
    assert b"--folds 0" in lanser(*line, "-o", tmp_path / "x", check=2).stderr


@pytest.mark.slow
def test_records_of_all_seeds_count_and_the_unreadable_are_rejected_again_when_resumed(
    labelled: Path, tiny_run: Path, tmp_path: Path, lanser: Lanser
) -> None:
    values = read_jsonl(labelled)
    training = [Record(one) for one in values if one["speaker"] != "s0"]
    drawn = [{r.id for r in subset(training, 0.5, seed)} for seed in (0, 1)]
    broken = min(drawn[1] - drawn[0])
    values = [one | ({"offset": 30.0} if one["id"] == broken else {}) for one in values]
    corpus, folder = write_jsonl(tmp_path / "corpus.jsonl", values), tmp_path / "curve"
    line = ("efficiency", corpus, "--init", tiny_run, "--device", "cpu", "--steps", "1", "--test",
            "speaker=s0", "--fractions", ".5", "--seeds", "2", "-o", folder)  # fmt: skip
    tested, used = len(values) - len(training), len(drawn[0] | drawn[1])
    said = f"12 in, {tested + used - 1} used, 1 rejected, {12 - tested - used} dropped (beyond"
    for more in ((), ("--resume",)):
        error = lanser(*line, *more, check=3).stderr.decode()
        assert f"rejected: {broken}: " in error and said in error
