"""The headers phase: walk to the tip that no ready peer can better.

One peer is followed until it has nothing more; then all others are asked about the tip that is stored by then, and
whoever knows better is followed in turn. The phase ends when every ready peer has answered a `getheaders`, whose first
locator hash is the stored tip, with nothing. While a batch is verified the next one is already on its way, because one
X11 hash is enough to name it.

A branch that leaves the stored chain stays in memory until its validated work exceeds the stored tip's; then one
transaction rolls every table back to the fork point and appends the branch. Nothing else in a running client does that.
"""

from __future__ import annotations

import attrs
import trio

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.headers import ChainTip, CheckedHeaders, extend, locator_heights, tip_from, work_of
from phasegate.consensus.primitives import header_at
from phasegate.consensus.x11 import HEADER_SIZE, x11
from phasegate.engine.errors import Failure, FailureKind, PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work, unwrapped
from phasegate.p2p.handshake import PROTOCOL_VERSION
from phasegate.p2p.messages import GetHeaders, Headers
from phasegate.store import AppendHeaders, Change, RollBack

FULL = 2000
"""Headers in a full `headers` message: the peer has more [Core MAX_HEADERS_RESULTS]."""
WINDOW = 24
"""Headers before a block that its difficulty and median time depend on."""
MAX_BRANCH_LEAD = 4000
"""How many headers a branch may be longer than the stored chain and still have less work, before it is let go."""
MAX_STALE = 3
"""Answers that go back behind their question, with nothing stored in between, before a peer is dropped as useless."""

MAX_SHORT = 3
"""Answers in a row with news but not full, after which another peer is followed first, if one has news."""


@attrs.define
class _Branch:
    """Headers that leave the stored chain above `fork`, validated, not yet worth more than what is stored."""

    fork: ChainTip
    pieces: list[CheckedHeaders] = attrs.field(factory=list)

    @property
    def tip(self) -> ChainTip:
        return self.pieces[-1].tip if self.pieces else self.fork

    def changes(self) -> list[Change]:
        """Roll back and append, as one batch."""
        appends: list[Change] = [_append(piece) for piece in self.pieces]
        return [RollBack(self.fork.height, self.fork.work), *appends]


def _append(piece: CheckedHeaders) -> AppendHeaders:
    return AppendHeaders(piece.first_height, piece.raw, piece.hashes, piece.tip.work)


async def download_headers(work: Work) -> None:
    """The activity of the state `headers`."""
    await work.pool.first_contact()
    with work.desk("headers") as desk:
        await _Walk(work, desk).run()


class _Walk:
    def __init__(self, work: Work, desk: Desk) -> None:
        self._work = work
        self._desk = desk
        self._tip = self._chain_tip(work.writer.marks.tip)
        self._branch: _Branch | None = None
        self._stale = 0
        self._slow: set[Peer] = set()

    async def run(self) -> None:
        while peers := [peer for peer in self._work.any_peer() if not self._work.has_agreed(peer)]:
            news = await self._ask_all(peers) if len(peers) < len(self._work.pool.ready) else peers
            if news:
                await self._follow(max(news, key=lambda peer: (peer not in self._slow, peer.start_height)))
        self._work.live.tip_hint = False
        if self._work.writer.marks.work < self._work.network.min_chainwork:
            detail = f"the chain at {self._tip.height} has less than the network's minimum work"
            raise Failure(FailureKind.NOT_ENOUGH_WORK, detail)

    async def _ask_all(self, peers: list[Peer]) -> list[Peer]:
        """Ask each about the stored tip, at once; who has something goes into the result, who has not agrees."""
        news: list[Peer] = []

        async def ask(peer: Peer) -> None:
            try:
                with self._work.blame(peer):
                    if (await self._request(peer, self._locator())).raw:
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
        self._branch, self._stale, short = None, 0, 0
        try:
            with self._work.blame(peer):
                reply = await self._request(peer, self._locator())
                while reply.raw:
                    short = short + 1 if len(reply.raw) < FULL * HEADER_SIZE else 0
                    if short > MAX_SHORT and self._others(peer):
                        self._slow.add(peer)
                        return
                    reply = await self._take_and_ask(peer, reply)
                self._agree(peer)
                if self._branch:
                    self._work.live.elsewhere.add(peer)
        except (PeerGone, PeerMisbehaved):
            return  # dropped or banned, with the reason, by `blame`

    def _others(self, peer: Peer) -> bool:
        """Whether another peer than `peer` could be followed instead."""
        return any(
            p not in self._slow and p is not peer and not self._work.has_agreed(p) for p in self._work.any_peer()
        )

    async def _take_and_ask(self, peer: Peer, reply: Headers) -> Headers:
        """Verify and store one batch, with the next one asked for meanwhile if this one was full."""
        if len(reply.raw) < FULL * HEADER_SIZE:
            await self._take(reply.raw)
            return await self._request(peer, self._locator())
        ahead = [x11(reply.raw[-HEADER_SIZE:]), *self._locator()]
        following: list[Headers] = []

        async def ask_ahead() -> None:
            following.append(await self._request(peer, ahead[:101]))

        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask_ahead)
                await self._take(reply.raw)
        return following[0]

    async def _request(self, peer: Peer, locator: list[bytes]) -> Headers:
        message = GetHeaders(PROTOCOL_VERSION, tuple(locator), bytes(32))
        return await self._desk.ask(peer, message, Headers, lambda _: True)

    def _locator(self) -> list[bytes]:
        """Hashes from the tip of what is being followed back to the base, wider and wider apart."""
        store, marks = self._work.store, self._work.writer.marks
        stored = [store.hash_at(height) for height in locator_heights(marks.tip, marks.base)]
        return [self._branch.tip.hash, *stored][:101] if self._branch else stored

    def _agree(self, peer: Peer) -> None:
        self._work.live.agreed[peer] = self._work.writer.marks.tip_hash
        self._work.live.elsewhere.discard(peer)

    async def _take(self, raw: bytes) -> None:
        """Verify a batch where it belongs, and store it if it makes the best chain."""
        start, fresh = await self._place(raw)
        if not fresh:
            self._count_stale()
            return
        now = int(self._work.seams.now())
        checked = await self._work.seams.compute(extend, self._work.network, start, fresh, now)
        if start.hash == self._tip.hash:
            await self._work.writer.commit([_append(checked)])
            self._tip, self._branch, self._stale = checked.tip, None, 0
        else:
            await self._grow_branch(start, checked)

    def _count_stale(self) -> None:
        """Note an answer that goes back behind what was asked about; only what gets stored makes up for it."""
        self._stale += 1
        if self._stale > MAX_STALE:
            raise PeerMisbehaved(Fault.UNFITTING_REPLY, "answers getheaders with headers that come before the locator")

    async def _place(self, raw: bytes) -> tuple[ChainTip, bytes]:
        """Where a batch begins, and what of it is not stored."""
        prev = raw[4:36]
        if self._branch and prev == self._branch.tip.hash:
            return self._branch.tip, raw
        if prev == self._tip.hash:
            return self._tip, raw
        height = self._work.store.height_of(prev)
        if height is None:
            detail = f"the header after {prev[::-1].hex()} connects to nothing that was asked for"
            raise PeerMisbehaved(Fault.BROKEN_HEADER_LINK, detail)
        known = await self._work.seams.compute(self._count_known, raw, height)
        return self._chain_tip(height + known), raw[known * HEADER_SIZE :]

    def _count_known(self, raw: bytes, height: int) -> int:
        """How many of a batch's first headers are the stored ones above `height`."""
        count = min(len(raw) // HEADER_SIZE, self._work.writer.marks.tip - height)
        stored = self._work.store.headers(height + 1, count) if count else b""
        return next((i for i in range(count) if header_at(raw, i) != header_at(stored, i)), count)

    async def _grow_branch(self, start: ChainTip, checked: CheckedHeaders) -> None:
        if self._branch is None or start.hash != self._branch.tip.hash:
            if self._branch is not None:
                self._count_stale()
            self._branch = _Branch(start)
        branch = self._branch
        branch.pieces.append(checked)
        marks = self._work.writer.marks
        if branch.tip.work > marks.work:
            await self._work.writer.commit(branch.changes())
            self._work.live.settled.clear()
            self._tip, self._branch, self._stale = branch.tip, None, 0
            self._work.rewound(marks.tip, branch.fork.height)
        elif branch.tip.height > marks.tip + MAX_BRANCH_LEAD:
            detail = f"a branch from {branch.fork.height} to {branch.tip.height} with less work than the stored chain"
            raise PeerMisbehaved(Fault.LOW_WORK_HEADERS, detail)

    def _chain_tip(self, height: int) -> ChainTip:
        """The validation context of the stored header at `height`."""
        store, marks = self._work.store, self._work.writer.marks
        first = max(marks.base, height - WINDOW + 1)
        above = store.headers(height + 1, marks.tip - height) if height < marks.tip else b""
        work = marks.work - sum(
            work_of(int.from_bytes(above[i + 72 : i + 76], "little")) for i in range(0, len(above), HEADER_SIZE)
        )
        recent = store.headers(first, height - first + 1)
        return tip_from(self._work.network, height, store.hash_at(height), work, recent)
