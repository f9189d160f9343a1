"""The blocks phase: the bodies of matched blocks, verified against their headers and searched for watched coins.

Blocks are recorded in ascending order, so that a coin is known before the block that spends it is read. What is
recorded and that the block is done are one transaction. A filter matches by chance now and then; such a block is read
and found empty.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from phasegate.consensus.blocks import Coin, check_block, scan_block
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.primitives import Block, OutPoint, Transaction
from phasegate.engine.peers import Peer
from phasegate.engine.pipeline import in_order
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work
from phasegate.p2p.messages import BlockMessage, GetData, InvItem, InvType
from phasegate.store import Change, RecordBlock

PENDING_PAGE = 4096
"""Pending heights read from the store at once."""

TRANSACTION, INPUT, OUTPUT = 400, 250, 120
"""Bytes that the parts of a parsed block take in memory beside their scripts, as measured with CPython 3.11."""


async def download_blocks(work: Work) -> None:
    """The activity of the state `blocks`."""
    if not work.writer.marks.pending_blocks:
        return
    per_peer = work.limits.in_flight["blocks"]
    with work.desk("blocks") as desk:
        download = _Download(work, desk)
        heights = work.store.pending(PENDING_PAGE)
        size = work.limits.batch["blocks"]
        jobs = [tuple(heights[i : i + size]) for i in range(0, len(heights), size)]
        fetch, apply = download.fetch, download.apply
        await in_order(work, work.chain_peers, jobs, fetch, apply, per_peer=per_peer, size=taken_by)


def taken_by(blocks: Sequence[Block]) -> int:
    """The bytes that `blocks` take in memory, about five times what they take on the wire."""
    return sum(_taken_by(tx) for block in blocks for tx in block.transactions)


def _taken_by(tx: Transaction) -> int:
    inputs = sum(INPUT + len(txin.script_sig) for txin in tx.inputs)
    return TRANSACTION + inputs + sum(OUTPUT + len(out.script) for out in tx.outputs) + len(tx.payload)


class _Download:
    def __init__(self, work: Work, desk: Desk) -> None:
        self._work = work
        self._desk = desk
        self._scripts = {item.script for item in work.store.watch_items()}
        self._coins = work.store.coins()

    async def fetch(self, peer: Peer, heights: tuple[int, ...]) -> list[Block]:
        """The verified blocks at `heights`."""
        hashes = [self._work.store.hash_at(height) for height in heights]
        missing, lies, replies = set(hashes), list[PeerMisbehaved](), list[BlockMessage]()
        with trio.CancelScope() as asking:

            def fits(reply: BlockMessage) -> bool:
                """Judged as it comes: what a liar makes us hold is one block, and what comes too late none at all."""
                name = reply.block.hash
                if name not in missing:
                    return False
                missing.discard(name)
                try:
                    check_block(reply.block, name)
                except PeerMisbehaved as lie:
                    lies.append(lie)
                    asking.cancel()
                return True

            request = GetData(tuple(InvItem(InvType.BLOCK, name) for name in hashes))
            replies = await self._desk.ask_many(peer, request, BlockMessage, fits, len(heights))
        if lies:
            raise lies[0]
        blocks = {reply.block.hash: reply.block for reply in replies}
        return [blocks[name] for name in hashes]

    async def apply(self, heights: tuple[int, ...], blocks: list[Block]) -> None:
        """Record what the blocks at `heights` pay to and spend from watched scripts."""
        changes, ours = list[Change](), self._work.broadcasts
        for height, block in zip(heights, blocks, strict=True):
            findings = scan_block(block, height, self._scripts, self._coins)
            self._learn(findings.created, findings.spent)
            self._work.locks.offer_coinbase(block.transactions[0], self._work.store)
            changes += [RecordBlock(height, findings), *([] if ours is None else ours.found(block, height))]
        await self._work.writer.commit(changes)
        if ours is not None:
            for height, block in zip(heights, blocks, strict=True):
                ours.searched(block, height)

    def _learn(self, created: tuple[Coin, ...], spent: tuple[tuple[OutPoint, bytes], ...]) -> None:
        for coin in created:
            self._coins[coin.outpoint] = coin
        for outpoint, _ in spent:
            self._coins.pop(outpoint, None)
