"""A process that is killed at a write inside a transaction leaves the last commit, whole, and the lock free."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from phasegate.consensus.params import SIMNET
from phasegate.store import AddWatch, AppendJournal, Change, Store

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain

VICTIM = """
import os, pickle, signal, sys
from pathlib import Path
import apsw
from phasegate.consensus.params import SIMNET
from phasegate.store import Store

class File(apsw.VFSFile):
    def xWrite(self, data, offset):
        global left
        left -= 1
        if left == 0:
            super().xWrite(data[: len(data) // 2], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        super().xWrite(data, offset)

class VFS(apsw.VFS):
    def __init__(self):
        super().__init__("deadly", base="")
    def xOpen(self, name, flags):
        return File("", name, flags)

directory, left, batches = Path(sys.argv[1]), 0, pickle.loads(Path(sys.argv[3]).read_bytes())
vfs = VFS()
store = Store.open(directory, SIMNET, vfs="deadly")
for batch in batches[:-1]:
    store.commit(batch)
print("ready", flush=True)
left = int(sys.argv[2])
if left:
    store.commit(batches[-1])
else:
    def deadly():
        yield from batches[-1]
        os.kill(os.getpid(), signal.SIGKILL)
    store.commit(deadly())
print("survived", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("write", [0, 1, 2, 3, 20, 57, 90, 10_000])
def test_a_kill_inside_a_transaction_leaves_all_or_nothing(tmp_path: Path, trunk: FakeChain, write: int) -> None:
    """`write` 0 kills after the last change and before the commit, 10,000 after the commit."""
    pickled, batches = _pickled(tmp_path, trunk)
    done = subprocess.run(
        [sys.executable, "-c", VICTIM, str(tmp_path / "killed"), str(write), str(pickled)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    survived = "survived" in done.stdout
    assert survived == (write == 10_000)
    store, spared = Store.open(tmp_path / "killed", SIMNET), Store.open(tmp_path / "spared", SIMNET)
    for batch in batches if survived else batches[:-1]:
        spared.commit(batch)
    assert store.check() == ()
    assert (store.marks, store.digest()) == (spared.marks, spared.digest())
    if not survived:
        assert store.commit(batches[-1]) == spared.commit(batches[-1])
    assert store.digest() == spared.digest()
    store.close()
    spared.close()


def _pickled(place: Path, trunk: FakeChain) -> tuple[Path, list[list[Change]]]:
    batches: list[list[Change]] = [
        [trunk.append(1, 3000), trunk.append_filter_headers(0, 2500), AddWatch(((b"a", "label"),))],
        [trunk.put_filters(range(1500)), AppendJournal(1.0, "a", "b", "e", "r", "{}")],
        [trunk.append(3001, 3000), trunk.append_filter_headers(2500, 3000), trunk.put_filters(range(1500, 4000))],
    ]
    path = place / "batches"
    path.write_bytes(pickle.dumps(batches))
    return path, batches
