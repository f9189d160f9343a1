"""The peers of one client: who is ready, who is banned, and whose business a message is.

`engine/outbound.py` connects, `engine/company.py` lets go; here the connections come together. An answer goes to the
ledger, an announcement of a block that is not stored becomes a hint that leads to `headers`, ChainLocks and InstantSend
locks, announced or sent, go to `Locks`, addresses to the address book, what concerns transactions of our own to
`relayed`, and the rest is dropped. Who misbehaves is dropped and has it held against its address; who has done enough
of it is banned for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.engine.announcements import ANSWERS, LOCKS, announces_news
from phasegate.engine.company import Company
from phasegate.engine.config import Address, Config
from phasegate.engine.gossip import Gossip
from phasegate.engine.outbound import TOLD, Outbound
from phasegate.engine.peer_memory import PeerMemory
from phasegate.engine.peers import Peer, PeerContext, Role
from phasegate.engine.prospects import Prospects
from phasegate.engine.requests import Ledger
from phasegate.engine.seams import Seams
from phasegate.engine.seeding import Seeding
from phasegate.p2p.messages import Addr, AddrV2, ClSig, GetData, Inv, IsdLock, Message
from phasegate.p2p.reputation import Ban

if TYPE_CHECKING:
    from collections import Counter

    from phasegate.engine.locks import Locks

GREETED = 5.0
"""Seconds that a walk waits at most for the first peers."""


class Pool:
    """All peers.

    Args:
        known: whether a block hash (wire order) is in the stored chain.
        our_height: the stored tip height, announced to peers.
        on_hint: called when a peer hints at a block that is not stored.
        on_change: called when the set of ready peers changed.
        warn: called with a stable code and a line for the user.
        locks: takes announced and unasked ChainLocks and InstantSend locks; without it they are dropped.
        memory: of addresses and offences; None: one that lasts for this run.
        relayed: takes what peers announce of transactions and ask of us.
    """

    def __init__(
        self,
        config: Config,
        seams: Seams,
        ledger: Ledger,
        *,
        known: Callable[[bytes], bool],
        our_height: Callable[[], int],
        on_hint: Callable[[Peer], None],
        on_change: Callable[[], None],
        warn: Callable[[str, str], None],
        locks: Locks | None = None,
        memory: PeerMemory | None = None,
        relayed: Callable[[Peer, Inv | GetData], None] = lambda _peer, _message: None,
    ) -> None:
        self._config = config
        self._seams = seams
        self._ledger = ledger
        self._known = known
        self._on_hint = on_hint
        self._on_change = on_change
        self._warn = warn
        self._locks = locks
        self._relayed = relayed
        self.memory = PeerMemory(config, seams) if memory is None else memory
        self._ready: list[Peer] = []
        self._joins = 0
        self._places: dict[Peer, int] = {}
        self._changed = trio.Event()
        self._said: dict[Address, str] = {}
        context = PeerContext(
            config.network,
            config.limits,
            seams,
            our_height,
            self._take_message,
            self._joined,
            self._left,
            relay=config.filters or config.relay,
            gossip=not config.connect_only,
            on_run=ledger.deliver_run,
            awaits_runs=ledger.awaits_runs,
        )
        self.gossip = Gossip(self.memory)
        self.outbound = Outbound(self, config, seams, self.memory, context)
        self.seeding = Seeding(self, self.outbound, config, seams, self.memory, warn)
        self.company = Company(self, config, self.memory)
        self._prospects = Prospects(self, config, self.memory)

    # -- who is there --------------------------------------------------------------------------------------------

    @property
    def connected(self) -> list[Peer]:
        """Every ready peer, the configured ones first, in their order, the others in the order in which they came."""
        return sorted(self._ready, key=self.rank)

    @property
    def ready(self) -> list[Peer]:
        """The peers that can be asked: the first `max_peers`, and as many more as filters or a stale tip call for."""
        limits, peers = self._config.limits, self.connected
        most = limits.max_peers + self.outbound.extra
        first, rest = peers[:most], peers[most:]
        serves = self.outbound.serves_filters
        missing = self.outbound.filter_places - sum(map(serves, first))
        return first + [peer for peer in rest if serves(peer)][: max(0, missing)]

    @property
    def further(self) -> list[Peer]:
        """Ready peers beyond those, as many again at most, for questions that those cannot settle."""
        asked = set(self.ready)
        return [peer for peer in self.connected if peer not in asked][: self._config.limits.max_peers]

    def rank(self, peer: Peer) -> tuple[int, int]:
        """The place of a peer: in the order of the configuration, else after all of that."""
        configured = self._config.peers
        first = configured.index(peer.address) if peer.address in configured else len(configured)
        return first, self._places.get(peer, 0)

    @property
    def banned(self) -> dict[Address, Ban]:
        """The configured addresses, and those banned in this run, that are banned now."""
        return self._prospects.banned

    @property
    def hopeless(self) -> str:
        """Why no peer can be had before a ban ends: the reasons of the bans, "" while there is hope."""
        return self._prospects.hopeless

    @property
    def trouble(self) -> str:
        """Why there is no ready peer, address by address."""
        return self._prospects.trouble

    @property
    def search(self) -> str:
        """The search that is on, in one line; "" while there is none."""
        return self._prospects.search

    @property
    def search_limits(self) -> str:
        """What is to be added to a reason for which no fitting peer is there: that there will be no others, or ""."""
        return self._prospects.limits

    def counts_upon(self, address: Address) -> bool:
        """Whether a configured peer is there, or may well be in a moment: its address has not failed yet."""
        fresh = address not in self._prospects.troubles and self.memory.banned(address) is None
        return fresh or any(peer.address == address for peer in self._ready)

    # -- connecting ----------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep connections until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.outbound.run, nursery)
            if self.outbound.discovers:
                nursery.start_soon(self.seeding.run)
            nursery.start_soon(self.memory.run)
            task_status.started()

    def note_ban(self, address: Address, ban: Ban) -> None:
        """A configured address is not connected to; say why, once."""
        line = f"peer {address} is banned: {ban}; `phasegate peers unban {address}` lifts it"
        self._note(address, str(ban), "peer-banned", line)

    def ended(self, peer: Peer) -> None:
        """A connection is over: keep why, and say it once until it changes; of unnamed addresses it is no news."""
        self._judge(peer)  # what was read of it while it was being left counts as well
        if self.memory.banned(peer.address) is None and peer.role is Role.CONFIGURED:
            code = "peer-refused" if peer.refusal else "peer-lost"
            self._note(peer.address, peer.gone, code, f"peer {peer}: {peer.gone}")
        self.wake()

    def _note(self, address: Address, why: str, code: str, line: str) -> None:
        if self._said.get(address) != why:
            self._warn(code, line)
        self._said[address] = self._prospects.troubles[address] = why

    def _joined(self, peer: Peer) -> None:
        assert peer.info is not None, "the handshake came before"  # noqa: S101 - mypy is told what the chart guarantees
        self.outbound.met()
        self.memory.book.good(peer.address, peer.info.services, self._seams.now())
        if peer.role is Role.FEELER:
            peer.leave("a feeler: it is alive")
        elif ban := self.memory.banned(peer.address):
            peer.leave(f"it is banned: {ban}")
        elif not self.outbound.keeps_place(peer):
            self._turn_away(peer)
        else:
            self._welcome(peer)

    def _turn_away(self, peer: Peer) -> None:
        self.outbound.put_aside(peer.address)
        if self.outbound.takes_guest(peer):
            self.gossip.ask(peer)
        else:
            peer.leave("its place is kept for a peer with compact filters")

    def _welcome(self, peer: Peer) -> None:
        if self.outbound.discovers:
            self.gossip.ask(peer)
        if peer.role is not Role.SEED:
            self._joins += 1
            self._places[peer] = self._joins
            self._ready.append(peer)
            self.wake()

    def _left(self, peer: Peer) -> None:
        self._judge(peer)
        self._part(peer, peer.gone, hung_up=True)

    def _judge(self, peer: Peer) -> None:
        """Hold against its address what a peer did wrong, once, and say so."""
        fault, peer.fault = peer.fault, None
        if fault is None or self.memory.banned(peer.address) is not None:
            return
        if ban := self.memory.blame(peer.address, fault, greeted=peer.info is not None):
            if peer.role is Role.CONFIGURED:
                self._said[peer.address] = str(ban)
            self._prospects.judged(peer.address, ban)
            self._warn(fault.fault.code, f"peer {peer} banned: {fault.detail}")
            for other in [other for other in self._ready if other is not peer and self.memory.banned(other.address)]:
                self.drop(other, f"its host is banned: {ban}")

    def _part(self, peer: Peer, why: str, *, hung_up: bool = False) -> None:
        if peer in self._ready:
            self._ready.remove(peer)
        if peer.role is Role.CONFIGURED:
            self._prospects.troubles[peer.address] = why
        self._places.pop(peer, None)
        self.gossip.forget(peer)
        self._ledger.peer_lost(peer, why, hung_up=hung_up)
        self.wake()

    def ban(self, peer: Peer, fault: PeerMisbehaved) -> None:
        """Drop a peer that misbehaved; if that is enough for a ban, its address is not tried again before it ends."""
        self._drop(peer, str(fault), fault)

    def drop(self, peer: Peer, why: str, *, silent: bool = False) -> None:
        """Disconnect a peer that is of no use now; one that was silent is tried again later and later."""
        if silent and peer.role is Role.OUTBOUND:
            self.outbound.put_aside(peer.address)
        elif silent and not peer.answers:
            self.outbound.retries.was_silent(peer.address)
        self._drop(peer, why, None)

    def _drop(self, peer: Peer, why: str, fault: PeerMisbehaved | None) -> None:
        peer.leave(why, fault)
        self._judge(peer)
        self._part(peer, why)

    # -- keeping good company ------------------------------------------------------------------------------------

    def look_after(self, outrun: Counter[Address]) -> None:
        """To be called now and then: who is of less use than others makes room, anchors are kept; see `Company`."""
        self.company.look_after(outrun)

    def probe(self) -> None:
        """Have every peer prove that it is still there, and try the lost ones again at once."""
        for peer in self._ready:
            peer.probe()
        self.outbound.reconnect_now()

    def reconnect_now(self) -> None:
        """Try every lost peer again at once."""
        self.outbound.reconnect_now()

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """While in here, lost peers are tried again every few seconds."""
        with self.outbound.urgent():
            yield

    # -- waiting -------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something about the peers, or the addresses of them, has changed."""
        self._changed.set()
        self._changed = trio.Event()
        self._on_change()

    async def changed(self) -> None:
        """Wait until the set of ready peers changes."""
        await self._changed.wait()

    async def wait_ready(self, wanted: Callable[[Peer], bool] = lambda _: True) -> Peer:
        """Wait for a ready peer that is `wanted`."""
        while True:
            for peer in self.ready:
                if wanted(peer):
                    return peer
            await self.changed()

    async def first_contact(self) -> None:
        """Wait until a peer is ready and the others had a moment to be, or every address has been tried in vain."""
        with trio.move_on_after(GREETED if self.outbound.discovers else float("inf")):
            while not self._ready and not self._prospects.all_tried():
                await self.changed()
        with trio.move_on_after(self._config.limits.gather_time):
            while not self._prospects.all_tried() or (self._ready and self.outbound.dialing):
                await self.changed()

    # -- messages ------------------------------------------------------------------------------------------------

    def _take_message(self, peer: Peer, message: Message) -> bool:
        """Have a message taken where it belongs; whether it was asked for."""
        answers = message.command in ANSWERS and self._ledger.deliver(peer, message)
        if not answers:
            self._pass_on(peer, message)
        if (not answers or message.command in LOCKS) and announces_news(message, self._known):
            peer.news_at = trio.current_time()
            self._on_hint(peer)
        elif message.command in ANSWERS - LOCKS and not answers:
            self._ledger.drop(peer)
        return answers

    def _pass_on(self, peer: Peer, message: Message) -> None:
        """Give what came unasked to where it is of use."""
        if isinstance(message, Addr | AddrV2):
            self._told(peer, message)
            return
        if isinstance(message, Inv | GetData):
            self._relayed(peer, message)
        if self._locks is not None and isinstance(message, Inv):
            self._locks.announced(peer, message.items)
        elif self._locks is not None and isinstance(message, ClSig | IsdLock):
            self._locks.pushed(peer, message)

    def _told(self, peer: Peer, message: Addr | AddrV2) -> None:
        if not self.outbound.discovers:
            return
        if self.gossip.take(peer, message, self._seams.now()):
            self._changed.set()
            self._changed = trio.Event()
        if peer.role is Role.SEED and len(message.addresses) > 1:
            peer.leave(TOLD)
