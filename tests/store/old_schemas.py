"""Stores as earlier releases made them: their tables, word for word, and files that hold what one of today holds."""

from __future__ import annotations

from pathlib import Path

import apsw

SCHEMA_1 = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE marks(id INTEGER PRIMARY KEY CHECK(id = 1), base INTEGER NOT NULL,
    previous_filter_header BLOB NOT NULL, sequence INTEGER NOT NULL, tip INTEGER NOT NULL,
    tip_hash BLOB NOT NULL, work BLOB NOT NULL, filter_headers INTEGER NOT NULL, filter_header BLOB NOT NULL,
    filters INTEGER NOT NULL) STRICT;
CREATE TABLE segments(series INTEGER NOT NULL, start INTEGER NOT NULL, count INTEGER NOT NULL,
    crc INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE(series, start)) STRICT;
CREATE TABLE tail(series INTEGER NOT NULL, height INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY(series, height)) STRICT, WITHOUT ROWID;
CREATE TABLE masternodes(height INTEGER PRIMARY KEY, block_hash BLOB NOT NULL, crc INTEGER NOT NULL,
    state BLOB NOT NULL) STRICT;
CREATE TABLE watch(script BLOB PRIMARY KEY, label TEXT NOT NULL, matched_to INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE matches(height INTEGER PRIMARY KEY, recorded INTEGER NOT NULL) STRICT;
CREATE INDEX matches_pending ON matches(height) WHERE recorded = 0;
CREATE TABLE coins(txid BLOB NOT NULL, position INTEGER NOT NULL, value INTEGER NOT NULL, script BLOB NOT NULL,
    height INTEGER NOT NULL, spent_by BLOB, spent_height INTEGER, PRIMARY KEY(txid, position)) STRICT, WITHOUT ROWID;
CREATE INDEX coins_spent_by ON coins(spent_by) WHERE spent_by IS NOT NULL;
CREATE INDEX coins_script ON coins(script);
CREATE TABLE transactions(row_id INTEGER PRIMARY KEY AUTOINCREMENT, txid BLOB NOT NULL UNIQUE,
    height INTEGER NOT NULL, position INTEGER NOT NULL) STRICT;
CREATE INDEX transactions_height ON transactions(height);
CREATE TABLE journal(row_id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, source TEXT NOT NULL,
    target TEXT NOT NULL, event TEXT NOT NULL, reason TEXT NOT NULL, facts TEXT NOT NULL) STRICT;
"""

SCHEMA_2 = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE marks(id INTEGER PRIMARY KEY CHECK(id = 1), base INTEGER NOT NULL,
    previous_filter_header BLOB NOT NULL, sequence INTEGER NOT NULL, tip INTEGER NOT NULL,
    tip_hash BLOB NOT NULL, work BLOB NOT NULL, filter_headers INTEGER NOT NULL, filter_header BLOB NOT NULL,
    filters INTEGER NOT NULL, filters_base INTEGER NOT NULL, corroborated INTEGER NOT NULL) STRICT;
CREATE TABLE segments(series INTEGER NOT NULL, start INTEGER NOT NULL, count INTEGER NOT NULL,
    crc INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE(series, start)) STRICT;
CREATE TABLE tail(series INTEGER NOT NULL, height INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY(series, height)) STRICT, WITHOUT ROWID;
CREATE TABLE context(id INTEGER PRIMARY KEY CHECK(id = 1), crc INTEGER NOT NULL, headers BLOB NOT NULL)
    STRICT;
CREATE TABLE masternodes(anchor INTEGER NOT NULL, height INTEGER NOT NULL, block_hash BLOB NOT NULL,
    crc INTEGER NOT NULL, state BLOB NOT NULL, PRIMARY KEY(anchor, height)) STRICT;
CREATE TABLE quorum_sets(row_id INTEGER PRIMARY KEY, height INTEGER NOT NULL UNIQUE, block_hash BLOB NOT NULL,
    crc INTEGER NOT NULL, keys BLOB NOT NULL) STRICT;
CREATE TABLE quorums(row_id INTEGER PRIMARY KEY, type INTEGER NOT NULL, hash BLOB NOT NULL,
    mined_by INTEGER NOT NULL, verified INTEGER, reason TEXT NOT NULL, crc INTEGER NOT NULL,
    commitment BLOB NOT NULL, UNIQUE(type, hash)) STRICT;
CREATE INDEX quorums_unjudged ON quorums(type, hash) WHERE verified IS NULL;
CREATE TABLE chainlocks(height INTEGER PRIMARY KEY, block_hash BLOB NOT NULL, signature BLOB NOT NULL,
    quorum_type INTEGER NOT NULL, quorum_hash BLOB NOT NULL, mined_by INTEGER NOT NULL, crc INTEGER NOT NULL)
    STRICT;
CREATE TABLE instantlocks(row_id INTEGER PRIMARY KEY, txid BLOB NOT NULL UNIQUE, quorum_type INTEGER NOT NULL,
    quorum_hash BLOB NOT NULL, mined_by INTEGER NOT NULL, payload BLOB NOT NULL, crc INTEGER NOT NULL) STRICT;
CREATE INDEX instantlocks_mined_by ON instantlocks(mined_by);
CREATE TABLE instantlock_inputs(txid BLOB NOT NULL, position INTEGER NOT NULL, lock BLOB NOT NULL,
    PRIMARY KEY(txid, position, lock)) STRICT, WITHOUT ROWID;
CREATE INDEX instantlock_inputs_lock ON instantlock_inputs(lock);
CREATE TABLE refused_branches(row_id INTEGER PRIMARY KEY, time REAL NOT NULL, fork_height INTEGER NOT NULL,
    tip_height INTEGER NOT NULL, tip_hash BLOB NOT NULL, work BLOB NOT NULL, lock_height INTEGER NOT NULL,
    peer TEXT NOT NULL) STRICT;
CREATE TABLE filter_variants(row_id INTEGER PRIMARY KEY, height INTEGER NOT NULL, crc INTEGER NOT NULL,
    data BLOB NOT NULL) STRICT;
CREATE INDEX filter_variants_height ON filter_variants(height);
CREATE TABLE watch(script BLOB PRIMARY KEY, label TEXT NOT NULL, matched_to INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE matches(height INTEGER PRIMARY KEY, recorded INTEGER NOT NULL) STRICT;
CREATE INDEX matches_pending ON matches(height) WHERE recorded = 0;
CREATE TABLE coins(txid BLOB NOT NULL, position INTEGER NOT NULL, value INTEGER NOT NULL, script BLOB NOT NULL,
    height INTEGER NOT NULL, spent_by BLOB, spent_height INTEGER, PRIMARY KEY(txid, position))
    STRICT, WITHOUT ROWID;
CREATE INDEX coins_spent_by ON coins(spent_by) WHERE spent_by IS NOT NULL;
CREATE INDEX coins_script ON coins(script);
CREATE TABLE transactions(row_id INTEGER PRIMARY KEY AUTOINCREMENT, txid BLOB NOT NULL UNIQUE,
    height INTEGER NOT NULL, position INTEGER NOT NULL) STRICT;
CREATE INDEX transactions_height ON transactions(height);
CREATE TABLE transaction_inputs(spender BLOB NOT NULL, txid BLOB NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY(spender, txid, position)) STRICT, WITHOUT ROWID;
CREATE INDEX transaction_inputs_spent ON transaction_inputs(txid, position);
CREATE TABLE journal(row_id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, source TEXT NOT NULL,
    target TEXT NOT NULL, event TEXT NOT NULL, reason TEXT NOT NULL, facts TEXT NOT NULL) STRICT;
"""

SINCE_2 = """
CREATE TABLE peers(host TEXT NOT NULL, port INTEGER NOT NULL, source TEXT NOT NULL, services INTEGER NOT NULL,
    seen REAL NOT NULL, tried REAL NOT NULL, succeeded REAL NOT NULL, attempts INTEGER NOT NULL,
    in_tried INTEGER NOT NULL, PRIMARY KEY(host, port)) STRICT, WITHOUT ROWID;
CREATE TABLE peer_key(id INTEGER PRIMARY KEY CHECK(id = 1), key BLOB NOT NULL) STRICT;
CREATE TABLE peer_anchors(position INTEGER PRIMARY KEY, host TEXT NOT NULL, port INTEGER NOT NULL) STRICT;
CREATE TABLE reputations(host TEXT NOT NULL, port INTEGER NOT NULL, score REAL NOT NULL, time REAL NOT NULL,
    banned_until REAL NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY(host, port))
    STRICT, WITHOUT ROWID;
CREATE TABLE broadcasts(txid BLOB PRIMARY KEY, raw BLOB NOT NULL, added REAL NOT NULL, announced REAL NOT NULL,
    state TEXT NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""

SINCE_3 = """
CREATE TABLE seals(name TEXT PRIMARY KEY, rows INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""

SINCE_4 = """
CREATE TABLE key_chains(descriptor TEXT PRIMARY KEY, gap INTEGER NOT NULL, derived INTEGER NOT NULL)
    STRICT, WITHOUT ROWID;
CREATE TABLE lost_transactions(row_id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, txid BLOB NOT NULL,
    height INTEGER NOT NULL, block_hash BLOB NOT NULL, details BLOB NOT NULL, crc INTEGER NOT NULL) STRICT;
"""

SCHEMAS = {1: SCHEMA_1, 2: SCHEMA_2, 3: SCHEMA_2 + SINCE_2, 4: SCHEMA_2 + SINCE_2 + SINCE_3}
SCHEMAS[5] = SCHEMAS[4] + SINCE_4
_SINCE_1 = {
    "masternodes": "SELECT height, block_hash, crc, state FROM present.masternodes",
    "marks": """SELECT id, base, previous_filter_header, sequence, tip, tip_hash, work, filter_headers, filter_header,
        filters FROM present.marks""",
}


def written_by_schema(version: int, directory: Path, present: Path) -> None:
    """Make a store of schema `version` in `directory`, with all that it can hold of the store in `present`."""
    directory.mkdir()
    old = apsw.Connection(str(directory / "simnet.sqlite"))
    old.execute(SCHEMAS[version])
    tables = old.execute(
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    ).fetchall()
    old.execute("ATTACH ? AS present", (str(present / "simnet.sqlite"),))
    for table in (str(name) for (name,) in tables):
        same = f"SELECT * FROM present.{table}"  # noqa: S608 - a name from above
        old.execute(f"INSERT INTO {table} {_SINCE_1.get(table, same) if version == 1 else same}")
    old.execute(f"DETACH present; PRAGMA application_id=0x70686761; PRAGMA user_version={version}")
    old.close()
