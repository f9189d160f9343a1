"""Fetches announced locks, on errands, for as long as the client runs; see `engine/locks.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from phasegate.engine.errors import FailureKind, PeerGone
from phasegate.p2p.messages import ClSig, InvItem, IsdLock

if TYPE_CHECKING:
    from phasegate.engine.locks import Locks
    from phasegate.engine.peers import Peer
    from phasegate.engine.requests import Errands
    from phasegate.engine.work import Work

LOOK_EVERY, LOOK_SELDOM = 2.0, 60.0
"""Seconds after which the offers are looked at though nothing is known to have changed: when there are some; none."""


async def fetch_locks(work: Work, resting: Callable[[], bool]) -> None:
    """Fetch until cancelled; `resting` says whether the client is paused, then nothing is asked for."""
    locks = work.locks
    limits = work.limits
    most, rate = limits.concurrency["locks"], limits.rate["locks"]
    with work.ledger.errand(locks.per_peer, limits.idle_timeout, concurrency=most, rate=rate) as desk:
        async with trio.open_nursery() as nursery:
            while True:
                changed = locks.changed
                while not resting() and (chosen := locks.offers.take()) is not None:
                    nursery.start_soon(_fetch, locks, desk, *chosen)
                with trio.move_on_after(LOOK_EVERY if locks.offers.items else LOOK_SELDOM):
                    await changed.wait()


async def _fetch(locks: Locks, desk: Errands, peer: Peer, items: tuple[InvItem, ...]) -> None:
    left = dict.fromkeys(items)

    def take(item: InvItem, message: ClSig | IsdLock | None) -> None:
        del left[item]
        if message is None:
            locks.offers.failed(peer, item)
        else:
            locks.received(peer, message)

    try:
        await desk.fetch(peer, items, take)
    except PeerGone as gone:
        for item in left:
            locks.offers.failed(peer, item, silent=gone.kind is FailureKind.PEER_SILENT)
    locks.wake()
