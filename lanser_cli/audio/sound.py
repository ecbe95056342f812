"""Any container in, mono float32 at 16 kHz out; and from files and folders to records.

soundfile decodes WAV, FLAC, Ogg, MP3 and AIFF whatever the file is called; what it cannot open
is tried with PyAV (extra `video`): MP4, M4A, WebM, FLV and so on.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lanser_cli.errors import RecordError
from lanser_cli.records import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Waveform = NDArray[np.float32]


SAMPLE_RATE = 16_000
"""Hz; what every model of this package hears."""


_SOUND = "wav flac ogg oga opus mp3 aif aiff aifc au w64 caf sph"


_CONTAINERS = "m4a mp4 m4v mov mkv webm flv avi aac wma 3gp"


SUFFIXES = frozenset(f".{suffix}" for suffix in f"{_SOUND} {_CONTAINERS}".split())
"""File names taken for audio when a folder is walked. A file that is named is always tried."""


_BLOCK = 1 << 20
"""Frames read at a time: a damaged header may promise more than fits into memory."""


_UNKNOWN = 1 << 62
"""libsndfile gives at least this many frames where a stream's header leaves the length open."""


class AudioError(RecordError):
    """This audio cannot be used."""


class CutOff(AudioError):
    """This audio ends before its header says that it does."""


@dataclass(frozen=True, slots=True)
class Info:
    """What a container says of itself. duration in seconds, sample_rate in Hz."""

    duration: float
    sample_rate: int
    channels: int


def path_of(record: Record) -> str:
    """Where a record's sound lies.

    Raises:
        AudioError: it does not say.
    """
    if not record.audio_filepath:
        raise AudioError("has no 'audio_filepath'")
    return record.audio_filepath


def load(record: Record) -> Waveform:
    """The sound of a record: float32 `[samples]`, mono, 16 kHz, finite, about -1..1.

    Args:
        record: its `audio_filepath`, `offset` and `duration` say what to read.

    Raises:
        AudioError: no path, no such file, not audio, nothing in it, or NaN in it.
    """
    return read(path_of(record), record.offset, record.duration)


def load_int16(record: Record) -> NDArray[np.int16]:
    """What `load` gives, as 16-bit samples: `[samples]`, -32768..32767.

    Raises:
        AudioError: as in `load`.
    """
    return read_crop(path_of(record), record.offset, record.duration, _UNKNOWN, lambda _: 0)


def read(path: str, offset: float = 0.0, duration: float | None = None) -> Waveform:
    """Decode `[offset, offset + duration)` seconds of a file or of `shard.tar#member`.

    Raises:
        AudioError: as in `load`.
    """
    samples, rate = _decode(_source(path), path, offset, duration)
    return finish(samples, rate, path)


def read_crop(
    path: str,
    offset: float,
    duration: float | None,
    size: int,
    choose: Callable[[int], int],
    place: tuple[int, int] | None = None,
) -> NDArray[np.int16]:
    """At most `size` samples, as int16, of what `read` gives, beginning with number
    `choose(length)`.

    16-bit mono sound at 16 kHz, which shards hold, is decoded only there.

    Args:
        place: what `locate` found for the path.

    Raises:
        AudioError: as in `load`.
    """
    crop = _read_pcm(path, offset, duration, size, choose, place)
    if crop is None:
        whole = to_int16(read(path, offset, duration))
        start = choose(len(whole))
        crop = whole[start : start + size]
    return crop


def to_int16(waveform: Waveform) -> NDArray[np.int16]:
    """A waveform as 16-bit samples, clipped, not wrapped: the inverse of how they are read."""
    import numpy as np

    # libsndfile reads 16 bits as n / 32768 but would write n as 32767 x: round as it reads.
    scaled = waveform * np.float32(32768)
    return np.clip(np.rint(scaled, out=scaled), -32768, 32767, out=scaled).astype(np.int16)


def locate(path: str) -> tuple[int, int] | None:
    """Where in its tar the bytes of `shard.tar#member` lie, and how many; None for other paths."""
    archive, mark, member = path.partition("#")
    if not mark or not archive.endswith(".tar"):
        return None
    try:
        return _tar_place(archive, member)
    except AudioError:
        return None


def salvage(record: Record) -> tuple[Waveform, bool]:
    """The sound of a record as far as it can be decoded, and whether that is not all.

    Raises:
        AudioError: as in `load`, but not for sound that is only cut off.
    """
    import numpy as np

    try:
        waveform = load(record)
    except CutOff:
        path, pieces = record.audio_filepath or "", []
        try:
            for piece in stream(path, record.offset, record.duration):
                pieces.append(piece)
        except CutOff:
            if not sum(map(len, pieces)):
                raise
        return np.concatenate(pieces), True
    return waveform, _is_cut_mp3(record, len(waveform) / SAMPLE_RATE)


def stream(
    path: str, offset: float = 0.0, duration: float | None = None, *, seconds: float = 30.0
) -> Iterator[Waveform]:
    """The sound that `read` gives, in pieces of about `seconds`: memory does not grow with length.

    Raises:
        AudioError: as in `load`; of what is cut off or damaged, after the pieces before.
    """
    resampler: _Resampler | None = None
    empty = True
    for samples, rate in _native_blocks(_source(path), path, offset, duration, seconds):
        resampler = resampler or _Resampler(rate)
        if samples.shape[0]:
            empty = False
            yield resampler.push(_mono(samples, path))
    if empty or resampler is None:
        raise AudioError(f"{path}: no audio samples in it (zero length)")
    yield resampler.finish()


def decode_bytes(data: bytes, name: str) -> Waveform:
    """Decode an audio file held in memory; `name` is for messages.

    Raises:
        AudioError: as in `load`.
    """
    samples, rate = _decode(io.BytesIO(data), name, 0.0, None)
    return finish(samples, rate, name)


def finish(samples: NDArray[np.float32], rate: int, path: str) -> Waveform:
    """Mix `[frames, channels]` down, resample to 16 kHz, and refuse what is no sound.

    Raises:
        AudioError: no samples, or NaN or infinite ones.
    """
    if samples.shape[0] == 0:
        raise AudioError(f"{path}: no audio samples in it (zero length)")
    return _Resampler(rate).finish(_mono(samples, path))


def probe(path: str) -> Info:
    """Read a file's header only.

    Raises:
        AudioError: no such file, or not audio.
    """
    import soundfile

    source = _source(path)
    try:
        info = soundfile.info(source)
    except (soundfile.LibsndfileError, TypeError):
        return _probe_with_av(source, path)
    if info.frames == 0:
        raise AudioError(f"{path}: no audio samples in it (zero length)")
    if info.frames >= _UNKNOWN:
        samples, rate = _decode(_source(path), path, 0.0, None)
        return Info(samples.shape[0] / rate, rate, info.channels)
    return Info(info.frames / info.samplerate, info.samplerate, info.channels)


def check(record: Record) -> None:
    """Read the header of a record's sound, unless it is in a shard, whose sound was checked.

    Raises:
        AudioError: no path, no such file, or not audio.
    """
    path = path_of(record)
    if "#" not in path:
        probe(path)


def _mono(samples: NDArray[np.float32], path: str) -> Waveform:
    import numpy as np

    if samples.ndim == 2:  # a mean over one channel takes as long as decoding
        mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    else:
        mono = samples
    if not np.isfinite(mono).all():
        raise AudioError(f"{path}: NaN or infinite samples in it: decode or record it again")
    return np.ascontiguousarray(mono, dtype=np.float32)


class _Resampler:
    """To 16 kHz by a polyphase filter, piece by piece, with the samples that the whole would give.

    Each piece is filtered together with as much of its neighbours as the filter reaches. Pieces
    begin at multiples of `down`, where input and output samples fall together.
    """

    def __init__(self, rate: int) -> None:
        ratio = Fraction(SAMPLE_RATE, rate)
        self._up, self._down = ratio.numerator, ratio.denominator
        reach = 10 * max(self._up, self._down) // self._up + 1  # scipy's half_len, in input samples
        self._margin = -(-reach // self._down) * self._down
        self._kept: list[Waveform] = []
        self._lead = 0

    def push(self, samples: Waveform) -> Waveform:
        """The output that these samples settle."""
        import numpy as np

        if self._up == self._down:
            return samples
        self._kept.append(samples)
        total = sum(map(len, self._kept))
        settled = (total - self._margin) // self._down * self._down
        if settled <= self._lead:
            return np.empty(0, np.float32)
        joined = np.concatenate(self._kept)
        found = self._filter(joined)[self._place(self._lead) : self._place(settled)]
        start = max(0, settled - self._margin)
        self._kept, self._lead = [joined[start:]], settled - start
        return found

    def finish(self, samples: Waveform | None = None) -> Waveform:
        """The output that is left, once the last samples are in."""
        import numpy as np

        rest = self._kept + ([] if samples is None else [samples])
        if self._up == self._down or not rest:
            return np.empty(0, np.float32) if samples is None else samples
        joined = rest[0] if len(rest) == 1 else np.concatenate(rest)
        return np.ascontiguousarray(self._filter(joined)[self._place(self._lead) :])

    def _place(self, position: int) -> int:
        return position // self._down * self._up

    def _filter(self, samples: Waveform) -> Waveform:
        import numpy as np
        from scipy.signal import resample_poly

        return np.asarray(resample_poly(samples, self._up, self._down), np.float32)


def _source(path: str) -> str | io.BytesIO:
    """A path for the decoders, or the bytes of a tar member."""
    archive, mark, member = path.partition("#")
    if mark and archive.endswith(".tar"):
        return io.BytesIO(_tar_member(archive, member))
    if not os.path.exists(path):
        if os.path.islink(path):
            raise AudioError(f"{path}: a symbolic link that leads nowhere, or in a circle")
        raise AudioError(f"{path}: there is no such file")
    if os.path.isdir(path):
        raise AudioError(f"{path}: is a folder, not an audio file")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{path}: may not be read (permissions)")
    if os.path.getsize(path) == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes)")
    return path


def _tar_member(archive: str, member: str) -> bytes:
    offset, size = _tar_place(archive, member)
    with open(archive, "rb") as stream:
        stream.seek(offset)
        return stream.read(size)


def _tar_place(archive: str, member: str) -> tuple[int, int]:
    try:
        about = os.stat(archive)
        return _tar_index(archive, about.st_mtime_ns, about.st_size)[member]
    except KeyError:
        raise AudioError(f"{archive}: no member '{member}' in it") from None
    except (OSError, tarfile.TarError) as error:
        raise AudioError(f"{archive}: cannot be read as a tar: {error}") from None


@lru_cache(maxsize=8)
def _tar_index(archive: str, changed: int, length: int) -> dict[str, tuple[int, int]]:
    """Where each member lies. `changed` and `length` tell a rewritten archive from the old one."""
    index: dict[str, tuple[int, int]] = {}
    # A ReadError from within: cut off, and what lies before the cut can still be read.
    with tarfile.open(archive) as tar, suppress(tarfile.ReadError):
        for item in tar:
            if item.isfile():
                index[item.name] = (item.offset_data, item.size)
    return index


def _decode(
    source: str | io.BytesIO, path: str, offset: float, duration: float | None
) -> tuple[NDArray[np.float32], int]:
    """float32 `[frames, channels]` and the rate in Hz."""
    import soundfile

    promised = 0
    try:
        with soundfile.SoundFile(source) as file:
            promised = _promised(file)
            rate, length = file.samplerate, file.frames
            start = round(offset * rate)
            if start >= length > 0:
                raise _behind(path, offset, length / rate)
            if start:
                file.seek(start)
            end = length if duration is None else min(length, start + round(duration * rate))
            samples = _read_frames(file, end - start)
    except (soundfile.LibsndfileError, TypeError):
        if 0 < promised < _UNKNOWN:
            raise CutOff(
                f"{path}: cut off or damaged: not all of the {promised / rate:.3f} s that its "
                "header promises can be decoded"
            ) from None
        return _decode_with_av(source, path, offset, duration)
    stop = promised if duration is None else min(promised, start + round(duration * rate))
    if promised < _UNKNOWN and samples.shape[0] < 0.99 * (stop - start):
        raise CutOff(
            f"{path}: cut off or damaged: only {(start + samples.shape[0]) / rate:.3f} s of the "
            f"{promised / rate:.3f} s that its header promises can be decoded"
        )
    return samples, rate


def _read_pcm(
    path: str,
    offset: float,
    duration: float | None,
    size: int,
    choose: Callable[[int], int],
    place: tuple[int, int] | None,
) -> NDArray[np.int16] | None:
    """The crop of 16-bit mono sound at 16 kHz; None of other sound and of what is not whole."""
    import soundfile

    try:
        source: str | io.BytesIO = path
        if place is not None:
            with open(path.partition("#")[0], "rb", buffering=0) as archive:
                source = io.BytesIO(os.pread(archive.fileno(), place[1], place[0]))
        with soundfile.SoundFile(source) as file:
            kind = (file.samplerate, file.channels, file.subtype)
            if kind != (SAMPLE_RATE, 1, "PCM_16") or _promised(file) > file.frames:
                return None
            start, end = round(offset * SAMPLE_RATE), file.frames
            if duration is not None:
                end = min(end, start + round(duration * SAMPLE_RATE))
            if not start < end < _UNKNOWN:
                return None
            first = choose(end - start)
            count = min(size, end - start - first)
            if start + first:
                file.seek(start + first)
            crop: NDArray[np.int16] = file.read(count, "int16")
    except (soundfile.LibsndfileError, TypeError, OSError):
        return None
    return crop if len(crop) == count else None


def _native_blocks(
    source: str | io.BytesIO, path: str, offset: float, duration: float | None, seconds: float
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """What `_decode` gives, piece by piece: float32 `[frames, channels]` and the rate in Hz."""
    import numpy as np
    import soundfile

    done, held = 0, 0
    blocks: list[NDArray[np.float32]] = []
    damaged = False
    try:
        with soundfile.SoundFile(source) as file:
            promised, rate, length = _promised(file), file.samplerate, file.frames
            if length >= _UNKNOWN:
                raise TypeError("libsndfile does not find the end of it")
            start = round(offset * rate)
            if start >= length > 0:
                raise _behind(path, offset, length / rate)
            if start:
                file.seek(start)
            stop = length if duration is None else min(length, start + round(duration * rate))
            # In small steps: a step that meets damage is lost with all that is in it.
            while block := _next_frames(file, min(rate // 4 + 1, stop - start - done)):
                blocks.append(block[0])
                done += len(block[0])
                held += len(block[0])
                if held >= seconds * rate:
                    yield np.concatenate(blocks), rate
                    held, blocks = 0, []
    except (soundfile.LibsndfileError, TypeError):
        if not done:
            yield from _native_blocks_with_av(source, path, offset, duration, seconds)
            return
        damaged = True
    if blocks:
        yield np.concatenate(blocks), rate
    whole = promised if duration is None else min(promised, start + round(duration * rate))
    if damaged or (0 < promised < _UNKNOWN and done < 0.99 * (whole - start)):
        promise = f" of the {promised / rate:.3f} s that its header promises" if promised else ""
        raise CutOff(
            f"{path}: cut off or damaged: only {(start + done) / rate:.3f} s{promise} "
            "can be decoded"
        )


def _next_frames(file: Any, count: int) -> list[NDArray[np.float32]]:
    """The next frames, as the one item of a list that is empty at the end."""
    if count <= 0:
        return []
    block = file.read(count, "float32", always_2d=True)
    return [block] if len(block) else []


def _native_blocks_with_av(
    source: str | io.BytesIO, path: str, offset: float, duration: float | None, seconds: float
) -> Iterator[tuple[NDArray[np.float32], int]]:
    import numpy as np

    with _open_with_av(source, path) as container:
        track = container.streams.audio[0]
        seen, held, blocks = 0, 0, []
        try:
            rate = int(track.rate)
            start = round(offset * rate)
            last = None if duration is None else start + round(duration * rate)
            for block in _blocks_with_av(container, track, rate, last):
                inside = block[max(0, start - seen) : None if last is None else last - seen]
                seen += len(block)
                if len(inside):
                    blocks.append(inside)
                    held += len(inside)
                if held >= seconds * rate:
                    yield np.concatenate(blocks), rate
                    held, blocks = 0, []
        except GeneratorExit:
            raise
        except Exception as error:  # PyAV raises all sorts of things on damaged streams
            if not seen:
                raise AudioError(f"{path}: cannot be decoded: {error}") from None
        if blocks:
            yield np.concatenate(blocks), rate
        if 0 < seen <= start:
            raise _behind(path, offset, seen / rate)
        _check_end(container, path, seen / rate, offset, duration)


def _read_frames(file: Any, count: int) -> NDArray[np.float32]:
    """Up to `count` frames, float32 `[frames, channels]`: what is there of them."""
    import numpy as np

    blocks: list[NDArray[np.float32]] = []
    while count > 0:
        block = file.read(min(count, _BLOCK), dtype="float32", always_2d=True)
        if not len(block):
            break
        blocks.append(block)
        count -= len(block)
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate([np.empty((0, file.channels), np.float32), *blocks])


def _promised(file: Any) -> int:
    """Frames that the header speaks of: libsndfile gives what it finds in a WAV, not that."""
    if file.format == "FLAC":
        return int(file.frames)
    cut = re.search(r"^data : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    if file.format not in ("WAV", "WAVEX") or not cut:
        return 0
    promised, there = map(int, cut.groups())
    if promised > 0x7F000000 or there == 0:  # a recorder that wrote to a pipe could not know
        return 0
    return round(file.frames * promised / there)


def _is_cut_mp3(record: Record, seconds: float) -> bool:
    """Whether an MP3 that counts its frames (a Xing or Info header) has fewer than it says.

    Without that header the length of an MP3 is a guess, and with it libsndfile takes its word.
    """
    import soundfile

    path = record.audio_filepath or ""
    if not path.lower().endswith(".mp3") or record.offset:
        return False
    source = _source(path)
    try:
        with soundfile.SoundFile(source) as file:
            promised = file.frames / file.samplerate if file.format == "MP3" else 0.0
    except soundfile.LibsndfileError:
        return False
    if seconds >= 0.98 * min(promised, record.duration or promised) - 0.1:
        return False
    with open(path, "rb") if isinstance(source, str) else source as stream:
        stream.seek(0)
        head = stream.read(10)
        if head.startswith(b"ID3"):  # its size is in four bytes of seven bits
            size = 0
            for byte in head[6:10]:
                size = size << 7 | byte
            stream.seek(10 + size)
        head += stream.read(512)
    return b"Xing" in head or b"Info" in head


def _behind(path: str, offset: float, seconds: float) -> AudioError:
    return AudioError(f"{path}: offset {offset} s lies behind its end at {seconds:.3f} s")


def _open_with_av(source: str | io.BytesIO, path: str) -> Any:
    try:
        import av
    except ImportError:
        raise AudioError(
            f"{path}: not WAV, FLAC, Ogg, MP3 or AIFF; for video and other containers run  "
            "pip install 'lanser[video]'"
        ) from None
    try:
        if isinstance(source, io.BytesIO):
            source.seek(0)
        container = av.open(source)
    except (av.error.FFmpegError, ValueError, OSError):
        raise AudioError(f"{path}: not a readable audio or video file") from None
    if not container.streams.audio:
        container.close()
        raise AudioError(f"{path}: has no audio track")
    return container


def _decode_with_av(
    source: str | io.BytesIO, path: str, offset: float, duration: float | None
) -> tuple[NDArray[np.float32], int]:
    import numpy as np

    blocks: list[NDArray[np.float32]] = []
    with _open_with_av(source, path) as container:
        stream = container.streams.audio[0]
        try:
            rate = int(stream.rate)
            last = None if duration is None else round((offset + duration) * rate)
            for block in _blocks_with_av(container, stream, rate, last):
                blocks.append(block)
        except Exception as error:  # PyAV raises all sorts of things on damaged streams
            if not blocks:
                raise AudioError(f"{path}: cannot be decoded: {error}") from None
        _check_end(container, path, sum(map(len, blocks)) / rate, offset, duration)
    if not blocks:
        raise AudioError(f"{path}: no audio samples in it (zero length)")
    samples = np.concatenate(blocks)
    start = round(offset * rate)
    if start >= samples.shape[0]:
        raise _behind(path, offset, samples.shape[0] / rate)
    return np.asarray(samples[start:last], dtype=np.float32), rate


def _blocks_with_av(
    container: Any, stream: Any, rate: int, last: int | None
) -> Iterator[NDArray[np.float32]]:
    """Decoded `[frames, channels]` from the start, until frame `last` is among them."""
    import av
    import numpy as np

    resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate)
    seen = 0
    for frame in container.decode(stream):
        for part in resampler.resample(frame):
            yield np.asarray(part.to_ndarray().T, np.float32)
            seen += part.samples
        if last is not None and seen >= last:
            return


def _check_end(
    container: Any, path: str, seconds: float, offset: float, duration: float | None
) -> None:
    """Raise CutOff if decoding ended well before the track's own header says; others guess it."""
    track = container.streams.audio[0]
    if track.duration is None or not container.format.name.startswith(("mov", "matroska", "avi")):
        return
    promised = float(track.duration * track.time_base)
    if seconds < 0.95 * min(promised, promised if duration is None else offset + duration) - 0.2:
        raise CutOff(
            f"{path}: cut off or damaged: only {seconds:.3f} s of the {promised:.3f} s that its "
            "header promises can be decoded"
        )


def _probe_with_av(source: str | io.BytesIO, path: str) -> Info:
    with _open_with_av(source, path) as container:
        stream = container.streams.audio[0]
        if not getattr(stream, "rate", None):
            raise AudioError(f"{path}: cannot be decoded: unknown sample rate")
        if stream.duration is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            seconds = container.duration / 1e6
        else:
            samples, rate = _decode_with_av(source, path, 0.0, None)
            seconds = samples.shape[0] / rate
        return Info(seconds, stream.rate, stream.channels)
