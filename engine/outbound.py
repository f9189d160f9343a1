"""Who is connected to: the configured addresses always, others as far as places are free.

A configured address keeps its own task: it is tried again whenever it is lost, more and more rarely; of a long list
only some in a second. All other connections are chosen from the address book (`engine/candidates.py`), never one that
is banned or was tried a moment ago (`engine/retries.py`). Places are kept for peers that serve compact filters: a peer
without them gets none of the last `filter_peers` places, so the search for capable ones never ends before it has
succeeded. Feelers try one address now and then, only to know whether it is alive. What failed is tried again after a
growing while, which is cut short while the client has nobody to go on with, so that a network that comes back is
noticed within seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from phasegate.engine.candidates import Candidates, Wanted
from phasegate.engine.chatter import Allowance
from phasegate.engine.config import Address, Config
from phasegate.engine.peer_memory import PeerMemory
from phasegate.engine.peers import Peer, PeerContext, Role, reconnect_delay
from phasegate.engine.retries import Pace, Retries
from phasegate.engine.seams import Seams

if TYPE_CHECKING:
    from phasegate.engine.pool import Pool

LOOK_EVERY, LONGEST_LOOK = 0.5, 5.0
"""Seconds after which free places are looked at though nothing is known to have changed: at least, and at most."""
LONGEST_NAP = 60.0
"""Seconds after which a ban is looked at again: clocks are set, laptops sleep."""
TOLD = "it has told what it knows"
"""Why a peer is left that was only asked for addresses."""
GUESTS, GUEST_TIME = 4, 10.0
"""Peers without a place that are asked for addresses before they have to go, and the seconds they may take for it."""
MOST_COUNTED = 10_000
"""Addresses of one search that are counted."""
OWN_RATE, OWN_BURST = 4.0, 16
"""How many configured addresses are connected to in a second, and at once, so that a long list does not run wild."""


class Outbound:
    """Makes and keeps the connections of one pool."""

    def __init__(self, pool: Pool, config: Config, seams: Seams, memory: PeerMemory, context: PeerContext) -> None:
        self._pool = pool
        self._config = config
        self._limits = config.limits
        self._seams = seams
        self._memory = memory
        self._context = context
        self._lines: dict[Address, Peer] = {}
        self._reconnect_soon = trio.Event()
        self._urgers = 0
        self._pace = Pace()
        self._own_pace = Allowance(OWN_RATE, OWN_BURST)
        self._searched: set[Address] = set()
        self.retries = Retries(config.limits, seams)
        self._candidates = Candidates(config, seams, memory, self.retries, self._lines)
        self.outdated: Set[Address] = frozenset()
        """Whose compact filters are of no use, whatever they announce."""
        self.extra = 0
        """Places beyond the usual ones, while the tip is stale."""
        self.tried = 0
        """Connections tried so far in this run, apart from those to configured addresses."""
        self.proxy_trouble = ""
        """Why the proxy does not serve, "" while it does or there is none."""

    @property
    def discovers(self) -> bool:
        """Whether others than the configured addresses are connected to."""
        return not self._config.connect_only

    @property
    def lines(self) -> list[Peer]:
        """The connections that there are or that are being made."""
        return list(self._lines.values())

    @property
    def dialing(self) -> int:
        """Connections that are being made to addresses out of the book."""
        return sum(peer.role is Role.OUTBOUND and not peer.was_ready for peer in self._lines.values())

    @property
    def searched(self) -> int:
        """How many addresses out of the book the search that is on has tried."""
        return len(self._searched)

    async def run(self, nursery: trio.Nursery) -> None:
        """Start what connects, and go on until cancelled."""
        for address in self._config.peers:
            nursery.start_soon(self._keep, address)
        if self.discovers:
            nursery.start_soon(self._feel, nursery)
            await self._fill(nursery)

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """While in here, whatever was lost is tried again at once and then every few seconds."""
        self._urgers += 1
        self.reconnect_now()
        try:
            yield
        finally:
            self._urgers -= 1

    def reconnect_now(self) -> None:
        """Try every lost address again at once."""
        self._reconnect_soon.set()
        self._reconnect_soon = trio.Event()
        self.retries.cut_short()
        self._candidates.look_again()
        self._pace.hurry(trio.current_time())
        self._pool.wake()

    @property
    def hurry(self) -> trio.Event:
        """It is set when every lost address is tried again at once, the next time."""
        return self._reconnect_soon

    def _delay(self, attempt: int) -> float:
        cap = self._limits.waiting_cap if self._urgers else None
        return reconnect_delay(attempt, self._limits, self._seams, cap)

    # -- configured addresses ------------------------------------------------------------------------------------

    async def _keep(self, address: Address) -> None:
        attempt = 0
        while True:
            if len(self._config.peers) > OWN_BURST:
                await trio.sleep(self._own_pace.take(1, trio.current_time()))
            await self._until_unbanned(address)
            peer = await self._live(Peer(address, self._context))
            attempt += 1
            if peer.answers:
                attempt = 1
                self.retries.forgive(address)
            if self._memory.banned(address) is None:
                await self._rest(max(self._delay(attempt), penance := self.retries.penance(address)), penance)

    async def _rest(self, delay: float, penance: float) -> None:
        """Wait before the next try; hurry cuts that short, but who was silent is never tried again on the spot."""
        first = min(penance, self._limits.waiting_cap)
        await trio.sleep(first)
        with trio.move_on_after(0.0 if penance and self._urgers else delay - first):
            await self._reconnect_soon.wait()

    async def _until_unbanned(self, address: Address) -> None:
        while (ban := self._memory.banned(address)) is not None:
            self._pool.note_ban(address, ban)
            await trio.sleep(min(LONGEST_NAP, max(1.0, ban.until - self._seams.now())))

    async def _live(self, peer: Peer) -> Peer:
        """Have a connection from beginning to end."""
        self._lines[peer.address] = peer
        try:
            await peer.run()
        finally:
            self._pool.gossip.forget(peer)
            if self._lines.get(peer.address) is peer:
                del self._lines[peer.address]
        if peer.unreached_by_proxy:
            self.proxy_trouble = peer.gone
        self._pool.ended(peer)
        return peer

    def met(self) -> None:
        """A node of this network has greeted us: our line, and the proxy if there is one, are well."""
        self.proxy_trouble = ""
        self._pace.well(trio.current_time())

    # -- addresses out of the book -------------------------------------------------------------------------------

    async def _fill(self, nursery: trio.Nursery) -> None:
        while True:
            for guest in [guest for guest in self._guests if trio.current_time() - guest.ready_at > GUEST_TIME]:
                guest.leave("it tells nothing")
            while self._wait() <= 0 and self.free > 0 and (address := self._next()) is not None:
                self._start(nursery, address, Role.OUTBOUND)
            rest = max(LOOK_EVERY, self._wait()) if self.free > 0 or self._guests else LONGEST_LOOK
            with trio.move_on_after(min(LONGEST_LOOK, rest)):
                await self._pool.changed()

    def _wait(self) -> float:
        """Seconds until somebody can be connected to, unless something changes."""
        return max(self._pace.wait(trio.current_time()), self._candidates.wait())

    def _next(self) -> Address | None:
        filters = self.free <= self.lacks_filters
        return self._candidates.next(Wanted(filters, hurry=self.seeks or self._urgers > 0))

    def _start(self, nursery: trio.Nursery, address: Address, role: Role) -> None:
        self._pace.begun(trio.current_time())
        self._count(address)
        peer = self._lines[address] = Peer(address, self._context, role)
        nursery.start_soon(self._try, peer)

    def _count(self, address: Address) -> None:
        self.tried += 1
        if not self.seeks or len(self._searched) >= MOST_COUNTED:
            self._searched.clear()
        self._searched.add(address)

    async def _try(self, peer: Peer) -> None:
        await self._live(peer)
        address, book, now = peer.address, self._memory.book, self._seams.now()
        reached = peer.info is not None or bool(peer.refusal)
        excused = not reached and (peer.unreached_by_proxy or not self._pool.ready)  # our own line may be down
        if peer.was_ready:
            book.connected(address, now)
        elif not excused:
            book.attempt(address, now)
        now = trio.current_time()
        if not reached:
            self._pace.failed(now, excused=excused)
        self.retries.lost(address, now, answered=bool(peer.answers), reached=reached, excused=excused)

    def put_aside(self, address: Address) -> None:
        """Do not try an address again for a while, though it did nothing wrong."""
        self.retries.put_aside(address, trio.current_time())

    @property
    def free(self) -> int:
        """Places for peers out of the book that nobody has, or is about to have; below 0, as many are too many."""
        own = [address for address in self._config.peers if self._pool.counts_upon(address)]
        lines = [self._lines.get(address) for address in own]
        serving = [peer for peer in lines if peer is None or not peer.was_ready or self.serves_filters(peer)]
        places = max(self._limits.max_peers + self.extra - len(own), self.filter_places - len(serving))
        return places - sum(peer.role is Role.OUTBOUND and not peer.gone for peer in self._lines.values())

    # -- peers with compact filters ------------------------------------------------------------------------------

    @property
    def filter_places(self) -> int:
        """How many peers are to serve compact filters: one at least, for without it no filter is had."""
        return max(1, min(self._limits.filter_peers, self._limits.max_peers)) if self._config.filters else 0

    @property
    def seeks(self) -> bool:
        """Whether nobody is there, or nobody who serves the filters that are wanted."""
        ready = self._pool.ready
        return not ready or (self._config.filters and not any(map(self.serves_filters, ready)))

    def serves_filters(self, peer: Peer) -> bool:
        """Whether `peer` serves compact filters that are of use."""
        return peer.serves_filters and peer.address not in self.outdated

    @property
    def lacks_filters(self) -> int:
        """How many peers with compact filters are missing."""
        return max(0, self.filter_places - sum(map(self.serves_filters, self._pool.connected)))

    def keeps_place(self, peer: Peer) -> bool:
        """Whether a peer out of the book may stay: the last places are for those that serve filters."""
        if peer.role is not Role.OUTBOUND or not self._config.filters or self.serves_filters(peer):
            return True
        others = [one for one in self._pool.connected if not self.serves_filters(one) and one is not peer]
        return len(others) < self._limits.max_peers + self.extra - self.filter_places

    def takes_guest(self, peer: Peer) -> bool:
        """Whether a peer that gets no place is of use all the same: it may know whom we search for."""
        takes = self.discovers and self.lacks_filters > 0 and len(self._guests) < GUESTS
        if takes:
            peer.role = Role.SEED
        return takes

    @property
    def _guests(self) -> list[Peer]:
        return [peer for peer in self._lines.values() if peer.role is Role.SEED and peer.was_ready and not peer.gone]

    # -- feelers and seeds ---------------------------------------------------------------------------------------

    async def _feel(self, nursery: trio.Nursery) -> None:
        """Try an address now and then when all places are taken, so that the book knows who is alive."""
        while True:
            await trio.sleep(self._limits.feeler_interval * (0.5 + self._seams.random.random()))
            self._memory.book.resolve(self._seams.now())
            full = self.free <= 0 and not self.dialing and self._pool.ready
            if full and (address := self._candidates.feeler()) is not None:
                self._start(nursery, address, Role.FEELER)

    async def ask_seed(self, address: Address, patience: float) -> str:
        """Connect to a seed by its name, through the proxy, and take what it tells; why nothing came of it, or ""."""
        peer = Peer(address, self._context, Role.SEED)
        with trio.move_on_after(patience):
            await self._live(peer)
        return "" if peer.gone == TOLD else peer.gone or f"no addresses within {patience:g} s"
