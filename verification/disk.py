"""A disk below SQLite that does what disks do at their worst, at the chosen operation and by the same dice each time.

It is a VFS of SQLite: a database that is opened with its name is read and written by the system's own VFS, and each
write, sync and truncation passes here first. So what is tested above it is the real store on real files. The faults:

- a write that takes a part only, because the disk is full then; a full disk; an I/O error, after which a write may be
  torn; a sync that fails;
- the process is killed in the middle of an operation: what the kernel took stays, a write may be torn, nothing after
  it reaches the files;
- the power fails: of all that was not synced, each sector is kept or lost (see `sectors.py`).

A kill has to end connections that live in the very process that opens the database again. Their files are moved out
of their hands for that: the content is copied, and the copies take over the names. What the dead still do, they do to
files without a name; their locks, the system's and those of the shared memory beside a write-ahead log, hold nothing
that anybody opens later. The shared memory itself is gone, as after any kill: who comes first makes it anew. That of
the dead is wiped, so that they cannot even read what they remember.
"""

from __future__ import annotations

import itertools
import random
import shutil
import threading
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import apsw
import attrs

from phasegate.verification.faults import DEADLY, Fault, Schedule
from phasegate.verification.sectors import Unsynced, sectors, torn

__all__ = ["Fault", "SimulatedDisk"]

_NUMBERS = itertools.count(1)
_SHARED_HEADER = 136
"""Bytes that begin the shared memory of a write-ahead log; without them its reader reads the log again [SQLite]."""


@attrs.define
class Kept:
    """A file that was opened: how often it is open, and what a power cut may take back."""

    unsynced: Unsynced
    opens: int = 0


class SimulatedDisk:
    """A context manager: it registers a VFS under a name of its own (`vfs`), and unregisters it at the end.

    Args:
        rng: decides where a write is torn and which sectors a power cut keeps.

    """

    def __init__(self, rng: random.Random) -> None:
        self.vfs = f"simulated-disk-{next(_NUMBERS)}"
        self.turn = threading.RLock()
        """Held for each operation: two threads do not write at once."""
        self.life = 0
        """How often it died; files that were opened in an earlier life stay dead."""
        self.rng = rng
        self._dead = False
        self._schedule = Schedule()
        self._files: dict[Path, Kept] = {}
        self._deleted: dict[Path, bytes] = {}
        self._layer: _Layer | None = None

    def __enter__(self) -> Self:
        self._layer = _Layer(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._layer is not None:
            self._layer.unregister()
        self._layer = None  # open files keep it, and with it what SQLite calls, until they are closed

    @property
    def operations(self) -> int:
        """Writes, syncs and truncations so far."""
        return self._schedule.operations

    @property
    def injected(self) -> Counter[Fault]:
        """How often each fault really struck."""
        return self._schedule.injected

    @property
    def dead(self) -> bool:
        """Whether nothing can be opened, from a kill or a power cut until `revive`."""
        return self._dead

    def arm(self, fault: Fault, after: int, *, lasting: int = 1) -> None:
        """Have `fault` strike, beside what is armed already; where two meet, the one armed first strikes.

        Args:
            fault: what happens.
            after: at which operation from now on, 1 being the next.
            lasting: how many operations in a row are struck.
        """
        self._schedule.arm(fault, after, lasting)

    def disarm(self) -> None:
        """Let nothing happen that was armed."""
        self._schedule.disarm()

    def kill(self) -> None:
        """Kill the process: the files stay as they are, the connections that are open never reach them again."""
        self._die(Fault.KILL)

    def cut_power(self) -> None:
        """Cut the power: as `kill`, but each sector that was written and not synced since is kept or lost."""
        self._die(Fault.POWER_CUT)

    def revive(self) -> None:
        """The machine is on again: databases can be opened; old connections stay dead."""
        self._dead = False

    # -- what its files ask --------------------------------------------------------------------------------------

    def next_fault(self, *, syncing: bool = False) -> Fault | None:
        """Count an operation, and tell what strikes it."""
        return self._schedule.next(syncing=syncing)

    def opened(self, path: Path, length: int | None) -> Kept:
        """Note that a file is open, and return what is known of it; `length` is what it had before, None if new."""
        if length is None:
            self._files.pop(path, None)
        kept = self._files.setdefault(path, Kept(Unsynced(length or 0)))
        kept.opens += 1
        return kept

    def closed(self, path: Path, kept: Kept) -> None:
        """Note that a file was closed; closing syncs nothing."""
        kept.opens -= 1
        if not kept.opens and not kept.unsynced.before and self._files.get(path) is kept:
            del self._files[path]

    def synced(self) -> None:
        """A sync brings all changes of the directory to the disk, deletions too."""
        self._deleted.clear()

    def deleted(self, path: Path, content: bytes) -> None:
        """Note that a file was deleted, which a power cut may undo."""
        kept = self._files.pop(path, None)
        self._deleted[path] = kept.unsynced.cut(content, self.rng) if kept else content

    # -- dying ---------------------------------------------------------------------------------------------------

    def fail(self, fault: Fault) -> NoReturn:
        """Raise what SQLite is told of `fault`; a deadly one strikes here.

        Raises:
            FullError: there is no room.
            IOError: anything else.
        """
        if fault in DEADLY:
            self._die(fault)
        if fault in (Fault.FULL, Fault.SHORT_WRITE):
            raise apsw.FullError("no space left on the simulated disk")
        raise apsw.IOError(f"the simulated disk: {fault}")

    def _die(self, fault: Fault) -> None:
        with self.turn:
            if self._dead:
                return
            self.injected[fault] += 1
            self._dead = True
            self.life += 1
            self.disarm()
            for path, kept in self._files.items():
                self._take_away(path, kept.unsynced, fault)
            self._bring_back(fault)
            self._files.clear()

    def _take_away(self, path: Path, unsynced: Unsynced, fault: Fault) -> None:
        """Put a copy of a file in its place, and leave the file itself, with all that is locked in it, to the dead."""
        _wipe(path.with_name(f"{path.name}-shm"))
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
        if path.exists():
            now = path.read_bytes()
            _replace(path, unsynced.cut(now, self.rng) if fault is Fault.POWER_CUT else now)

    def _bring_back(self, fault: Fault) -> None:
        for path, content in self._deleted.items():
            if fault is Fault.POWER_CUT and not path.exists() and self.rng.random() < 0.5:
                path.write_bytes(content)
        self._deleted.clear()


def _replace(path: Path, content: bytes) -> None:
    copy = path.with_name(f"{path.name}.copy")
    copy.write_bytes(content)
    shutil.copymode(path, copy)
    copy.replace(path)


def _wipe(shared: Path) -> None:
    """Unlink shared memory, and make it worthless to who still has it."""
    if shared.exists():
        with shared.open("r+b") as file:
            file.write(bytes(min(_SHARED_HEADER, shared.stat().st_size)))
        shared.unlink()


class _File(apsw.VFSFile):
    """One open file of a simulated disk, in the life in which it was opened."""

    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], layer: _Layer) -> None:
        self._layer = layer  # SQLite may call it as long as the file is open
        self._disk = layer.disk
        self._life = layer.disk.life
        found = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._path = Path(found) if found else None
        length = self._path.stat().st_size if self._path and self._path.exists() else None
        super().__init__("", name, flags)
        self._kept = self._disk.opened(self._path, length) if self._path else Kept(Unsynced(0))

    @property
    def _alive(self) -> bool:
        return self._life == self._disk.life

    def _refuse_dead(self) -> None:
        if not self._alive:
            raise apsw.IOError("the process has been killed")

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name, as all of these
        self._refuse_dead()
        return super().xRead(amount, offset)

    def xFileSize(self) -> int:  # noqa: N802
        self._refuse_dead()
        return super().xFileSize()

    def xLock(self, level: int) -> None:  # noqa: N802
        self._refuse_dead()
        super().xLock(level)

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        self._refuse_dead()
        return super().xCheckReservedLock()

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - bytes or a buffer
        with self._disk.turn:
            self._refuse_dead()
            fault = self._disk.next_fault()
            self._write(data[: self._taken(fault, offset, len(data))], offset)
            if fault is not None:
                self._disk.fail(fault)

    def _taken(self, fault: Fault | None, offset: int, size: int) -> int:
        """How much of a write that meets `fault` reaches the file."""
        if fault is None:
            return size
        if fault is Fault.FULL:
            return 0
        return self._disk.rng.randrange(size) if fault is Fault.SHORT_WRITE else torn(offset, size, self._disk.rng)

    def _write(self, data: Any, offset: int) -> None:
        self._kept.unsynced.changing(sectors(offset, len(data)), super().xRead)
        if len(data):
            super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802 - the power that fails is not that of this machine
        with self._disk.turn:
            self._refuse_dead()
            fault = self._disk.next_fault(syncing=True)
            if fault is not None:
                self._disk.fail(fault if fault in DEADLY else Fault.FAILED_SYNC)
            self._kept.unsynced.synced(super().xFileSize())
            self._disk.synced()

    def xTruncate(self, size: int) -> None:  # noqa: N802
        with self._disk.turn:
            self._refuse_dead()
            fault = self._disk.next_fault()
            if fault is not None:
                self._disk.fail(fault if fault in DEADLY else Fault.IO_ERROR)
            self._kept.unsynced.changing(sectors(size, super().xFileSize() - size), super().xRead)
            super().xTruncate(size)

    def xClose(self) -> None:  # noqa: N802
        with self._disk.turn:
            if self._alive and self._path:
                self._disk.closed(self._path, self._kept)
            self._path = None
            super().xClose()


class _Layer(apsw.VFS):
    """The door through which SQLite finds the files of a simulated disk."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        super().__init__(disk.vfs, base="")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        if self.disk.dead:
            raise apsw.CantOpenError("the simulated machine is off")
        return _File(name, flags, self)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        with self.disk.turn:
            if self.disk.dead:
                raise apsw.IOError("the simulated machine is off")
            path = Path(filename)
            content = path.read_bytes() if path.exists() else b""
            super().xDelete(filename, syncdir)
            self.disk.deleted(path, content)

    def xSleep(self, microseconds: int) -> int:  # noqa: N802
        return 0 if self.disk.dead else super().xSleep(microseconds)
