"""The peers of one client: connected all at once, reconnected when lost, banned for the run when they lie.

The pool also decides whose business a message is: an answer goes to the ledger, an announcement of a block that is
not stored becomes a hint that leads to `headers`, ChainLocks and InstantSend locks, announced or sent, go to `Locks`,
and the rest is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.x11 import HEADER_SIZE, x11
from phasegate.engine.config import Address, Config
from phasegate.engine.peers import Peer, PeerContext, reconnect_delay
from phasegate.engine.recovery import backoff
from phasegate.engine.requests import Ledger
from phasegate.engine.seams import Seams
from phasegate.p2p.messages import ClSig, Headers, Inv, InvType, IsdLock, Message

if TYPE_CHECKING:
    from phasegate.engine.locks import Locks

LOCKS = frozenset({"clsig", "isdlock"})
ANSWERS = LOCKS | frozenset(
    {"headers", "headers2", "mnlistdiff", "qrinfo", "cfheaders", "cfilter", "cfcheckpt", "block", "notfound", "tx"}
)
"""Messages that only make sense as the answer to a request of ours; a lock is as good when nobody asked for it."""

ANNOUNCED = 16
"""The newest items of one announcement, which are looked up; nodes announce their tip last."""


class Pool:
    """All peers.

    Args:
        known: whether a block hash (wire order) is in the stored chain.
        our_height: the stored tip height, announced to peers.
        on_hint: called when a peer hints at a block that is not stored.
        on_change: called when the set of ready peers changed.
        warn: called with a stable code and a line for the user.
        locks: takes announced and unasked ChainLocks and InstantSend locks; without it they are dropped.
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
    ) -> None:
        self._config = config
        self._seams = seams
        self._ledger = ledger
        self._known = known
        self._on_hint = on_hint
        self._on_change = on_change
        self._warn = warn
        self._locks = locks
        self._ready: list[Peer] = []
        self._reconnect_soon = trio.Event()
        self._changed = trio.Event()
        self.silences: dict[Address, int] = {}
        self.banned: dict[Address, PeerMisbehaved] = {}
        self.troubles: dict[Address, str] = {}
        self._said: dict[Address, str] = {}
        self._context = PeerContext(
            config.network,
            config.limits,
            seams,
            our_height,
            self._take_message,
            self._joined,
            self._left,
            relay=config.filters,
        )

    @property
    def ready(self) -> list[Peer]:
        """The peers that can be asked, at most `max_peers`, in the order of the configuration."""
        return sorted(self._ready, key=self.rank)[: self._config.limits.max_peers]

    @property
    def further(self) -> list[Peer]:
        """Ready peers beyond those, as many again at most, for questions that those cannot settle."""
        most = self._config.limits.max_peers
        return sorted(self._ready, key=self.rank)[most : 2 * most]

    def rank(self, peer: Peer) -> int:
        """The place of a peer in the order of the configuration."""
        return self._config.peers.index(peer.address)

    @property
    def hopeless(self) -> str:
        """Why no peer can ever be had in this run: the reasons of the bans, "" while there is hope."""
        if self._config.peers and all(address in self.banned for address in self._config.peers):
            return "; ".join(f"{address}: {fault}" for address, fault in self.banned.items())
        return ""

    @property
    def trouble(self) -> str:
        """Why there is no ready peer, address by address."""
        lines = [f"{address}: {self._reason(address)}" for address in self._config.peers]
        return "; ".join(lines) or "no peer is configured"

    def _reason(self, address: Address) -> str:
        fault = self.banned.get(address)
        return str(fault) if fault else self.troubles.get(address, "not connected yet")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a connection to every configured address until cancelled."""
        async with trio.open_nursery() as nursery:
            for address in self._config.peers:
                nursery.start_soon(self._keep, address)
            task_status.started()

    async def _keep(self, address: Address) -> None:
        attempt = 0
        while address not in self.banned:
            peer = Peer(address, self._context)
            await peer.run()
            attempt += 1
            if peer.answers:
                attempt = 1
                self.silences.pop(address, None)
            self._note(peer)
            delay = reconnect_delay(attempt, self._config.limits, self._seams)
            if address in self.silences:
                delay = max(delay, self._penance(address))
            with trio.move_on_after(delay):
                await self._reconnect_soon.wait()

    def _penance(self, address: Address) -> float:
        """Silence is no offence, but who was silent is asked last: seconds until it is tried again."""
        limits = self._config.limits
        return backoff(self.silences[address], limits.idle_timeout, limits.reconnect_cap, self._seams.random)

    def _note(self, peer: Peer) -> None:
        """Keep why a connection ended, and say it once until it changes."""
        if peer.address not in self.banned and self._said.get(peer.address) != peer.gone:
            self._warn("peer-refused" if peer.refusal else "peer-lost", f"peer {peer}: {peer.gone}")
        self._said[peer.address] = self.troubles[peer.address] = peer.gone
        self._wake()

    def _joined(self, peer: Peer) -> None:
        self._ready.append(peer)
        self._wake()

    def _left(self, peer: Peer) -> None:
        self._judge(peer)
        self._part(peer, peer.gone)

    def _judge(self, peer: Peer) -> None:
        """Ban the address of a peer that did what deserves it."""
        fault = peer.fault
        if fault is not None and fault.fault.penalty >= 100 and peer.address not in self.banned:
            self.banned[peer.address] = fault
            self._warn(fault.fault.code, f"peer {peer} banned: {fault.detail}")

    def _part(self, peer: Peer, why: str) -> None:
        if peer in self._ready:
            self._ready.remove(peer)
        self.troubles[peer.address] = why
        self._ledger.peer_lost(peer, why)
        self._wake()

    def _wake(self) -> None:
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
        while not self._ready and not self._all_tried:
            await self.changed()
        with trio.move_on_after(self._config.limits.gather_time):
            while not self._all_tried:
                await self.changed()

    @property
    def _all_tried(self) -> bool:
        ready = {peer.address for peer in self._ready}
        return all(a in ready or a in self.troubles or a in self.banned for a in self._config.peers)

    def reconnect_now(self) -> None:
        """Try every lost peer again at once."""
        self._reconnect_soon.set()
        self._reconnect_soon = trio.Event()

    def ban(self, peer: Peer, fault: PeerMisbehaved) -> None:
        """Drop a peer that lied; its address is not tried again in this run."""
        self._drop(peer, str(fault), fault)

    def drop(self, peer: Peer, why: str, *, silent: bool = False) -> None:
        """Disconnect a peer that is of no use now; one that never answered anything is tried again later and later."""
        if silent and not peer.answers:
            self.silences[peer.address] = self.silences.get(peer.address, 0) + 1
        self._drop(peer, why, None)

    def _drop(self, peer: Peer, why: str, fault: PeerMisbehaved | None) -> None:
        peer.leave(why, fault)
        self._judge(peer)
        self._part(peer, why)

    def _take_message(self, peer: Peer, message: Message) -> None:
        answers = message.command in ANSWERS and self._ledger.deliver(peer, message)
        if not answers and self._locks is not None:
            self._pass_on(self._locks, peer, message)
        if (not answers or message.command in LOCKS) and self._announced(message):
            self._on_hint(peer)
        elif message.command in ANSWERS - LOCKS and not answers:
            self._ledger.drop()

    def _pass_on(self, locks: Locks, peer: Peer, message: Message) -> None:
        """Give locks that are announced, or sent unasked, to where they are verified."""
        if isinstance(message, Inv):
            locks.announced(peer, message.items)
        elif isinstance(message, ClSig | IsdLock):
            locks.pushed(peer, message)

    def _announced(self, message: Message) -> bool:
        """Whether a message announces a block that is not stored."""
        if isinstance(message, Inv):
            blocks = [item.hash for item in message.items[-ANNOUNCED:] if item.type == InvType.BLOCK]
            return not all(map(self._known, blocks))
        if isinstance(message, Headers) and message.raw:
            return not self._known(x11(message.raw[-HEADER_SIZE:]))
        return isinstance(message, ClSig) and not self._known(message.block_hash)
