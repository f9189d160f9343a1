"""Fetches what is announced, on errands, for as long as the client runs: locks, and transactions that are in no block.

See `engine/locks.py` and `engine/unconfirmed.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import trio

from phasegate.engine.chatter import Purses
from phasegate.engine.config import Address
from phasegate.engine.errands import ANNOUNCED
from phasegate.engine.errors import FailureKind, PeerGone
from phasegate.p2p.messages import InvItem, Message

if TYPE_CHECKING:
    from phasegate.engine.errands import Errands, Kinds
    from phasegate.engine.lock_offers import Offers
    from phasegate.engine.peers import Peer
    from phasegate.engine.work import Work

LOOK_EVERY, LOOK_SELDOM = 2.0, 60.0
"""Seconds after which the offers are looked at though nothing is known to have changed: when there are some; none."""


class Wanted(Protocol):
    """Whoever takes note of announcements and takes what is fetched."""

    offers: Offers
    per_peer: int

    @property
    def changed(self) -> trio.Event:
        """Set when there is something new to fetch."""

    def received(self, peer: Peer, message: Any, /) -> None:
        """Take what was asked for."""

    def wake(self) -> None:
        """Have whoever fetches look again."""


async def fetch_locks(work: Work, resting: Callable[[], bool]) -> None:
    """Fetch locks until cancelled; `resting` says whether the client is paused, then nothing is asked for."""
    await fetch_announced(work, work.locks, ANNOUNCED, resting)


async def fetch_announced(work: Work, wanted: Wanted, kinds: Kinds, resting: Callable[[], bool]) -> None:
    """Fetch until cancelled, but not while `resting` says so.

    Args:
        work: the workbench.
        wanted: has the offers, and gets what comes.
        kinds: of what may be asked for.
        resting: whether nothing is to be asked for now.
    """
    limits, most = work.limits, work.limits.concurrency["locks"]
    rate = limits.rate["locks"]
    with work.ledger.errand(wanted.per_peer, limits.idle_timeout, concurrency=most, rate=rate, kinds=kinds) as desk:
        errands = _Fetching(work, wanted, desk)
        async with trio.open_nursery() as nursery:
            while True:
                changed = wanted.changed
                while not resting() and (chosen := wanted.offers.take(errands.may_ask)) is not None:
                    nursery.start_soon(errands.fetch, *chosen)
                with trio.move_on_after(LOOK_EVERY if wanted.offers.items else LOOK_SELDOM):
                    await changed.wait()


class _Fetching:
    def __init__(self, work: Work, wanted: Wanted, desk: Errands) -> None:
        self._work = work
        self._wanted = wanted
        self._desk = desk
        self._purses = Purses(work.limits)
        self._told = set[Address]()

    def may_ask(self, peer: Peer) -> bool:
        """Whether `peer` has not had more fetched than it may."""
        return not self._purses.in_debt(peer.address, trio.current_time())

    async def fetch(self, peer: Peer, items: tuple[InvItem, ...]) -> None:
        """Have `items` from `peer`, or find that it does not send them."""
        wanted, left = self._wanted, dict.fromkeys(items)

        def take(item: InvItem, message: Message | None) -> None:
            del left[item]
            self._pay(peer, 0 if message is None else peer.last_size)
            if message is None:
                wanted.offers.failed(peer, item)
            else:
                wanted.received(peer, message)

        try:
            await self._desk.fetch(peer, items, take)
        except PeerGone as gone:
            for item in left:
                wanted.offers.failed(peer, item, silent=gone.kind is FailureKind.PEER_SILENT)
        wanted.wake()

    def _pay(self, peer: Peer, size: int) -> None:
        in_debt = self._purses.pay(peer.address, size, trio.current_time())
        if in_debt and peer.address not in self._told:
            self._told.add(peer.address)
            rate = self._work.limits.chatter_bytes
            detail = f"peer {peer} announces more than {rate:.0f} bytes a second: the rest is asked for later, or never"
            self._work.warn("announces-too-much", detail)
