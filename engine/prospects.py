"""What can be said about a pool of peers: why nobody is there, whether anybody can come, what is being done for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from phasegate.engine.config import Address, Config
from phasegate.p2p.reputation import Ban

if TYPE_CHECKING:
    from phasegate.engine.peer_memory import PeerMemory
    from phasegate.engine.pool import Pool

MOST = 1000
"""Banned addresses that are remembered as seen in this run."""


@attrs.define
class Prospects:
    """Knows what became of addresses.

    Attributes:
        troubles: why a configured address is not connected, as far as one has been tried.
    """

    _pool: Pool
    _config: Config
    _memory: PeerMemory
    troubles: dict[Address, str] = attrs.field(factory=dict, init=False)
    _judged: dict[Address, None] = attrs.field(factory=dict, init=False)

    def judged(self, address: Address, ban: Ban) -> None:
        """`address` is banned from now on."""
        self._judged[address] = None
        if len(self._judged) > MOST:
            del self._judged[next(iter(self._judged))]
        if address in self._config.peers:
            self.troubles[address] = str(ban)

    @property
    def banned(self) -> dict[Address, Ban]:
        """The configured addresses, and those banned in this run, that are banned now."""
        seen = dict.fromkeys([*self._config.peers, *self._judged])
        return {at: ban for at in seen if (ban := self._memory.banned(at)) is not None}

    @property
    def hopeless(self) -> str:
        """Why no peer can be had before a ban ends: the reasons of the bans, "" while there is hope."""
        peers = self._config.peers
        bans = {address: ban for address in peers if (ban := self._memory.banned(address)) is not None}
        if not peers or len(bans) < len(peers) or self._pool.connected or self.may_discover:
            return ""
        return "; ".join([f"{address}: {ban}" for address, ban in bans.items()]) + self.limits

    @property
    def may_discover(self) -> bool:
        """Whether there is somebody else to connect to, or to ask for such."""
        if not self._pool.outbound.discovers:
            return False
        if self._pool.seeding.has_sources:
            return True
        return any(self._memory.banned(entry.address) is None for entry in self._memory.book.entries())

    @property
    def trouble(self) -> str:
        """Why there is no ready peer, address by address."""
        lines = [f"{address}: {self._reason(address)}" for address in self._config.peers]
        outbound, known = self._pool.outbound, len(self._memory.book)
        if outbound.discovers and known:
            lines.append(f"none of {known} known addresses answers, {outbound.tried} connections were tried")
        elif outbound.discovers:
            lines.append("no other address is known" if lines else "no peer is configured, and no address is known")
        elif not lines:
            lines.append("no peer is configured")
        if outbound.proxy_trouble and not any(line.endswith(outbound.proxy_trouble) for line in lines):
            lines.append(outbound.proxy_trouble)
        return "; ".join(lines) + self.limits

    @property
    def limits(self) -> str:
        """What is to be added where no peer, or none that is of use, is there: that there will be no others."""
        return "" if self._pool.outbound.discovers else "; no others are searched for (connect-only)"

    @property
    def search(self) -> str:
        """The search that is on, in one line; "" while there is none."""
        outbound, known = self._pool.outbound, len(self._memory.book)
        if not outbound.discovers or not outbound.seeks:
            return ""
        what = "a peer that serves compact filters" if self._pool.ready else "a peer"
        if not known:
            return f"searching for {what}: no address is known" + (", seeds are asked" * self._pool.seeding.has_sources)
        return f"searching for {what}: {min(outbound.searched, known)} of {known} known addresses tried"

    def all_tried(self) -> bool:
        """Whether every configured address is connected or has been tried, and nobody else can be expected."""
        connected = self._pool.connected
        ready = {peer.address for peer in connected}
        tried = all(a in ready or a in self.troubles or self._memory.banned(a) for a in self._config.peers)
        return tried and (bool(connected) or not self.may_discover)

    def _reason(self, address: Address) -> str:
        ban = self._memory.banned(address)
        return str(ban) if ban else self.troubles.get(address, "not connected yet")
