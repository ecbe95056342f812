"""lanser eval: what it says of losses, and labels that no figure breaks on."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import Lanser, read_jsonl, write_jsonl

from lanser_cli.evaluation.figures import short
from lanser_cli.evaluation.strays import advice
from lanser_cli.lock import claimed_file, claimed_folder


def answers(pairs: list[tuple[str, str]], **more: object) -> list[dict]:
    return [
        {"id": f"r{n}", "label": label, "prediction": given, **more}
        for n, (label, given) in enumerate(pairs)
    ]


def test_ids_that_are_not_in_the_reference_are_counted_and_said(
    lanser: Lanser, tmp_path: Path
) -> None:
    gold = write_jsonl(tmp_path / "gold.jsonl", answers([("a", ""), ("b", "")] * 10))
    some = answers([("x", "a"), ("x", "b")] * 7) + [{"id": "odd", "prediction": "a"}]
    path = write_jsonl(tmp_path / "some.jsonl", some)
    done = lanser("eval", path, "--reference", gold)
    assert read_jsonl(done.stdout)[0]["n"] == 14
    said = done.stderr.decode()
    assert f"1 of 15 ids are not in {gold}, such as 'odd'" in said
    assert f"6 of 20 records of {gold} have no answer in it" in said
    assert "15 in, 14 used, 0 rejected, 1 dropped (not in the reference)" in said


def test_a_reference_of_other_records_is_refused_and_the_rejects_are_written(
    lanser: Lanser, tmp_path: Path
) -> None:
    gold = write_jsonl(tmp_path / "gold.jsonl", answers([("a", ""), ("b", "")]))
    path = tmp_path / "others.jsonl"
    lines = [json.dumps({"id": f"other{n}", "prediction": "a"}) for n in range(5)]
    path.write_text("\n".join([*lines, json.dumps({"id": "r0", "prediction": "a"}), "torn"]) + "\n")
    rejects = tmp_path / "rejects.jsonl"
    done = lanser("eval", path, "--reference", gold, "--rejects", rejects, check=1)
    assert done.stderr.count(b"\n") == 1 and done.stdout == b""
    assert b"5 of its 6 ids are not in" in done.stderr and b"'other0'" in done.stderr
    assert [one["record"] for one in read_jsonl(rejects)] == ["torn"]


def test_records_of_a_reference_that_have_no_truth_yet_are_dropped_as_such(
    lanser: Lanser, tmp_path: Path
) -> None:
    rows = answers([("a", "a"), ("b", "a")] * 10)
    for n, row in enumerate(rows[6:]):
        row["label"] = (None, "")[n % 2]
    gold = write_jsonl(tmp_path / "gold.jsonl", rows)
    path = write_jsonl(tmp_path / "some.jsonl", answers([("x", "a")] * 20))
    done = lanser("eval", path, "--reference", gold)
    assert read_jsonl(done.stdout)[0]["n"] == 6
    said = done.stderr.decode()
    assert "20 in, 6 used, 0 rejected, 14 dropped (no label)" in said
    assert "not in" not in said and "have no answer" not in said
    others = write_jsonl(tmp_path / "others.jsonl", answers([("x", "a")] * 20)[6:])
    refused = lanser("eval", others, "--reference", gold, check=1).stderr.decode()
    assert f"none of its records has 'label' in {gold}: nothing to compare with" in refused


def test_a_bad_line_of_the_reference_is_a_reject_and_so_is_a_second_truth(
    lanser: Lanser, tmp_path: Path
) -> None:
    gold = write_jsonl(tmp_path / "gold.jsonl", answers([("a", ""), ("b", "")]))
    gold.write_text(gold.read_text() + 'torn\n{"id": "r0", "label": "b"}\n')
    path = write_jsonl(tmp_path / "some.jsonl", answers([("x", "a"), ("x", "b")]))
    done = lanser("eval", path, "--reference", gold, check=3)
    assert read_jsonl(done.stdout)[0]["wa"]["value"] == 1.0
    assert f"{gold}:3: not JSON" in done.stderr.decode()
    assert "duplicate id 'r0'" in done.stderr.decode()


@pytest.mark.parametrize(
    ("option", "wrong", "meant"),
    [("--truth", "lable", "label"), ("--answer", "predicton", "prediction"), ("--by", "i", "id")],
)
def test_the_nearest_key_is_proposed(
    option: str, wrong: str, meant: str, lanser: Lanser, tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", answers([("a", "a"), ("b", "b")]))
    said = lanser("eval", path, option, wrong, check=None).stderr.decode()
    assert said.count("\n") == 1 and f"did you mean '{meant}'? there are: " in said


def test_an_empty_word_is_no_class_and_no_answer(lanser: Lanser, tmp_path: Path) -> None:
    pairs = [("a", "a"), ("b", ""), ("", "a"), ("b", "b")]
    done = lanser("eval", write_jsonl(tmp_path / "a.jsonl", answers(pairs)))
    [found] = read_jsonl(done.stdout)
    assert (found["labels"], found["missing"], found["wa"]["value"]) == (["a", "b"], 1, 0.666667)
    assert b"4 in, 3 used, 0 rejected, 1 dropped (no label)" in done.stderr


def test_intervals_over_records_are_said_where_only_some_speakers_are_known(
    lanser: Lanser, tmp_path: Path
) -> None:
    values = answers([("a", "a"), ("b", "a")] * 10, speaker="s0")
    del values[3]["speaker"]
    said = lanser("eval", write_jsonl(tmp_path / "a.jsonl", values)).stderr.decode()
    assert "1 of 20 records have no 'speaker', so each record is taken for independent" in said


def test_spellings_that_differ_by_case_or_blanks_are_pointed_out(
    lanser: Lanser, tmp_path: Path
) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", answers([("happy", "Happy "), ("sad", "sad")]))
    said = lanser("eval", path).stderr.decode()
    assert "'Happy ' and 'happy' differ by case or blanks alone" in said


def test_the_crosswalk_that_would_map_strays_is_named(lanser: Lanser, tmp_path: Path) -> None:
    pairs = [("happy", "joy"), ("sad", "grief"), ("angry", "annoyance"), ("calm", "relief")]
    path = write_jsonl(tmp_path / "a.jsonl", answers(pairs))
    said = lanser("eval", path).stderr.decode()
    assert "--crosswalk goemotions:ravdess8" in said


MELD = ["anger", "fear", "joy", "neutral", "sadness", "surprise"]


@pytest.mark.parametrize(
    ("truth", "given", "mapped"),
    [
        (MELD, [*MELD, "disgust"], ""),  # one taxonomy, of which the truth lacks a class
        (MELD, ["anger", "joy", "disgust"], ""),
        (["joy", "anger"], ["joy", "anger", "neutral"], ""),
        ([*MELD, "disgust"], ["anger", "disgust", "fear", "happy", "sad"], "crema6:meld7"),
        ([*MELD, "disgust"], ["anger", "joy", "grief", "annoyance", "love"], "goemotions:meld7"),
    ],
)
def test_a_crosswalk_is_proposed_by_all_answers_and_not_by_strays_alone(
    truth: list[str], given: list[str], mapped: str
) -> None:
    said = " ".join(advice(given, truth))
    assert (f"--crosswalk {mapped}," in said) if mapped else not said


ODD = ["a$b$c", "愤怒", "😡😀", "غضب", "x" * 5000, "line\nbreak\ttab", "\\frac{1}{2}", "<b>&amp;"]


def test_no_label_breaks_a_report_and_quiet_is_quiet(lanser: Lanser, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "odd $x$ 怒.jsonl", answers([(one, one) for one in ODD]))
    done = lanser("eval", path, "-o", tmp_path / "report", "--quiet")
    assert done.stderr == b""
    assert read_jsonl(done.stdout)[0]["labels"] == sorted(ODD)
    assert (tmp_path / "report" / "confusion-1.png").stat().st_size > 1000
    size = (tmp_path / "report" / "confusion-1.png").read_bytes()[16:24]
    assert int.from_bytes(size[:4], "big") < 4000 and int.from_bytes(size[4:], "big") < 4000
    drawn = ElementTree.parse(tmp_path / "report" / "confusion-1.svg").getroot()
    words = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    for label in ODD:
        assert words.count(short(label)) == 2, "as truth and as answer, in letters and no paths"


def test_too_many_classes_are_no_figure(lanser: Lanser, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", answers([(f"c{n}", f"c{n}") for n in range(70)]))
    lanser("eval", path, "-o", tmp_path / "report", "--quiet")
    assert not (tmp_path / "report" / "confusion-1.png").exists()
    assert "too many for a figure" in (tmp_path / "report" / "report.html").read_text()


def test_runs_are_fused_by_their_mean_log_probability(lanser: Lanser, tmp_path: Path) -> None:
    one = [0.6, 0.4], [0.9, 0.1]
    two = [0.1, 0.9], [0.2, 0.8]
    files = []
    for name, table in (("one", one), ("two", two)):
        values = answers([("b", "?"), ("a", "?")])
        for value, (a, b) in zip(values, table, strict=True):
            value |= {"scores": {"a": a, "b": b}, "prediction": "a" if a > b else "b"}
        files.append(write_jsonl(tmp_path / f"{name}.jsonl", values))
    lines = read_jsonl(lanser("eval", *files, "--fuse").stdout)
    # log 0.6 + log 0.1 < log 0.4 + log 0.9: b; log 0.9 + log 0.2 > log 0.1 + log 0.8: a
    assert [line["input"] for line in lines] == [*map(str, files), "fused"]
    assert [line["wa"]["value"] for line in lines] == [0.5, 0.5, 1.0]
    bare = write_jsonl(tmp_path / "bare.jsonl", answers([("a", "a"), ("b", "b")]))
    done = lanser("eval", files[0], bare, "--fuse", check=1)
    assert b"has 'scores'" in done.stderr


def test_an_input_that_is_called_fused_is_itself(lanser: Lanser, tmp_path: Path) -> None:
    rows = answers([("a", "a"), ("b", "b")] * 3)
    scored = [row | {"scores": {"a": 0.5, "b": 0.5, row["prediction"]: 0.9}} for row in rows]
    write_jsonl(tmp_path / "right.jsonl", scored)
    wrong = [row | {"prediction": "ab"[row["label"] == "a"]} for row in rows]
    write_jsonl(tmp_path / "fused", wrong)
    lines = read_jsonl(lanser("eval", "fused", "right.jsonl", cwd=tmp_path).stdout)
    assert [(line["input"], line["wa"]["value"]) for line in lines] == [
        ("fused", 0.0),
        ("right.jsonl", 1.0),
    ]
    refused = lanser("eval", "fused", "right.jsonl", "--fuse", cwd=tmp_path, check=2)
    assert b"write ./fused" in refused.stderr
    write_jsonl(tmp_path / "fused", [row | {"scores": {"a": 0.5, "b": 0.5}} for row in wrong])
    lines = read_jsonl(lanser("eval", "./fused", "right.jsonl", "--fuse", cwd=tmp_path).stdout)
    assert [line["input"] for line in lines] == ["./fused", "right.jsonl", "fused"]


def test_what_is_doubtful_of_one_input_is_doubtful_of_what_is_fused(
    lanser: Lanser, tmp_path: Path
) -> None:
    plain = answers([("a", "a"), ("b", "b")], scores={"a": 0.7, "b": 0.3})
    known = [plain[0] | {"heard": True}, plain[1]]
    config = {"schema": 1, "verb": "baseline", "init": "svm", "normalise": "speaker"}
    for name, values in (("known", known), ("plain", plain)):
        (tmp_path / name).mkdir()
        write_jsonl(tmp_path / name / "predictions.jsonl", values)
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        config = config | {"normalise": "none"}
    both = (tmp_path / "plain", tmp_path / "known", "-o", tmp_path / "report")
    lines = read_jsonl(lanser("eval", *both, "--fuse").stdout)
    assert "WARNING: fused: transductive" in (tmp_path / "report" / "report.html").read_text()
    assert [line.get("heard") for line in lines] == [None, 1, 1]
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["heard"] == {str(tmp_path / "known"): 1, "fused": 1}
    assert [line.get("transductive") for line in lines] == [None, True, True]
    odds = [one | {"scores": {"a": 1.2, "b": -0.4}} for one in plain]
    paths = [write_jsonl(tmp_path / name, found) for name, found in (("a", plain), ("b", odds))]
    done = lanser("eval", *paths, "--fuse", check=1)
    assert b"the 'scores' of 'r0' in" in done.stderr and b"are no probabilities" in done.stderr


def test_only_answers_to_the_same_records_are_fused(lanser: Lanser, tmp_path: Path) -> None:
    base = answers([("a", "a"), ("b", "b"), ("a", "b")], scores={"a": 0.7, "b": 0.3})
    path = write_jsonl(tmp_path / "base.jsonl", base)
    turned = [one | {"label": "ba"["ab".index(one["label"])]} for one in base]
    for other, said in (
        ([*base, base[0] | {"id": "extra"}], "'extra' is in"),
        (turned, "the label of 'r0' is 'a' in"),
        ([*base[:2], {**base[2], "scores": None}], "'r2' in"),
    ):
        odd = write_jsonl(tmp_path / "odd.jsonl", other)
        assert said in lanser("eval", path, odd, "--fuse", check=1).stderr.decode()
    other = write_jsonl(tmp_path / "c.jsonl", [one | {"scores": {"a": 1, "c": 0}} for one in base])
    assert b"not all inputs have a score of b, c" in lanser("eval", path, other, "--fuse").stderr
    # The truth is that of the reference for what is fused, too.
    gold = write_jsonl(tmp_path / "gold.jsonl", turned)
    same = write_jsonl(tmp_path / "same.jsonl", base)
    lines = read_jsonl(lanser("eval", path, same, "--fuse", "--reference", gold).stdout)
    assert [line["recalls"] for line in lines][2] == {"a": 1.0, "b": 0.0}
    assert [line["confusion"] for line in lines][2] == [[1, 0], [2, 0]]
    refused = lanser("eval", path, same, "--fuse", "--answer", "emotion", check=2)
    assert b"--fuse joins the 'scores' of predictions: leave --answer out" in refused.stderr
    for inputs in ((path,), (path, path), (path, "-")):
        refused = lanser("eval", *inputs, "--fuse", input=path.read_bytes(), check=2)
        assert b"--fuse joins two inputs or more, and reads them twice" in refused.stderr


WEIGHED = r"""
import re, sys
from pathlib import Path
from lanser_cli.app import main
code = main(["eval", sys.argv[1]])
print(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
sys.exit(code)
"""
"""An eval that says how much memory it took (`ru_maxrss` would count what forked it, too)."""


@pytest.mark.slow
def test_a_record_takes_less_than_half_a_kilobyte(tmp_path: Path) -> None:
    import subprocess
    import sys

    from conftest import ENVIRONMENT, ROOT

    path = tmp_path / "many.jsonl"
    scores = {f"label{n}": round(1 / 28, 6) for n in range(28)}
    with path.open("w", encoding="utf-8") as stream:
        for n in range(200_000):
            record = {"id": f"utterance-{n:07d}", "speaker": f"s{n % 500}", "scores": scores}
            record |= {"label": f"label{n % 28}", "prediction": f"label{n % 27}"}
            stream.write(json.dumps(record) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", WEIGHED, str(path)],
        capture_output=True,
        env={**ENVIRONMENT, "PATH": "/usr/bin"},
        cwd=ROOT,
        check=True,
    )
    result, peak = done.stdout.splitlines()
    assert json.loads(result)["n"] == 200_000
    assert int(peak) < 200_000  # kB, of which Python and its modules are 75,000


def test_rejects_of_a_kind_are_folded_after_ten_also_where_the_run_gives_up(
    lanser: Lanser, tmp_path: Path
) -> None:
    bad = [{"id": f"r{n}", "label": [n], "prediction": "a"} for n in range(40)]
    bad += [{"id": f"a.{n}", "label": "a", "prediction": "a"} for n in range(3)]
    path = write_jsonl(tmp_path / "bad.jsonl", bad)
    for more, code in (([], 1), (answers([("a", "a")]), 3)):
        write_jsonl(path, [*bad, *more])
        said = lanser("eval", path, check=code).stderr.decode().splitlines()
        kinds = [line for line in said if line.startswith("rejected: ")]
        assert sum("'label' must be a string" in line for line in kinds) == 10
        assert sum("must consist of letters" in line for line in kinds) == 3
        [folded] = [line for line in said if line.startswith("and ")]
        assert folded.startswith("and 30 more like 'rejected: r0: ")
        assert folded.endswith("(--rejects FILE writes all)")
        rejects = tmp_path / "rejects.jsonl"
        lanser("eval", path, "--rejects", rejects, check=code)
        assert len(read_jsonl(rejects)) == 43


@pytest.mark.parametrize("verb", ["eval", "compare", "audit"])
def test_a_report_is_overwritten_only_when_told_and_by_one_at_a_time(
    verb: str, lanser: Lanser, tmp_path: Path
) -> None:
    sides = [[("a", "a"), ("b", "a")] * 4, [("a", "b"), ("b", "b")] * 4]
    paths = [write_jsonl(tmp_path / f"{n}.jsonl", answers(side)) for n, side in enumerate(sides)]
    out = tmp_path / "report"
    command = (verb, *paths, "-o", out)
    code = 1 if verb == "audit" else 0  # they share all ids
    claimed = claimed_file if verb == "audit" else claimed_folder
    with claimed(out, force=False):
        held = lanser(*command, check=1)
        assert b"process" in held.stderr and b"is writing it" in held.stderr
    assert not out.exists()
    lanser(*command, check=code)
    made = out if verb == "audit" else out / "report.html"
    before = made.read_bytes()
    told = lanser(*command, check=2)
    assert b"is there already: overwrite it with --force" in told.stderr
    assert made.read_bytes() == before
    lanser(*command, "--force", check=code)
    assert not [path for path in tmp_path.rglob("*.lock")]


def test_no_figure_of_an_older_report_is_left(lanser: Lanser, tmp_path: Path) -> None:
    sides = [[("a", "a"), ("b", "a")] * 4, [("a", "b"), ("b", "b")] * 4]
    paths = [write_jsonl(tmp_path / f"{n}.jsonl", answers(side)) for n, side in enumerate(sides)]
    out = tmp_path / "report"
    lanser("eval", *paths, "-o", out)
    assert (out / "confusion-2.svg").exists()
    (out / "mine.svg").write_text("a figure of my own")
    lanser("eval", paths[0], "-o", out, "--force")
    figures = {path.stem for path in out.glob("*.svg")}
    assert figures == {path.stem for path in out.glob("*.png")} | {"mine"}
    assert figures == {*json.loads((out / "report.json").read_text())["figures"], "mine"}
    assert "confusion-1" in figures and "confusion-2" not in figures


def test_a_report_folder_that_cannot_be_made_is_found_before_the_work(
    lanser: Lanser, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = lanser("eval", "-", "-o", tmp_path / "file" / "report", input=b"torn", check=1)
    assert b"cannot be made" in done.stderr and b"not JSON" not in done.stderr


def test_answers_in_a_file_are_transductive_by_what_stands_beside_it(
    lanser: Lanser, tmp_path: Path
) -> None:
    plain = write_jsonl(tmp_path / "plain.jsonl", answers([("a", "a"), ("b", "b")]))
    made = {
        "calibrated": {"--calibrate": "batch"},
        "normalised": {"--calibrate": "none", "--normalise": "speaker"},
        "by-a-prior": {"--calibrate": "batch", "--prior": "0123456789ab"},
    }
    paths = [plain]
    for name, identity in made.items():
        paths.append(write_jsonl(tmp_path / f"{name}.jsonl", answers([("a", "a"), ("b", "a")])))
        beside = paths[-1].with_name(f"{name}.jsonl.meta.json")
        beside.write_text(json.dumps({"verb": "predict", "identity": identity}))
    done = lanser("eval", *paths, "-o", tmp_path / "report")
    lines = read_jsonl(done.stdout)
    assert [line.get("transductive") for line in lines] == [None, True, True, None]
    assert f"{paths[1]}: transductive: it has used".encode() in done.stderr
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["transductive"] == [str(path) for path in paths[1:3]]
    apart = [one.get("transductive") for one in report["differences"]]
    assert apart == [[str(paths[1])], [str(paths[2])], None]
    page = (tmp_path / "report/report.html").read_text()
    assert page.count("transductive: it has used") == 2
    done = lanser("compare", plain, paths[1])
    assert read_jsonl(done.stdout)[0]["transductive"] == [str(paths[1])]
