"""Proving blocks whole, and finding in them what is watched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction, check_block, scan_block
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.merkle import merkle_root
from phasegate.consensus.primitives import Block, BlockHeader, OutPoint, Transaction

if TYPE_CHECKING:
    from tests.consensus.conftest import RecordedChain

Payment = Callable[[list[OutPoint], list[tuple[int, bytes]]], Transaction]
OURS, ALSO, THEIRS = b"\x51", b"\x52", b"\x53"
FUND = OutPoint(b"\1" * 32, 0)


def block_of(*txs: Transaction) -> Block:
    root = merkle_root([tx.txid for tx in txs])[0]
    return Block(BlockHeader(4, bytes(32), root, 1, 0x207FFFFF, 0), txs)


def test_every_recorded_block_is_whole(chain: RecordedChain) -> None:
    for height in range(1, 357):
        check_block(chain.block(height), chain.hash_at(height))


def test_a_real_testnet_block_is_whole(shared: Path) -> None:
    raw = (shared / "vectors" / "other" / "blk19976-testnet.dat").read_bytes()[8:]
    block = Block.from_bytes(raw)
    assert block.to_bytes() == raw
    check_block(block, bytes.fromhex("0000000cc55c08ed64afb41c7c2f382a64901eadfcc6663c4e70987fdc0e8401")[::-1])


@pytest.fixture
def block(payment: Payment) -> Block:
    return block_of(*[payment([], [(n, OURS)]) for n in range(3)])


def refused(block: Block, header_hash: bytes) -> Fault:
    with pytest.raises(PeerMisbehaved) as caught:
        check_block(block, header_hash)
    return caught.value.fault


def test_another_block_does_not_fit_the_request(block: Block) -> None:
    assert refused(block, bytes(32)) is Fault.UNFITTING_REPLY


def test_other_transactions_miss_the_root(block: Block) -> None:
    for txs in (block.transactions[:-1], block.transactions[::-1], ()):
        assert refused(attrs.evolve(block, transactions=txs), block.hash) is Fault.BAD_BLOCK_MERKLE_ROOT


def test_a_doubled_tail_keeps_the_root_and_is_a_mutation(block: Block) -> None:
    doubled = attrs.evolve(block, transactions=(*block.transactions, block.transactions[-1]))
    assert refused(doubled, block.hash) is Fault.MUTATED_BLOCK


def test_a_payment_becomes_coins(payment: Payment) -> None:
    tx = payment([], [(5, THEIRS), (7, OURS), (9, ALSO), (1, OURS)])
    coins = tuple(Coin(OutPoint(tx.txid, i), v, s, 3) for i, v, s in ((1, 7, OURS), (2, 9, ALSO), (3, 1, OURS)))
    found = FoundTransaction(tx.txid, 0, (OURS, ALSO), 17, 0)
    assert scan_block(block_of(tx), 3, {OURS, ALSO}, {}) == BlockFindings(3, (found,), coins)


def test_a_spend_of_a_known_coin_is_found_with_its_change(payment: Payment) -> None:
    coin = Coin(FUND, 50, OURS, 1)
    inputs = (FUND, OutPoint(b"\2" * 32, 0))
    tx = payment([*inputs], [(20, THEIRS), (29, ALSO)])
    findings = scan_block(block_of(payment([], []), tx), 4, {OURS, ALSO}, {FUND: coin})
    assert findings.transactions == (FoundTransaction(tx.txid, 1, (OURS, ALSO), 29, 50, inputs),)
    assert findings.created == (Coin(OutPoint(tx.txid, 1), 29, ALSO, 4),)
    assert findings.spent == ((FUND, tx.txid),)


def test_a_coin_made_and_spent_in_one_block_is_in_both_lists(payment: Payment) -> None:
    first = payment([], [(8, OURS)])
    second = payment([OutPoint(first.txid, 0)], [(8, THEIRS)])
    findings = scan_block(block_of(first, second), 5, {OURS}, {})
    assert [coin.outpoint for coin in findings.created] == [OutPoint(first.txid, 0)]
    assert findings.spent == ((OutPoint(first.txid, 0), second.txid),)
    assert [(tx.received, tx.sent) for tx in findings.transactions] == [(8, 0), (0, 8)]


def test_a_coin_is_spent_only_once(payment: Payment) -> None:
    coin = Coin(FUND, 50, OURS, 1)
    first, second = payment([FUND], [(1, THEIRS)]), payment([FUND], [(2, THEIRS)])
    findings = scan_block(block_of(first, second), 5, {OURS}, {FUND: coin})
    assert findings.spent == ((FUND, first.txid),)
    assert len(findings.transactions) == 1


def test_a_block_without_anything_watched_is_empty(payment: Payment) -> None:
    assert scan_block(block_of(payment([FUND], [(1, THEIRS)])), 6, {OURS}, {}) == BlockFindings(6)


def test_the_recorded_wallet_comes_out_as_the_record_says(
    chain: RecordedChain, capture: Path, capture_watch: list[bytes]
) -> None:
    record = json.loads((capture / "record.json").read_text())
    coins: dict[OutPoint, Coin] = {}
    found: set[bytes] = set()
    for height in range(1, 357):
        findings = scan_block(chain.block(height), height, set(capture_watch), coins)
        coins.update({coin.outpoint: coin for coin in findings.created})
        for outpoint, _ in findings.spent:
            del coins[outpoint]
        found |= {tx.txid for tx in findings.transactions}
    told = {txid for row in record["watch"].values() for txid in row["txs"]} | {record["spend"]}
    assert {txid[::-1].hex() for txid in found} == told
    balances = {address: _balance(coins, row["spk"]) for address, row in record["watch"].items()}
    left = {address: round(float(total) * 1e8) for address, total in record["balances"].items()}
    left |= {"yaeLX5DtM9aDByYegA2PaeZ4u7sc7YpzyE": 2 * 10**8, "yRrbmFHJmrawfM8ghTbBcR84m5aUiU9FCR": 2 * 10**8}
    left |= {"yZM3FMzDxG82QTUKX38UxtTf3PUA7xeNqA": 0, "yMxk2ZrKMtXfKBhuKSnkFJ7fxk3McrSmFX": 0}
    assert balances == left


def _balance(coins: dict[OutPoint, Coin], script: str) -> int:
    return sum(coin.value for coin in coins.values() if coin.script.hex() == script)
