"""Where an output goes: to a file that appears when it is whole, or to a stream that is written to.

A link stays one: what it leads to is replaced. Devices, pipes and open descriptors, such as
`/dev/stdout`, are streams, and never replaced. `-` is standard output.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import mkstemp
from typing import IO

from lanser_cli.errors import LanserError, UsageError

_DESCRIPTOR = re.compile(r"/proc/(\d+)/fd/(\d+)")
_STDOUT = Path("/proc/self/fd/1")


def followed(path: Path) -> Path:
    """What the links of an output lead to, up to an open descriptor.

    Raises:
        UsageError: they lead in a circle.
    """
    path = _STDOUT if path == Path("-") else path
    for _ in range(40):
        path = Path(os.path.realpath(path.parent), path.name)
        if _DESCRIPTOR.fullmatch(str(path)) or not path.is_symlink():
            return path
        path = path.parent / os.readlink(path)
    raise UsageError(f"{path}: its links lead in a circle: name another output")


def places(path: Path) -> tuple[Path, Path]:
    """Where a file is when it is whole, behind its links, and where until then: `NAME.part`."""
    final = followed(path)
    return final, final.with_name(final.name + ".part")


def is_stream(path: Path) -> bool:
    """Whether an output is a device, a pipe or an open descriptor."""
    path = followed(path)
    if not path.exists() or path.is_dir():
        return False
    return path.is_relative_to("/proc") or not path.is_file()


def is_stdout(path: Path) -> bool:
    """Whether an output is standard output under another name."""
    return str(followed(path)) == f"/proc/{os.getpid()}/fd/1"


def open_stream(path: Path) -> IO[str]:
    """Such an output, open for text; a descriptor of this process goes on where it stands.

    Raises:
        LanserError: it cannot be written.
    """
    found = _DESCRIPTOR.fullmatch(str(followed(path)))
    try:
        ours = found is not None and int(found[1]) == os.getpid()
        target = os.dup(int(found[2])) if found and ours else followed(path)
        return open(target, "w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise LanserError(f"{path}: cannot be written: {error.strerror}") from None


def check_writable(path: Path) -> None:
    """Fail before any work if an output file cannot be made.

    Raises:
        UsageError: it is a folder, or to be packed in a way that is not known.
        LanserError: there is no folder for it, or the folder takes no file.
    """
    if is_stream(path):
        return
    if path.suffix in (".bz2", ".xz"):  # what is in it would be a plain text
        raise UsageError(f"{path}: packed are .gz and .zst, not {path.suffix}: name one of these")
    folder = followed(path).parent
    if not folder.is_dir():
        raise LanserError(f"{path}: there is no folder {folder}")
    if path.is_dir():
        raise UsageError(f"{path}: is not a plain file but a folder: name a file in it")
    try:
        # By a name that is drawn: in containers all processes have one number.
        descriptor, probe = mkstemp(prefix=".lanser-", dir=folder)
        os.close(descriptor)
        os.unlink(probe)
    except OSError as error:
        raise LanserError(f"{path}: cannot be written: {error.strerror}") from None


def check_apart(outputs: Mapping[str, Path | None], inputs: Sequence[str | Path] = ()) -> None:
    """Fail before anything is read if an output would destroy an input or another output.

    Args:
        outputs: by the option that names each.
        inputs: as they were given; `-` is standard input.

    Raises:
        UsageError: naming both.
    """
    taken: dict[Path | None, str] = {}
    for option, path in outputs.items():
        if path is None or is_stream(path):
            continue
        names = _names_of(followed(path))
        for name in names:
            if name in taken:
                raise UsageError(
                    f"{option} {path}: this or its unfinished file is that of {taken[name]}: "
                    "name another"
                )
        taken |= dict.fromkeys(names, f"{option} {path}")
    for source in inputs:
        file = _standard_input(taken) if source == "-" else followed(Path(source))
        of_it = [] if file is None else [file, file.parent / f"{file.name}.meta.json"]
        for each in of_it:
            if each in taken:
                raise UsageError(
                    f"{taken[each]}: would overwrite the input {source} or a file beside it that "
                    "is its own: name another output"
                )


def _names_of(path: Path) -> list[Path]:
    """An output and the files next to it while it is made."""
    ends = ("", ".part", ".part.packing", ".meta.json", ".part.meta.json")
    return [path.with_name(path.name + end) for end in ends]


def _standard_input(taken: Mapping[Path | None, str]) -> Path | None:
    """Which of these files standard input is read from."""
    try:
        about = os.fstat(0)
    except OSError:
        return None
    if not stat.S_ISREG(about.st_mode):
        return None
    there = [path for path in taken if path and path.exists()]
    return next((path for path in there if os.path.samestat(about, path.stat())), None)
