"""The verdicts on quorums of types that do not rotate: each is drawn again from its list, and its commitment checked.

Everything that goes in is proven by work: the list and the ChainLock of the work block, the block's hash, and the
commitment by the quorum root. So when a commitment does not hold, no peer can be blamed: the stored list that was used
is brought again first; if that changes nothing, the stored chain leads to what no honest node can have built.

Where the lists cannot be had there is less to check: the form, and the signature that the quorum made with its own key.
Nothing of ours takes part in that, and every node has checked it before it took the block. So if it does not hold,
whoever told of the quorum lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import attrs

from phasegate.consensus.bls import is_null
from phasegate.consensus.commitments import check_commitments, check_memberless
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.quorum_members import members, modifier, takes_evo_only, work_height
from phasegate.store import QuorumVerdict

if TYPE_CHECKING:
    from phasegate.consensus.masternodes import MasternodeState
    from phasegate.consensus.params import Network
    from phasegate.consensus.quorums import QuorumCommitment
    from phasegate.engine.phases.masternode_lists import Lists
    from phasegate.engine.quorum_plan import Draw
    from phasegate.engine.work import Work


BATCH = 8
"""Commitments that are checked at once."""


@attrs.frozen
class Blocks:
    """The hashes of the two blocks that name a quorum, and draw its members where no ChainLock does."""

    base: bytes
    work: bytes


def judge_draw(network: Network, draw: Draw, state: MasternodeState, blocks: Blocks) -> None:
    """Check the commitment of a drawn quorum.

    Args:
        network: where this happens.
        draw: the quorum.
        state: the list at `draw.list_height`.
        blocks: the quorum's.

    Raises:
        PeerMisbehaved: BAD_QUORUM_COMMITMENT.
    """
    height = work_height(draw.kind, draw.base_height)
    drawn_with = modifier(
        network,
        draw.kind,
        base_height=draw.base_height,
        base_hash=blocks.base,
        work_height=height,
        work_hash=blocks.work,
        chainlock=state.chainlock if state.height == height else None,
    )
    evo_only = takes_evo_only(network, draw.kind, draw.base_height)
    drawn = members(network, draw.kind, state.entries.values(), drawn_with, evo_only=evo_only)
    check_commitments(network, [(draw.commitment, drawn)])


async def judge_draws(work: Work, lists: Lists, draws: Iterable[Draw]) -> list[QuorumVerdict]:
    """The verdicts on `draws`, whose lists are at hand.

    Raises:
        PeerMisbehaved: BAD_QUORUM_COMMITMENT; nobody's in particular.
        Failure: a list had to be brought again, and no peer is left.
    """
    verdicts = []
    for draw in draws:
        try:
            await _judge(work, lists, draw)
        except PeerMisbehaved:
            if lists.is_proven(draw.list_height):
                raise
            lists.distrust(draw.list_height)
            await lists.bring([draw.list_height])
            await _judge(work, lists, draw)
        verdicts.append(verified(draw.commitment))
    return verdicts


async def _judge(work: Work, lists: Lists, draw: Draw) -> None:
    state = await lists.with_chainlock(draw.list_height)
    blocks = Blocks(draw.commitment.quorum_hash, work.store.hash_at(work_height(draw.kind, draw.base_height)))
    await work.seams.compute(judge_draw, work.network, draw, state, blocks)
    if state.height != draw.base_height:
        check_claims(work, lists, [draw.commitment], state)


def check_claims(work: Work, lists: Lists, made: Sequence[QuorumCommitment], state: MasternodeState) -> None:
    """Ban whoever told another ChainLock signature of these quorums than their work block, that of `state`, carries."""
    stated = b"" if is_null(state.chainlock or b"") else state.chainlock
    for commitment in made:
        claim = lists.claims.pop(commitment.key, None)
        if claim and (b"" if is_null(claim.signature) else claim.signature) != stated:
            detail = f"tells another ChainLock than the coinbase of {state.height} for a quorum drawn there"
            work.pool.ban(claim.peer, PeerMisbehaved(Fault.BAD_MASTERNODE_DIFF, detail))


def verified(commitment: QuorumCommitment) -> QuorumVerdict:
    """The verdict on a commitment that holds."""
    return QuorumVerdict(*commitment.key, verified=True)


async def excuse(work: Work, lists: Lists, pairs: Sequence[tuple[QuorumCommitment, str]]) -> list[QuorumVerdict]:
    """The verdicts on commitments whose members cannot be told, each with the reason; their own signatures hold.

    Raises:
        PeerMisbehaved: BAD_QUORUM_COMMITMENT; who told of the quorum in this stay is banned.
    """
    commitments = [commitment for commitment, _ in pairs]
    for first in range(0, len(pairs), BATCH):
        await _check_memberless(work, lists, commitments[first : first + BATCH])
    return [_excused(*pair) for pair in pairs]


async def _check_memberless(work: Work, lists: Lists, commitments: Sequence[QuorumCommitment]) -> None:
    try:
        await work.seams.compute(check_memberless, work.network, commitments)
    except PeerMisbehaved:
        if len(commitments) == 1:
            teller = lists.tellers.get(commitments[0].key)
            with nullcontext() if teller is None else work.blame(teller):
                raise
        for commitment in commitments:  # whose it is
            await _check_memberless(work, lists, [commitment])


def _excused(commitment: QuorumCommitment, reason: str) -> QuorumVerdict:
    proof = "the quorum root covers it" + ("" if commitment.is_legacy else ", and its own key signed it")
    return QuorumVerdict(*commitment.key, verified=False, reason=f"{reason}; {proof}")
