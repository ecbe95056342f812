"""FFmpeg on the bytes of strangers: it opens nothing that they name, and may die of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import ENVIRONMENT, tone
from sounds import encoded, noise, save, sine

from lanser_cli.audio import pyav
from lanser_cli.audio.decoder import Info
from lanser_cli.audio.sound import AudioError, CutOff, load_available, probe, read
from lanser_cli.audio.source import Source
from lanser_cli.records import Record

pytest.importorskip("av")

# ---------------------------------------------------------------- playlists


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Sound that no input names, in the containers that playlists are made of."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    save(folder / "secret.wav", noise(1.0))
    for name, container in (("ts", "mpegts"), ("m4a", "ipod")):
        (folder / f"secret.{name}").write_bytes(encoded(noise(1.0), container, "aac"))
    return folder / "secret"


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    """A web server that answers nothing: its port, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=[0.01])
        thread.start()
        yield serving.server_port, asked
        serving.shutdown()
        thread.join()


def hls(target: str) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{target}\n#EXT-X-ENDLIST\n"


def dash(target: str) -> str:
    return (
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="audio/mp4">'
        f'<Representation id="1" bandwidth="1000"><BaseURL>{target}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>\n"
    )


SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n"

PLAYLISTS = {
    "hls": lambda secret: hls(f"{secret}.ts"),
    "hls over http": lambda secret: hls("http://127.0.0.1:PORT/secret.ts"),
    "hls of a part": lambda secret: hls(f"subfile,,start,0,end,9999,,:{secret}.ts"),
    "concat": lambda secret: "ffconcat version 1.0\nfile ../elsewhere/secret.wav\n",
    "concat over http": lambda secret: "ffconcat version 1.0\nfile http://127.0.0.1:PORT/a.wav\n",
    "concat next to it": lambda secret: "ffconcat version 1.0\nfile neighbour.wav\n",
    "dash": lambda secret: dash(f"{secret}.m4a"),
    "dash over http": lambda secret: dash("http://127.0.0.1:PORT/secret.m4a"),
    "sdp": lambda secret: SDP,
    "asx": lambda secret: '<ASX version="3.0"><Ref href="http://127.0.0.1:PORT/a.wma"/></ASX>\n',
    "redirection of asf": lambda secret: "[Reference]\r\nRef1=http://127.0.0.1:PORT/a\r\n",
}


@pytest.mark.parametrize("suffix", ["m3u8", "mp4", "mpd", "ffconcat", "sdp", "wav"])
@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_is_a_reject_and_nothing_that_it_names_is_opened(
    name: str, suffix: str, secret: Path, server: tuple[int, list[str]], tmp_path: Path
) -> None:
    port, asked = server
    path = tmp_path / "in" / f"a.{suffix}"
    path.parent.mkdir()
    save(path.parent / "neighbour.wav", noise(1.0))
    text = PLAYLISTS[name](secret).replace("PORT", str(port))
    path.write_text(text)
    for function in (read, probe):
        with pytest.raises(AudioError, match="a playlist: give the files|the description of a str"):
            function(str(path))
    # Should it be disguised from the first look, FFmpeg itself refuses it.
    for source in (Source(str(path)), Source("x.tar#a", text.encode())):
        for ask in (pyav.probe, lambda found: pyav.load(found, 0.0, None)):
            with pytest.raises(AudioError, match="not a readable audio or video file"):
                ask(source)
    assert asked == []


@pytest.mark.parametrize("prefix", ["file:", "concat:", "subfile,,start,0,end,0,,:", "async:"])
def test_a_protocol_in_a_path_is_part_of_a_name(prefix: str, tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_bytes(encoded(noise(1.0), "ipod", "aac"))
    with pytest.raises(AudioError, match="there is no such file"):
        read(f"{prefix}{tmp_path}/a.m4a")


def test_a_numbered_name_is_no_list_of_files(tmp_path: Path) -> None:
    """image2 would take `%d` for a pattern of names."""
    for name in ("a1.m4a", "a%d.m4a"):
        (tmp_path / name).write_bytes(encoded(tone(1.0), "ipod", "aac"))
    assert probe(str(tmp_path / "a%d.m4a")) == probe(str(tmp_path / "a1.m4a"))


# ---------------------------------------------------------------- streams that change on their way


def test_a_change_of_rate_in_mid_file_keeps_speed_and_pitch() -> None:
    """Two recordings of one tone, at 16 and at 48 kHz, in one AAC stream."""
    parts = [encoded(sine(2.0, 440, rate), "adts", "aac", rate) for rate in (16_000, 48_000)]
    for first, second, rate in ((0, 1, 16_000), (1, 0, 48_000)):
        frames, found = pyav.load(Source("x", parts[first] + parts[second]), 0.0, None)
        assert found == rate and len(frames) / rate == pytest.approx(4.2, abs=0.2)
        for at in (0.5, 2.7):
            part = frames[round(at * rate) : round((at + 1.0) * rate), 0]
            spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
            assert np.argmax(spectrum) == pytest.approx(440, abs=2)


def test_a_change_of_channels_in_mid_file_keeps_what_is_heard() -> None:
    one, two = (encoded(tone(2.0), "adts", "aac", channels=channels) for channels in (1, 2))
    for data, channels in ((one + two, 1), (two + one, 2)):
        frames, rate = pyav.load(Source("x", data), 0.0, None)
        assert frames.shape[1] == channels and rate == 16_000
        half = len(frames) // 2
        powers = [np.mean(np.square(part.mean(axis=1))) for part in (frames[:half], frames[half:])]
        assert powers[0] == pytest.approx(powers[1], rel=0.05)


# ---------------------------------------------------------------- a process that may die


def test_a_decoder_that_dies_is_one_fault_and_the_next_file_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.m4a"
    path.write_bytes(encoded(noise(30.0), "ipod", "aac"))
    source, died = Source(str(path)), []

    class Dies(pyav._Helper):
        """It is killed, as by damage, before it is asked, and when it has given three blocks."""

        def __init__(self) -> None:
            super().__init__()
            self.left = 3 if died else 0

        def answer(self) -> tuple[dict, np.ndarray | None]:
            if not self.left:
                os.kill(self._process.pid, signal.SIGSEGV)
                self._process.wait()
                died.append(self._process.pid)
            self.left -= 1
            return super().answer()

    whole = pyav.load(source, 0.0, None).frames
    pyav._end_all()
    monkeypatch.setattr(pyav, "_Helper", Dies)
    with pytest.raises(AudioError, match=r"a\.m4a: cannot be decoded: FFmpeg died of it \(signal"):
        pyav.probe(source)
    blocks = []
    with pytest.raises(CutOff, match=r"cut off or damaged: only \d+\.\d+ s can be decoded"):
        for block in pyav.stream(source, 0.0, None, 0.5):
            blocks.append(block.frames)
    found = np.concatenate(blocks)
    assert np.array_equal(found, whole[: len(found)]) and len(died) == 2
    monkeypatch.undo()
    assert np.array_equal(pyav.load(source, 0.0, None).frames, whole)


def test_what_was_decoded_may_be_written_to() -> None:
    """PyTorch warns of memory that it must not write to."""
    frames = pyav.load(Source("x", encoded(tone(1.0), "adts", "aac")), 0.0, None).frames
    assert frames.flags.writeable and frames.dtype == np.float32


def test_who_has_heard_enough_does_not_disturb_the_next() -> None:
    first, second = (Source("x", encoded(wave, "adts", "aac")) for wave in (noise(9.0), tone(2.0)))
    wanted = pyav.load(second, 0.0, None).frames
    blocks = pyav.stream(first, 0.0, None, 0.5)
    next(blocks)
    beside = pyav.stream(first, 0.0, None, 0.5)
    next(beside)
    blocks.close()
    assert np.array_equal(pyav.load(second, 0.0, None).frames, wanted)
    assert sum(len(block.frames) for block in beside) > 8 * 16_000


def test_a_forked_process_has_a_decoder_of_its_own(tmp_path: Path) -> None:
    data = encoded(noise(3.0), "adts", "aac")
    (tmp_path / "a.aac").write_bytes(data)
    code = """
import os, sys
from lanser_cli.audio import pyav
from lanser_cli.audio.source import Source
count = lambda: len(pyav.load(Source(sys.argv[1]), 0.0, None).frames)
first = count()
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        os._exit(0 if all(count() == first for _ in range(20)) else 1)
    children.append(child)
assert all(count() == first for _ in range(20))
print([os.waitpid(child, 0)[1] for child in children])
"""
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path / "a.aac")]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert (done.stdout, done.stderr) == ("[0, 0]\n", "")


def test_a_decoder_ends_with_the_process_that_asked_it(tmp_path: Path) -> None:
    (tmp_path / "a.aac").write_bytes(encoded(noise(1.0), "adts", "aac"))
    code = """
import os, signal, sys
from lanser_cli.audio import pyav
from lanser_cli.audio.source import Source
pyav.probe(Source(sys.argv[1]))
print(pyav._idle[0]._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "a.aac")]
    environment = {**os.environ, **ENVIRONMENT}
    done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, timeout=120)
    assert done.returncode == -signal.SIGKILL
    status = Path(f"/proc/{int(done.stdout)}/stat")
    for _ in range(500):
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        threading.Event().wait(0.02)
    pytest.fail("it is still there")


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("container", ["adts", "ipod", "mpegts", "matroska"])
def test_damaged_containers_give_sound_or_one_sentence(container: str, tmp_path: Path) -> None:
    whole = encoded(noise(1.0), container, "aac")
    path = tmp_path / "damaged"
    generator = np.random.default_rng(1)
    for trial in range(40):
        damaged = bytearray(whole)
        most = len(whole) if trial % 2 else min(800, len(whole))
        for place in generator.integers(0, most, generator.integers(1, 40)):
            damaged[place] = generator.integers(256)
        path.write_bytes(damaged)
        try:
            wave, _ = load_available(Record({"id": "a", "audio_filepath": str(path)}))
        except AudioError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        else:
            assert np.isfinite(wave).all()


def test_a_long_container_that_ends_before_is_cut_off_and_so_is_a_span_at_its_end() -> None:
    """Of three minutes four seconds are no small part, nor is half of the last utterance."""
    whole = _header_first(encoded(noise(180.0), "mp4", "aac"))
    assert len(pyav.load(Source("x", whole), 172.0, 7.9).frames) == round(7.9 * 16_000)
    cut = Source("x", whole[: int(len(whole) * 0.978)])
    for offset, duration in ((0.0, None), (172.0, 7.9)):
        with pytest.raises(CutOff, match=r"cut off or damaged: only 17\d\.\d+ s of the 18"):
            pyav.load(cut, offset, duration)
    assert len(pyav.load(cut, 165.0, 5.0).frames) == 5 * 16_000
    with pytest.raises(AudioError, match="behind|ends"):
        pyav.load(Source("x", whole), 190.0, 1.0)


def _header_first(mp4: bytes) -> bytes:
    """As files are for the web: `moov` before the sound, whose places it names, and no `free`."""
    boxes, at = {}, 0
    while at < len(mp4):
        size = int.from_bytes(mp4[at : at + 4], "big")
        boxes[mp4[at + 4 : at + 8]] = (at, mp4[at : at + size])
        at += size
    moov = bytearray(boxes[b"moov"][1])
    ahead = len(boxes[b"ftyp"][1]) + len(moov)
    table = moov.index(b"stco") + 8
    for number in range(int.from_bytes(moov[table : table + 4], "big")):
        place = slice(table + 4 + 4 * number, table + 8 + 4 * number)
        moved = int.from_bytes(moov[place], "big") - boxes[b"mdat"][0] + ahead
        moov[place] = moved.to_bytes(4, "big")
    return boxes[b"ftyp"][1] + bytes(moov) + boxes[b"mdat"][1]


def test_a_stream_without_a_length_that_breaks_off_is_said_to(tmp_path: Path) -> None:
    """Bare AAC promises no length; what comes after the damage is not left out in silence."""
    whole = encoded(noise(4.0), "adts", "aac")
    frames = pyav.load(Source("x", whole), 0.0, None).frames
    data = bytearray(whole)
    for at in range(len(data) // 2, len(data)):
        data[at] ^= 0x5A
    try:
        part = pyav.load(Source("x", bytes(data)), 0.0, None).frames
    except CutOff as error:
        assert "cut off or damaged: only" in str(error)
    else:
        assert len(part) >= 0.95 * len(frames)


def test_the_length_of_bare_frames_is_not_guessed_from_the_first() -> None:
    """FFmpeg takes 11 s for one of 60 that is loud at first; what a guess cuts off is not heard."""
    data = encoded(np.concatenate([noise(3.0), np.zeros(112_000, np.float32)]), "adts", "aac")
    found = pyav.probe(Source("x", data))
    assert found.duration == pytest.approx(10.0, abs=0.2)


def test_the_answer_is_what_the_container_says() -> None:
    data = encoded(tone(2.0), "ipod", "aac", 44_100, channels=2)
    found = pyav.probe(Source("x", data))
    assert found == Info(pytest.approx(2 * 16_000 / 44_100, abs=0.1), 44_100, 2)
