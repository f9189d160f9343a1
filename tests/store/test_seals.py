"""What was found for the watched scripts cannot be changed by a bad disk: it is noticed, said, and searched again."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import OutPoint
from phasegate.store import (
    AddWatch,
    AppendJournal,
    Change,
    Damage,
    MarkMatched,
    RecordBlock,
    RecordRefusedBranch,
    RemoveWatch,
    Store,
    StoreCorrupt,
    StoreFailed,
)
from phasegate.store.schema import TABLES

if TYPE_CHECKING:
    from tests.faulty_disk import Disk
    from tests.store.conftest import FakeChain

OURS, OTHER = b"ours", b"other"
COIN = OutPoint(b"\1" * 32, 0)
SPENDER = b"\2" * 32

FOUND = {
    "watch": ("heights of matching", {"matched_to": "51"}),
    "matches": ("matched blocks", {"height": "12", "recorded": "1 - recorded"}),
    "coins": (
        "coins",
        {
            "txid": "x'07'",
            "position": "9",
            "value": "value + 1",
            "script": "x'00'",
            "height": "8",
            "spent_by": "NULL",
            "spent_height": "10",
        },
    ),
    "transactions": ("found transactions", {"row_id": "99", "txid": "x'07'", "height": "8", "position": "5"}),
    "transaction_inputs": (
        "inputs of found transactions",
        {"spender": "x'07'", "txid": "x'07'", "position": "9"},
    ),
    "mentions": ("mentions in found transactions", {"txid": "x'07'", "script": f"x'{OURS.hex()}'"}),
}
"""Each table of what was found, its name for the user, and another value for each of its columns."""
ONE = {
    "watch": f"script = x'{OURS.hex()}'",
    "matches": "height = 9",
    "coins": "spent_by IS NOT NULL",
    "transactions": "height = 9",
    "transaction_inputs": f"spender = x'{SPENDER.hex()}'",
    "mentions": f"txid = x'{SPENDER.hex()}'",
}
"""One row of each."""


def changed(table: str, column: str, value: str) -> str:
    """The statement that gives one row of a table another value."""
    return " ".join(("UPDATE", table, "SET", column, "=", value, "WHERE", ONE[table]))


def lost(table: str) -> str:
    """The statement that takes one row of a table away."""
    return " ".join(("DELETE FROM", table, "WHERE", ONE[table]))


CHANGES = [
    pytest.param(table, changed(table, column, value), id=f"another {column} in {table}")
    for table, (_, columns) in FOUND.items()
    for column, value in columns.items()
]
LOSSES = [pytest.param(table, lost(table), id=f"lost in {table}") for table in FOUND if table != "watch"]


def searched(chain: FakeChain) -> list[Change]:
    """Filters matched to 50, a coin made in block 7 and spent in block 9, block 11 to be searched yet."""
    received = FoundTransaction(COIN.txid, 1, (OURS,), 50, 0)
    sent = FoundTransaction(SPENDER, 2, (OURS, OTHER), 0, 50, (COIN,), (OTHER,))
    rest = Coin(OutPoint(SPENDER, 1), 20, OTHER, 9)
    return [
        MarkMatched((OTHER, OURS), 0, 50, (7, 9, 11)),
        RecordBlock(7, BlockFindings(7, (received,), (Coin(COIN, 50, OURS, 7),))),
        RecordBlock(9, BlockFindings(9, (sent,), (rest,), ((COIN, SPENDER),))),
    ]


@pytest.fixture
def place(tmp_path: Path, trunk: FakeChain) -> Path:
    """The directory of a closed store in which something was found."""
    with closing(Store.open(tmp_path, SIMNET)) as store:
        store.commit([trunk.append(1, 100), trunk.append_filter_headers(0, 80), trunk.put_filters(range(60))])
        store.commit([AddWatch(((OURS, "label"), (OTHER, ""))), *searched(trunk)])
    return tmp_path


def spoil(place: Path, sql: str) -> None:
    """What a bad disk does, by SQL."""
    connection = apsw.Connection(str(place / "simnet.sqlite"))
    connection.execute(sql)
    assert connection.changes()
    connection.close()


@pytest.mark.parametrize(("table", "sql"), CHANGES + LOSSES)
def test_a_change_behind_the_stores_back_is_found_and_searched_again(
    place: Path, trunk: FakeChain, table: str, sql: str
) -> None:
    """Whatever field it is: no balance is shown that was not found, and nothing of the chain is lost for it."""
    with closing(Store.open(place, SIMNET)) as store:
        digest, found, balances = store.digest(), store.transactions(), store.balances()
    spoil(place, sql)
    with pytest.raises(StoreCorrupt, match=rf"\(table {table}\)$") as refused:
        Store.open(place, SIMNET)
    assert refused.value.table == table
    repair = Store.repair(place, SIMNET)
    assert repair.damages == (Damage(FOUND[table][0], table, 0, 100),)
    assert (repair.from_height, repair.to_height) == (100, 100)
    with closing(Store.open(place, SIMNET)) as store:
        assert (store.check(), store.marks.filters, store.marks.matched, store.marks.watch_items) == ((), 59, -1, 2)
        assert (store.transactions(), store.matched_heights()) == ([], [])
        store.commit(searched(trunk))
        assert (store.digest(), store.balances()) == (digest, balances)
        assert [tx.txid for tx in store.transactions()] == [tx.txid for tx in found]


@pytest.mark.parametrize(
    "sql",
    [
        changed("watch", "script", "x'00'"),
        changed("watch", "label", "'x'"),
        changed("watch", "label", "CAST(x'ff' AS TEXT)"),
        lost("watch"),
        "INSERT INTO watch VALUES(x'00', '', 50)",
    ],
)
def test_a_watched_script_that_is_another_one_is_beyond_repair(place: Path, sql: str) -> None:
    """Nobody but its owner knows it, and a balance without it would be a wrong one."""
    spoil(place, sql)
    with pytest.raises(StoreCorrupt, match="watched scripts are damaged"):
        Store.open(place, SIMNET)
    with pytest.raises(StoreCorrupt, match="the watched scripts are damaged, which only their owner knows"):
        Store.repair(place, SIMNET)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE meta SET value = 'simnat' WHERE key = 'network'",
        "UPDATE meta SET value = x'00' WHERE key = 'base_work'",
        "DELETE FROM meta WHERE key = 'network'",
        "UPDATE marks SET base = 1",
        "UPDATE marks SET work = x'ff'",
        "UPDATE marks SET tip = 99",
        "UPDATE marks SET tip_hash = x'00'",
        "UPDATE marks SET previous_filter_header = x'00'",
        "UPDATE marks SET sequence = 1",
        "UPDATE marks SET filter_headers = 78",
        "UPDATE marks SET filter_header = x'00'",
        "UPDATE marks SET filters = 58",
        "UPDATE marks SET filters_base = 7",
        "UPDATE marks SET corroborated = 60",
    ],
)
def test_an_identity_or_marks_that_are_others_are_not_believed(place: Path, sql: str) -> None:
    """Least of all to refuse the file for another network's, or to count a chainwork that nobody did."""
    spoil(place, sql)
    for use in (Store.open, Store.repair):
        with pytest.raises(StoreCorrupt, match=r"the store's (identity|marks) cannot be believed"):
            use(place, SIMNET)


@pytest.mark.parametrize("sql", ["UPDATE seals SET sum = sum + 1 WHERE name = 'coins'", "DELETE FROM seals"])
def test_a_damaged_seal_is_no_reason_to_believe(place: Path, sql: str) -> None:
    """It cannot be told from damage of what it seals."""
    spoil(place, sql)
    with pytest.raises(StoreCorrupt):
        Store.open(place, SIMNET)


def test_every_change_is_kept_in_the_seals(place: Path, trunk: FakeChain) -> None:
    """Rows that come, go, change and are replaced, in commits that stand and in those that do not."""
    with closing(Store.open(place, SIMNET)) as store:
        with pytest.raises(ValueError, match="do not follow"):
            store.commit([RemoveWatch((OURS,)), trunk.append(101, 1), trunk.append(150, 1)])
        batches: list[list[Change]] = [
            [AddWatch(((b"new", ""), (OURS, "again")))],
            [trunk.roll_back(8)],
            [trunk.append(9, 100), trunk.append_filter_headers(9, 50), trunk.put_filters(range(9, 40))],
            [RemoveWatch((OURS,))],
            [AddWatch(((OURS, ""),))],
            [RemoveWatch((OURS, OTHER, b"new"))],
        ]
        for batch in batches:
            store.commit(batch)
            assert store.check() == ()
    with closing(Store.open(place, SIMNET)) as store:
        assert store.check() == ()


def test_a_commit_that_a_bad_disk_refused_leaves_the_seals_whole(tmp_path: Path, disk: Disk, trunk: FakeChain) -> None:
    """What is rolled back is rolled back in the sums, too."""
    with closing(Store.open(tmp_path, SIMNET, vfs=disk.vfs)) as store:
        store.commit([trunk.append(1, 100), trunk.append_filter_headers(0, 80), trunk.put_filters(range(60))])
        store.commit([AddWatch(((OURS, "label"), (OTHER, "")))])
        for fail_at in range(1, 12):
            disk.arm(fail_at)
            with pytest.raises(StoreFailed):
                store.commit([*searched(trunk), AddWatch(((bytes(100_000), ""),))])
            disk.disarm()
            assert store.check() == ()


def test_whatever_has_no_checksum_is_sealed_or_known_to_decide_nothing() -> None:
    """A new table has to say how damage in it is noticed."""
    judged = {"journal", "refused_branches", "peers", "peer_key", "peer_anchors", "reputations", "seals"}
    locks = {"instantlock_inputs"}  # covered by the checksum of their lock
    sealed = {"meta", "marks", "key_chains", *FOUND}
    tables = [sql for sql in TABLES if sql.startswith("CREATE TABLE")]
    bare = {sql.split()[2].partition("(")[0] for sql in tables if "crc INTEGER" not in sql}
    assert bare == judged | locks | sealed


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """A store that has told something."""
    with closing(Store.open(tmp_path, SIMNET)) as store:
        store.commit([AppendJournal(1.0, "a", "b", "advance", "reason", "{}")])
        store.commit([RecordRefusedBranch(1.5, 7, 9, bytes(32), 1 << 200, 8, "::1")])
    return tmp_path


def test_a_record_that_cannot_be_read_is_told_as_far_as_it_can(noted: Path) -> None:
    """A text in the journal that is none, which no repair could mend, keeps nobody from reading the others."""
    spoil(noted, "UPDATE journal SET reason = CAST(x'72ff73' AS TEXT)")
    spoil(noted, "UPDATE refused_branches SET peer = CAST(x'ff' AS TEXT)")
    with closing(Store.open(noted, SIMNET)) as store:
        assert [row.reason for row in store.journal()] == ["r\ufffds"]
        assert [branch.peer for branch in store.refused_branches()] == ["\ufffd"]
