"""The page of a report: what stands on it, and that it fits a browser's window."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile
from conftest import ROOT, Lanser, tone, write_jsonl

from lanser_cli.evaluation.history import losses

WORDS = "the lift is stuck again"
LONG = "runs/a-run-folder-with-a-very-long-name-that-goes-on-and-on-without-any-blank-whatsoever"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs over six speakers, one better than the other, and some of the sound.

    Of ten clips a speaker the first ones are right; the last of all is the surest mistake.
    """
    folder = tmp_path_factory.mktemp("report")
    soundfile.write(folder / "long.wav", tone(12.0), 16_000)
    soundfile.write(folder / "short.wav", tone(0.3), 16_000)
    config = json.loads((ROOT / "tests/golden/finetune.config.json").read_text())
    for name, right in (("worse", 4), (LONG, 8)):
        run = folder / name
        (run / "fold-1").mkdir(parents=True)
        (run / "config.json").write_text(json.dumps(config | {"versions": {"torch": "2.99"}}))
        values = []
        for number in range(60):
            speaker, clip = divmod(number, 10)
            truth, other = ("anger", "joy") if clip % 2 else ("joy", "anger")
            sure = 0.5 + number / 200
            answer = truth if clip < right - (speaker == 5 and right > 4) else other
            sound = "long" if number == 59 else "short" if number % 2 else "gone"
            values.append(
                {
                    "id": f"clip-{number}",
                    "audio_filepath": str(folder / f"{sound}.wav"),
                    "speaker": f"s{speaker}",
                    "label": truth,
                    "text": WORDS,
                    "prediction": answer,
                    "scores": {answer: sure, "?": 1 - sure},
                }
            )
        write_jsonl(run / "predictions.jsonl", values)
        steps = [{"step": step, "epoch": step / 5, "loss": 1 / step} for step in range(1, 30)]
        write_jsonl(run / "fold-1" / "metrics.jsonl", steps)
        with (run / "fold-1" / "metrics.jsonl").open("a") as stream:
            stream.write('{"step": 30, "ep')  # as a run that was killed leaves it
    return folder


@pytest.fixture(scope="module")
def report(runs: Path, lanser: Lanser) -> Path:
    lanser("eval", "worse", LONG, "-o", "report", cwd=runs)
    return runs / "report"


def test_a_loss_beyond_all_bounds_is_left_out(tmp_path: Path) -> None:
    lines = ('{"epoch": 1, "loss": 2}', '{"epoch": 2, "loss": 1%s}' % ("0" * 400), "torn")
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    assert losses(tmp_path) == {".": [(1, 2)]}


def test_a_page_shows_counts_classes_losses_mistakes_the_difference_and_what_made_the_runs(
    report: Path,
) -> None:
    page = (report / "report.html").read_text()
    worse = page.split('<h2 dir="auto">worse</h2>')[1].split("<h2")[0]
    # Of five of a class in ten clips, two of the first four are right: 12 of 30, or 40 %.
    [row] = re.findall(r'<tr><th scope="row" dir="auto">anger</th>(.*?)</tr>', worse)
    assert re.findall(r">(\d+)<small>(\d+)%", row) == [("12", "40"), ("18", "60")]
    cells = re.findall(r'<tr><td dir="auto">joy</td>(.*?)</tr>', worse)[0]
    assert re.findall(r">([\d.]+)<", cells) == ["30", "0.400", "0.400", "0.400"]
    assert 'alt="Loss against the epoch"' in worse and (report / "loss-1.svg").exists()
    assert worse.index("clip-59<") < worse.index("clip-58<") < worse.index("clip-57<")
    assert worse.count(WORDS) == 20 and "clip-4<" not in worse, "the surest alone"
    assert worse.count("sound not at hand") == 10
    assert "versions" in worse and "torch 2.99" in worse and "batch size 8," in worse
    assert f"{LONG} is better than worse: UAR " in page and "</span>, p 0.0312 over 6" in page
    number = r'<span class="number">\+0\.383 \[\+0\.\d+, \+0\.\d+\]</span>'
    assert re.search(number, page), "on one line"
    kept = json.loads((report / "report.json").read_text())["differences"]
    assert [one["uar"]["p"] for one in kept] == [2 / 64]


def test_a_page_says_where_no_baseline_stands_beside_fine_tuned_runs(
    runs: Path, report: Path, tmp_path: Path, lanser: Lanser
) -> None:
    said = "No baseline stands here"
    assert said in (report / "report.html").read_text()
    linear = tmp_path / "svm"
    linear.mkdir()
    config = json.loads((runs / "worse" / "config.json").read_text())
    (linear / "config.json").write_text(json.dumps(config | {"verb": "baseline"}))
    (linear / "predictions.jsonl").write_bytes((runs / "worse/predictions.jsonl").read_bytes())
    lanser("eval", "worse", linear, "-o", tmp_path / "report", cwd=runs)
    assert said not in (tmp_path / "report" / "report.html").read_text()


def test_mistakes_can_be_heard_and_the_same_input_gives_the_same_page(
    report: Path, runs: Path, lanser: Lanser
) -> None:
    page = (report / "report.html").read_text()
    clips = re.findall(r'src="data:audio/ogg;base64,([^"]+)"', page)
    assert len(clips) == 10 + 7, "every second of the 20 and of the 13 mistakes"
    about = soundfile.info(io.BytesIO(base64.b64decode(clips[0])))
    assert about.subtype == "OPUS" and about.duration == pytest.approx(10, abs=0.1)
    shutil.rmtree(report)
    lanser("eval", "worse", LONG, "-o", "report", cwd=runs)
    assert (report / "report.html").read_text() == page


def test_no_figure_holds_mathematics_where_text_should_be(report: Path) -> None:
    drawn = [path.read_text() for path in report.glob("*.svg")]
    assert len(drawn) == 5 and not any("\\math" in text for text in drawn)


def test_runs_of_other_records_are_not_compared_and_sound_can_be_left_out(
    runs: Path, lanser: Lanser, tmp_path: Path
) -> None:
    value = {"id": "x", "label": "a", "prediction": "a", "speaker": "s"}
    other = write_jsonl(tmp_path / "other.jsonl", [value])
    lanser("eval", "worse", other, "--no-audio", "-o", tmp_path / "report", cwd=runs)
    page = (tmp_path / "report" / "report.html").read_text()
    assert WORDS in page and "<audio" not in page
    assert "Not compared: " in page and "is in worse but not in" in html.unescape(page)


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
SCRIPT = """<script>addEventListener("load", () => { document.title = JSON.stringify(
  [...document.querySelectorAll("iframe")].map(({ contentDocument: page, contentWindow: window }) =>
    [window.innerWidth, page.documentElement.scrollWidth, page.querySelectorAll("table").length,
     window.getComputedStyle(page.body).backgroundColor])) })</script>"""


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium on the PATH")
@pytest.mark.parametrize(
    ("dark", "paper"), [(False, "rgb(255, 255, 255)"), (True, "rgb(20, 23, 26)")]
)
def test_nothing_is_wider_than_the_window_light_or_dark(
    dark: bool, paper: str, report: Path, tmp_path: Path
) -> None:
    page = html.escape((report / "report.html").read_text())
    frames = "".join(f'<iframe style="width: {n}px" srcdoc="{page}"></iframe>' for n in (1200, 400))
    (tmp_path / "frames.html").write_text(f"<!doctype html><title></title>{SCRIPT}{frames}")
    words = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    words += [f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    words += [f"--user-data-dir={tmp_path / 'chromium'}", str(tmp_path / "frames.html")]
    home = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=home, check=True)
    [title] = re.findall(r"<title>(.*?)</title>", done.stdout)[:1]
    seen = json.loads(html.unescape(title))
    assert [width for width, *_ in seen] == [1200, 400]
    for width, needed, tables, background in seen:
        assert needed <= width and tables > 5 and background == paper
