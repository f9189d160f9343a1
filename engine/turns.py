"""Whose turn it is to send: so many requests to one peer, so many to all, and nobody is left waiting for ever.

Who asks the same peer is served in the order of asking. The peers stand in a ring: the next turn goes to the first one
that has room, and a peer that had a turn goes to the end. So while a peer has both somebody waiting and room, every
other peer gets at most one turn before it does, however many requests wait for those. A peer without room keeps its
place and holds nobody up.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from phasegate.engine.peers import Peer


@attrs.define(eq=False)
class Turns:
    """At most `per_peer` turns under way with one peer, and `concurrency` with all of them together."""

    per_peer: int
    concurrency: int
    _busy: Counter[Peer] = attrs.field(factory=Counter, init=False)
    _waiting: dict[Peer, deque[trio.Event]] = attrs.field(factory=dict, init=False)

    @property
    def idle(self) -> bool:
        """Whether no turn is taken or waited for."""
        return not self._busy and not self._waiting

    @asynccontextmanager
    async def turn(self, peer: Peer) -> AsyncIterator[None]:
        """Wait for a turn with `peer` and hold it; who is cancelled while waiting leaves no trace."""
        await self._take(peer)
        try:
            yield
        finally:
            self._give_back(peer)

    async def _take(self, peer: Peer) -> None:
        called = trio.Event()
        self._waiting.setdefault(peer, deque()).append(called)
        self._call()
        try:
            await called.wait()
        except trio.Cancelled:
            if called.is_set():
                self._give_back(peer)
            else:
                self._withdraw(peer, called)
            raise

    def _call(self) -> None:
        """Give turns while there is room; the order of `_waiting` is the ring."""
        while self._busy.total() < self.concurrency and (peer := self._next()) is not None:
            line = self._waiting.pop(peer)
            line.popleft().set()
            self._busy[peer] += 1
            if line:
                self._waiting[peer] = line

    def _next(self) -> Peer | None:
        return next((peer for peer in self._waiting if self._busy[peer] < self.per_peer), None)

    def _give_back(self, peer: Peer) -> None:
        self._busy[peer] -= 1
        if not self._busy[peer]:
            del self._busy[peer]
        self._call()

    def _withdraw(self, peer: Peer, called: trio.Event) -> None:
        self._waiting[peer].remove(called)
        if not self._waiting[peer]:
            del self._waiting[peer]
