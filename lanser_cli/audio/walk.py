"""The one walk of folders: which files below a folder are audio."""

from __future__ import annotations

import os
from collections.abc import Iterator

from lanser_cli import kind

_SOUND = """
    wav wave rf64 w64 flac ogg oga spx opus mp2 mp3 mpa mpga aif aiff aifc au snd caf sph nist amr
    awb aac ac3 eac3 wma ape wv tta dsf dff
"""
_CONTAINERS = """
    m4a m4b m4r mp4 m4v mov mka mkv weba webm flv f4v avi asf wmv 3gp 3g2 mpg mpeg m2ts mts vob ogv
"""
_OTHERS = """
    txt lab trn stm ctm textgrid eaf csv tsv xls xlsx json jsonl xml yaml yml html md pdf png jpg
    jpeg gif npy npz pt safetensors py sh m praat log zip gz tar zst doc docx odt ppt pptx rtf mat
    rda rds sav pkl pickle db sqlite h5 hdf5 parquet arrow feather ark scp pth ckpt onnx pyc so exe
"""

SUFFIXES = frozenset(f".{suffix}" for suffix in f"{_SOUND} {_CONTAINERS}".split())
"""File names taken for audio when a folder is walked. A file that is named is always tried."""

_NO_SOUND = frozenset(f".{suffix}" for suffix in _OTHERS.split())
"""File names of what lies beside sound: such a file is not opened to see what it is."""


def walk(folder: str) -> Iterator[str]:
    """Paths of the audio and video files below `folder`, in a fixed order.

    The files of a folder come before those of its sub-folders, each sorted by name. A file whose
    name says nothing is given too, to be tried, unless it is empty or its first bytes say what else
    it is, such as a text: sound without a header is one reject then. Names that begin with a dot
    are left out, folders as well as files: macOS writes `._x.wav` next to `x.wav`. Symbolic links
    to folders are followed, but to no folder a second time, and to none that is below `folder`
    without them. A folder that may not be read is given in the place of its files.
    """
    if not os.path.isdir(folder):
        return
    root, seen, unread = os.path.realpath(folder), {_identity(folder)}, list[OSError]()
    for parent, folders, files in os.walk(folder, onerror=unread.append, followlinks=True):
        folders[:] = sorted(
            name for name in folders if _is_new(os.path.join(parent, name), root, seen)
        )
        for name in sorted(files):
            path = os.path.join(parent, name)
            if not name.startswith(".") and _is_audio(path):
                yield path
    yield from (str(error.filename) for error in unread)


def _is_new(folder: str, root: str, seen: set[tuple[int, int]]) -> bool:
    """Whether to walk a folder; it is remembered in `seen`."""
    if os.path.basename(folder).startswith("."):
        return False
    if os.path.islink(folder):
        below = os.path.relpath(os.path.realpath(folder), root).split(os.sep)
        if not any(part.startswith(".") and part != "." for part in below):
            return False
    try:
        identity = _identity(folder)
    except OSError:  # to list it fails too, and is heard of
        return True
    if identity in seen:
        return False
    seen.add(identity)
    return True


def _identity(folder: str) -> tuple[int, int]:
    about = os.stat(folder)
    return about.st_dev, about.st_ino


def _is_audio(path: str) -> bool:
    suffix = os.path.splitext(path)[1].lower()
    if suffix in SUFFIXES or suffix in _NO_SOUND:
        return suffix in SUFFIXES
    try:
        if not os.path.isfile(path):  # to open a named pipe would wait for who writes to it
            return False
        with open(path, "rb") as stream:
            head = stream.read(kind.HEAD)
            return bool(head) and kind.other(head) is None
    except OSError:
        return False
