"""The one door to SQLite: connections, transactions, snapshots and the translation of its errors.

One connection writes, and each read borrows another from a pool and reads inside a transaction of its own. In WAL mode
a reader sees the last commit that stood when it began, whole, and neither waits for the writer nor delays it; so the
main thread may read while a worker thread commits, and a range that is being sealed is seen either before or after,
never half. `synchronous=NORMAL` means that a power cut may lose the newest commits but never the consistency of the
file; a killed process loses nothing that was committed.

A file that is taken away while it is open can be written to as before, and all of that is lost. So each transaction
first looks whether the name still leads to the file.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import apsw
import attrs

from phasegate.store.errors import StoreCorrupt, StoreError, StoreFailed

Row = tuple[Any, ...]
Value = int | float | str | bytes | None

PAGE_SIZE = 8192
BUSY_MS = 5000
"""How long to wait for a foreign tool that looks into the file, in milliseconds."""

_DAMAGE = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, UnicodeDecodeError)
"""A statement that was right when it was tested (SQLError) is wrong only for a file whose table definitions changed."""
_DISK = (
    apsw.IOError,
    apsw.FullError,
    apsw.CantOpenError,
    apsw.ReadOnlyError,
    apsw.PermissionsError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.ProtocolError,
    apsw.NoMemError,
    apsw.TooBigError,
)


class Session:
    """Statements on one connection.

    Raises:
        StoreCorrupt: from every method, when SQLite finds the file's structure broken.
        StoreFailed: from every method, when the disk refuses.
    """

    __slots__ = ("_connection", "_path")

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def run(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """All rows of one statement."""
        try:
            return self._connection.execute(sql, values).fetchall()
        except (*_DAMAGE, *_DISK) as error:
            raise _translated(error, self._path) from error

    def blob(self, table: str, column: str, row_id: int) -> bytes:
        """One value of a table with row ids; a long one comes from the disk to where it stays, without a copy."""
        try:
            value = self._connection.blob_open("main", table, column, row_id, False)
            try:
                return value.read()
            finally:
                value.close()
        except (*_DAMAGE, *_DISK) as error:
            raise _translated(error, self._path) from error

    def many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """One statement for each of `rows`."""
        try:
            self._connection.executemany(sql, rows)
        except (*_DAMAGE, *_DISK) as error:
            raise _translated(error, self._path) from error

    def define(self, name: str, function: Callable[..., Value]) -> None:
        """Give the connection an SQL function that depends on its arguments alone."""
        self._connection.create_scalar_function(name, function, deterministic=True)

    def undo(self) -> None:
        """Roll back the transaction, if SQLite has not done so by itself."""
        if self._connection.in_transaction:
            self.run("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        try:
            self._connection.close()
        except (*_DAMAGE, *_DISK) as error:
            raise _translated(error, self._path) from error


def _translated(error: apsw.Error | UnicodeDecodeError, path: Path) -> StoreError:
    if isinstance(error, _DAMAGE):
        return StoreCorrupt(f"{path} is damaged: {error}", table=path.name)
    return StoreFailed(f"{path}: {error}")


def _connect(path: Path, vfs: str | None, flags: int = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE) -> Session:
    try:
        connection = apsw.Connection(str(path), flags=flags, vfs=vfs)
    except _DISK as error:
        raise _translated(error, path) from error
    connection.set_busy_timeout(BUSY_MS)
    return Session(connection, path)


@contextmanager
def peek(path: Path, vfs: str | None = None) -> Iterator[Session]:
    """A connection that reads a file beside whoever has it open; it makes none, and changes nothing that is stored.

    It is opened for writing all the same, where it may be: who only reads leaves an empty log behind when it was alone.

    Raises:
        StoreCorrupt: the file is no SQLite database.
        StoreFailed: it is not there, or the disk refuses.
    """
    session = _connect(path, vfs, apsw.SQLITE_OPEN_READWRITE)
    try:
        session.run("PRAGMA query_only=1")
        yield session
    finally:
        session.close()


def _identity(path: Path) -> tuple[int, int]:
    """What tells a file from any other while it is open; of none, zeros."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


@attrs.define
class Database:
    """One SQLite file with its writer and its pool of readers."""

    path: Path
    _vfs: str | None
    _writer: Session
    _identity: tuple[int, int]
    _idle: list[Session] = attrs.field(factory=list)
    _pool: threading.Lock = attrs.field(factory=threading.Lock)
    _closed: bool = False

    @classmethod
    def open(cls, path: Path, vfs: str | None = None) -> Database:
        """Open `path`, creating an empty file, in WAL mode.

        Args:
            path: the file; its directory must exist.
            vfs: the name of a registered SQLite VFS, for fault injection.

        Raises:
            StoreCorrupt: the file is no SQLite database.
            StoreFailed: the disk refuses.
        """
        writer = _connect(path, vfs)
        try:
            writer.run(f"PRAGMA page_size={PAGE_SIZE}")
            mode = writer.run("PRAGMA journal_mode=WAL")[0][0]
            if mode != "wal":
                raise StoreFailed(f"{path}: this disk cannot keep a write-ahead log (journal mode {mode})")
            writer.run("PRAGMA synchronous=NORMAL")
            writer.run("PRAGMA temp_store=MEMORY")
            writer.run("PRAGMA recursive_triggers=1")  # a row that is replaced is a row that is deleted
            identity = _identity(path)
        except BaseException:
            writer.close()
            raise
        return cls(path, vfs, writer, identity)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """The writer inside one transaction: committed at the end of the block, rolled back by any exception."""
        self._refuse_closed()
        self._refuse_another_file()
        self._writer.undo()  # what an earlier disk failure may have left open
        self._writer.run("BEGIN IMMEDIATE")
        try:
            yield self._writer
            self._writer.run("COMMIT")
        except BaseException:
            self._writer.undo()
            raise

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """A reader that sees one committed state throughout the block, from any thread."""
        reader = self._borrow()
        try:
            reader.run("BEGIN")
            yield reader
        finally:
            reader.undo()
            self._give_back(reader)

    def _borrow(self) -> Session:
        with self._pool:
            self._refuse_closed()
            if self._idle:
                return self._idle.pop()
        self._refuse_another_file()
        reader = _connect(self.path, self._vfs)
        reader.run("PRAGMA query_only=1")
        return reader

    def _give_back(self, reader: Session) -> None:
        with self._pool:
            if self._closed:
                reader.close()
            else:
                self._idle.append(reader)

    def _refuse_closed(self) -> None:
        if self._closed:
            raise StoreFailed(f"{self.path} is closed")

    def _refuse_another_file(self) -> None:
        if _identity(self.path) != self._identity:
            raise StoreFailed(f"{self.path} was taken away or replaced while it was open")

    def close(self) -> None:
        """Close all connections, the writer last, which folds the log into the file.

        Raises:
            StoreFailed: the disk refused that; everything is closed and the log stays, so nothing is lost.
        """
        with self._pool, ExitStack() as sessions:
            self._closed = True
            for session in (self._writer, *self._idle):
                sessions.callback(session.close)
            self._idle.clear()
