"""Single blocks that the user asks for: had from a peer while the client is synced, proven, and handed over.

Only the active state may ask peers for chain data. So what is ordered waits until the client is synced; then the stay
in that state opens the one desk and fetches. When the state is left, for a new block say, the requests are cancelled
with everything else of that stay, and made again in the next one. No phase waits for them: what the desk of `synced`
has under way does not count as outstanding (`Ledger.under_way`), or each order would begin a walk.

A block is what its header says: its hash is the stored one, and its transactions lead to the header's merkle root.
Who sends another under that name is banned, who is silent is left, as in the blocks phase, and the next peer is asked.
Orders are few, a peer that is slow is waited for only so long, and what came is held by nobody but who ordered it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import trio

from phasegate.consensus.blocks import check_block
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.raw_blocks import RawBlock
from phasegate.engine.errors import Failure, PeerGone
from phasegate.p2p.messages import BlockMessage, GetData, InvItem, InvType

if TYPE_CHECKING:
    from phasegate.engine.peers import Peer
    from phasegate.engine.requests import Desk
    from phasegate.engine.work import Work

MOST = 32
"""Blocks that may be ordered at once: together no more than 64 MB."""
PEERS_ASKED = 3
"""Peers that are asked for a block before the order has failed."""
NEVER = ("paused", "failed", "stopped")
"""States that the client does not leave by itself."""


class BlockUnavailable(Exception):
    """A block could not be had; the text says why, and in which state the client is."""


@attrs.define(eq=False)
class _Order:
    """One block that somebody waits for."""

    name: bytes
    done: trio.Event = attrs.field(factory=trio.Event)
    fetching: trio.CancelScope | None = None
    block: RawBlock | None = None
    trouble: str = ""


class BlockOrders:
    """What the user of one client wants fetched."""

    def __init__(self) -> None:
        self._orders: list[_Order] = []
        self._more = trio.Event()
        self._opened = self._ended = False

    async def get(self, name: bytes, timeout: float, state: Callable[[], str]) -> RawBlock:
        """The block that hashes to `name` (32 bytes, wire order, of the stored chain), proven.

        Raises:
            BlockUnavailable: nobody had it, or none of them in `timeout` seconds, or the client is not synced.
        """
        self._refuse(state())
        order = _Order(name)
        self._orders.append(order)
        self._stir()
        try:
            with trio.move_on_after(timeout):
                await order.done.wait()
        finally:
            self._orders.remove(order)
            if order.fetching is not None:
                order.fetching.cancel()
        if order.block is None:
            raise BlockUnavailable(self._why(order, timeout, state()))
        return order.block

    def _refuse(self, state: str) -> None:
        never = self._ended or state in NEVER
        if never or not (self._opened or state == "synced"):
            raise BlockUnavailable(f"blocks are fetched while the client is synced, and it is {_named(state)}")
        if len(self._orders) >= MOST:
            raise BlockUnavailable(f"{MOST} blocks are being fetched already")

    def _why(self, order: _Order, timeout: float, state: str) -> str:
        what = f"block {order.name[::-1].hex()} could not be had"
        if order.done.is_set():
            return f"{what}: {order.trouble}"
        tried = f"; {order.trouble}" if order.trouble else ""
        return f"{what} within {timeout:g} s: the client is {_named(state)}{tried}"

    def end(self) -> None:
        """The client has ended: nothing will be fetched any more."""
        self._ended = True
        for order in self._orders:
            order.trouble = "the client has ended"
            order.done.set()

    async def serve(self, work: Work) -> None:
        """Fetch whatever is ordered, until cancelled: for the length of one stay in `synced`."""
        limits, self._opened = work.limits, True
        figures = limits.in_flight["blocks"], limits.idle_timeout
        most, rate = limits.concurrency["blocks"], limits.rate["blocks"]
        bounds = work.ledger.desk(
            "synced", *figures, concurrency=most, rate=rate, idle_cap=limits.idle_cap, part=work.part
        )
        with bounds as desk:
            async with trio.open_nursery() as nursery:
                while True:
                    more = self._more
                    for order in self._orders:
                        if order.fetching is None and not order.done.is_set():
                            order.fetching = trio.CancelScope()
                            nursery.start_soon(_fetch, work, desk, order, order.fetching)
                    await more.wait()

    def _stir(self) -> None:
        self._more.set()
        self._more = trio.Event()


def _named(state: str) -> str:
    return f"in state {state}"


async def _fetch(work: Work, desk: Desk, order: _Order, scope: trio.CancelScope) -> None:
    try:
        with scope:
            order.block = await _from_any(work, desk, order)
            order.done.set()
    finally:
        order.fetching = None


async def _from_any(work: Work, desk: Desk, order: _Order) -> RawBlock | None:
    """The block from the first of some peers that has it; None if none had, and then `order` says why."""
    asked: list[Peer] = []
    order.trouble = ""
    while len(asked) < PEERS_ASKED and (peer := _next(work, asked, order)) is not None:
        asked.append(peer)
        try:
            with work.blame(peer):
                return await _ask(desk, peer, order.name)
        except PeerMisbehaved as lie:
            order.trouble = f"{peer}: {lie}"
        except PeerGone as gone:
            order.trouble = str(gone)
    return None


def _next(work: Work, asked: list[Peer], order: _Order) -> Peer | None:
    try:
        return next((peer for peer in work.chain_peers() if peer not in asked), None)
    except Failure as nobody:
        order.trouble = order.trouble or nobody.detail
        return None


async def _ask(desk: Desk, peer: Peer, name: bytes) -> RawBlock:
    """The block from `peer`, judged as it comes."""
    lies = list[PeerMisbehaved]()

    def fits(reply: BlockMessage) -> bool:
        if reply.body.hash != name:
            return False
        try:
            check_block(reply.body, name)
        except PeerMisbehaved as lie:
            lies.append(lie)
        return True

    reply = await desk.ask(peer, GetData((InvItem(InvType.BLOCK, name),)), BlockMessage, fits)
    if lies:
        raise lies[0]
    return reply.body
