"""Clients that are killed at a write to the disk, in processes of their own: a child for each write.

    python -m tests.field_bugs.killed_at_writes PLACE STRIDE

One process imports everything, and forks a child for each STRIDE-th write of a whole sync. The child syncs a simulated
chain into a directory of its own; at its write it puts half of the bytes on the disk and sends itself SIGKILL. The
parent then opens what is left, syncs on, and prints one JSON line: which write, how far the marks had come, and what
came of it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import apsw
import trio
from trio.testing import MockClock

from phasegate.engine.phases import block_records
from phasegate.store import Store, database
from tests.simulated_world import Run, World, runner, small_chain

BLOCKS, SEED = 120, 5
LIMITS = {"batch": {"cfheaders": 2000, "filters": 10, "blocks": 5}}


class DeadlyFile(apsw.VFSFile):
    """A file whose writes are counted; the process dies half way through the last one."""

    left = 0
    count = 0

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's name, and bytes or a buffer
        DeadlyFile.count += 1
        if DeadlyFile.count == DeadlyFile.left:
            super().xWrite(data[: len(data) // 2], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        super().xWrite(data, offset)


class DeadlyVFS(apsw.VFS):
    """Opens such files."""

    def __init__(self) -> None:
        super().__init__("deadly", base="")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return DeadlyFile("", name, flags)


@contextmanager
def deadly_disk(left: int) -> Iterator[None]:
    """Every store that is opened in here dies at the write with that number; 0: never."""
    vfs, connect = DeadlyVFS(), database._connect
    DeadlyFile.left, DeadlyFile.count = left, 0
    with patch.object(database, "_connect", lambda path, _: connect(path, "deadly")):
        yield
    vfs.unregister()


def synced(place: Path) -> dict[str, Any]:
    """Sync into `place` on a virtual clock until nothing is left to do, blocks in many transactions; what is there."""

    async def sync() -> dict[str, Any]:
        chain = small_chain(BLOCKS, SEED)
        async with trio.open_nursery() as nursery:
            world = World(nursery, place)
            world.add(chain, 1, delay=0.05, locks=False)
            async with runner(world)(world.config(1, watch=chain.watch, limits=LIMITS)) as run:
                await run.until("synced", within=60)
                found = _found(run)
            nursery.cancel_scope.cancel()
        return found

    trio._core._run._r.seed(0)
    with patch.object(block_records, "ENOUGH", 1):
        return trio.run(sync, clock=MockClock(autojump_threshold=0))


def _found(run: Run) -> dict[str, Any]:
    sums = {script.hex(): value for script, value in run.client.balances().items()}
    return {"digest": run.client.store.digest(), "check": len(run.client.store.check()), "balances": sums}


def marks(place: Path) -> dict[str, Any]:
    """What the database in `place` says when it is opened again."""
    network = small_chain(BLOCKS, SEED).network
    store = Store.open(place, network)
    try:
        kept = store.read_marks()
        return {"tip": kept.tip, "filters": kept.filters, "pending": kept.pending_blocks, "broken": len(store.check())}
    finally:
        store.close()


def killed(place: Path, write: int) -> int:
    """Sync in a child that dies at that write; the signal it died of, 0 when it lived."""
    child = os.fork()
    if not child:
        with deadly_disk(write):
            synced(place)
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def main(place: Path, stride: int) -> None:
    """Kill at each `stride`-th write, until a child lives."""
    setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)  # noqa: B010 - it is final for the types
    trio._core._run._r = random.Random(0)
    small_chain(BLOCKS, SEED)
    _line(write=0, signal=0, left={}, **synced(place / "undisturbed"))
    write, number = 1, int(signal.SIGKILL)
    while number:
        directory = place / str(write)
        number = killed(directory, write)
        _line(write=write, signal=number, left=marks(directory), **synced(directory))
        write += stride


def _line(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
