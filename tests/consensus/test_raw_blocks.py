"""Blocks as bytes: the compiled walk and the sieve against the plain reading, on honest blocks and on garbage."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus import raw_blocks
from phasegate.consensus.blocks import BlockFindings, Coin, check_block, scan_block
from phasegate.consensus.codec import Reader, compact_size
from phasegate.consensus.faults import Fault, Malformed, PeerMisbehaved
from phasegate.consensus.merkle import merkle_root
from phasegate.consensus.primitives import MAX_MONEY, Block, BlockHeader, OutPoint, Transaction, TxIn, TxOut
from phasegate.consensus.raw_blocks import Layout, RawBlock, compiled_layout, plain_layout, raw_block
from phasegate.consensus.sieve import LEAST, Sieve
from phasegate.p2p.messages import BlockMessage, decode

if TYPE_CHECKING:
    from tests.consensus.conftest import RecordedChain

pytestmark = pytest.mark.timeout(300)  # the first run compiles

SCRIPTS = [b"", b"\x51", b"\x51\x51", b"\x76\xa9\x14" + bytes(20) + b"\x88\xac", bytes(253), bytes(range(256)) * 2]
NAMES = [bytes(32), bytes((1,)) * 32, b"\1" * 8 + bytes(24), b"\1" * 8 + b"\2" * 24]
Outpoints = st.builds(OutPoint, st.sampled_from(NAMES), st.sampled_from((0, 1, 2, 0xFFFFFFFF)))
Amounts = st.one_of(st.integers(0, 99), st.sampled_from((-1, MAX_MONEY, MAX_MONEY + 1, (1 << 63) - 1, -1 << 63)))
Inputs = st.lists(st.builds(TxIn, Outpoints, st.sampled_from(SCRIPTS), st.integers(0, 0xFFFFFFFF)), max_size=3)
Outputs = st.lists(st.builds(TxOut, Amounts, st.sampled_from(SCRIPTS)), max_size=3)
Plain = st.builds(Transaction, st.integers(0, 2), st.integers(0, 6), Inputs.map(tuple), Outputs.map(tuple))


def special(payloads: tuple[bytes, ...]) -> st.SearchStrategy[Transaction]:
    kinds = st.sampled_from((3, 4, 0x100, 0xFFFF)), st.sampled_from((1, 5, 0x100, 0xFFFF))
    parts = Inputs.map(tuple), Outputs.map(tuple), st.integers(0, 0xFFFFFFFF)
    return st.builds(Transaction, *kinds, *parts, st.sampled_from(payloads))


Special = special((b"", b"\5", bytes(252), bytes(253), bytes(10_000), bytes(10_001)))
Transactions = st.lists(st.one_of(Plain, Special), max_size=5)


def block_of(txs: list[Transaction]) -> Block:
    root = merkle_root([tx.txid for tx in txs])[0]
    return Block(BlockHeader(4, bytes(32), root, 1, 0x207FFFFF, 0), tuple(txs))


def agreed(raw: bytes) -> Layout | None:
    """What both readings say of `raw`: None for a malformed block."""
    try:
        plain = plain_layout(raw)
    except Malformed:
        assert compiled_layout(raw) is None
        with pytest.raises(Malformed):
            Block.from_bytes(raw)
        return None
    assert compiled_layout(raw) == plain
    block, read = Block.from_bytes(raw), RawBlock(raw)
    assert block.to_bytes() == raw
    assert [read.transaction(position) for position in range(len(read))] == list(block.transactions)
    assert read.computed_root == merkle_root(block.txids)
    return plain


@settings(deadline=None)
@given(Transactions, st.randoms(use_true_random=False))
def test_the_walk_accepts_what_the_plain_reading_accepts(txs: list[Transaction], rnd: random.Random) -> None:
    """The block itself, cut off, with something behind it, and with bytes changed, above all those of sizes."""
    raw = block_of(txs).to_bytes()
    agreed(raw)
    for _ in range(20):
        wrong, at = bytearray(raw), rnd.randrange(80, len(raw))
        wrong[at] = rnd.choice((0, 1, 0x7F, 0xFC, 0xFD, 0xFE, 0xFF, wrong[at] ^ 1 << rnd.randrange(8)))
        agreed(bytes(wrong))
    agreed(raw[: rnd.randrange(len(raw) + 1)])
    agreed(raw + b"\0")


LONG_FORMS = [
    b"\xfd\1\0",
    b"\xfd\xfc\0",
    b"\xfe\1\0\0\0",
    b"\xfe\xff\xff\0\0",
    b"\xff\1" + bytes(7),
    b"\xfd",
    b"\xfe\1",
]
HUGE = [
    compact_size(n) for n in (0xFC, 0xFD, 0xFFFF, 0x10000, 200_000, 200_001, 2_000_000, 2_000_001, 1 << 32, 1 << 63)
]


@pytest.mark.parametrize("size", LONG_FORMS + HUGE)
def test_each_size_of_a_block_is_bounded_and_in_its_shortest_form(size: bytes) -> None:
    """In turn the count of transactions, of inputs, of outputs, the two scripts and the payload."""
    tx = Transaction(3, 5, (TxIn(OutPoint(NAMES[1], 0), b""),), (TxOut(7, b""),), 0, b"")
    raw = block_of([tx]).to_bytes()
    places = [80, 85, 122, 127, 136, 141]
    assert [raw[at] for at in places] == [1, 1, 0, 1, 0, 0]
    for at in places:
        for behind in (0, 300, 70_000):
            agreed(raw[:at] + size + raw[at + 1 :] + bytes(behind))
        if size == b"\xfd\1\0":
            assert agreed(raw[:at] + size + raw[at + 1 :]) is None


def outcome(block: Block | RawBlock, name: bytes) -> tuple[Fault, str] | None:
    try:
        check_block(block, name)
    except PeerMisbehaved as lie:
        return lie.fault, str(lie)
    return None


@settings(deadline=None)
@given(Transactions, st.sampled_from(("whole", "other", "short", "doubled")))
def test_bytes_are_proven_as_objects_are(txs: list[Transaction], lie: str) -> None:
    """The same verdict in the same words: whole, another block, one short, doubled, with impossible amounts."""
    true = block_of(txs)
    if any(len(tx.payload) > 10_000 for tx in txs):
        return
    shown = {"short": true.transactions[:-1], "doubled": (*true.transactions, *true.transactions[-1:])}
    told = Block(true.header, shown.get(lie, true.transactions))
    name = bytes(32) if lie == "other" else true.hash
    verdict = outcome(told, name)
    assert outcome(raw_block(told), name) == verdict
    assert lie != "other" or (verdict is not None and verdict[0] is Fault.UNFITTING_REPLY)


Chains = st.lists(st.lists(st.one_of(Plain, special((b"", b"\5", bytes(253)))), max_size=4), max_size=3)


@settings(deadline=None)
@given(Chains, st.sets(st.sampled_from(SCRIPTS)), st.sets(Outpoints), st.randoms(use_true_random=False))
def test_the_sieve_misses_nothing(
    bodies: list[list[Transaction]], scripts: set[bytes], owned: set[OutPoint], rnd: random.Random
) -> None:
    """Block after block the findings are those of a look at every transaction; coins are made and spent on the way."""
    coins = {point: Coin(point, 5, b"\x51", 1) for point in owned}
    sieve, made = Sieve(scripts, coins), list(owned)
    for height, body in enumerate(bodies, 2):
        txs = list[Transaction]()
        for tx in body:
            more = [TxIn(rnd.choice(made), b"")] if made else []
            txs.append(Transaction(tx.version, tx.type, (*tx.inputs, *more), tx.outputs, tx.lock_time, tx.payload))
            made += [OutPoint(txs[-1].txid, index) for index in range(len(tx.outputs))]
        block = block_of(txs)
        found = scan_block(raw_block(block), height, scripts, coins, sieve)
        assert found == scan_block(block, height, scripts, coins)
        coins.update({coin.outpoint: coin for coin in found.created})
        for outpoint, _ in found.spent:
            coins.pop(outpoint, None)


def test_a_sieve_grows_with_the_coins_that_it_learns() -> None:
    points = [OutPoint(random.Random(i).randbytes(32), i) for i in range(3 * LEAST)]
    sieve = Sieve([], points[:1])
    for point in points[1:]:
        sieve.add([point])
    txs = [Transaction(2, 0, (TxIn(point, b""),), ()) for point in points]
    strange = [Transaction(2, 0, (TxIn(OutPoint(point.txid, point.index + 1), b""),), ()) for point in points]
    assert list(sieve.touched(raw_block(block_of(txs)))) == list(range(len(points)))
    assert list(sieve.touched(raw_block(block_of(strange)))) == []


@pytest.mark.parametrize("count", range(10))
def test_the_root_of_any_number_of_transactions_is_the_plain_one(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each of the last ones doubled, and with the kernel and without; an empty block has a root of zeros."""
    txs = [Transaction(2, 0, (), (TxOut(n, b"\x51"),)) for n in range(count)]
    blocks = [block_of(txs + txs[doubled:]) for doubled in range(count + 1)]
    plain = [merkle_root(block.txids) for block in blocks]
    raw_blocks.load_kernel()
    assert [raw_block(block).computed_root for block in blocks] == plain
    monkeypatch.setattr(raw_blocks, "_loaded", [])
    assert [raw_block(block).computed_root for block in blocks] == plain
    assert any(mutated for _, mutated in plain) is (count > 0)


def test_only_what_is_touched_becomes_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand transactions the two that concern us are looked into."""
    txs = [Transaction(2, 0, (), (TxOut(n, b"\x53"),)) for n in range(1000)]
    txs[300] = Transaction(2, 0, (), (TxOut(9, b"\x51"),))
    txs[700] = Transaction(2, 0, (TxIn(OutPoint(txs[300].txid, 0), b""),), ())
    looked_at = list[int]()
    whole = RawBlock.transaction

    def looking(block: RawBlock, position: int) -> Transaction:
        looked_at.append(position)
        return whole(block, position)

    monkeypatch.setattr(RawBlock, "transaction", looking)
    block, sieve = raw_block(block_of(txs)), Sieve([b"\x51"], [])
    found = scan_block(block, 5, {b"\x51"}, {}, sieve)
    assert looked_at == [300, 700]
    assert "block" not in block.__dict__
    assert [tx.position for tx in found.transactions] == [300, 700]


@pytest.mark.parametrize("wrong", [b"", bytes(79), bytes(81), bytes(80) + b"\xfd\1\0", bytes(80) + b"\1" + bytes(9)])
@pytest.mark.parametrize("behind", [b"", b"\0"])
def test_a_message_is_refused_in_the_same_words_with_and_without_the_kernel(
    wrong: bytes, behind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said() -> str:
        try:
            return repr(decode("block", wrong + behind, 70240))
        except PeerMisbehaved as refused:
            return f"{refused.fault} {refused}"

    raw_blocks.load_kernel()
    compiled = said()
    monkeypatch.setattr(raw_blocks, "_loaded", [])
    assert said() == compiled


def test_a_block_message_is_its_bytes_however_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    block = block_of([Transaction(2, 0, (), (TxOut(1, b"\x51"),))])
    raw = block.to_bytes()
    raw_blocks.load_kernel()
    messages = [decode("block", raw, 70240), BlockMessage(block), BlockMessage(RawBlock(raw))]
    monkeypatch.setattr(raw_blocks, "_loaded", [])
    messages += [decode("block", raw, 70240), BlockMessage(RawBlock.parse(Reader(raw)))]
    for message in messages:
        assert isinstance(message, BlockMessage)
        assert message == messages[0]
        assert (message.to_bytes(), message.block, message.body.header) == (raw, block, block.header)
        assert (message.body.hash, message.body.txids, len(message.body)) == (block.hash, block.txids, 1)


def test_what_parses_encodes_to_the_bytes_whose_hash_is_the_txid(chain: RecordedChain) -> None:
    block = chain.block(200)
    for position, tx in enumerate(block.transactions):
        again = raw_block(block).transaction(position)
        assert (again, again.txid) == (tx, Transaction.from_bytes(tx.to_bytes()).txid)


def test_recorded_blocks_read_the_same_as_bytes(chain: RecordedChain, capture_watch: list[bytes]) -> None:
    """Layout, proof and findings of a whole recorded chain."""
    scripts, coins = set(capture_watch), dict[OutPoint, Coin]()
    sieve = Sieve(scripts, coins)
    for height in range(1, 357):
        block = chain.block(height)
        raw = RawBlock(block.to_bytes())
        assert agreed(raw.raw) == raw.layout
        check_block(raw, chain.hash_at(height))
        found = scan_block(raw, height, scripts, coins, sieve)
        assert found == scan_block(block, height, scripts, coins)
        coins.update({coin.outpoint: coin for coin in found.created})
        for outpoint, _ in found.spent:
            del coins[outpoint]
    assert coins


def test_a_real_testnet_block_reads_the_same_as_bytes(shared: Path) -> None:
    raw = (shared / "vectors" / "other" / "blk19976-testnet.dat").read_bytes()[8:]
    layout = agreed(raw)
    assert layout is not None
    block = Block.from_bytes(raw)
    assert RawBlock(raw).transactions == block.transactions
    script = block.transactions[0].outputs[0].script
    found = scan_block(RawBlock(raw), 9, {script}, {}, Sieve([script], []))
    assert found == scan_block(block, 9, {script}, {}) != BlockFindings(9)
    rnd = random.Random(1)
    for _ in range(100):
        wrong = bytearray(raw)
        wrong[rnd.randrange(80, len(raw))] ^= 1 << rnd.randrange(8)
        agreed(bytes(wrong))


def test_amounts_beyond_any_sum_are_told_without_an_overflow() -> None:
    """More outputs of all the money than 64 bits can add up."""
    most = Transaction(2, 0, (), tuple([TxOut(MAX_MONEY, b"")] * 10_000))
    assert np.int64(MAX_MONEY).item() * 10_000 > 1 << 63
    assert agreed(block_of([most]).to_bytes()) == Layout(np.array([81, 90_093], np.int32), False)
