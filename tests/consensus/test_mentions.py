"""What special transactions mention in payloads is found in blocks, as objects and as bytes, and as filters hold it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.blocks import BlockFindings, FoundTransaction, scan_block
from phasegate.consensus.filters import match_filters
from phasegate.consensus.merkle import merkle_root
from phasegate.consensus.primitives import Block, BlockHeader, OutPoint, Transaction, TxIn, TxOut
from phasegate.consensus.raw_blocks import raw_block
from phasegate.consensus.sieve import Sieve
from phasegate.consensus.special_txs import PRO_REG, mentioned
from phasegate.p2p.simnet import protx
from phasegate.p2p.simnet.protx import Keys

if TYPE_CHECKING:
    from tests.consensus.conftest import RecordedChain

pytestmark = pytest.mark.timeout(300)  # the first run compiles

OWNER, VOTING, PAYOUT, PRO_TX_HASH = b"\1" * 20, b"\2" * 20, b"\x51\x52", b"\3" * 32
COLLATERAL = OutPoint(b"\4" * 32, 7)
SPENT = (TxIn(OutPoint(b"\5" * 32, 0), b"", 0),)
KEYS = Keys(OWNER, b"\6" * 48, VOTING)
CREDITED = b"\x53\x54"
ADDRESS = bytes(18)

PAYLOADS = {
    1: protx.register(COLLATERAL, ADDRESS, KEYS, PAYOUT, SPENT, None, bytes(65)),
    2: protx.update_service(PRO_TX_HASH, ADDRESS, SPENT, None, bytes(96)),
    3: protx.update_registrar(PRO_TX_HASH, KEYS.operator, VOTING, PAYOUT, SPENT, bytes(65)),
    4: protx.revoke(PRO_TX_HASH, 1, SPENT, bytes(96)),
    8: protx.asset_lock((TxOut(5, CREDITED), TxOut(6, b"\x6a\1"))),
}
HELD = {
    1: {OWNER, VOTING, PAYOUT, COLLATERAL.to_bytes()},
    2: {PRO_TX_HASH},
    3: {PRO_TX_HASH, VOTING, PAYOUT},
    4: {PRO_TX_HASH},
    8: {CREDITED},
}
ALL = frozenset().union(*HELD.values())


def special(kind: int, payload: bytes | None = None, version: int = 3, pays: bytes = b"\x55") -> Transaction:
    return Transaction(version, kind, SPENT, (TxOut(9, pays),), 0, PAYLOADS[kind] if payload is None else payload)


def scanned(block: Block, watched: frozenset[bytes]) -> BlockFindings:
    """What is found in `block`, with and without the compiled walk."""
    found = scan_block(block, 5, watched, {})
    assert scan_block(raw_block(block), 5, watched, {}, Sieve(watched, [])) == found
    return found


def block_of(*txs: Transaction) -> Block:
    root = merkle_root([tx.txid for tx in txs])[0]
    return Block(BlockHeader(4, bytes(32), root, 1, 0x207FFFFF, 0), txs)


@pytest.mark.parametrize("kind", sorted(PAYLOADS))
def test_each_watched_element_of_a_payload_is_found_and_makes_no_coin(kind: int) -> None:
    tx = special(kind)
    block = block_of(special(kind, b""), tx)
    spent = tuple([txin.prevout for txin in SPENT])
    for element in ALL:
        wanted = (FoundTransaction(tx.txid, 1, (element,), 0, 0, spent, (element,)),) if element in HELD[kind] else ()
        assert scanned(block, frozenset([element])) == BlockFindings(5, wanted)
    named = tuple(sorted(HELD[kind]))
    assert scanned(block, ALL).transactions == (FoundTransaction(tx.txid, 1, named, 0, 0, spent, named),)


def test_who_pays_and_mentions_the_same_script_is_found_once_with_the_coin() -> None:
    tx = special(PRO_REG, pays=PAYOUT)
    (found,) = scanned(block_of(tx), frozenset([PAYOUT, OWNER])).transactions
    assert (found.scripts, found.received, found.mentions) == (tuple(sorted((PAYOUT, OWNER))), 9, found.scripts)


@pytest.mark.parametrize("kind", sorted(PAYLOADS))
def test_the_registration_is_not_among_what_its_hash_finds(kind: int) -> None:
    """Its filter does not hold it, so it must not depend on why its block was fetched."""
    tx = special(kind)
    assert scanned(block_of(tx), frozenset([tx.txid])).transactions == ()


@pytest.mark.parametrize("kind", sorted(PAYLOADS))
def test_a_type_counts_only_from_version_3_on_and_a_payload_only_whole(kind: int) -> None:
    cut = PAYLOADS[kind][: 1 if kind == 8 else 30]
    assert mentioned(special(kind, cut)) == frozenset()
    plain = Transaction(2, kind, SPENT, (TxOut(9, b"\x55"),), 0, b"")
    assert scanned(block_of(plain), ALL).transactions == ()


def test_credits_before_a_malformed_one_are_none() -> None:
    """All of a payload counts or nothing of it, as in what filters prove."""
    payload = b"\1\2" + TxOut(5, CREDITED).to_bytes() + b"\0" * 8 + b"\x09"
    assert mentioned(special(8, payload)) == frozenset()


Kinds = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 256, 257, 258, 264])
Anything = st.builds(
    Transaction,
    st.sampled_from([1, 2, 3, 4, 256, 258, 0xFFFF]),
    Kinds,
    st.just(SPENT),
    st.sampled_from([(), (TxOut(9, b"\x55"),), (TxOut(3, PAYOUT),)]),
    st.just(0),
    st.sampled_from([b"", b"\1", *PAYLOADS.values()]),
).filter(lambda tx: bool(tx.payload) <= (tx.version >= 3 and tx.type != 0))


@settings(deadline=None, max_examples=200)
@given(st.lists(Anything, max_size=6), st.sets(st.sampled_from(sorted(ALL))))
def test_the_compiled_walk_lets_everything_through_that_mentions_something(
    txs: list[Transaction], watched: set[bytes]
) -> None:
    found = scanned(block_of(*txs), frozenset(watched))
    named = {tx.txid for tx in txs if mentioned(tx) & watched}
    assert named == {tx.txid for tx in found.transactions if tx.mentions}


# -- the recorded chain of Dash Core ---------------------------------------------------------------------------------


def recorded_mentions(chain: RecordedChain) -> Iterator[tuple[int, Transaction]]:
    for height in range(1, len(chain.blocks)):
        for tx in chain.block(height).transactions:
            if mentioned(tx):
                yield height, tx


def test_what_core_recorded_is_found_in_its_filters_and_then_in_its_blocks(chain: RecordedChain) -> None:
    """Each element by itself: the filters of exactly its blocks match, and these tell the transactions."""
    special = list(recorded_mentions(chain))
    assert sorted(tx.type for _, tx in special).count(PRO_REG) == 5
    assert [tx.type for _, tx in special].count(2) == 4
    elements = {element for _, tx in special for element in mentioned(tx) if len(element) in (20, 32, 36)}
    assert len(elements) > 15
    for element in elements:
        heights = match_filters(chain.hashes, chain.filters, [element])
        found = [
            (height, tx.txid)
            for height in heights
            for tx in scanned(chain.block(height), frozenset([element])).transactions
        ]
        assert found == [(height, tx.txid) for height, tx in special if element in mentioned(tx)]


def test_a_recorded_pro_tx_hash_finds_the_updates_and_its_keys_the_registration(chain: RecordedChain) -> None:
    special = list(recorded_mentions(chain))
    registered = {tx.txid: height for height, tx in special if tx.type == PRO_REG}
    updates = [(height, tx) for height, tx in special if registered.keys() & mentioned(tx)]
    assert len(updates) == 4
    for height, tx in updates:
        (name,) = registered.keys() & mentioned(tx)
        assert registered[name] < height
        assert registered[name] not in match_filters(chain.hashes, chain.filters, [name])
