"""From the schema of an earlier release to this one, in the transaction that opens the file.

Schema 1 had no quorums, locks, disputes or birthdays. What it had stays as it was, checksums included, so that damage
is found afterwards as before. A masternode list of schema 1 holds its active quorums, so each list gets its quorum
set, not judged yet; one that cannot be read goes and is downloaded again. The inputs of found transactions are known as
far as they spent watched coins. Schema 2 remembered nothing of peers; what it had is as it is now. Schema 3 had no
seals: what it holds is sealed as it is found. Schema 4 had no chains of keys; all that it watches is there for itself.
Nor did it keep a record of what a reorganisation took away. Up to schema 5 nothing was kept of what payloads mention
(keys and payout scripts of masternodes, credited scripts), although filters hold it and so had the blocks fetched: all
matched blocks are fetched and searched once more, and what they tell is merged with what is known.
"""

from __future__ import annotations

from phasegate.consensus.faults import Malformed
from phasegate.consensus.masternodes import MasternodeState
from phasegate.store import masternodes, quorums
from phasegate.store.changes import SetQuorumSet
from phasegate.store.database import Session
from phasegate.store.marks import ChainMarks
from phasegate.store.schema import TABLES, VERSION

_MENTIONS = 6
"""The first schema that has mentions."""
_RENEWED = ("marks", "masternodes")
_COPIED = (
    "INSERT INTO marks SELECT *, base, base - 1 FROM marks_1",
    "INSERT INTO masternodes SELECT 0, height, block_hash, crc, state FROM masternodes_1",
    "INSERT INTO transaction_inputs SELECT spent_by, txid, position FROM coins WHERE spent_by IS NOT NULL",
)


def migrate(rows: Session, version: int) -> None:
    """Bring a file of schema `version` to the present one, as part of the caller's transaction."""
    if version == 1:
        _from_schema_1(rows)
    elif version < VERSION:
        _add_missing_tables(rows)
    rows.run(f"PRAGMA user_version={VERSION}")


def search_again(rows: Session, version: int) -> None:
    """Have the matched blocks of a file that had schema `version` searched for what was not looked for then.

    To be called when changes are kept in the seals, as part of the same transaction.
    """
    if version < _MENTIONS:
        rows.run("UPDATE matches SET recorded = 0")


def _from_schema_1(rows: Session) -> None:
    for table in _RENEWED:
        rows.run(f"ALTER TABLE {table} RENAME TO {table}_1")
    _add_missing_tables(rows)
    for copy in _COPIED:
        rows.run(copy)
    for table in _RENEWED:
        rows.run(f"DROP TABLE {table}_1")
    _add_quorum_sets(rows)


def _add_missing_tables(rows: Session) -> None:
    known = {name for (name,) in rows.run("SELECT name FROM sqlite_schema WHERE name NOT NULL")}
    for table in TABLES:
        if _name(table) not in known:
            rows.run(table)


def _name(table: str) -> str:
    """What a CREATE statement makes."""
    return table.split()[2].partition("(")[0]


def _add_quorum_sets(rows: Session) -> None:
    chain, damaged = ChainMarks.read(rows), {damage.start for damage in masternodes.damages(rows)}
    for height in masternodes.heights(rows):
        if height not in damaged and not _add_quorum_set(rows, chain, height):
            rows.run("DELETE FROM masternodes WHERE height = ?", (height,))


def _add_quorum_set(rows: Session, chain: ChainMarks, height: int) -> bool:
    try:
        state = MasternodeState.from_bytes(masternodes.state_at(rows, height) or b"")
    except Malformed:
        return False
    active = tuple(state.quorums.values())
    quorums.set_quorum_set(rows, chain, SetQuorumSet(height, state.block_hash, active))
    return True
