"""Memory that a process no longer uses, and that the system still counts as its own.

Two kinds of it are large in a long sync. The C library keeps what was freed between pieces still in use: up to half of
what a chain's pieces took as they came and went. And the compiler that loads compiled loops, a library of 100 MB, stays
mapped although nobody needs it before the next loop is loaded. `give_back` hands both to the system: glibc trims its
arenas, and pages of the compiler that nobody can have written to are dropped, to come back from the file should
somebody touch them. On other systems nothing happens.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator
from pathlib import Path

COMPILER = "libllvmlite"
"""What the file of the compiler's library is called."""
_MAPS = Path("/proc/self/smaps")
_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+\s*(.*)")
_UNCHANGED = re.compile(r"Anonymous: +0 kB")
_DONTNEED = 4
"""MADV_DONTNEED of Linux."""
_compiler = list[tuple[int, int]]()


def give_back() -> None:
    """Give back what is free or can be had again."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        trim, advise = libc.malloc_trim, libc.madvise
    except (OSError, AttributeError):  # another C library, or another system
        return
    trim.argtypes = (ctypes.c_size_t,)
    trim(0)
    advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    if not _compiler and "llvmlite.binding" in sys.modules:
        _compiler.extend(_unwritten(COMPILER))  # this takes 10 ms, and a library that is loaded stays where it is
    for start, end in _compiler:
        advise(start, end - start, _DONTNEED)


def _unwritten(name: str) -> Iterator[tuple[int, int]]:
    """The mappings of a file that cannot be written to, and of which no page was when it could."""
    if not _MAPS.exists():
        return
    mapping: tuple[int, int] | None = None
    for line in _MAPS.read_text(encoding="utf-8", errors="replace").splitlines():
        if head := _HEAD.fullmatch(line):
            start, end, rights, path = head.groups()
            fits = Path(path).name.startswith(name) and "w" not in rights
            mapping = (int(start, 16), int(end, 16)) if fits else None
        elif mapping and _UNCHANGED.fullmatch(line):
            yield mapping
