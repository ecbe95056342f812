"""The one walk of folders: which files below a folder are audio."""

from __future__ import annotations

import os
from collections.abc import Iterator

_SOUND = "wav flac ogg oga opus mp3 aif aiff aifc au w64 caf sph"
_CONTAINERS = "m4a mp4 m4v mov mkv webm flv avi aac wma 3gp"

SUFFIXES = frozenset(f".{suffix}" for suffix in f"{_SOUND} {_CONTAINERS}".split())
"""File names taken for audio when a folder is walked. A file that is named is always tried."""


def walk(folder: str) -> Iterator[str]:
    """Paths of the audio and video files below `folder`, in a fixed order.

    The files of a folder come before those of its sub-folders, each sorted by name. Names that
    begin with a dot are left out, folders as well as files: macOS writes `._x.wav` next to `x.wav`.
    Symbolic links to folders are not followed.
    """
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            suffix = os.path.splitext(name)[1].lower()
            if suffix in SUFFIXES and not name.startswith("."):
                yield os.path.join(parent, name)
