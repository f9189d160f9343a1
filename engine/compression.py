"""Which peers' compressed headers can be relied upon, remembered by address for one run.

Encoders have been wrong before. A peer that leaves its first `getheaders2` unanswered, hangs up on it, or answers with
headers that break a rule, is asked for plain headers from then on. That is a matter between us and that one address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from phasegate.consensus.faults import Fault
from phasegate.engine.config import Address

if TYPE_CHECKING:
    from phasegate.engine.peers import Peer

OF_AN_ENCODER = frozenset(
    {
        Fault.BROKEN_HEADER_LINK,
        Fault.BAD_PROOF_OF_WORK,
        Fault.BAD_DIFFICULTY,
        Fault.BAD_HEADER_TIME,
        Fault.BAD_HEADER_VERSION,
        Fault.HEADER_FROM_THE_FUTURE,
    }
)
"""What honest headers seem to do wrong when their compression is wrong."""


@attrs.define
class Compression:
    """Addresses that have answered a `getheaders2` (True), and those that are asked for plain headers (False)."""

    _known: dict[Address, bool] = attrs.field(factory=dict, init=False)

    def wanted(self, peer: Peer) -> bool:
        """Whether to ask `peer` for compressed headers: it announces them, and nothing is known against it."""
        return bool(peer.compressed_limit) and self._known.get(peer.address, True)

    def proven(self, peer: Peer) -> bool:
        """Whether `peer` has ever answered."""
        return self._known.get(peer.address, False)

    def answered(self, peer: Peer) -> None:
        """`peer` has answered."""
        self._known.setdefault(peer.address, True)

    def give_up(self, peer: Peer) -> bool:
        """Ask `peer` for plain headers from now on; whether that is news, for several questions may find it at once."""
        news = self._known.get(peer.address, True)
        self._known[peer.address] = False
        return news
