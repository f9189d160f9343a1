"""What a downloaded block says about watched scripts, once it is proven to be the block that was asked for.

A light client asks for a block because its filter matched. Only outputs to watched scripts become coins, and only
spends of known coins are seen, so blocks are scanned in ascending order of height. What a special transaction mentions
in its payload (keys, a proTxHash, payout and credited scripts) is watched as scripts are, for the filter holds it, but
makes no coin.

Both doors take a block as objects, of which every transaction is looked at, or as bytes (`raw_blocks`), of which with a
sieve only those are made into objects that may concern what is watched. What comes out is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING

import attrs

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.merkle import merkle_root
from phasegate.consensus.primitives import Block, OutPoint, Transaction
from phasegate.consensus.raw_blocks import RawBlock
from phasegate.consensus.special_txs import mentioned

if TYPE_CHECKING:
    from phasegate.consensus.sieve import Sieve


@attrs.frozen
class Coin:
    """An output to a watched script: where it is, its value in duffs, its script and the height of its block."""

    outpoint: OutPoint
    value: int
    script: bytes
    height: int


@attrs.frozen
class FoundTransaction:
    """A transaction that pays to, spends from or mentions what is watched.

    Args:
        txid: 32 bytes, wire order.
        position: in its block, the coinbase being 0.
        scripts: the watched scripts it touches, distinct and sorted.
        received: duffs paid to watched scripts.
        sent: duffs of the watched coins that it spends.
        inputs: everything that it spends; none for a coinbase.
        mentions: those of `scripts` that its payload holds [`special_txs`], sorted.
    """

    txid: bytes
    position: int
    scripts: tuple[bytes, ...]
    received: int
    sent: int
    inputs: tuple[OutPoint, ...] = ()
    mentions: tuple[bytes, ...] = ()


@attrs.frozen
class BlockFindings:
    """All that one block holds for the watched scripts, in the order of the block.

    A coin that is created and spent in this block stands in both `created` and `spent`; `spent` pairs each outpoint
    with the txid of its spender.
    """

    height: int
    transactions: tuple[FoundTransaction, ...] = ()
    created: tuple[Coin, ...] = ()
    spent: tuple[tuple[OutPoint, bytes], ...] = ()


def check_block(block: Block | RawBlock, header_hash: bytes) -> None:
    """Prove that `block` is the whole block whose header hashes to `header_hash` (32 bytes, wire order).

    Raises:
        PeerMisbehaved: UNFITTING_REPLY for another block, MUTATED_BLOCK when transactions are doubled
            (CVE-2012-2459), BAD_BLOCK_MERKLE_ROOT when they are not those that the header commits to,
            BAD_TRANSACTION when one pays an amount that cannot exist.
    """
    name = header_hash[::-1].hex()
    if block.hash != header_hash:
        raise PeerMisbehaved(Fault.UNFITTING_REPLY, f"block {block.hash[::-1].hex()} instead of {name}")
    root, mutated = merkle_root(block.txids) if isinstance(block, Block) else block.computed_root
    if root != block.merkle_root:
        raise PeerMisbehaved(Fault.BAD_BLOCK_MERKLE_ROOT, f"block {name}: the transactions miss the merkle root")
    if mutated:
        raise PeerMisbehaved(Fault.MUTATED_BLOCK, f"block {name}: transactions are doubled")
    if not block.is_affordable:
        raise PeerMisbehaved(Fault.BAD_TRANSACTION, f"block {name}: a transaction pays an impossible amount")


def scan_block(
    block: Block | RawBlock,
    height: int,
    scripts: Set[bytes],
    coins: Mapping[OutPoint, Coin],
    sieve: Sieve | None = None,
) -> BlockFindings:
    """What `block` does to the watched `scripts`.

    Args:
        block: already checked.
        height: of the block.
        scripts: what is watched.
        coins: unspent outputs to watched scripts from blocks before this one; not changed.
        sieve: knows at least `scripts` and `coins`, and learns the coins that are found; without one, or for a block
            that is no bytes, every transaction is looked at.
    """
    scan = _Scan(height, scripts, coins)
    if sieve is None or isinstance(block, Block):
        for position, tx in enumerate(block.transactions):
            scan.add(position, tx)
    else:
        for position in sieve.touched(block):
            sieve.add(scan.add(position, block.transaction(position)))
    return BlockFindings(height, tuple(scan.transactions), tuple(scan.created.values()), tuple(scan.spent.items()))


class _Scan:
    """One walk through the transactions of a block."""

    def __init__(self, height: int, scripts: Set[bytes], coins: Mapping[OutPoint, Coin]) -> None:
        self.height, self.scripts, self.coins = height, scripts, coins
        self.transactions: list[FoundTransaction] = []
        self.created: dict[OutPoint, Coin] = {}
        self.spent: dict[OutPoint, bytes] = {}

    def add(self, position: int, tx: Transaction) -> list[OutPoint]:
        """Look at `tx`; the coins that it makes."""
        sent = [coin for txin in tx.inputs if (coin := self._known(txin.prevout)) is not None]
        self.spent.update({coin.outpoint: tx.txid for coin in sent})
        received = [
            Coin(OutPoint(tx.txid, index), out.value, out.script, self.height)
            for index, out in enumerate(tx.outputs)
            if out.script in self.scripts
        ]
        self.created.update({coin.outpoint: coin for coin in received})
        mentions = mentioned(tx) & self.scripts
        if touched := {coin.script for coin in (*sent, *received)} | mentions:
            values = _sum(received), _sum(sent), _inputs(tx), tuple(sorted(mentions))
            self.transactions.append(FoundTransaction(tx.txid, position, tuple(sorted(touched)), *values))
        return [coin.outpoint for coin in received]

    def _known(self, outpoint: OutPoint) -> Coin | None:
        if outpoint in self.spent:
            return None
        return self.created.get(outpoint) or self.coins.get(outpoint)


def _inputs(tx: Transaction) -> tuple[OutPoint, ...]:
    return () if tx.is_coinbase else tuple([txin.prevout for txin in tx.inputs])


def _sum(coins: list[Coin]) -> int:
    return sum(coin.value for coin in coins)
