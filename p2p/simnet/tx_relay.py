"""One peer's share in the memory pool: what it offers is fetched, what others brought is told to it.

Both wait a little: dashd asks a peer that called it two seconds after the offer, and collects what it has to tell.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from phasegate.consensus.primitives import Transaction
from phasegate.p2p.messages import GetData, Inv, InvItem, InvType, Message
from phasegate.p2p.simnet.memory_pool import MemoryPool


@attrs.define(eq=False)
class TxRelay:
    """The transactions of one connection.

    Args:
        pool: where they go and come from.
        say: sends a message.
        delay: seconds to wait before transactions are asked for, and before they are told.
        refuse: take none, without a word, as dashd does with what breaks a rule.
    """

    pool: MemoryPool
    say: Callable[[Message], Awaitable[None]]
    delay: float
    refuse: bool
    _familiar: set[bytes] = attrs.field(factory=set, init=False)
    _wanted: list[bytes] = attrs.field(factory=list, init=False)
    _untold: list[bytes] = attrs.field(factory=list, init=False)
    _stirred: trio.Event = attrs.field(factory=trio.Event, init=False)

    def offered(self, inv: Inv) -> None:
        """The peer has announced something: ask for the transactions among it that are new."""
        txids = [item.hash for item in inv.items if item.type == InvType.TX and item.hash not in self._familiar]
        self._familiar.update(txids)
        self._wanted += txids
        self._stirred.set()

    def brought(self, tx: Transaction) -> None:
        """The peer has sent a transaction, asked for or not."""
        self._familiar.add(tx.txid)
        if not self.refuse:
            self.pool.add(tx, self)

    def tell(self, txid: bytes) -> None:
        """Announce a transaction soon, unless the peer knows of it."""
        if txid not in self._familiar:
            self._familiar.add(txid)
            self._untold.append(txid)
            self._stirred.set()

    async def run(self) -> None:
        """Ask and tell, until cancelled."""
        while True:
            await self._stirred.wait()
            self._stirred = trio.Event()
            await trio.sleep(self.delay)
            wanted, self._wanted = [txid for txid in self._wanted if not self.pool.knows(txid)], []
            untold, self._untold = self._untold, []
            await self._send(GetData, wanted)
            for txid in untold:
                self.pool.told(txid)
            await self._send(Inv, untold)

    async def _send(self, kind: type[GetData | Inv], txids: Sequence[bytes]) -> None:
        if txids:
            await self.say(kind(tuple([InvItem(InvType.TX, txid) for txid in txids])))
