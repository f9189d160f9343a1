"""The verdicts on rotated quorums, from four lists and what nodes remember of three cycles [DIP24].

The lists are asked for one by one like all others and proven; so of a `qrinfo` only the snapshots are taken, which
nothing proves but the commitments themselves: members dealt from false snapshots have not signed. The lists in it are
not read. Naming the lists at hand as bases keeps them almost empty, whatever the size of the network.

A peer whose snapshots do not lead to the commitments lies, or we compute wrongly. Only another peer's word tells these
apart: once one is found to lead there, those that did not are banned; if several peers say the same and it leads
nowhere, none of them is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import attrs

from phasegate.consensus.commitments import Members, check_commitments
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.rotation_info import cycle_members, rotation_point
from phasegate.engine.errors import PeerGone
from phasegate.engine.phases.masternode_lists import ASKED
from phasegate.engine.phases.quorum_verdicts import BATCH, check_claims, excuse, verified
from phasegate.engine.quorum_plan import QUARTERS
from phasegate.p2p.messages import GetQrInfo, QrInfo

if TYPE_CHECKING:
    from phasegate.consensus.masternodes import MasternodeState
    from phasegate.consensus.params import Network
    from phasegate.consensus.quorums import QuorumSnapshot
    from phasegate.engine.peers import Peer
    from phasegate.engine.phases.masternode_lists import Lists
    from phasegate.engine.quorum_plan import Rotation
    from phasegate.engine.requests import Desk
    from phasegate.engine.work import Work
    from phasegate.store import QuorumVerdict

Snapshots = Mapping[bytes, "QuorumSnapshot"]
"""What a peer remembers of cycles, by the hash of their work block."""


def deal(
    network: Network, rotation: Rotation, states: Sequence[MasternodeState], snapshots: Snapshots
) -> tuple[Members, ...]:
    """The members of every quorum of a cycle, by index.

    Args:
        network: where this happens.
        rotation: the cycle.
        states: the lists at `rotation.heights`.
        snapshots: of the three cycles before.

    Raises:
        PeerMisbehaved: BAD_QUORUM_SNAPSHOT.
    """
    points = {rotation.height: rotation_point(network, rotation.kind, states[0], None)}
    for start, state in zip(rotation.starts[1:], states[1:], strict=True):
        if state.block_hash not in snapshots:
            raise PeerMisbehaved(Fault.BAD_QUORUM_SNAPSHOT, f"no snapshot of the cycle that began at {start}")
        points[start] = rotation_point(network, rotation.kind, state, snapshots[state.block_hash])
    return cycle_members(network, rotation.kind, points)[rotation.height]


@attrs.frozen
class _Doubt:
    peer: Peer
    told: Snapshots
    fault: PeerMisbehaved


class RotationJudge:
    """Judges the rotated quorums of whole cycles.

    Args:
        work: the workbench.
        desk: the right to ask.
        lists: where those at the cycles' work blocks are at hand.
    """

    def __init__(self, work: Work, desk: Desk, lists: Lists) -> None:
        self._work = work
        self._desk = desk
        self._lists = lists
        self._told: dict[tuple[Peer, int], Snapshots] = {}

    async def judge(self, rotation: Rotation, active_at: int, *, needed: bool) -> list[QuorumVerdict]:
        """The verdicts on the quorums of one cycle.

        Args:
            rotation: the cycle.
            active_at: a height at which they are active: what is needed for them is told of that block.
            needed: silence is held against a peer; otherwise it ends in a verdict that says so.

        Raises:
            PeerMisbehaved: what all peers say leads nowhere; nobody's in particular.
            Failure: no peer is left.
        """
        states = [await self._lists.with_chainlock(height) for height in rotation.heights]
        if reason := untold(rotation, states):
            return await self._excuse(rotation, reason)
        doubts: list[_Doubt] = []
        for peer in self._work.chain_peers()[: None if needed else ASKED]:
            told = await self._ask(peer, rotation, active_at, needed=needed)
            if told is None:
                continue
            try:
                await self._check(rotation, told)
            except PeerMisbehaved as fault:
                doubts.append(_Doubt(peer, told, fault))
                continue
            self._ban(doubts)
            return [verified(commitment) for commitment in rotation.commitments]
        return await self._unjudged(rotation, doubts, needed=needed)

    async def _excuse(self, rotation: Rotation, reason: str) -> list[QuorumVerdict]:
        return await excuse(self._work, self._lists, [(commitment, reason) for commitment in rotation.commitments])

    async def _unjudged(self, rotation: Rotation, doubts: list[_Doubt], *, needed: bool) -> list[QuorumVerdict]:
        if not doubts and needed:
            raise self._work.no_peer()
        if not needed:
            return await self._excuse(rotation, "no peer tells how it rotated")
        if any(doubt.told != doubts[0].told for doubt in doubts):
            self._ban(doubts)
        raise doubts[0].fault

    def _ban(self, doubts: list[_Doubt]) -> None:
        for doubt in doubts:
            self._work.pool.ban(doubt.peer, doubt.fault)

    async def _ask(self, peer: Peer, rotation: Rotation, active_at: int, *, needed: bool) -> Snapshots | None:
        """What `peer` remembers that is needed at `active_at`; None if it does not say."""
        if (peer, active_at) not in self._told:
            try:
                with self._work.blame(peer) if needed else nullcontext():
                    self._told[peer, active_at] = await self._fetch(peer, rotation, active_at)
            except (PeerGone, PeerMisbehaved) as fault:
                if isinstance(fault, PeerGone) and fault.dragged and not needed:
                    self._work.note_delay(peer, fault)  # where it is needed, `blame` has
                return None
        return self._told[peer, active_at]

    async def _fetch(self, peer: Peer, rotation: Rotation, active_at: int) -> Snapshots:
        hash_at = self._work.store.hash_at
        newest = attrs.evolve(rotation, height=active_at - active_at % rotation.kind.interval)
        extra = newest.height - QUARTERS * rotation.kind.interval in rotation.starts
        bases = [hash_at(height) for height in self._bases(rotation, newest)]
        request, cycle_block = GetQrInfo(tuple(bases), hash_at(active_at), extra), hash_at(newest.heights[0])
        reply = await self._desk.ask(peer, request, QrInfo, lambda m: m.cycle.block_hash == cycle_block)
        return {share.diff.block_hash: share.snapshot for share in reply.rotation.shares}

    def _bases(self, rotation: Rotation, newest: Rotation) -> list[int]:
        """The lists at hand that the answer may be built on, so that it says little more than what is asked for."""
        useful = {*rotation.heights, *newest.heights, self._work.writer.marks.tip}
        return [height for height in sorted(useful) if height >= self._work.network.dip3 and self._lists.has(height)]

    async def _check(self, rotation: Rotation, told: Snapshots) -> None:
        """Check the commitments; where a list from the store took part, once more with all lists brought again."""
        try:
            await self._check_once(rotation, told)
        except PeerMisbehaved:
            doubted = [height for height in rotation.heights if not self._lists.is_proven(height)]
            if not doubted:
                raise
            for height in doubted:
                self._lists.distrust(height)
            await self._lists.bring(doubted)
            await self._check_once(rotation, told)

    async def _check_once(self, rotation: Rotation, told: Snapshots) -> None:
        network, compute = self._work.network, self._work.seams.compute
        states = [await self._lists.with_chainlock(height) for height in rotation.heights]
        dealt = await compute(deal, network, rotation, states, told)
        pairs = [(commitment, dealt[commitment.index or 0]) for commitment in rotation.commitments]
        for first in range(0, len(pairs), BATCH):
            await compute(check_commitments, network, pairs[first : first + BATCH])
        check_claims(self._work, self._lists, rotation.commitments, states[0])


def untold(rotation: Rotation, states: Sequence[MasternodeState]) -> str:
    """Why no node can tell what judging a cycle takes; "" if one can.

    Args:
        rotation: the cycle.
        states: the lists at `rotation.heights`.
    """
    quarter = rotation.kind.size // len(rotation.starts)
    for start, state in list(zip(rotation.starts, states, strict=True))[1:]:
        if state.valid_count < quarter:
            return f"too few masternodes in cycle {start}, so no node tells how it rotated"
    return ""
