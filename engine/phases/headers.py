"""The headers phase: walk to the tip that no ready peer can better.

One peer is followed until it has nothing more; then all others are asked about the tip that is stored by then, and
whoever knows better is followed in turn. The phase ends when every ready peer has answered a `getheaders`, whose first
locator hash is the stored tip, with nothing. While a batch is verified the next one is already on its way, because one
hash is enough to name it. Which chain is stored in the end, `headers_choice` decides.

Before the first question the stored chain is held against the built-in checkpoints, and the headers below a base in
mid-chain are fetched. When no peer follows the stored chain, it is the stored chain that is judged again.
"""

from __future__ import annotations

import trio

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.engine.errors import Failure, FailureKind, PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.phases.bootstrap import fetch_context
from phasegate.engine.phases.headers_choice import Choice
from phasegate.engine.phases.headers_requests import Batch, HeaderRequests
from phasegate.engine.phases.headers_stored import StoredHeaders
from phasegate.engine.work import Work, unwrapped

MAX_SHORT = 3
"""Answers in a row with news but not full, after which another peer is followed first, if one has news."""
MAX_CRUMBS = 10
"""Answers in a row that are neither full nor new, after which a peer has nothing better than what is stored."""

OF_AN_ENCODER = frozenset(
    {
        Fault.BROKEN_HEADER_LINK,
        Fault.BAD_PROOF_OF_WORK,
        Fault.BAD_DIFFICULTY,
        Fault.BAD_HEADER_TIME,
        Fault.BAD_HEADER_VERSION,
        Fault.HEADER_FROM_THE_FUTURE,
    }
)
"""What honest headers seem to do wrong when their compression is wrong."""


async def download_headers(work: Work) -> None:
    """The activity of the state `headers`."""
    await work.pool.first_contact()
    stored = StoredHeaders(work)
    await stored.hold_against_checkpoints()
    with work.desk("headers") as desk:
        requests = HeaderRequests(work, desk)
        await fetch_context(work, requests)
        tip = await stored.tip_at(work.writer.marks.tip)
        await _Walk(work, requests, Choice(work, desk, requests, tip)).run()
    if work.writer.marks.work < work.config.least_work:
        marks, least = work.writer.marks, work.config.least_work
        lack = f"has {marks.work:x}, less than {least:x}, the least that counts"
        raise Failure(FailureKind.NOT_ENOUGH_WORK, f"not enough work: the chain at {marks.tip} {lack}")


class _Walk:
    def __init__(self, work: Work, requests: HeaderRequests, choice: Choice) -> None:
        self._work = work
        self._requests = requests
        self._choice = choice
        self._slow: set[Peer] = set()

    async def run(self) -> None:
        while peers := [peer for peer in self._work.any_peer() if not self._work.has_agreed(peer)]:
            news = await self._ask_all(peers) if len(peers) < len(self._work.pool.ready) else peers
            if news:
                await self._follow(max(news, key=lambda peer: (peer not in self._slow, peer.start_height)))
        if all(peer in self._work.live.elsewhere for peer in self._work.any_peer()):
            await StoredHeaders(self._work).suspect_all()
        self._work.live.tip_hint = False

    async def _ask_all(self, peers: list[Peer]) -> list[Peer]:
        """Ask each about the stored tip, at once; who has something goes into the result, who has not agrees."""
        news: list[Peer] = []

        async def ask(peer: Peer) -> None:
            try:
                with self._work.blame(peer):
                    if (await self._requests.ask(peer, self._choice.locator())).raw:
                        news.append(peer)
                    else:
                        self._agree(peer)
            except (PeerGone, PeerMisbehaved):
                return  # dropped or banned, with the reason, by `blame`

        with unwrapped():
            async with trio.open_nursery() as nursery:
                for peer in peers:
                    nursery.start_soon(ask, peer)
        return news

    async def _follow(self, peer: Peer) -> None:
        """Take what `peer` has until it has nothing more, or brings it in crumbs while others may have it whole."""
        self._choice.begin()
        try:
            with self._work.blame(peer):
                if await self._exhaust(peer):
                    await self._choice.settle(peer)
                    self._agree(peer)
                    if self._choice.branch:
                        self._work.live.elsewhere.add(peer)
        except (PeerGone, PeerMisbehaved):
            return  # dropped or banned, with the reason, by `blame`

    async def _exhaust(self, peer: Peer) -> bool:
        """Whether `peer` has nothing more to tell; False when another one should be followed first."""
        short, crumbs, batch = 0, 0, await self._requests.ask(peer, self._choice.locator())
        while batch.raw and crumbs < MAX_CRUMBS:
            short = 0 if batch.full else short + 1
            crumbs = 0 if batch.full or not self._choice.is_stored(batch) else crumbs + 1
            if short > MAX_SHORT and self._others(peer):
                self._slow.add(peer)
                return False
            batch = await self._take_and_ask(peer, batch)
        return True

    def _others(self, peer: Peer) -> bool:
        """Whether another peer than `peer` could be followed instead."""
        return any(
            p not in self._slow and p is not peer and not self._work.has_agreed(p) for p in self._work.any_peer()
        )

    async def _take_and_ask(self, peer: Peer, batch: Batch) -> Batch:
        """Take one batch and ask for the next; if a compressed one breaks a rule, have it again in plain form."""
        try:
            if batch.full:
                return await self._take_while_asking(peer, batch)
            await self._choice.take(peer, batch)
        except PeerMisbehaved as fault:
            if not batch.compressed or fault.fault not in OF_AN_ENCODER:
                raise
            self._requests.fall_back(peer, fault)
        return await self._requests.ask(peer, self._choice.locator())

    async def _take_while_asking(self, peer: Peer, batch: Batch) -> Batch:
        ahead = [batch.last_hash, *self._choice.locator()]
        following: list[Batch] = []

        async def ask_ahead() -> None:
            following.append(await self._requests.ask(peer, ahead))

        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask_ahead)
                await self._choice.take(peer, batch)
        return following[0]

    def _agree(self, peer: Peer) -> None:
        self._work.live.agreed[peer] = self._work.writer.marks.tip_hash
        self._work.live.elsewhere.discard(peer)
