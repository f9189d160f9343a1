"""Fetches what is announced, on errands, for as long as the client runs: locks, and transactions that are in no block.

See `engine/locks.py` and `engine/unconfirmed.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import trio

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
        async with trio.open_nursery() as nursery:
            while True:
                changed = wanted.changed
                while not resting() and (chosen := wanted.offers.take()) is not None:
                    nursery.start_soon(_fetch, wanted, desk, *chosen)
                with trio.move_on_after(LOOK_EVERY if wanted.offers.items else LOOK_SELDOM):
                    await changed.wait()


async def _fetch(wanted: Wanted, desk: Errands, peer: Peer, items: tuple[InvItem, ...]) -> None:
    left = dict.fromkeys(items)

    def take(item: InvItem, message: Message | None) -> None:
        del left[item]
        if message is None:
            wanted.offers.failed(peer, item)
        else:
            wanted.received(peer, message)

    try:
        await desk.fetch(peer, items, take)
    except PeerGone as gone:
        for item in left:
            wanted.offers.failed(peer, item, silent=gone.kind is FailureKind.PEER_SILENT)
    wanted.wake()
