"""The tables, and what a file must say about itself before it is read.

`tail` and `segments` are the two tiers of the four chain series (see `segments.py`). `marks` has one row: how far the
chain reaches. `matches` are the blocks whose filters matched, `recorded` once their bodies have been searched. A coin
is an output to a watched script; what a transaction received, sent and concerned follows from the coins it made and
spent, so that the two can never disagree. `meta` is the file's identity.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs

from phasegate.consensus.difficulty import work_of
from phasegate.consensus.params import Network
from phasegate.consensus.primitives import BlockHeader
from phasegate.store.database import Session, Value
from phasegate.store.errors import StoreCorrupt, StoreMismatch
from phasegate.store.marks import ChainMarks

APPLICATION_ID = 0x70686761  # "phga"
VERSION = 1

TABLES = (
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE marks(id INTEGER PRIMARY KEY CHECK(id = 1), base INTEGER NOT NULL,
        previous_filter_header BLOB NOT NULL, sequence INTEGER NOT NULL, tip INTEGER NOT NULL,
        tip_hash BLOB NOT NULL, work BLOB NOT NULL, filter_headers INTEGER NOT NULL, filter_header BLOB NOT NULL,
        filters INTEGER NOT NULL) STRICT""",
    """CREATE TABLE segments(series INTEGER NOT NULL, start INTEGER NOT NULL, count INTEGER NOT NULL,
        crc INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE(series, start)) STRICT""",
    """CREATE TABLE tail(series INTEGER NOT NULL, height INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY(series, height)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE masternodes(height INTEGER PRIMARY KEY, block_hash BLOB NOT NULL, crc INTEGER NOT NULL,
        state BLOB NOT NULL) STRICT""",
    """CREATE TABLE watch(script BLOB PRIMARY KEY, label TEXT NOT NULL, matched_to INTEGER NOT NULL)
        STRICT, WITHOUT ROWID""",
    "CREATE TABLE matches(height INTEGER PRIMARY KEY, recorded INTEGER NOT NULL) STRICT",
    "CREATE INDEX matches_pending ON matches(height) WHERE recorded = 0",
    """CREATE TABLE coins(txid BLOB NOT NULL, position INTEGER NOT NULL, value INTEGER NOT NULL, script BLOB NOT NULL,
        height INTEGER NOT NULL, spent_by BLOB, spent_height INTEGER, PRIMARY KEY(txid, position))
        STRICT, WITHOUT ROWID""",
    "CREATE INDEX coins_spent_by ON coins(spent_by) WHERE spent_by IS NOT NULL",
    "CREATE INDEX coins_script ON coins(script)",
    """CREATE TABLE transactions(row_id INTEGER PRIMARY KEY AUTOINCREMENT, txid BLOB NOT NULL UNIQUE,
        height INTEGER NOT NULL, position INTEGER NOT NULL) STRICT""",
    "CREATE INDEX transactions_height ON transactions(height)",
    """CREATE TABLE journal(row_id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, source TEXT NOT NULL,
        target TEXT NOT NULL, event TEXT NOT NULL, reason TEXT NOT NULL, facts TEXT NOT NULL) STRICT""",
)


@attrs.frozen
class Anchor:
    """The first block a store holds.

    Args:
        height: its height.
        header: its 80 raw bytes.
        work: the chainwork up to and including it.
        previous_filter_header: the filter header of the block before it, 32 bytes in wire order; zeros before genesis.
    """

    height: int
    header: bytes
    work: int
    previous_filter_header: bytes = bytes(32)

    @classmethod
    def genesis(cls, network: Network) -> Anchor:
        """The anchor of a store that holds the whole chain."""
        return cls(0, network.genesis, work_of(BlockHeader.from_bytes(network.genesis).bits))


def is_new(rows: Session, path: Path) -> bool:
    """Whether the file holds nothing yet.

    Raises:
        StoreMismatch: it holds something that phasegate did not write, or a newer phasegate did.
    """
    application, version = (rows.run(f"PRAGMA {name}")[0][0] for name in ("application_id", "user_version"))
    if application == 0 and not rows.run("SELECT 1 FROM sqlite_schema LIMIT 1"):
        return True
    if application != APPLICATION_ID:
        raise StoreMismatch(f"{path} is a database, but not one of phasegate's")
    if version != VERSION:
        raise StoreMismatch(f"{path} has schema {version}, this phasegate reads schema {VERSION}")
    return False


def create(rows: Session, network: Network, anchor: Anchor) -> None:
    """Make the tables and write the file's identity; the caller's transaction makes it all or nothing."""
    for table in TABLES:
        rows.run(table)
    rows.many("INSERT INTO meta VALUES(?, ?)", _identity(network, anchor).items())
    empty_marks(anchor).write(rows)
    rows.run(f"PRAGMA application_id={APPLICATION_ID}")
    rows.run(f"PRAGMA user_version={VERSION}")


def _identity(network: Network, anchor: Anchor) -> dict[str, Value]:
    return {
        "network": network.name,
        "genesis": network.genesis,
        "activations": json.dumps(dict(network.activations), sort_keys=True),
        "base_header": anchor.header,
        "base_work": anchor.work.to_bytes(32, "big"),
    }


def empty_marks(anchor: Anchor) -> ChainMarks:
    """The marks of a store without headers, as it is before its first block is appended."""
    below, previous = anchor.height - 1, anchor.previous_filter_header
    return ChainMarks(anchor.height, previous, 0, below, anchor.header[4:36], 0, below, previous, below)


def _meta(rows: Session) -> dict[str, Any]:
    meta: dict[str, Any] = dict(rows.run("SELECT key, value FROM meta"))
    if missing := {"network", "genesis", "activations", "base_header", "base_work"} - meta.keys():
        raise StoreCorrupt(f"the store's identity lacks {', '.join(sorted(missing))}", table="meta")
    return meta


def stored_anchor(rows: Session) -> Anchor:
    """The first block of this store."""
    meta, chain = _meta(rows), ChainMarks.read(rows)
    work = int.from_bytes(meta["base_work"], "big")
    return Anchor(chain.base, meta["base_header"], work, chain.previous_filter_header)


def refuse_mismatch(rows: Session, path: Path, network: Network, anchor: Anchor | None) -> None:
    """Compare the file's identity with what is wanted.

    Raises:
        StoreMismatch: another network, other activation heights, or a base above the wanted one.
    """
    meta = _meta(rows)
    if (meta["network"], meta["genesis"]) != (network.name, network.genesis):
        raise StoreMismatch(f"{path} holds network {meta['network']}, not {network.name}")
    try:
        stored = dict(json.loads(meta["activations"]))
    except (TypeError, ValueError) as error:
        raise StoreCorrupt(f"{path} is damaged: activation heights that are none", table="meta") from error
    wanted = dict(network.activations)
    if differing := sorted(name for name in wanted if stored.get(name) != wanted[name]):
        theirs, ours = (", ".join(f"{name}={d.get(name)}" for name in differing) for d in (stored, wanted))
        raise StoreMismatch(f"{path} was made with activation {theirs}, not {ours}")
    base = ChainMarks.read(rows).base
    if anchor and base > anchor.height:
        raise StoreMismatch(f"{path} begins at height {base}, which is above the wanted {anchor.height}")
