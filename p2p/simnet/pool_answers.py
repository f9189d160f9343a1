"""What dashd answers about the memory pool, together with what it answers about the chain.

Pure, as `answers`: asked twice the same thing, it says twice the same.
"""

from __future__ import annotations

from itertools import chain as chained

import attrs

from phasegate.p2p.messages import GetData, Inv, InvItem, InvType, Mempool, TxMessage
from phasegate.p2p.simnet.answers import Answer, answer
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.memory_pool import MemoryPool


def with_transactions(chain: SimulatedChain, pool: MemoryPool, request: GetData, version: int) -> Answer | None:
    """The transactions that are in the pool, then the rest of `request` as the chain answers it."""
    txids = [item.hash for item in request.items if item.type == InvType.TX]
    found = {tx.txid: tx for txid in txids if (tx := pool.served(txid))}
    if not found:
        return answer(chain, request, version)
    others = [item for item in request.items if item.type != InvType.TX or item.hash not in found]
    rest = answer(chain, GetData(tuple(others)), version) or Answer(())
    messages = chained([TxMessage(tx) for tx in found.values()], rest.messages)
    return attrs.evolve(rest, messages=messages, facts={"transactions": len(found)} | rest.facts)


def pool_inventory(chain: SimulatedChain, pool: MemoryPool, *, transactions: bool, locks: bool) -> Answer | None:
    """The inv that answers `mempool`: what waits, for those who wish transactions, and the best ChainLock."""
    items = [InvItem(InvType.TX, tx.txid) for tx in pool.transactions] if transactions else []
    best = answer(chain, Mempool(), 0) if locks else None
    for message in best.messages if best else ():
        items += message.items if isinstance(message, Inv) else ()
    return Answer([Inv(tuple(items))]) if items else None
