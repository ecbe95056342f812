"""What the server of `quick` imports last, to fork quickly what need not begin anew.

It imports `quick` itself, makes the tables that each command would make on first use of a library,
and then puts its memory into large pages. To fork is to copy a table of pages, and most of what
a short command takes: half a gigabyte is 150,000 small pages, and 300 large ones.
"""

from __future__ import annotations

import ctypes
import re
import sys
import warnings
from contextlib import suppress
from pathlib import Path

LARGE = 2 << 20
_MADV_COLLAPSE = 25  # from Linux 6.1 on; elsewhere it is refused, and nothing changes

sys.path.insert(0, str(Path(__file__).parent))  # from which commands unpickle what they run

import quick  # noqa: E402, F401


def collapse() -> None:
    """Make large pages of all memory that no file is behind, where it is dense."""
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    maps = Path("/proc/self/maps")
    for line in maps.read_text().splitlines() if maps.exists() else []:
        if found := re.fullmatch(r"(\w+)-(\w+) rw-p \S+ \S+ 0 *(\[heap])?", line):
            start, end = (int(found[bound], 16) for bound in (1, 2))
            for address in range(-(-start // LARGE) * LARGE, end - LARGE + 1, LARGE):
                libc.madvise(address, LARGE, _MADV_COLLAPSE)


def make_tables() -> None:
    """A thousand patterns of how transformers renames weights; the words of Whisper."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping
    from whisper.tokenizer import get_tokenizer

    get_checkpoint_conversion_mapping("bert")
    for multilingual in (False, True):
        get_tokenizer(multilingual, num_languages=99).encoding.encode(" so")


with suppress(ImportError), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    make_tables()
collapse()
