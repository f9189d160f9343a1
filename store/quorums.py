"""Which quorums were active when, their commitments, and what checking those gave.

A lock names its quorum and may be older than the list of today, so a commitment stays after its quorum has ended: once
a quorum, the newest 400 of each type, which is more than four cycles of any. A quorum set says which of them were
active after one block; it holds only their keys, and goes when one of them has gone. A quorum exists on every branch
that contains a block at which it was active, so what rolls back above `mined_by`, the lowest such height known, takes
the quorum along: another branch may have mined another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

import attrs

from phasegate.consensus.codec import Reader
from phasegate.consensus.quorums import QuorumCommitment
from phasegate.store.changes import JudgeQuorums, SetQuorumSet
from phasegate.store.checksum import checksum
from phasegate.store.damage import Damage
from phasegate.store.database import Row, Session
from phasegate.store.errors import StoreCorrupt
from phasegate.store.marks import ChainMarks
from phasegate.store.segments import split

KEPT = 400
"""Commitments of each type that stay, the newest known."""
SETS = 1000
"""Quorum sets that stay, the last ones told."""
_KEY = 33

Key = tuple[int, bytes]


@attrs.frozen
class StoredQuorum:
    """A quorum, active or ended.

    Args:
        commitment: its final commitment.
        verified: whether its signatures were checked and hold; None when it was not judged yet.
        reason: why they could not be checked.
        mined_by: the lowest height at which it is known to be active.
        height: of the block that gave it its hash; None when that is not stored.
    """

    commitment: QuorumCommitment
    verified: bool | None
    reason: str
    mined_by: int
    height: int | None = None


def set_quorum_set(rows: Session, chain: ChainMarks, change: SetQuorumSet) -> None:
    """Apply `SetQuorumSet`."""
    chain.refuse_unstored(rows, change.height, change.block_hash, "quorum set")
    keys = [commitment.key for commitment in change.active]
    if len(set(keys)) != len(keys) or any(commitment.is_null for commitment in change.active):
        raise ValueError(f"the quorum set at {change.height} names a null quorum, or one twice")
    for commitment in change.active:
        _keep(rows, commitment, change.height)
    for kind in {kind for kind, _ in keys}:
        _forget(rows, kind, set(keys))
    packed = b"".join(bytes((kind,)) + quorum for kind, quorum in sorted(keys))
    values = (change.height, change.block_hash, checksum(change.height, change.block_hash, packed), packed)
    rows.run("INSERT OR REPLACE INTO quorum_sets(height, block_hash, crc, keys) VALUES(?, ?, ?, ?)", values)
    rows.run("DELETE FROM quorum_sets WHERE row_id <= (SELECT max(row_id) FROM quorum_sets) - ?", (SETS,))


def _keep(rows: Session, commitment: QuorumCommitment, height: int) -> None:
    """Store a commitment, active at `height`, unless it is known."""
    known = quorum_at(rows, commitment.key)
    if known is None or known.commitment != commitment:
        _write(rows, StoredQuorum(commitment, None, "", height))
    elif height < known.mined_by:
        _write(rows, attrs.evolve(known, mined_by=height))


def _write(rows: Session, quorum: StoredQuorum) -> None:
    raw, verified = quorum.commitment.to_bytes(), None if quorum.verified is None else int(quorum.verified)
    fields = (*quorum.commitment.key, quorum.mined_by, verified, quorum.reason)
    rows.run(_PUT, (*fields, checksum(*fields, raw), raw))


_PUT = """INSERT INTO quorums(type, hash, mined_by, verified, reason, crc, commitment)
    VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT(type, hash) DO UPDATE SET mined_by = ?3, verified = ?4, reason = ?5, crc = ?6, commitment = ?7"""


def _forget(rows: Session, kind: int, active: Set[Key]) -> None:
    """Let the oldest quorums of a type go, but none of the `active` ones, and the sets that name one of them."""
    oldest = rows.run(
        "SELECT type, hash FROM quorums WHERE type = ? ORDER BY row_id DESC LIMIT -1 OFFSET ?", (kind, KEPT)
    )
    gone = [key for key in oldest if key not in active]
    rows.many("DELETE FROM quorums WHERE type = ? AND hash = ?", gone)
    if gone:
        _drop_sets(rows, _incomplete(rows))


def judge_quorums(rows: Session, change: JudgeQuorums) -> None:
    """Apply `JudgeQuorums`."""
    for verdict in change.verdicts:
        known = quorum_at(rows, (verdict.type, verdict.quorum_hash))
        if known is None:
            raise ValueError(f"there is no quorum {verdict.quorum_hash[::-1].hex()} of type {verdict.type} to judge")
        if verdict.verified == bool(verdict.reason):
            raise ValueError("a verdict has a reason if and only if the quorum could not be verified")
        _write(rows, attrs.evolve(known, verified=verdict.verified, reason=verdict.reason))


def quorum_at(rows: Session, key: Key) -> StoredQuorum | None:
    """The stored quorum of `(type, quorum hash)`.

    Raises:
        StoreCorrupt: it is damaged.
    """
    for row in rows.run(f"{_ROWS} WHERE type = ? AND hash = ?", key):
        if not _is_whole(row):
            raise StoreCorrupt(f"quorum {key[1][::-1].hex()} of type {key[0]} is damaged", "quorums", row[2], row[2])
        _, _, mined_by, verified, reason, _, raw = row
        return StoredQuorum(_parsed(raw), None if verified is None else bool(verified), reason, mined_by)
    return None


_ROWS = "SELECT type, hash, mined_by, verified, reason, crc, commitment FROM quorums"


def _is_whole(row: Row) -> bool:
    *fields, crc, raw = row
    return bool(checksum(*fields, raw) == crc)


def _parsed(raw: bytes) -> QuorumCommitment:
    return QuorumCommitment.parse(Reader(raw, "stored quorum commitment"))


def quorum_set(rows: Session, height: int) -> tuple[QuorumCommitment, ...] | None:
    """The commitments active after the block at `height`, by type and hash; None when that is not stored.

    Raises:
        StoreCorrupt: the set or one of its quorums is damaged.
    """
    keys = _keys_at(rows, height)
    if keys is None:
        return None
    found = [quorum_at(rows, key) for key in keys]
    return tuple(quorum.commitment for quorum in found if quorum)


def _keys_at(rows: Session, height: int) -> list[Key] | None:
    for block_hash, crc, packed in rows.run(
        "SELECT block_hash, crc, keys FROM quorum_sets WHERE height = ?", (height,)
    ):
        if checksum(height, block_hash, packed) != crc:
            raise StoreCorrupt(f"the quorum set at {height} is damaged", "quorum_sets", height, height)
        return _unpacked(packed)
    return None


def _unpacked(packed: bytes) -> list[Key]:
    return [(key[0], key[1:]) for key in split(packed, _KEY)]


def set_heights(rows: Session, start: int, end: int) -> list[int]:
    """The heights from `start` to `end` of which the quorum set is stored, ascending."""
    found = rows.run("SELECT height FROM quorum_sets WHERE height BETWEEN ? AND ? ORDER BY height", (start, end))
    return [height for (height,) in found]


def active(rows: Session, height: int) -> int:
    """How many quorums were active at `height`; 0 when that is not stored."""
    return len(_keys_at(rows, height) or ())


def unjudged(rows: Session, height: int) -> int:
    """How many of the quorums active at `height` have no verdict."""
    waiting = set(rows.run("SELECT type, hash FROM quorums WHERE verified IS NULL"))
    return len(waiting.intersection(_keys_at(rows, height) or ())) if waiting else 0


def unjudged_quorums(rows: Session) -> list[StoredQuorum]:
    """All quorums without a verdict, active or ended, in the order in which they came."""
    keys = rows.run("SELECT type, hash FROM quorums WHERE verified IS NULL ORDER BY row_id")
    return [quorum for kind, block in keys if (quorum := quorum_at(rows, (kind, block)))]


def roll_back(rows: Session, to: int) -> None:
    """Drop the sets above `to`, and the quorums that are not known to be active at or below it."""
    rows.run("DELETE FROM quorum_sets WHERE height > ?", (to,))
    rows.run("DELETE FROM quorums WHERE mined_by > ?", (to,))


def damages(rows: Session) -> Iterator[Damage]:
    """The quorums and sets whose bytes are damaged, and the sets that miss a quorum."""
    yield from (Damage("quorum", "quorums", row[2], row[2]) for row in rows.run(_ROWS) if not _is_whole(row))
    broken = {*_damaged_sets(rows), *_incomplete(rows)}
    yield from (Damage("quorum set", "quorum_sets", height, height) for height in sorted(broken))


def _damaged_sets(rows: Session) -> list[int]:
    found = rows.run("SELECT height, block_hash, crc, keys FROM quorum_sets")
    return [height for height, block, crc, packed in found if checksum(height, block, packed) != crc]


def _incomplete(rows: Session) -> list[int]:
    known = set(rows.run("SELECT type, hash FROM quorums"))
    return [
        h for h, packed in rows.run("SELECT height, keys FROM quorum_sets") if not known.issuperset(_unpacked(packed))
    ]


def _drop_sets(rows: Session, heights: Iterable[int]) -> None:
    rows.many("DELETE FROM quorum_sets WHERE height = ?", ((height,) for height in heights))


def mend(rows: Session) -> None:
    """Drop what is damaged, and the masternode lists that speak of it, so that the next walk brings all of it again."""
    rows.many("DELETE FROM quorums WHERE type = ? AND hash = ?", (r[:2] for r in rows.run(_ROWS) if not _is_whole(r)))
    broken = {*_damaged_sets(rows), *_incomplete(rows)}
    _drop_sets(rows, broken)
    rows.many("DELETE FROM masternodes WHERE anchor = 0 AND height = ?", ((height,) for height in broken))
