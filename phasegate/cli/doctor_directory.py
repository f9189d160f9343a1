"""The data directory: can it be written, is there room, who holds it, and is what is stored whole?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from phasegate.cli.findings import Finding, Verdict, fine, odd, wrong
from phasegate.cli.patient import Patient
from phasegate.store import StoreCorrupt, StoreError, StoreMismatch
from phasegate.store.aside import left_behind
from phasegate.store.database import Database
from phasegate.store.examination import Examination, examine
from phasegate.store.lock import holder
from phasegate.store.schema import VERSION

LITTLE, TOO_LITTLE = 1 << 30, 64 << 20
"""Free bytes of a disk below which a warning is due, and below which nothing can be expected to go well."""
_MOVE = "move the file away and sync again (or restore a backup)"


def look_at_directory(patient: Patient) -> Iterator[Finding]:
    """Everything about the directory and the store in it."""
    yield (writable := _look_at_writing(patient))
    yield _look_at_space(patient)
    yield (lock := _look_at_lock(patient))
    if os.path.isdir(patient.directory):  # noqa: PTH112 - no error where it cannot even be asked
        yield from look_at_database(patient)
        yield from _look_at_leftovers(patient, in_use=lock.verdict is not Verdict.OK)
    elif not writable.remedy:
        yield fine("database", "there is no store yet; `phasegate sync` makes one")


def _look_at_writing(patient: Patient) -> Finding:
    """Whether a database with a write-ahead log can be made, filled and removed there."""
    remedy = "make the directory writable for this user, on a local disk, or choose another with --datadir"
    place = _existing(patient.directory)
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            patient.directory.stat()  # a name may be too long to be made, or lie behind what may not be looked into
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place) as trial:
            _try_database(Path(trial) / "trial.sqlite", patient.seams.vfs)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        return wrong("directory", f"{patient.directory} cannot be written: {why}", remedy)
    except StoreError as error:
        return wrong("directory", f"{patient.directory} cannot keep a database: {error}", remedy)
    made = "" if place == patient.directory else f", not there yet, {place} can be written"
    return fine("directory", f"{patient.directory}{made or ' can be written, with a write-ahead log'}")


def _try_database(path: Path, vfs: str | None) -> None:
    database = Database.open(path, vfs)
    try:
        with database.transaction() as rows:
            rows.run("CREATE TABLE trial(value BLOB)")
            rows.run("INSERT INTO trial VALUES(?)", (bytes(1 << 16),))
        with database.snapshot() as rows:
            rows.run("SELECT length(value) FROM trial")
    finally:
        database.close()


def _existing(directory: Path) -> Path:
    """The directory, or the nearest one above it that is there."""
    return next((place for place in (directory, *directory.absolute().parents) if os.path.lexists(place)), Path("/"))


def _look_at_space(patient: Patient) -> Finding:
    try:
        told = os.statvfs(_existing(patient.directory))
    except OSError as error:
        return odd("disk", f"its room is not known: {error.strerror}", "look at it with df")
    free = told.f_bavail * told.f_frsize
    remedy = "make room, choose another --datadir, or keep fewer filters with --prune-filters"
    if free < TOO_LITTLE:
        return wrong("disk", f"only {free >> 20} MB are free for {patient.directory}", remedy)
    if free < LITTLE:
        return odd("disk", f"only {free >> 20} MB are free for {patient.directory}", remedy)
    return fine("disk", f"{free >> 30} GB are free")


def _look_at_lock(patient: Patient) -> Finding:
    lock = patient.database.with_name(f"{patient.database.name}.lock")
    try:
        owner = holder(lock)
    except StoreError as error:
        return wrong("lock", f"the lock cannot be read: {error}", "make the directory readable for this user")
    if owner is None:
        return fine("lock", "nobody has the store open")
    remedy = "a second client cannot use it: stop that process if it is not meant to run"
    return odd("lock", f"{patient.database} is in use by process {owner}", remedy)


def _look_at_leftovers(patient: Patient, *, in_use: bool) -> Iterator[Finding]:
    """What killed commands began there and nobody will finish; nothing if there is nothing."""
    try:
        left = left_behind(patient.directory)
    except OSError:
        return  # it was told already that the directory cannot be used
    begun = patient.database.with_suffix(".import")
    if not in_use and begun.is_dir():
        left.append(begun)
    if left:
        told = ", ".join(map(str, left[:3])) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        yield odd("leftovers", f"left of commands that were killed: {told}", "remove them, they take room for nothing")


def look_at_database(patient: Patient) -> Iterator[Finding]:
    """Structure, schema and contents of the stored database, read beside whoever has it open."""
    path = patient.database
    if not os.path.lexists(path):
        yield fine("database", f"{path} is not there yet; `phasegate sync` makes it")
        return
    try:
        seen = examine(path, patient.seams.vfs)
    except StoreMismatch as error:
        newer = "update phasegate" if "schema" in str(error) else "move the file away, or choose another --datadir"
        yield wrong("database", str(error), newer)
    except StoreCorrupt as error:
        yield wrong("database", str(error), _MOVE)
    except StoreError as error:
        yield wrong("database", str(error), "look at the disk's own messages (dmesg), and at who owns the file")
    else:
        patient.seen = seen
        yield from _of_examination(path, seen)


def _of_examination(path: Path, seen: Examination | None) -> Iterator[Finding]:
    if seen is None:
        yield fine("database", f"{path} holds nothing yet; `phasegate sync` fills it")
        return
    yield _schema(path, seen)
    if seen.structure:
        yield wrong("structure", f"{path} is damaged: {seen.structure[0]}", _MOVE)
        return
    yield fine("structure", "SQLite finds the file whole")
    yield _contents(path, seen)


def _schema(path: Path, seen: Examination) -> Finding:
    if seen.schema < VERSION:
        told = f"{path} has schema {seen.schema}; the next `phasegate sync` brings it to {VERSION}"
        return odd("database", told, "keep a copy first: `phasegate backup`")
    return fine("database", f"{path}, schema {seen.schema}, up to height {seen.tip}")


def _contents(path: Path, seen: Examination) -> Finding:
    if seen.identity:
        return wrong("contents", f"{path}: {seen.identity}", _MOVE)
    if seen.damages:
        first, more = seen.damages[0], len(seen.damages) - 1
        where = f"{first.what} {first.start}..{first.end} are damaged (table {first.table})"
        told = f"{where} and {more} more" if more else where
        return wrong("contents", told, "`phasegate sync` goes back below the damage and downloads the rest again")
    return fine("contents", "every row and segment keeps its checksum")
