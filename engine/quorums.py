"""Which quorums were active after a block, as far as the stored quorum sets tell.

Sets are stored for a few heights only. In between they can still be told: a quorum joins those active in the block that
its commitment is mined in, and never comes back once it has left, so where the sets on both sides are equal nothing
happened between them; and commitments are mined inside a window of each interval only [Core llmq/blockprocessor.cpp],
so where no such height lies between, nothing could happen.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from phasegate.engine.phases.masternode_lists import Lists

if TYPE_CHECKING:
    from phasegate.consensus.params import QuorumType
    from phasegate.consensus.quorums import QuorumCommitment
    from phasegate.engine.requests import Desk
    from phasegate.engine.work import Work
    from phasegate.store import Store

Active = tuple["QuorumCommitment", ...]


async def active_at(work: Work, desk: Desk | None, kind: QuorumType, height: int) -> Active | None:
    """The commitments of type `kind` that were active after the stored block at `height`; None if that is not known.

    Args:
        work: the workbench.
        desk: with it peers are asked for the list at `height` when the store cannot tell; it is proven like any other.
        kind: of the quorums.
        height: not above the tip.

    Raises:
        Failure: there is no peer to ask.
    """
    known = stored_at(work.store, kind, height, work.writer.marks.tip)
    if known is not None or desk is None:
        return known
    lists = Lists(work, desk)
    return _of(kind, tuple((await lists.at(height)).quorums.values())) if await lists.bring_if_served(height) else None


def stored_at(store: Store, kind: QuorumType, height: int, tip: int) -> Active | None:
    """As `active_at`, from the stored sets alone."""
    below = _nearest(store, kind, store.quorum_set_heights(0, height)[-1:])
    above = _nearest(store, kind, store.quorum_set_heights(height, tip)[:1])
    if below and (below[0] == height or not _mines_in(kind, below[0], height)):
        return below[1]
    if above and not _mines_in(kind, height, above[0]):
        return above[1]
    same = below and above and {quorum.key for quorum in below[1]} == {quorum.key for quorum in above[1]}
    return below[1] if below and same else None


def missing_sets(work: Work, heights: Iterable[int]) -> list[int]:
    """Of `heights` those to be brought, ascending, so that at all of them the quorums that sign locks are known."""
    network, tip = work.network, work.writer.marks.tip
    kinds = [network.quorum_types[network.roles[role]] for role in ("chainlock", "instantsend")]
    found: list[int] = []
    for height in sorted(heights):
        if found and not any(_mines_in(kind, found[-1], height) for kind in kinds):
            continue
        if any(stored_at(work.store, kind, height, tip) is None for kind in kinds):
            found.append(height)
    return found


def _nearest(store: Store, kind: QuorumType, heights: list[int]) -> tuple[int, Active] | None:
    found = store.quorum_set(heights[0]) if heights else None
    return None if found is None else (heights[0], _of(kind, found))


def _of(kind: QuorumType, quorums: Active) -> Active:
    return tuple([quorum for quorum in quorums if quorum.type == kind.number])


def _mines_in(kind: QuorumType, above: int, to: int) -> bool:
    """Whether a commitment of this type can be mined in a block above `above` and up to `to`."""
    first, last = kind.dkg_mining
    return to - above >= kind.interval or any(
        first <= height % kind.interval <= last for height in range(above + 1, to + 1)
    )
