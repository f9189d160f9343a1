"""The desks for errands: for what peers announce by themselves, in any phase, and keep for some minutes only.

They can send nothing but a `getdata` for announced objects of their own kinds, one for ChainLocks and InstantSend locks
and one for transactions, so no phase's data can come through them. What they have under way is bounded and counted, but
not `outstanding`: no phase waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs
import trio

from phasegate.engine.desks import Desk
from phasegate.p2p.messages import ClSig, GetData, InvItem, InvType, IsdLock, Message, NotFound, TxMessage

if TYPE_CHECKING:
    from phasegate.engine.peers import Peer

ANNOUNCED: Mapping[int, type[ClSig | IsdLock]] = MappingProxyType(
    {InvType.CHAINLOCK: ClSig, InvType.INSTANTSEND_LOCK: IsdLock}
)
"""What is fetched on an errand, by inventory type."""

TRANSACTIONS: Mapping[int, type[TxMessage]] = MappingProxyType({InvType.TX: TxMessage})
"""What is fetched of transactions that are in no block."""

Kinds = Mapping[int, type[ClSig | IsdLock]] | Mapping[int, type[TxMessage]]
Take = Callable[[InvItem, Any], None]
"""Told of each item and the message that brings it, one of the kinds that were asked for; None where there is none."""


@attrs.define(eq=False)
class Errands(Desk):
    """The right to fetch announced objects of some `kinds`; `Ledger.errand` opens it."""

    kinds: Kinds = ANNOUNCED

    def allows(self, message: Message) -> bool:
        """Whether `message` asks for announced objects, and for nothing else."""
        return isinstance(message, GetData) and bool(message.items) and all(i.type in self.kinds for i in message.items)

    async def fetch(self, peer: Peer, items: Sequence[InvItem], take: Take) -> None:
        """Have what `peer` announced as `items`, each handed over as it comes; None for what it no longer has.

        None is kept here until the last has come: a peer that leaves one out would fill the memory with all others.

        Raises:
            PeerGone: the peer was silent for the idle timeout, or its connection was lost; what came was handed over.
        """
        left, over = dict.fromkeys(items), trio.Event()

        def settle(reply: Message) -> int:
            settled = [item for item in _named(reply) if item in left]
            for item in settled:
                del left[item]
                if not over.is_set():
                    take(item, reply if isinstance(reply, known) else None)
            return len(settled)

        known = tuple(self.kinds.values())
        longest = 2 * self.patience.timeout  # who sends them in drops keeps them from others
        answer = self.kinds[items[0].type].command
        try:
            await self._exchange(peer, GetData(tuple(left)), settle, len(left), answer, longest, keeps=False)
        finally:
            over.set()


def _named(reply: Message) -> tuple[InvItem, ...]:
    """What a reply brings or denies."""
    if isinstance(reply, NotFound):
        return reply.items
    if isinstance(reply, TxMessage):
        return (InvItem(InvType.TX, reply.tx.txid),)
    return tuple([InvItem(kind, reply.inventory_hash) for kind, lock in ANNOUNCED.items() if isinstance(reply, lock)])
