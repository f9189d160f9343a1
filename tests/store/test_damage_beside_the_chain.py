"""Damage beside the chain is named and dropped, with what relied on it, so that the next walk brings it again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import BlockHeader, OutPoint
from phasegate.consensus.x11 import x11
from phasegate.store import (
    AddWatch,
    Anchor,
    Corroborate,
    Damage,
    JudgeQuorums,
    MarkMatched,
    PutFilterVariants,
    QuorumVerdict,
    RecordBlock,
    RecordChainLock,
    RecordInstantLock,
    RollBack,
    SetContext,
    SetMasternodes,
    SetQuorumSet,
    Store,
    StoreCorrupt,
)
from tests.store.conftest import BITS, WORK, FakeChain
from tests.store.store_model import commitment

OLD, NEW = (BlockHeader(1, bytes(32), bytes(32), n, BITS, 0).to_bytes() for n in (1, 2))
BASE = 600
TXID, OURS = b"\1" * 32, b"ours"


@pytest.fixture
def chain(make_chain: Callable[..., FakeChain]) -> FakeChain:
    """A chain from 600 on whose first header follows a known one."""
    return make_chain(101, anchor=Anchor(BASE, NEW[:4] + x11(OLD) + NEW[36:], WORK * (BASE + 1)))


@pytest.fixture
def filled(tmp_path: Path, chain: FakeChain) -> Path:
    """A closed store: lists and sets at 640 and 680, a lock of each kind, a variant at 650."""
    store = Store.open(tmp_path, SIMNET, anchor=chain.anchor)
    store.commit([SetContext(OLD), chain.append(601, 100), chain.append_filter_headers(600, 90)])
    store.commit([chain.put_filters(range(600, 680)), AddWatch(((OURS, ""),)), MarkMatched((OURS,), 600, 679, (610,))])
    for height, bases in ((640, (610,)), (680, (610, 660))):
        block, active = chain.hash_at(height), tuple(commitment(100, chain.hash_at(base)) for base in bases)
        store.commit([SetMasternodes(height, block, b"list"), SetQuorumSet(height, block, active)])
    store.commit([JudgeQuorums(tuple(QuorumVerdict(100, chain.hash_at(base), True) for base in (610, 660)))])
    store.commit([RecordChainLock(670, chain.hash_at(670), b"\7" * 96, 100, chain.hash_at(610), 640)])
    store.commit([RecordInstantLock(TXID, (OutPoint(bytes(32), 1),), b"payload", 100, chain.hash_at(610))])
    payment = FoundTransaction(TXID, 1, (OURS,), 5, 0, (OutPoint(bytes(32), 1),))
    coin = Coin(OutPoint(TXID, 0), 5, OURS, 610)
    store.commit([RecordBlock(610, BlockFindings(610, (payment,), (coin,)))])
    store.commit([PutFilterVariants(((650, b"variant"),)), Corroborate(640, chain.filter_headers(640, 1))])
    store.commit([SetMasternodes(630, chain.hash_at(630), b"anchor", anchor=True)])
    assert store.check() == ()
    store.close()
    return tmp_path


def spoil(directory: Path, sql: str, *values: bytes) -> None:
    """What a bad disk does, by SQL: the checksums are left as they are."""
    connection = apsw.Connection(str(directory / "simnet.sqlite"))
    connection.execute(sql, values)
    assert connection.changes()
    connection.close()


def repaired(directory: Path, *expected: Damage) -> Store:
    """The store after its repair, which found exactly `expected`."""
    store = Store.open(directory, SIMNET)
    assert store.check() == expected
    tip = store.marks.tip
    store.close()
    repair = Store.repair(directory, SIMNET)
    assert (repair.damages, repair.from_height, repair.to_height) == (expected, tip, tip)
    store = Store.open(directory, SIMNET)
    assert store.check() == ()
    return store


def test_damaged_headers_below_the_base_are_asked_for_again(filled: Path) -> None:
    spoil(filled, "UPDATE context SET headers = cast(x'ff' || substr(headers, 2) AS BLOB)")
    store = Store.open(filled, SIMNET)
    with pytest.raises(StoreCorrupt, match="the headers below the base are damaged"):
        store.context()
    store.close()
    store = repaired(filled, Damage("headers below the base", "context", 599, 599))
    assert (store.marks.context, store.context()) == (0, b"")
    store.close()


def test_a_damaged_quorum_takes_the_lists_along_that_speak_of_it(filled: Path, chain: FakeChain) -> None:
    spoil(filled, "UPDATE quorums SET commitment = x'00' WHERE hash = ?", chain.hash_at(660))
    store = Store.open(filled, SIMNET)
    for read in (lambda: store.quorum(100, chain.hash_at(660)), lambda: store.quorum_set(680)):
        with pytest.raises(StoreCorrupt, match="of type 100 is damaged"):
            read()
    store.close()
    store = repaired(filled, Damage("quorum", "quorums", 680, 680))
    assert (store.marks.masternodes, store.quorum_set_heights(600, 700)) == (640, [640])
    assert store.quorum(100, chain.hash_at(610))
    assert store.masternode_state(630) == b"anchor"
    store.close()


def test_a_verdict_cannot_be_made_by_a_bad_disk(filled: Path) -> None:
    spoil(filled, "UPDATE quorums SET verified = 0 WHERE verified = 1")
    store = repaired(filled, Damage("quorum", "quorums", 640, 640), Damage("quorum", "quorums", 680, 680))
    assert (store.marks.masternodes, store.quorum_set_heights(600, 700)) == (None, [])
    store.close()


def test_a_damaged_set_takes_its_list_along(filled: Path) -> None:
    spoil(filled, "UPDATE quorum_sets SET keys = x'0001' WHERE height = 640")
    store = Store.open(filled, SIMNET)
    with pytest.raises(StoreCorrupt, match="the quorum set at 640 is damaged"):
        store.quorum_set(640)
    store.close()
    store = repaired(filled, Damage("quorum set", "quorum_sets", 640, 640))
    assert (store.marks.masternodes, store.quorum_set_heights(600, 700)) == (680, [680])
    store.commit([RollBack(679, store.marks.work - WORK * 21)])
    assert store.marks.masternodes is None
    store.close()


def test_sets_without_their_quorums_are_damaged(filled: Path) -> None:
    spoil(filled, "DELETE FROM quorums")
    store = repaired(filled, *(Damage("quorum set", "quorum_sets", height, height) for height in (640, 680)))
    assert store.marks.masternodes is None
    store.close()


def test_damage_to_the_set_of_the_newest_list_is_found_at_open(filled: Path) -> None:
    spoil(filled, "UPDATE quorum_sets SET keys = x'0001' WHERE height = 680")
    with pytest.raises(StoreCorrupt, match="the quorum set at 680 is damaged"):
        Store.open(filled, SIMNET)
    assert Store.repair(filled, SIMNET).damages == (Damage("quorum set", "quorum_sets", 680, 680),)
    store = Store.open(filled, SIMNET)
    assert store.marks.masternodes == 640
    store.close()


def test_a_damaged_chainlock_is_not_believed(filled: Path) -> None:
    spoil(filled, "UPDATE chainlocks SET signature = cast(x'00' || substr(signature, 2) AS BLOB)")
    store = Store.open(filled, SIMNET)
    with pytest.raises(StoreCorrupt, match="the ChainLock of 670 is damaged"):
        store.chainlocks(-1)
    store.close()
    store = repaired(filled, Damage("ChainLock", "chainlocks", 670, 670))
    assert (store.marks.chainlock, store.chainlocks(-1)) == (None, [])
    store.close()


@pytest.mark.parametrize(
    "sql", ["UPDATE instantlocks SET payload = x'00'", "UPDATE instantlock_inputs SET position = 7"]
)
def test_a_damaged_instantlock_marks_nothing(filled: Path, sql: str) -> None:
    spoil(filled, sql)
    store = Store.open(filled, SIMNET)
    with pytest.raises(StoreCorrupt, match="the InstantSend lock of 0101"):
        store.instantlock(TXID)
    store.close()
    store = repaired(filled, Damage("InstantSend lock", "instantlocks", 640, 640))
    assert store.instantlock(TXID) is None
    assert [tx.instantlock for tx in store.transactions()] == [None]
    store.close()


def test_an_input_that_is_of_another_lock_now_contradicts_nothing(filled: Path) -> None:
    """A damaged name of a lock: the lock goes, for it lacks an input, and so does the input that no lock has."""
    spoil(filled, "UPDATE instantlock_inputs SET lock = ?", b"\7" * 32)
    lost = Damage("InstantSend lock", "instantlocks", 640, 640)
    store = repaired(filled, lost, Damage("inputs of no InstantSend lock", "instantlock_inputs", 700, 700))
    assert [tx.instantlock for tx in store.transactions()] == [None]
    store.close()


def test_a_damaged_variant_ends_no_dispute(filled: Path, chain: FakeChain) -> None:
    """The filter headers from there on go along, so the peers are asked again."""
    spoil(filled, "UPDATE filter_variants SET data = x'00'")
    store = Store.open(filled, SIMNET)
    with pytest.raises(StoreCorrupt, match="a filter variant of 650 is damaged"):
        store.filter_variants(600, 80)
    store.close()
    store = repaired(filled, Damage("filter variant", "filter_variants", 650, 650))
    marks = store.marks
    assert (marks.filter_headers, marks.filters, marks.matched, marks.disputed) == (649, 649, 649, None)
    assert (marks.corroborated, marks.filter_header) == (640, chain.filter_headers(649, 1))
    store.close()


def test_damage_in_the_chain_takes_what_stands_on_it_along(filled: Path) -> None:
    spoil(filled, "UPDATE tail SET data = x'00' WHERE series = 1 AND height = 645")
    assert Store.repair(filled, SIMNET).to_height == 644
    store = Store.open(filled, SIMNET)
    marks = store.marks
    assert (marks.masternodes, marks.chainlock, marks.disputed, marks.context) == (640, None, None, 1)
    assert (store.quorum_set_heights(600, 700), store.check()) == ([640], ())
    store.close()


def test_damage_from_the_base_on_leaves_the_base(filled: Path) -> None:
    spoil(filled, "UPDATE tail SET data = x'00' WHERE series = 2 AND height = 600")
    assert Store.repair(filled, SIMNET).to_height == BASE
    store = Store.open(filled, SIMNET)
    marks = store.marks
    assert (marks.base, marks.tip, marks.filters_base, marks.corroborated) == (600, 600, 600, 599)
    assert (marks.masternodes, marks.quorums, marks.disputed, marks.context) == (None, 0, None, 1)
    assert store.masternode_heights() == store.quorum_set_heights(0, 700) == []
    store.close()
