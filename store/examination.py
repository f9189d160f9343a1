"""Looking into a store's file without touching it: beside a client that has it open, of any schema, however damaged."""

from __future__ import annotations

from pathlib import Path

import attrs

from phasegate.store import seals
from phasegate.store.damage import Damage
from phasegate.store.database import Session, peek
from phasegate.store.errors import StoreCorrupt
from phasegate.store.marks import ChainMarks
from phasegate.store.peer_changes import Address
from phasegate.store.peers import peers
from phasegate.store.repair import damages
from phasegate.store.schema import VERSION, found_version
from phasegate.store.segments import ALL_SERIES, HEADERS, damaged_heights, read_joined

MOST_TOLD = 20
"""Complaints of SQLite that are listed."""


@attrs.frozen
class Examination:
    """What a file tells.

    Args:
        schema: of the file.
        structure: what SQLite says is wrong with the file itself; empty when nothing is.
        identity: what cannot be believed of what the file says about itself; "" when all can.
        damages: the damaged rows and segments.
        tip: the height of the newest header, None when that cannot be read.
        tip_time: its time, in seconds since 1970, likewise.
        addresses: peers that a connection succeeded to before, the newest first.
    """

    schema: int
    structure: tuple[str, ...] = ()
    identity: str = ""
    damages: tuple[Damage, ...] = ()
    tip: int | None = None
    tip_time: int | None = None
    addresses: tuple[Address, ...] = ()


def examine(path: Path, vfs: str | None = None) -> Examination | None:
    """Read all of the file at `path` as it is at this moment; None when it holds nothing yet.

    Raises:
        StoreMismatch: it is none of phasegate's, or a newer one's.
        StoreCorrupt: it is no SQLite database.
        StoreFailed: it is not there, or the disk refuses.
    """
    with peek(path, vfs) as rows:
        rows.run("BEGIN")
        schema = found_version(rows, path)
        if schema == 0:
            return None
        if structure := _structure(rows):
            return Examination(schema, structure)
        try:
            return _contents(rows, schema)
        except StoreCorrupt as broken:
            return Examination(schema, (), str(broken))
        finally:
            rows.undo()


def _structure(rows: Session) -> tuple[str, ...]:
    try:
        told = [str(line) for (line,) in rows.run(f"PRAGMA integrity_check({MOST_TOLD})")]
    except StoreCorrupt as broken:
        return (str(broken),)
    return () if told == ["ok"] else tuple(told)


def _contents(rows: Session, schema: int) -> Examination:
    """What the checksums say; a file of an older schema has them in the chain series."""
    ((tip,),) = rows.run("SELECT tip FROM marks") or [(None,)]
    if schema < VERSION:
        found = [Damage(series.name, *where) for series in ALL_SERIES for where in damaged_heights(rows, series)]
        return Examination(schema, damages=tuple(found), tip=tip)
    chain = ChainMarks.read(rows)
    seals.refuse_broken_identity(rows)
    found = list(damages(rows, chain))
    met = sorted((row for row in peers(rows) if row.succeeded), key=lambda row: -row.succeeded)
    time = None if found else int.from_bytes(read_joined(rows, HEADERS, chain.tip, 1)[68:72], "little")
    return Examination(schema, (), "", tuple(found), chain.tip, time, tuple([(row.host, row.port) for row in met]))
