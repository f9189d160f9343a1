"""The blocks phase: the bodies of matched blocks, verified against their headers and searched for watched coins.

Blocks are recorded in ascending order, so that a coin is known before the block that spends it is read. What is
recorded and that the block is done are one transaction. A filter matches by chance now and then; such a block is read
and found empty.
"""

from __future__ import annotations

import trio

from phasegate.consensus.blocks import Coin, check_block, scan_block
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.primitives import Block, OutPoint
from phasegate.engine.peers import Peer
from phasegate.engine.pipeline import in_order
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work
from phasegate.p2p.messages import BlockMessage, GetData, InvItem, InvType
from phasegate.store import Change, RecordBlock

PENDING_PAGE = 4096
"""Pending heights read from the store at once."""


async def download_blocks(work: Work) -> None:
    """The activity of the state `blocks`."""
    if not work.writer.marks.pending_blocks:
        return
    peers = work.chain_peers()
    with work.desk("blocks") as desk:
        download = _Download(work, desk)
        heights = work.store.pending(PENDING_PAGE)
        size = work.limits.batch["blocks"]
        jobs = [tuple(heights[i : i + size]) for i in range(0, len(heights), size)]
        await in_order(work, peers, jobs, download.fetch, download.apply, per_peer=work.limits.in_flight["blocks"])


class _Download:
    def __init__(self, work: Work, desk: Desk) -> None:
        self._work = work
        self._desk = desk
        self._scripts = {item.script for item in work.store.watch_items()}
        self._coins = work.store.coins()

    async def fetch(self, peer: Peer, heights: tuple[int, ...]) -> list[Block]:
        """The verified blocks at `heights`."""
        hashes = [self._work.store.hash_at(height) for height in heights]
        blocks: dict[bytes, Block] = {}
        lies: list[PeerMisbehaved] = []
        with trio.CancelScope() as asking:

            def fits(reply: BlockMessage) -> bool:
                """Judged as it comes: what a liar makes us hold is one block, not a whole batch."""
                name = reply.block.hash
                if name not in hashes or name in blocks:
                    return False
                try:
                    check_block(reply.block, name)
                except PeerMisbehaved as lie:
                    lies.append(lie)
                    asking.cancel()
                blocks[name] = reply.block
                return True

            request = GetData(tuple(InvItem(InvType.BLOCK, name) for name in hashes))
            await self._desk.ask_many(peer, request, BlockMessage, fits, len(heights))
        if lies:
            raise lies[0]
        return [blocks[name] for name in hashes]

    async def apply(self, heights: tuple[int, ...], blocks: list[Block]) -> None:
        """Record what the blocks at `heights` pay to and spend from watched scripts."""
        changes: list[Change] = []
        for height, block in zip(heights, blocks, strict=True):
            findings = scan_block(block, height, self._scripts, self._coins)
            self._learn(findings.created, findings.spent)
            self._work.locks.offer_coinbase(block.transactions[0], self._work.store)
            changes.append(RecordBlock(height, findings))
        await self._work.writer.commit(changes)

    def _learn(self, created: tuple[Coin, ...], spent: tuple[tuple[OutPoint, bytes], ...]) -> None:
        for coin in created:
            self._coins[coin.outpoint] = coin
        for outpoint, _ in spent:
            self._coins.pop(outpoint, None)
