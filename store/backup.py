"""A copy of a store as it is at one moment, made while somebody else writes to it.

SQLite itself makes it (`VACUUM INTO`) from one read transaction: in WAL mode that neither waits for the writer nor
delays it, and sees one commit, whole. The copy has no write-ahead log and no gaps. Its b-trees are written anew, so
structural damage of the source cannot pass unnoticed; the checksums of rows and segments pass as they are, and so does
any damage that they tell of: `repair` finds it in the copy as in the source. The schema stays what it is: an old store
is migrated when it is opened, never by being copied.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from phasegate.store.aside import made_whole
from phasegate.store.database import peek
from phasegate.store.errors import StoreCorrupt, StoreFailed
from phasegate.store.schema import found_version


@attrs.frozen
class Copied:
    """What was copied: its schema, the height of its tip, how many commits it has seen, and its bytes."""

    schema: int
    height: int
    sequence: int
    size: int


def back_up(source: Path, target: Path, vfs: str | None = None) -> Copied:
    """Copy the database `source` to the new file `target`, which appears when it is whole and on the disk.

    Args:
        source: a store's file, which another process may have open and write to.
        target: nothing may stand there.
        vfs: the name of a registered SQLite VFS, for fault injection.

    Raises:
        StoreMismatch: something stands at `target`, or `source` is no store of this or an earlier phasegate.
        StoreCorrupt: the file is damaged.
        StoreFailed: the disk refuses.
    """
    if not source.is_file():
        raise StoreFailed(f"{source} is not there")
    with made_whole(target) as partial:
        with peek(source, vfs) as rows:
            found_version(rows, source)
            rows.run("PRAGMA query_only=0")  # it forbids this, too, though the source is only read
            try:
                rows.run("VACUUM INTO ?", (str(partial),))
            except StoreFailed as error:  # SQLite names the source alone, whichever disk it was
                raise StoreFailed(f"it cannot be copied to {target}: {error}") from error
        with peek(partial, vfs) as rows:
            schema, marks = found_version(rows, source), rows.run("SELECT tip, sequence FROM marks")
        if not marks:
            raise StoreCorrupt(f"{source} has no marks", "marks")
        tip, sequence = marks[0]
        return Copied(schema, tip, sequence, partial.stat().st_size)
