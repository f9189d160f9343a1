"""The tables of schema 6, and whether a file has them.

`tail` and `segments` are the two tiers of the four chain series (see `segments.py`). `marks` has one row: how far the
chain reaches. `matches` are the blocks whose filters matched, `recorded` once their bodies have been searched. A coin
is an output to a watched script; what a transaction received, sent and concerned follows from the coins it made and
spent, so that the two can never disagree, and from its `mentions`, the watched elements in its payload; its inputs are
kept to see when an InstantSend lock contradicts it.
`lost_transactions` is a record of those that a reorganisation took out of the chain.
`masternodes` with `anchor` set are states on which quorums are computed. `meta` is the file's identity, and `seals` say
what the tables without checksums hold (see `seals.py`). The tables from
`peers` on are hints: they have no constraint on what a value says, and no index, so that no odd value in them can make
the file a broken one.
"""

from __future__ import annotations

from pathlib import Path

from phasegate.store.database import Session
from phasegate.store.errors import StoreMismatch

APPLICATION_ID = 0x70686761  # "phga"
VERSION = 6

TABLES = (
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE marks(id INTEGER PRIMARY KEY CHECK(id = 1), base INTEGER NOT NULL,
        previous_filter_header BLOB NOT NULL, sequence INTEGER NOT NULL, tip INTEGER NOT NULL,
        tip_hash BLOB NOT NULL, work BLOB NOT NULL, filter_headers INTEGER NOT NULL, filter_header BLOB NOT NULL,
        filters INTEGER NOT NULL, filters_base INTEGER NOT NULL, corroborated INTEGER NOT NULL) STRICT""",
    "CREATE TABLE seals(name TEXT PRIMARY KEY, rows INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE segments(series INTEGER NOT NULL, start INTEGER NOT NULL, count INTEGER NOT NULL,
        crc INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE(series, start)) STRICT""",
    """CREATE TABLE tail(series INTEGER NOT NULL, height INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY(series, height)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE context(id INTEGER PRIMARY KEY CHECK(id = 1), crc INTEGER NOT NULL, headers BLOB NOT NULL)
        STRICT""",
    """CREATE TABLE masternodes(anchor INTEGER NOT NULL, height INTEGER NOT NULL, block_hash BLOB NOT NULL,
        crc INTEGER NOT NULL, state BLOB NOT NULL, PRIMARY KEY(anchor, height)) STRICT""",
    """CREATE TABLE quorum_sets(row_id INTEGER PRIMARY KEY, height INTEGER NOT NULL UNIQUE, block_hash BLOB NOT NULL,
        crc INTEGER NOT NULL, keys BLOB NOT NULL) STRICT""",
    """CREATE TABLE quorums(row_id INTEGER PRIMARY KEY, type INTEGER NOT NULL, hash BLOB NOT NULL,
        mined_by INTEGER NOT NULL, verified INTEGER, reason TEXT NOT NULL, crc INTEGER NOT NULL,
        commitment BLOB NOT NULL, UNIQUE(type, hash)) STRICT""",
    "CREATE INDEX quorums_unjudged ON quorums(type, hash) WHERE verified IS NULL",
    """CREATE TABLE chainlocks(height INTEGER PRIMARY KEY, block_hash BLOB NOT NULL, signature BLOB NOT NULL,
        quorum_type INTEGER NOT NULL, quorum_hash BLOB NOT NULL, mined_by INTEGER NOT NULL, crc INTEGER NOT NULL)
        STRICT""",
    """CREATE TABLE instantlocks(row_id INTEGER PRIMARY KEY, txid BLOB NOT NULL UNIQUE, quorum_type INTEGER NOT NULL,
        quorum_hash BLOB NOT NULL, mined_by INTEGER NOT NULL, payload BLOB NOT NULL, crc INTEGER NOT NULL) STRICT""",
    "CREATE INDEX instantlocks_mined_by ON instantlocks(mined_by)",
    """CREATE TABLE instantlock_inputs(txid BLOB NOT NULL, position INTEGER NOT NULL, lock BLOB NOT NULL,
        PRIMARY KEY(txid, position, lock)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX instantlock_inputs_lock ON instantlock_inputs(lock)",
    """CREATE TABLE refused_branches(row_id INTEGER PRIMARY KEY, time REAL NOT NULL, fork_height INTEGER NOT NULL,
        tip_height INTEGER NOT NULL, tip_hash BLOB NOT NULL, work BLOB NOT NULL, lock_height INTEGER NOT NULL,
        peer TEXT NOT NULL) STRICT""",
    """CREATE TABLE filter_variants(row_id INTEGER PRIMARY KEY, height INTEGER NOT NULL, crc INTEGER NOT NULL,
        data BLOB NOT NULL) STRICT""",
    "CREATE INDEX filter_variants_height ON filter_variants(height)",
    """CREATE TABLE watch(script BLOB PRIMARY KEY, label TEXT NOT NULL, matched_to INTEGER NOT NULL)
        STRICT, WITHOUT ROWID""",
    """CREATE TABLE key_chains(descriptor TEXT PRIMARY KEY, gap INTEGER NOT NULL, derived INTEGER NOT NULL)
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
    """CREATE TABLE transaction_inputs(spender BLOB NOT NULL, txid BLOB NOT NULL, position INTEGER NOT NULL,
        PRIMARY KEY(spender, txid, position)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX transaction_inputs_spent ON transaction_inputs(txid, position)",
    """CREATE TABLE mentions(txid BLOB NOT NULL, script BLOB NOT NULL, PRIMARY KEY(txid, script))
        STRICT, WITHOUT ROWID""",
    "CREATE INDEX mentions_script ON mentions(script)",
    """CREATE TABLE lost_transactions(row_id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, txid BLOB NOT NULL,
        height INTEGER NOT NULL, block_hash BLOB NOT NULL, details BLOB NOT NULL, crc INTEGER NOT NULL) STRICT""",
    """CREATE TABLE journal(row_id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, source TEXT NOT NULL,
        target TEXT NOT NULL, event TEXT NOT NULL, reason TEXT NOT NULL, facts TEXT NOT NULL) STRICT""",
    """CREATE TABLE peers(host TEXT NOT NULL, port INTEGER NOT NULL, source TEXT NOT NULL, services INTEGER NOT NULL,
        seen REAL NOT NULL, tried REAL NOT NULL, succeeded REAL NOT NULL, attempts INTEGER NOT NULL,
        in_tried INTEGER NOT NULL, PRIMARY KEY(host, port)) STRICT, WITHOUT ROWID""",
    "CREATE TABLE peer_key(id INTEGER PRIMARY KEY CHECK(id = 1), key BLOB NOT NULL) STRICT",
    "CREATE TABLE peer_anchors(position INTEGER PRIMARY KEY, host TEXT NOT NULL, port INTEGER NOT NULL) STRICT",
    """CREATE TABLE reputations(host TEXT NOT NULL, port INTEGER NOT NULL, score REAL NOT NULL, time REAL NOT NULL,
        banned_until REAL NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY(host, port))
        STRICT, WITHOUT ROWID""",
    """CREATE TABLE broadcasts(txid BLOB PRIMARY KEY, raw BLOB NOT NULL, added REAL NOT NULL, announced REAL NOT NULL,
        state TEXT NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID""",
)


def found_version(rows: Session, path: Path) -> int:
    """The schema of the file, 0 when it holds nothing yet.

    Raises:
        StoreMismatch: it holds something that phasegate did not write, or a newer phasegate did.
    """
    application, version = (rows.run(f"PRAGMA {name}")[0][0] for name in ("application_id", "user_version"))
    if application == 0 and not rows.run("SELECT 1 FROM sqlite_schema LIMIT 1"):
        return 0
    if application != APPLICATION_ID:
        raise StoreMismatch(f"{path} is a database, but not one of phasegate's")
    if not 1 <= version <= VERSION:
        raise StoreMismatch(f"{path} has schema {version}, this phasegate reads schema {VERSION}")
    return int(version)


def create_tables(rows: Session) -> None:
    """Make all tables in an empty file."""
    for table in TABLES:
        rows.run(table)
    rows.run(f"PRAGMA application_id={APPLICATION_ID}")
    rows.run(f"PRAGMA user_version={VERSION}")
