"""What a process gives back to the system: memory that it no longer uses, and a compiler that nobody needs now."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from phasegate.engine import resident
from phasegate.engine.holding import ENOUGH, Holding

COMPILED = """
import os
from pathlib import Path
from phasegate.consensus.x11 import x11
from phasegate.consensus.x11_kernel import hash_many
from phasegate.engine.resident import give_back

def used():
    told = Path("/proc/self/status").read_text().split("VmRSS:")[1]
    return int(told.split()[0]) >> 10

headers = bytes(range(80)) * 10
hash_many(headers)
before = used()
give_back()
print(before - used())
assert hash_many(headers) == x11(headers[:80]) * 10
give_back()
assert hash_many(headers) == x11(headers[:80]) * 10
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_the_compiler_is_given_back_and_what_it_made_goes_on_working() -> None:
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 20  # MiB


def test_without_glibc_nothing_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: str) -> None:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    resident.give_back()


def test_what_may_have_been_written_to_is_never_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = """\
1000-3000 r--p 00000000 fe:00 17 /x/libllvmlite.so
Rss: 4 kB
Anonymous: 0 kB
3000-4000 r--p 00003000 fe:00 17 /x/libllvmlite.so
Anonymous: 4 kB
4000-6000 rw-p 00004000 fe:00 17 /x/libllvmlite.so
Anonymous: 0 kB
6000-9000 r-xp 00000000 fe:00 18 /x/libother.so
Anonymous: 0 kB
9000-a000 rw-p 00000000 00:00 0
Anonymous: 0 kB
a000-c000 r-xp 00006000 fe:00 17 /a folder/libllvmlite.so
Anonymous:             0 kB
"""
    (tmp_path / "smaps").write_text(maps)
    monkeypatch.setattr(resident, "_MAPS", tmp_path / "smaps")
    assert list(resident._unwritten(resident.COMPILER)) == [(0x1000, 0x3000), (0xA000, 0xC000)]


def test_a_download_gives_back_whenever_enough_has_been_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    given = list[int]()
    monkeypatch.setattr("phasegate.engine.holding.give_back", lambda: given.append(1))
    held = Holding[int](ENOUGH, lambda size: size)
    for index in range(9):
        held.put(index, ENOUGH // 4)
        held.take(index)
        held.applied()
    assert len(given) == 2
