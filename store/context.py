"""The headers right below a base above genesis: nothing is built on them, but the first headers are judged by them."""

from __future__ import annotations

from collections.abc import Iterator

from phasegate.consensus.x11 import HEADER_SIZE, x11
from phasegate.store.changes import SetContext
from phasegate.store.checksum import checksum
from phasegate.store.damage import Damage
from phasegate.store.database import Session
from phasegate.store.errors import StoreCorrupt
from phasegate.store.marks import ChainMarks
from phasegate.store.segments import HEADERS, read_joined, split

LONGEST = 576
"""Headers that any rule looks back on: 24 for the difficulty and 11 more for the median time of the first of them, or
all since the last change of the difficulty under the first rule of testnets and devnets."""


def set_context(rows: Session, chain: ChainMarks, change: SetContext) -> None:
    """Apply `SetContext`."""
    headers = split(change.raw, HEADER_SIZE)
    if len(change.raw) % HEADER_SIZE or not 1 <= len(headers) <= min(LONGEST, chain.base):
        raise ValueError(f"{len(change.raw)} bytes cannot be the headers below {chain.base}")
    above = [*headers[1:], read_joined(rows, HEADERS, chain.base, 1)]
    if any(x11(header) != after[4:36] for header, after in zip(headers, above, strict=True)):
        raise ValueError(f"the headers below {chain.base} are not linked to each other and to it")
    rows.run("INSERT OR REPLACE INTO context VALUES(1, ?, ?)", (checksum(change.raw), change.raw))


def count(rows: Session) -> int:
    """How many headers are held."""
    held: int = rows.run("SELECT coalesce(sum(length(headers)), 0) FROM context")[0][0]
    return held // HEADER_SIZE


def read_context(rows: Session) -> bytes:
    """The headers, 80 bytes each, the last one right below the base.

    Raises:
        StoreCorrupt: they are damaged.
    """
    for crc, raw in rows.run("SELECT crc, headers FROM context"):
        if checksum(raw) != crc:
            raise StoreCorrupt("the headers below the base are damaged", "context")
        return bytes(raw)
    return b""


def damages(rows: Session, chain: ChainMarks) -> Iterator[Damage]:
    """The headers, when their bytes are damaged."""
    if any(checksum(raw) != crc for crc, raw in rows.run("SELECT crc, headers FROM context")):
        yield Damage("headers below the base", "context", chain.base - max(count(rows), 1), chain.base - 1)


def mend(rows: Session) -> None:
    """Drop damaged headers: the next walk brings them again."""
    if any(checksum(raw) != crc for crc, raw in rows.run("SELECT crc, headers FROM context")):
        rows.run("DELETE FROM context")
