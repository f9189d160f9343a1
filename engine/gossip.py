"""Addresses that peers tell of: asked for once a connection, taken in measure, remembered with who told them.

A peer may tell one address each ten seconds, and a thousand more when it was asked [Core net_processing.cpp
MAX_ADDR_RATE_PER_SECOND]; what is beyond that is counted and forgotten, so that nobody fills the book by talking much.
"""

from __future__ import annotations

import attrs
import trio

from phasegate.engine.chatter import Allowance
from phasegate.engine.peer_memory import PeerMemory
from phasegate.engine.peers import Peer
from phasegate.p2p.address_forms import from_v1, from_v2
from phasegate.p2p.messages import Addr, AddressV1, AddressV2, AddrV2, GetAddr, Services

RATE = 0.1
"""Addresses that a peer may tell of in a second."""
ASKED = 1000
"""Addresses that a peer may tell of when it was asked."""
_SERVES = Services.NETWORK | Services.NETWORK_LIMITED


@attrs.define
class Gossip:
    """What the peers of one client tell of others.

    Attributes:
        taken: addresses that were looked at.
        ignored: addresses beyond a peer's measure.
    """

    memory: PeerMemory
    taken: int = 0
    ignored: int = 0
    _measures: dict[Peer, Allowance] = attrs.field(factory=dict)

    def ask(self, peer: Peer) -> None:
        """Ask a peer that has just become ready for addresses."""
        self._measures[peer] = Allowance(RATE, ASKED + 1.0)
        peer.send_nowait(GetAddr())

    def forget(self, peer: Peer) -> None:
        """The connection is gone."""
        self._measures.pop(peer, None)

    def take(self, peer: Peer, message: Addr | AddrV2, now: float) -> int:
        """Remember what `peer` tells, as far as its measure goes; how many are new. `now`: seconds since 1970."""
        measure = self._measures.setdefault(peer, Allowance(RATE, 1.0))
        measure.take(0, trio.current_time())
        most = min(len(message.addresses), max(0, int(measure.level)))
        measure.take(most, trio.current_time())
        self.taken += most
        self.ignored += len(message.addresses) - most
        return sum([self._remember(peer, told, now) for told in message.addresses[:most]])

    def _remember(self, peer: Peer, told: AddressV1 | AddressV2, now: float) -> bool:
        address = from_v1(told) if isinstance(told, AddressV1) else from_v2(told)
        if address is None or not told.services & _SERVES:
            return False
        return self.memory.book.add(address, peer.address, told.services, float(told.time), now)
