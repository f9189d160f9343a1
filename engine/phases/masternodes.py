"""The masternode-list phase: one verified diff from the stored list to the header tip.

The diff is proven against the stored header of its block: the coinbase by a merkle path, the list and the quorums by
the two roots in that coinbase. If a diff on top of the stored list fails, the full diff from genesis is asked of the
same peer before it is blamed: when that one verifies, the stored list was the wrong one, and is replaced.
"""

from __future__ import annotations

from phasegate.consensus.faults import Fault, Malformed, PeerMisbehaved
from phasegate.consensus.masternodes import MasternodeState, apply_diff
from phasegate.engine.errors import PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work
from phasegate.p2p.messages import GetMnListDiff, MnListDiff
from phasegate.store import SetMasternodes


async def download_masternodes(work: Work) -> None:
    """The activity of the state `mnlist`."""
    marks = work.writer.marks
    if marks.tip < work.network.dip3 or (marks.masternodes, marks.masternodes_hash) == (marks.tip, marks.tip_hash):
        return
    base = await _stored(work)
    with work.desk("mnlist") as desk:
        await _from_any_peer(work, desk, base)


async def _stored(work: Work) -> MasternodeState:
    """The stored state to go on from; the empty one when there is none, or none that can be read."""
    raw = work.store.masternode_state()
    if raw is not None:
        try:
            return await work.seams.compute(MasternodeState.from_bytes, raw)
        except Malformed as damage:
            work.warn("masternodes-replaced", f"the stored masternode list is damaged and is replaced: {damage.detail}")
    return MasternodeState.empty(work.network)


async def _from_any_peer(work: Work, desk: Desk, base: MasternodeState) -> None:
    for peer in work.chain_peers():
        try:
            with work.blame(peer):
                await _bring(work, desk, peer, base)
                return
        except (PeerGone, PeerMisbehaved):
            continue  # dropped or banned, with the reason, by `blame`
    raise work.no_peer()


async def _bring(work: Work, desk: Desk, peer: Peer, base: MasternodeState) -> None:
    try:
        await _apply(work, desk, peer, base)
    except PeerMisbehaved as doubted:
        own = (Fault.BAD_MASTERNODE_DIFF, Fault.BAD_MASTERNODE_ROOT, Fault.BAD_QUORUM_ROOT)
        if doubted.fault not in own or not base.height:
            raise
        await _apply(work, desk, peer, MasternodeState.empty(work.network))
        work.warn("masternodes-replaced", f"the stored masternode list of {base.height} was wrong and is replaced")


async def _apply(work: Work, desk: Desk, peer: Peer, base: MasternodeState) -> None:
    height, block = work.writer.marks.tip, work.writer.marks.tip_hash
    ends = (base.block_hash, block)
    reply = await desk.ask(
        peer, GetMnListDiff(*ends), MnListDiff, lambda m: (m.diff.base_hash, m.diff.block_hash) == ends
    )
    header = work.store.header(height)
    state = await work.seams.compute(apply_diff, work.network, base, reply.diff, header, height)
    raw = await work.seams.compute(state.to_bytes)
    await work.writer.commit([SetMasternodes(height, block, raw)])
