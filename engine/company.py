"""Which peer out of the address book makes room for another: the pool must not get stuck with whom it happened to meet.

The two that are connected longest, the anchors, hardly ever do: who wants to take over all places would have to outlast
them. The others do, at most one each half minute: one too many; one without filters on a place for those; one that
others outrun again and again. Who made room stays aside for a while. Nobody goes when there is nobody to come instead.

While the client is degraded for what others may know better, all have to go in turn, the anchors too: those at hand are
then no help, however long they have been there. A configured peer is never sent away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from phasegate.engine.config import Address, Config
from phasegate.engine.peer_memory import ANCHORS, PeerMemory
from phasegate.engine.peers import Peer, Role

if TYPE_CHECKING:
    from collections import Counter

    from phasegate.engine.pool import Pool

OUTRUN = 3
"""Races that a peer may lose against others before it makes room for another one."""
EVICTED_EVERY = 30.0
"""Seconds between two peers that have to make room."""


@attrs.define
class Company:
    """Looks after the places of one pool."""

    _pool: Pool
    _config: Config
    _memory: PeerMemory
    _evicted_at: float = attrs.field(default=float("-inf"), init=False)

    def look_after(self, outrun: Counter[Address]) -> None:
        """To be called now and then.

        Args:
            outrun: how many races the peer at an address has lost; who made room for that begins anew.
        """
        own = self._own
        self._memory.keep_anchors([peer.address for peer in own[:ANCHORS]])
        if trio.current_time() - self._evicted_at < EVICTED_EVERY:
            return
        movable = self._movable(own)
        if self._pool.outbound.free < 0 and movable:
            self._send_away(self._least_useful(movable), "there are more peers than places")
        elif len(self._memory.book) > len(own):
            self._make_room(movable, outrun)

    def _make_room(self, movable: Sequence[Peer], outrun: Counter[Address]) -> None:
        outbound = self._pool.outbound
        misplaced = [peer for peer in movable if not outbound.keeps_place(peer)]
        slow = [peer for peer in movable if outrun[peer.address] >= OUTRUN and self._is_dispensable(peer)]
        if outbound.lacks_filters and outbound.free <= 0 and misplaced:
            self._send_away(self._least_useful(misplaced), "its place is kept for a peer with compact filters")
        elif slow:
            del outrun[slow[0].address]
            self._send_away(slow[0], "outrun by others")

    def look_further(self) -> bool:
        """No block came for long: have one more peer than usual, another one each time; whether any can be had."""
        outbound, own = self._pool.outbound, self._own
        if not outbound.discovers:
            return False
        movable = self._movable(own)
        if outbound.extra and outbound.free <= 0 and movable and len(self._memory.book) > len(own):
            self._send_away(self._least_useful(movable), "it brought no block")
        outbound.extra = 1
        return True

    def look_elsewhere(self) -> None:
        """Those at hand are no help: have one more peer than usual, and another for each of them, in turn."""
        outbound, own = self._pool.outbound, self._own
        if not outbound.discovers or trio.current_time() - self._evicted_at < EVICTED_EVERY:
            return
        if outbound.extra and outbound.free <= 0 and own and len(self._memory.book) > len(own):
            self._send_away(own[0], "those at hand are no help")
        elif not outbound.extra:
            outbound.extra = 1
            self._evicted_at = trio.current_time()
            self._pool.wake()

    def be_content(self) -> None:
        """The tip is fresh: there need not be one more peer than usual, and one that did not bring the block may go."""
        outbound, own = self._pool.outbound, self._own
        if outbound.extra:
            outbound.extra = 0
            dialed = [peer for peer in outbound.lines if peer.role is Role.OUTBOUND and not peer.was_ready]
            idle = [peer for peer in own if peer is not max(own, key=lambda peer: peer.news_at)]
            movable = dialed or [peer for peer in self._movable(own) if peer in idle] or idle
            if outbound.free < 0 and movable:
                self._pool.drop(self._least_useful(movable), "the tip is fresh again")

    @property
    def _own(self) -> list[Peer]:
        """The ready peers out of the book, who is there longest first."""
        own = [peer for peer in self._pool.connected if peer.role is Role.OUTBOUND]
        return sorted(own, key=lambda peer: peer.ready_at)

    def _movable(self, own: Sequence[Peer]) -> list[Peer]:
        """All but the anchors; nor are those kept that hold the only places while somebody else is needed."""
        kept, outbound = min(ANCHORS, self._config.limits.max_peers - 1), self._pool.outbound
        useless = [peer for peer in own[:kept] if outbound.seeks and not outbound.keeps_place(peer)]
        return [*useless, *own[kept:]]

    def _is_dispensable(self, peer: Peer) -> bool:
        """Whether somebody else serves filters, if this one does."""
        serves = self._pool.outbound.serves_filters
        return not serves(peer) or sum(map(serves, self._pool.connected)) > 1

    def _least_useful(self, peers: Sequence[Peer]) -> Peer:
        """Rather one without filters, if they are wanted; then who announced no news for longest; then the newest."""
        wanted, serves = self._config.filters, self._pool.outbound.serves_filters
        return min(peers, key=lambda peer: (wanted and serves(peer), peer.news_at, -peer.ready_at))

    def _send_away(self, peer: Peer, why: str) -> None:
        self._evicted_at = trio.current_time()
        self._pool.outbound.put_aside(peer.address)
        self._pool.drop(peer, why)
