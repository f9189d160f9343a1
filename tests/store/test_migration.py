"""A store of an earlier schema opens as one of this schema, with all that it held, in one transaction."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import attrs
import pytest

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.masternodes import MasternodeState
from phasegate.consensus.params import REGTEST, SIMNET
from phasegate.consensus.primitives import OutPoint
from phasegate.store import (
    AddWatch,
    Corroborate,
    Damage,
    JudgeQuorums,
    MarkMatched,
    PutFilterVariants,
    QuorumVerdict,
    RecordBlock,
    RecordChainLock,
    RecordInstantLock,
    RecordRefusedBranch,
    SearchBlocks,
    SetAnchors,
    SetMasternodes,
    SetPeerKey,
    SetQuorumSet,
    Store,
    StoreCorrupt,
    StoreFailed,
    StoreMismatch,
)
from phasegate.store.schema import VERSION
from tests.store.old_schemas import SCHEMAS, written_by_schema
from tests.store.store_model import commitment

if TYPE_CHECKING:
    from tests.faulty_disk import Disk
    from tests.store.conftest import FakeChain

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


@pytest.fixture
def present(tmp_path: Path, trunk: FakeChain) -> Path:
    """The directory of a closed store of this schema."""
    store = Store.open(tmp_path / "present", SIMNET)
    fill(store, trunk)
    store.close()
    return tmp_path / "present"


@pytest.fixture(params=sorted(SCHEMAS), ids=lambda version: f"schema {version}")
def version(request: pytest.FixtureRequest) -> int:
    """Each earlier schema."""
    return int(request.param)


@pytest.fixture
def old(tmp_path: Path, present: Path, version: int) -> Path:
    """The directory of a closed store of that schema that holds the same."""
    written_by_schema(version, tmp_path / "old", present)
    assert execute(tmp_path / "old", "PRAGMA user_version") == [(version,)]
    return tmp_path / "old"


def to_compare(directory: Path) -> Store:
    """The store in `directory` as a migrated one is: what it matched is to be searched for what mentions something."""
    store = Store.open(directory, SIMNET)
    store.commit([SearchBlocks(tuple(store.matched_heights()))])
    return store


def execute(directory: Path, sql: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(directory / "simnet.sqlite"))
    found = connection.execute(sql).fetchall()
    connection.close()
    return found


def test_what_was_stored_is_there_after_the_migration_and_after_the_next_open(old: Path, present: Path) -> None:
    wanted = to_compare(present)
    assert wanted.pending(9) == [7, 9, 11]
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


def test_a_lock_against_an_old_spend_is_seen(old: Path, trunk: FakeChain) -> None:
    store = Store.open(old, SIMNET)
    store.commit([RecordInstantLock(b"\3" * 32, (COIN,), b"lock", 103, trunk.hash_at(2460))])
    assert [tx.instantlock for tx in store.transactions()] == [None, False]
    store.close()


def test_a_store_of_schema_2_keeps_what_schema_1_did_not_know(tmp_path: Path, present: Path, trunk: FakeChain) -> None:
    """Verdicts, locks, disputes, anchors and refused branches are not lost on the way."""
    store = Store.open(present, SIMNET)
    store.commit(
        [JudgeQuorums((QuorumVerdict(103, trunk.hash_at(2460), True),)), Corroborate(5, trunk.filter_headers(5, 1))]
    )
    store.commit([RecordInstantLock(b"\3" * 32, (COIN,), b"lock", 103, trunk.hash_at(2460))])
    store.commit([RecordChainLock(2490, trunk.hash_at(2490), b"\7" * 96, 103, trunk.hash_at(2460), 2490)])
    store.commit(
        [PutFilterVariants(((2350, b"variant"),)), RecordRefusedBranch(1.5, 7, 9, bytes(32), 1 << 200, 8, "::1")]
    )
    store.commit([SetMasternodes(1990, trunk.hash_at(1990), b"anchor", anchor=True)])
    store.close()
    written_by_schema(2, tmp_path / "old", present)
    wanted, store = to_compare(present), Store.open(tmp_path / "old", SIMNET)
    assert (store.marks, store.digest(), store.check()) == (wanted.marks, wanted.digest(), ())
    assert (store.marks.quorums_unjudged, store.marks.disputed, store.marks.corroborated) == (1, 2350, 5)
    assert (store.instantlock(b"\3" * 32), store.chainlocks(-1)) == (
        wanted.instantlock(b"\3" * 32),
        wanted.chainlocks(-1),
    )
    assert store.quorum(103, trunk.hash_at(2460)) == wanted.quorum(103, trunk.hash_at(2460))
    assert (store.refused_branches(), store.masternode_state(1990)) == (wanted.refused_branches(), b"anchor")
    for each in (wanted, store):
        each.close()


def test_what_earlier_releases_did_not_look_for_is_found_when_the_blocks_are_searched_again(old: Path) -> None:
    """And what they did find is as it was."""
    store = Store.open(old, SIMNET)
    before = {tx.txid: attrs.evolve(tx, row_id=0) for tx in store.transactions()}
    named = FoundTransaction(b"\5" * 32, 4, (OURS,), 0, 0, (), (OURS,))
    store.commit([RecordBlock(height, BlockFindings(height, (named,) * (height == 11))) for height in (7, 9, 11)])
    found = {tx.txid: attrs.evolve(tx, row_id=0) for tx in store.transactions()}
    assert found.pop(named.txid).scripts == (OURS,)
    assert (found, store.marks.pending_blocks, store.check()) == (before, 0, ())
    store.close()
    store = Store.open(old, SIMNET)
    assert (store.marks.pending_blocks, len(store.transactions())) == (0, 3)
    store.close()


def test_a_migrated_store_remembers_nothing_of_peers_and_can(old: Path) -> None:
    store = Store.open(old, SIMNET)
    assert (store.peers(), store.anchors(), store.reputations(), store.broadcasts()) == ([], [], [], [])
    assert store.peer_key() is None
    store.commit([SetPeerKey(b"k" * 32), SetAnchors((("10.0.0.1", 9999),))])
    assert (store.peer_key(), store.anchors()) == (b"k" * 32, [("10.0.0.1", 9999)])
    store.close()


def test_a_store_whose_seals_are_broken_is_not_sealed_anew(tmp_path: Path, present: Path) -> None:
    """Schema 4 had seals: a coin that was changed in such a file is damage, also for who opens it first."""
    written_by_schema(4, tmp_path / "old", present)
    execute(tmp_path / "old", "UPDATE coins SET value = 51")
    with pytest.raises(StoreCorrupt, match="coins are damaged"):
        Store.open(tmp_path / "old", SIMNET)
    assert Store.repair(tmp_path / "old", SIMNET).damages[0].table == "coins"


def test_a_list_that_cannot_be_read_goes_and_a_damaged_one_is_named(old: Path) -> None:
    execute(old, "UPDATE masternodes SET state = x'0000' WHERE height = 2000")
    store = Store.open(old, SIMNET)
    assert store.check() == (Damage("masternode list", "masternodes", 2000, 2000),)
    store.close()


def test_a_list_in_an_unknown_form_is_downloaded_again(tmp_path: Path, trunk: FakeChain) -> None:
    store = Store.open(tmp_path / "new", SIMNET)
    store.commit([trunk.append(1, 50), SetMasternodes(40, trunk.hash_at(40), b"no list")])
    store.close()
    written_by_schema(1, tmp_path / "old", tmp_path / "new")
    store = Store.open(tmp_path / "old", SIMNET)
    assert (store.marks.tip, store.marks.masternodes, store.check()) == (50, None, ())
    store.close()


def test_a_refused_store_is_not_migrated(old: Path, version: int) -> None:
    (old / "simnet.sqlite").rename(old / "regtest.sqlite")
    with pytest.raises(StoreMismatch, match="holds network simnet, not regtest"):
        Store.open(old, REGTEST)
    (old / "regtest.sqlite").rename(old / "simnet.sqlite")
    assert execute(old, "PRAGMA user_version") == [(version,)]


def test_a_migration_that_meets_a_failing_disk_leaves_the_old_store(
    old: Path, version: int, present: Path, disk: Disk
) -> None:
    wanted = to_compare(present)
    for fail_at in (*range(1, 30, 4), *range(30, 3000, 97)):
        place = old.with_name(str(fail_at))
        shutil.copytree(old, place)
        disk.arm(fail_at, dead=True)
        with suppress(StoreFailed):
            Store.open(place, SIMNET, vfs=disk.vfs).close()
        reached = disk.failed
        disk.disarm()
        assert execute(place, "PRAGMA user_version") in ([(version,)], [(VERSION,)])
        store = Store.open(place, SIMNET)
        assert store.digest() == wanted.digest()
        store.close()
        if not reached:
            wanted.close()
            return
    pytest.fail("the migration has more writes than were tried")
