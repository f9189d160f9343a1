"""The headers phase: walk to the tip that no ready peer can better.

One peer is followed until it has nothing more; then all others are asked about the tip that is stored by then, and
whoever knows better is followed in turn. The phase ends when every ready peer has answered a `getheaders`, whose first
locator hash is the stored tip, with nothing. Who comes while the others are asked is asked beside them, but holds
nobody up: as long as it has answered nothing, it is left to the next walk. Who takes too long over one answer is left
for another, whatever height it announced; where there is no other, it is followed at its pace.

While a batch is verified the next one is already on its way, because one hash is enough to name it. Which chain is
stored in the end, `headers_choice` decides.

Before the first question the stored chain is held against the built-in checkpoints, the headers below a base in
mid-chain are fetched, and what lies between known blocks is had from all peers at once (`headers_ranges`). When no peer
follows the stored chain, it is the stored chain that is judged again.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence

import trio

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.engine.compression import OF_AN_ENCODER
from phasegate.engine.errors import Failure, FailureKind, PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.phases.bootstrap import fetch_context
from phasegate.engine.phases.headers_choice import Choice
from phasegate.engine.phases.headers_ranges import download_ranges
from phasegate.engine.phases.headers_requests import Batch, HeaderRequests
from phasegate.engine.phases.headers_stored import StoredHeaders
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work, unwrapped

MAX_SHORT = 3
"""Answers in a row with news but not full, after which another peer is followed first, if one has news."""
MAX_CRUMBS = 10
"""Answers in a row that are neither full nor new, after which a peer has nothing better than what is stored."""

MAX_TIMEOUTS = 4
"""Idle timeouts within which a question about the stored tip has its whole answer, however steadily that arrives."""


async def download_headers(work: Work) -> None:
    """The activity of the state `headers`."""
    await work.pool.first_contact()
    stored = StoredHeaders(work)
    await stored.hold_against_checkpoints()
    with work.desk("headers") as desk:
        requests = HeaderRequests(work, desk)
        await fetch_context(work, requests)
        tip = await download_ranges(work, requests, await stored.tip_at(work.writer.marks.tip))
        await _Walk(work, desk, requests, Choice(work, desk, requests, tip)).run()
    if work.writer.marks.work < work.config.least_work:
        marks, least = work.writer.marks, work.config.least_work
        lack = f"has {marks.work:x}, less than {least:x}, the least that counts"
        raise Failure(FailureKind.NOT_ENOUGH_WORK, f"not enough work: the chain at {marks.tip} {lack}")


class _Walk:
    def __init__(self, work: Work, desk: Desk, requests: HeaderRequests, choice: Choice) -> None:
        self._work = work
        self._desk = desk
        self._requests = requests
        self._choice = choice
        self._slow: set[Peer] = set()
        self._usual = math.inf
        self._in_vain = False

    async def run(self) -> None:
        """Walk; the guards may end this as soon as everybody who counts has agreed."""
        live = self._work.live
        live.heard = b"", frozenset()
        try:
            await self._until_all_agree()
            if all(peer in live.elsewhere for peer in self._work.any_peer()):
                await StoredHeaders(self._work).suspect_all()
        finally:
            if self._work.pool.ready and not self._work.unheard():
                live.tip_hint = False
            self._work.leave_to_next_walk(in_vain=self._in_vain)

    async def _until_all_agree(self) -> None:
        while peers := self._work.unheard():
            members = frozenset(self._work.any_peer())
            race = len(peers) == len(members)
            news = peers if race and self._has_favourite(peers) else await self._ask_all(peers, race=race)
            if news:
                await self._follow(max(news, key=self._rank))
            elif not race:
                self._work.live.heard = self._work.writer.marks.tip_hash, members
        self._work.any_peer()  # raises when all are gone: nobody has agreed then

    def _has_favourite(self, peers: list[Peer]) -> bool:
        """Whether somebody may be followed just so: not when one was slow and no other has proven to answer."""
        return not self._slow.intersection(peers) or any(peer.answers and peer not in self._slow for peer in peers)

    def _rank(self, peer: Peer) -> tuple[bool, bool, int]:
        """Who is followed first: announced heights come last, for they cost nothing."""
        return peer not in self._slow, peer.answers > 0, peer.start_height

    async def _ask_all(self, peers: list[Peer], *, race: bool) -> list[Peer]:
        """Ask each about the stored tip, at once; who has something goes into the result, who has not agrees.

        In a race nobody has agreed so far, and the first answer is enough. Then two peers have all the time that a slow
        world takes, and the others make room early, for they may be as mute as they seem. They are asked about the
        stored tip alone: who agrees with another peer's branch does not agree with what is stored.
        """
        self._choice.begin()
        news: list[Peer] = []
        patient = peers[:2] if race else []
        within = 2 * self._work.limits.idle_timeout if race else MAX_TIMEOUTS * self._desk.patience.timeout

        async def ask(peer: Peer) -> None:
            try:
                with self._work.blame(peer):
                    if (await self._whole_answer(peer, math.inf if peer in patient else within)).raw:
                        news.append(peer)
                    else:
                        self._agree(peer)
            except (PeerGone, PeerMisbehaved):  # dropped or banned, with the reason, by `blame`
                self._in_vain = True
                return
            if race:
                beside.cancel_scope.cancel()

        with unwrapped():
            async with trio.open_nursery() as beside:
                beside.start_soon(self._ask_latecomers, beside, ask, {*peers})
                async with trio.open_nursery() as nursery:
                    for peer in peers:
                        nursery.start_soon(ask, peer)
                beside.cancel_scope.cancel()
        return [peer for peer in news if not peer.gone]

    async def _ask_latecomers(
        self, nursery: trio.Nursery, ask: Callable[[Peer], Awaitable[None]], asked: set[Peer]
    ) -> None:
        while True:
            await self._work.pool.changed()
            for peer in self._work.pool.ready:
                if peer not in asked and not self._work.has_agreed(peer):
                    asked.add(peer)
                    nursery.start_soon(ask, peer)

    async def _whole_answer(self, peer: Peer, within: float) -> Batch:
        """What `peer` has above the stored tip, unless its answer takes longer than so many seconds."""
        with trio.move_on_after(within):
            return await self._requests.ask(peer, self._choice.locator())
        raise PeerGone(str(peer), FailureKind.PEER_SILENT, f"no whole answer to getheaders within {within:g} s")

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
        short, crumbs, batch = 0, 0, await self._ask(peer, self._choice.locator())
        while batch is not None and batch.raw and crumbs < MAX_CRUMBS:
            short = 0 if batch.full else short + 1
            crumbs = 0 if batch.full or not self._choice.is_stored(batch) else crumbs + 1
            if short > MAX_SHORT and self._others(peer):
                self._slow.add(peer)
                return False
            batch = await self._take_and_ask(peer, batch)
        return batch is not None

    async def _ask(self, peer: Peer, locator: Sequence[bytes]) -> Batch | None:
        """The next answer of the peer that is followed; None when it took too long and another one can be followed."""
        began, batch = trio.current_time(), None
        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._lose_patience, peer, nursery.cancel_scope)
                batch = await self._requests.ask(peer, locator)
                nursery.cancel_scope.cancel()
        if batch is None:
            self._slow.add(peer)
            self._work.outrun(peer)
        elif batch.full:
            self._usual = min(self._usual, trio.current_time() - began)
        return batch

    async def _lose_patience(self, peer: Peer, question: trio.CancelScope) -> None:
        """Give up a question that is overdue, once there is somebody else to follow.

        The fastest full answer is the measure: one peer alone cannot stretch it.
        """
        limits = self._work.limits
        usual = limits.idle_timeout / 4 if math.isinf(self._usual) else self._usual
        compression = self._work.live.compression
        if compression.wanted(peer) and not compression.proven(peer):
            await trio.sleep(self._desk.patience.timeout)  # it may answer plain questions only
        await trio.sleep(max(limits.steal_after, 2 * usual))
        while not self._others(peer):
            await self._work.pool.changed()
        question.cancel()

    def _others(self, peer: Peer) -> bool:
        """Whether another peer than `peer` could be followed instead."""
        return any(
            p not in self._slow and p is not peer and not self._work.has_agreed(p) for p in self._work.any_peer()
        )

    async def _take_and_ask(self, peer: Peer, batch: Batch) -> Batch | None:
        """Take one batch and ask for the next; if a compressed one breaks a rule, have it again in plain form."""
        try:
            if batch.full:
                return await self._take_while_asking(peer, batch)
            await self._choice.take(peer, batch)
        except PeerMisbehaved as fault:
            if not batch.compressed or fault.fault not in OF_AN_ENCODER:
                raise
            self._requests.fall_back(peer, fault)
        return await self._ask(peer, self._choice.locator())

    async def _take_while_asking(self, peer: Peer, batch: Batch) -> Batch | None:
        ahead = [batch.last_hash, *self._choice.locator()]
        following: list[Batch | None] = []

        async def ask_ahead() -> None:
            following.append(await self._ask(peer, ahead))

        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask_ahead)
                await self._choice.take(peer, batch)
        return following[0]

    def _agree(self, peer: Peer) -> None:
        self._work.live.agreed[peer] = self._work.writer.marks.tip_hash
        self._work.live.elsewhere.discard(peer)
