"""listen: one page that needs nothing else, worked by the keyboard."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import soundfile
from browser import CHROMIUM, Browser
from conftest import EKMAN, Lanser, read_jsonl, tone, write_jsonl

from lanser_cli.listening.page import KEYS, SECONDS, Clip

EVIL = "</script><script>document.title='owned'</script><b>so</b> & <!-- \"there\""


@pytest.fixture(scope="module")
def made(lanser: Lanser, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sample of four clips, of which one cannot be decoded, and its page."""
    folder = tmp_path_factory.mktemp("listening")
    (folder / "broken.wav").write_bytes(b"RIFF....WAVE nothing")
    soundfile.write(folder / "long.flac", tone(SECONDS + 3), 16_000)
    sounds = [clips / "clip-00.wav", clips / "clip-01.wav", folder / "broken.wav"]
    values = [
        {
            "id": f"r-{number}",
            "audio_filepath": str(path),
            "text": EVIL,
            "emotion": EKMAN[number],
            "emotion_scores": {name: 0.5 if name == EKMAN[number] else 0.1 for name in EKMAN},
            "pick": {"stratum": EKMAN[number], "probability": 0.5},
        }
        for number, path in enumerate([*sounds, folder / "long.flac"])
    ]
    write_jsonl(folder / "sample.jsonl", values)
    done = lanser("listen", folder / "sample.jsonl", "-o", folder / "page.html", check=3)
    (folder / "said").write_bytes(done.stderr)
    (folder / "result.jsonl").write_bytes(done.stdout)
    return folder


def data_in(page: str) -> dict:
    """What the page shows, read as a browser would: up to the first end of the element."""
    [block] = re.findall(r'<script type="application/json" id="data">(.*?)</script', page, re.S)
    return json.loads(block)


def test_the_page_holds_its_clips_and_a_broken_one_is_left_out_and_said(
    made: Path, tmp_path: Path
) -> None:
    page = (made / "page.html").read_text()
    data = data_in(page)
    assert {clip["id"] for clip in data["clips"]} == {"r-0", "r-1", "r-3"}
    assert data["left_out"] == 1
    said = (made / "said").read_text()
    assert "rejected: r-2: " in said and "4 in, 3 used, 1 rejected" in said
    assert f"of 1 clips the first {SECONDS:g} s alone" in said
    [result] = read_jsonl(made / "result.jsonl")
    assert result["clips"] == 3 and result["page"] == data["page"]
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []  # it needs no other file
    for clip in data["clips"]:
        assert clip["text"] == EVIL
        assert clip["whole"] is (clip["id"] != "r-3")
        path = tmp_path / "clip.ogg"
        import base64

        path.write_bytes(base64.b64decode(clip["sound"].partition(",")[2]))
        about = soundfile.info(path)
        assert about.subtype == "OPUS" and about.duration <= SECONDS + 0.1


def test_of_many_labels_each_clip_has_keys_for_its_own_and_the_likeliest() -> None:
    labels = [f"label-{number:02}" for number in range(12)]
    scores = {label: number / 100 for number, label in enumerate(labels)}
    plain = Clip({"id": "a", "emotion": labels[-1]}, b"", True).as_json(labels)  # as people label
    assert [name for name, _ in plain["choices"]] == [labels[-1], *labels[: KEYS - 1]]
    scored = Clip({"id": "a", "emotion": labels[-1], "emotion_scores": scores}, b"", True)
    assert [name for name, _ in scored.as_json(labels)["choices"]] == labels[: -KEYS - 1 : -1]


def test_200_clips_of_full_length_are_below_20_mb(made: Path) -> None:
    [long] = [
        clip for clip in data_in((made / "page.html").read_text())["clips"] if not clip["whole"]
    ]
    assert 200 * len(json.dumps(long)) < 20e6


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium on the PATH")
def test_it_is_worked_by_keys_keeps_its_progress_and_exports_marks_that_can_be_scored(
    made: Path, lanser: Lanser, tmp_path: Path
) -> None:
    page = data_in((made / "page.html").read_text())
    ids = [clip["id"] for clip in page["clips"]]
    with Browser(tmp_path) as browser:
        browser.open(made / "page.html")
        assert browser.run("document.title") == "What do you hear?"  # no text was run
        assert browser.run("text.textContent") == EVIL
        assert browser.run("said.textContent").startswith("1 of the sample are not here")
        assert browser.run("place.textContent") == "clip 1 of 3 · 0 marked"
        for width, dark, paper in ((1200, False, "255, 255, 255"), (400, True, "20, 23, 26")):
            browser.show(width, dark=dark)
            assert browser.run("document.documentElement.scrollWidth") <= width
            assert browser.run("getComputedStyle(document.body).backgroundColor") == f"rgb({paper})"

        browser.press(" ")  # a key is what a browser asks for before it plays
        playing = "new Promise((done) => { if (!player.paused) done(player.duration > 0.4); "
        assert browser.run(playing + "player.onplaying = () => done(player.duration > 0.4) })")
        browser.press("3")
        assert browser.run("place.textContent") == "clip 2 of 3 · 1 marked"
        browser.press("x", "u")  # taken back
        assert browser.run("[place.textContent, said.textContent]") == [
            "clip 2 of 3 · 1 marked",
            "Taken back: cannot tell",
        ]
        browser.press("ArrowLeft", "1", "x")  # the first once more, then the second
        browser.open(made / "page.html")
        assert browser.run("place.textContent") == "clip 3 of 3 · 2 marked"
        browser.press("0")
        browser.run("others.value = 'none of these'")
        browser.press("Enter")
        assert browser.run("said.textContent") == "All clips are marked: export the marks."
        browser.press("e")
        path = browser.downloads / f"marks-{page['page']}.jsonl"
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            browser.run("new Promise((done) => setTimeout(done, 50))")
    assert read_jsonl(path) == [
        {"id": name, "label": label, "page": page["page"]}
        for name, label in zip(ids, ["anger", None, "none of these"], strict=True)
    ]
    done = lanser("listen", made / "sample.jsonl", "--score", path)
    assert read_jsonl(done.stdout)[0]["marks"] == 2
    assert b"1 dropped (cannot tell), 1 dropped (not heard)" in done.stderr
