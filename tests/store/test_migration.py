"""A store of schema 1 opens as one of this schema, with all that it held, in one transaction."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.masternodes import MasternodeState
from phasegate.consensus.params import REGTEST, SIMNET
from phasegate.consensus.primitives import OutPoint
from phasegate.store import (
    AddWatch,
    Damage,
    MarkMatched,
    RecordBlock,
    RecordInstantLock,
    SetMasternodes,
    SetQuorumSet,
    Store,
    StoreFailed,
    StoreMismatch,
)
from phasegate.store.schema import VERSION
from tests.store.store_model import commitment

if TYPE_CHECKING:
    from tests.store.conftest import Disk, FakeChain

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
UNCHANGED = ("meta", "segments", "tail", "watch", "matches", "coins", "transactions", "journal")
OURS, COIN = b"ours", OutPoint(b"\1" * 32, 0)
SPENDER = b"\2" * 32


def state(chain: FakeChain, height: int) -> MasternodeState:
    active = [commitment(kind, chain.hash_at(height - 30)) for kind in (100, 103)]
    return MasternodeState(height, chain.hash_at(height), {}, {quorum.key: quorum for quorum in active})


def fill(store: Store, chain: FakeChain) -> None:
    store.commit([chain.append(1, 2500), chain.append_filter_headers(0, 2400), chain.put_filters(range(2300))])
    store.commit([AddWatch(((OURS, "label"),)), MarkMatched((OURS,), 0, 2200, (7, 9, 11))])
    received = FoundTransaction(COIN.txid, 1, (OURS,), 50, 0)
    store.commit([RecordBlock(7, BlockFindings(7, (received,), (Coin(COIN, 50, OURS, 7),)))])
    sent = FoundTransaction(SPENDER, 2, (OURS,), 0, 50, (COIN,))
    store.commit([RecordBlock(9, BlockFindings(9, (sent,), (), ((COIN, SPENDER),)))])
    for height in (2000, 2490):
        told = state(chain, height)
        store.commit([SetMasternodes(height, told.block_hash, told.to_bytes())])
        store.commit([SetQuorumSet(height, told.block_hash, tuple(told.quorums.values()))])


def written_by_schema_1(directory: Path, present: Path) -> None:
    """The same data in a file as the first release made it."""
    directory.mkdir()
    old = apsw.Connection(str(directory / "simnet.sqlite"))
    old.execute(SCHEMA_1)
    old.execute("ATTACH ? AS present", (str(present / "simnet.sqlite"),))
    for table in UNCHANGED:
        old.execute(f"INSERT INTO {table} SELECT * FROM present.{table}")  # noqa: S608 - names from above
    old.execute("INSERT INTO masternodes SELECT height, block_hash, crc, state FROM present.masternodes")
    old.execute(
        "INSERT INTO marks SELECT id, base, previous_filter_header, sequence, tip, tip_hash, work, filter_headers,"
        "filter_header, filters FROM present.marks"
    )
    old.execute("DETACH present; PRAGMA application_id=0x70686761; PRAGMA user_version=1")
    old.close()


@pytest.fixture
def present(tmp_path: Path, trunk: FakeChain) -> Path:
    """The directory of a closed store of this schema."""
    store = Store.open(tmp_path / "present", SIMNET)
    fill(store, trunk)
    store.close()
    return tmp_path / "present"


@pytest.fixture
def old(tmp_path: Path, present: Path) -> Path:
    """The directory of a closed store of schema 1 that holds the same."""
    written_by_schema_1(tmp_path / "old", present)
    return tmp_path / "old"


def execute(directory: Path, sql: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(directory / "simnet.sqlite"))
    found = connection.execute(sql).fetchall()
    connection.close()
    return found


def test_what_was_stored_is_there_after_the_migration_and_after_the_next_open(old: Path, present: Path) -> None:
    wanted = Store.open(present, SIMNET)
    for _ in range(2):
        store = Store.open(old, SIMNET)
        assert store.check() == ()
        assert (store.digest(), store.marks) == (wanted.digest(), wanted.marks)
        assert store.transactions() == wanted.transactions()
        assert store.masternode_heights() == [2000, 2490]
        assert store.quorum_set(2490) == wanted.quorum_set(2490)
        assert store.marks.quorums_unjudged == 2
        store.close()
    wanted.close()


def test_the_tables_are_those_of_a_new_store(old: Path, present: Path) -> None:
    Store.open(old, SIMNET).close()
    layouts = [execute(place, "SELECT name, sql FROM sqlite_schema ORDER BY name") for place in (old, present)]
    migrated, new = ([(name, str(sql).split()) for name, sql in layout] for layout in layouts)
    assert migrated == new
    assert execute(old, "PRAGMA user_version") == [(VERSION,)]


def test_a_lock_against_a_spend_of_schema_1_is_seen(old: Path, trunk: FakeChain) -> None:
    store = Store.open(old, SIMNET)
    store.commit([RecordInstantLock(b"\3" * 32, (COIN,), b"lock", 103, trunk.hash_at(2460))])
    assert [tx.instantlock for tx in store.transactions()] == [None, False]
    store.close()


def test_a_list_that_cannot_be_read_goes_and_a_damaged_one_is_named(old: Path) -> None:
    execute(old, "UPDATE masternodes SET state = x'0000' WHERE height = 2000")
    store = Store.open(old, SIMNET)
    assert store.check() == (Damage("masternode list", "masternodes", 2000, 2000),)
    store.close()


def test_a_list_in_an_unknown_form_is_downloaded_again(tmp_path: Path, trunk: FakeChain) -> None:
    store = Store.open(tmp_path / "new", SIMNET)
    store.commit([trunk.append(1, 50), SetMasternodes(40, trunk.hash_at(40), b"no list")])
    store.close()
    written_by_schema_1(tmp_path / "old", tmp_path / "new")
    store = Store.open(tmp_path / "old", SIMNET)
    assert (store.marks.tip, store.marks.masternodes, store.check()) == (50, None, ())
    store.close()


def test_a_refused_store_is_not_migrated(old: Path) -> None:
    (old / "simnet.sqlite").rename(old / "regtest.sqlite")
    with pytest.raises(StoreMismatch, match="holds network simnet, not regtest"):
        Store.open(old, REGTEST)
    (old / "regtest.sqlite").rename(old / "simnet.sqlite")
    assert execute(old, "PRAGMA user_version") == [(1,)]


def test_a_migration_that_meets_a_failing_disk_leaves_the_old_store(old: Path, present: Path, disk: Disk) -> None:
    wanted = Store.open(present, SIMNET)
    for fail_at in (*range(1, 30, 4), *range(30, 3000, 97)):
        place = old.with_name(str(fail_at))
        shutil.copytree(old, place)
        disk.arm(fail_at, dead=True)
        with suppress(StoreFailed):
            Store.open(place, SIMNET, vfs="faulty").close()
        reached = disk.failed
        disk.disarm()
        assert execute(place, "PRAGMA user_version") in ([(1,)], [(VERSION,)])
        store = Store.open(place, SIMNET)
        assert store.digest() == wanted.digest()
        store.close()
        if not reached:
            wanted.close()
            return
    pytest.fail("the migration has more writes than were tried")
