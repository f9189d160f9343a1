"""The benchmark of blocks: against the rate at which the peer itself gives them, hundreds in flight."""

from __future__ import annotations

from collections.abc import Sequence

from phasegate.p2p.simnet.bulk_node import AT_ONCE, Slowness
from phasegate.verification.bench.figures import Figure, at_least, per_item
from phasegate.verification.bench.peer import asks_blocks, drained
from phasegate.verification.bench.stage import CORE_BLOCKS, Stage


def blocks(stage: Stage) -> Sequence[Figure]:
    """Fetched, checked and searched; from a peer as fast as Core's best, and from one without limit."""
    return [
        _blocks(stage, Slowness(blocks=CORE_BLOCKS), "blocks", stage.bound(0.8)),
        _blocks(stage, AT_ONCE, "blocks-unlimited", None),
    ]


def _blocks(stage: Stage, slowness: Slowness, name: str, bound: float | None) -> Figure:
    plan = stage.sizes.blocks
    chain = stage.chain(plan)
    with stage.peers(plan, slowness) as peers:
        floor = drained(peers[0], chain, list(asks_blocks(chain)))
        result = stage.client(plan, peers, filters=True)
    taken, items = result.phases["blocks"], result.items["blocks"]
    pace = f"a peer of {slowness.blocks:,.0f} blocks/s" if slowness.blocks else "a peer without limit"
    each = floor / plan.matched
    told = f"{per_item(taken, items, 'block')} of {plan.transactions} transactions"
    pace = f"{pace}, only drained: {per_item(each, 1, 'block')}"
    return at_least(name, each * items / taken, bound, told, pace, guarded=False)
