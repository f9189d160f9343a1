"""What a node tells about rotation in one `qrinfo`, applied and judged [DIP24; Core llmq/snapshot.cpp].

The message speaks of the cycle H that holds the block asked about: the list at its work block, those at the work blocks
of three earlier cycles (four with an extra share) with their snapshots, and the list at the block itself. Every list
proves itself by its coinbase. A snapshot is proven by what it leads to: the quarter dealt from it has to be that of
members who really signed, and where the three quarters before are known too the snapshot is made again and must be
equal.

Since protocol 70236 each difference may start from the list of an earlier one in the same message; `in_order` gives
them so that each finds its base, and is right for older peers as well, whose differences all start from what was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise

import attrs

from phasegate.consensus.bls import is_null
from phasegate.consensus.commitments import Members, check_commitments
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState
from phasegate.consensus.params import Network, QuorumType
from phasegate.consensus.primitives import CoinbasePayload
from phasegate.consensus.quorum_members import WORK_OFFSET, modifier
from phasegate.consensus.quorums import QuorumCommitment, QuorumSnapshot
from phasegate.consensus.rotation import (
    QUARTERS,
    Quarter,
    RotationPoint,
    joined,
    make_snapshot,
    new_quarter,
    old_quarter,
)

HeightOf = Callable[[bytes], int | None]
"""The height of a block by its hash, None if it is not known."""
Apply = Callable[[MasternodeState, MasternodeListDiff], MasternodeState]


@attrs.frozen
class RotationShare:
    """What is told of one earlier cycle: its snapshot, and the difference that ends at its work block."""

    snapshot: QuorumSnapshot
    diff: MasternodeListDiff


@attrs.frozen
class RotationInfo:
    """One `qrinfo`, apart from how it is sent.

    Args:
        tip: leads to the list at the block asked about.
        cycle: to that at the work block of its cycle H.
        earlier: of the cycles H-C, H-2C, H-3C.
        extra: of H-4C, when it was asked for.
        older: of cycles before these, which some newest commitment still needs.
        last_commitments: the newest mined commitment of each index.
    """

    tip: MasternodeListDiff
    cycle: MasternodeListDiff
    earlier: tuple[RotationShare, ...]
    extra: RotationShare | None
    older: tuple[RotationShare, ...]
    last_commitments: tuple[QuorumCommitment, ...]

    @property
    def shares(self) -> tuple[RotationShare, ...]:
        """Of all earlier cycles."""
        return (*self.earlier, *(() if self.extra is None else (self.extra,)), *self.older)

    @property
    def in_order(self) -> tuple[MasternodeListDiff, ...]:
        """The differences, lowest block first as their coinbases say, so that each finds the list that it starts from.

        Raises:
            Malformed: a coinbase has no payload that could be read.
        """
        diffs = [*[share.diff for share in self.shares], self.cycle, self.tip]
        return tuple(sorted(diffs, key=lambda diff: CoinbasePayload.from_bytes(diff.coinbase.payload).height))


@attrs.frozen
class RotatedQuorums:
    """The rotated quorums of one `qrinfo`: those whose members are known by it, with these, and the others."""

    pairs: tuple[tuple[QuorumCommitment, Members], ...]
    beyond: tuple[QuorumCommitment, ...]


def states_of(
    network: Network, info: RotationInfo, held: Iterable[MasternodeState], apply: Apply, *, stand_in: bool = False
) -> Iterator[MasternodeState]:
    """Every list of `info`, lowest block first.

    Args:
        network: where this happens.
        info: what the peer sent.
        held: the lists that were named as bases.
        apply: `apply_diff` or `apply_unanchored`, given what these take beside the base and the difference.
        stand_in: whether the list before may stand in for one that is not held; the roots tell whether it can.

    Raises:
        PeerMisbehaved: UNFITTING_REPLY when a difference starts from no known list; and what `apply` raises.
    """
    genesis = state = MasternodeState.empty(network)
    known = {bytes(32): genesis, genesis.block_hash: genesis, **{state.block_hash: state for state in held}}
    for diff in info.in_order:
        base = known.get(diff.base_hash)
        if base is None and stand_in:
            base = attrs.evolve(state, block_hash=diff.base_hash)
        if base is None:
            raise PeerMisbehaved(Fault.UNFITTING_REPLY, "a list of the qrinfo starts from a list that nobody has")
        state = known[diff.block_hash] = apply(base, diff)
        yield state


def check_rotation(
    network: Network, info: RotationInfo, states: Iterable[MasternodeState], height_of: HeightOf
) -> RotatedQuorums:
    """The rotated quorums of `info`, every one of `pairs` verified.

    Args:
        network: where this happens.
        info: what the peer sent.
        states: the lists of `states_of`, and others where they are at hand.
        height_of: of the blocks of the chain.

    Raises:
        PeerMisbehaved: UNFITTING_REPLY, BAD_QUORUM_SNAPSHOT, BAD_QUORUM_COMMITMENT, BAD_MASTERNODE_DIFF.
    """
    quorums = rotated_quorums(network, info, states, height_of)
    check_commitments(network, quorums.pairs)
    return quorums


def rotated_quorums(
    network: Network, info: RotationInfo, states: Iterable[MasternodeState], height_of: HeightOf
) -> RotatedQuorums:
    """As `check_rotation`, with the signatures of `pairs` left to be checked."""
    kind = network.quorum_types[network.roles["instantsend"]]
    by_hash = {state.block_hash: state for state in states}
    rotated = _rotated(kind, info, by_hash.values())
    _check_chainlock_signatures(info, {state.height: state for state in by_hash.values()}, height_of)
    members = cycle_members(network, kind, rotation_points(network, kind, info, by_hash))
    pairs, beyond = [], []
    for commitment in rotated:
        height = height_of(commitment.quorum_hash)
        cycle = None if height is None or commitment.index is None else height - commitment.index
        if cycle in members and commitment.index is not None and commitment.index < kind.active:
            pairs.append((commitment, members[cycle][commitment.index]))
        else:
            beyond.append(commitment)
    return RotatedQuorums(tuple(pairs), tuple(beyond))


def rotation_points(
    network: Network, kind: QuorumType, info: RotationInfo, states: Mapping[bytes, MasternodeState]
) -> dict[int, RotationPoint]:
    """The cycles that `info` tells of, by the height at which each begins.

    Raises:
        PeerMisbehaved: UNFITTING_REPLY when a list is of another block than the cycle's work block.
    """
    told = [(info.cycle, None), *[(share.diff, share.snapshot) for share in info.shares]]
    points = {}
    for diff, snapshot in told:
        state = states[diff.block_hash]
        points[state.height + WORK_OFFSET] = rotation_point(network, kind, state, snapshot)
    newest = max(points)
    wanted = [newest - i * kind.interval for i in range(1 + len(info.shares) - len(info.older))]
    if newest % kind.interval or list(points)[: len(wanted)] != wanted or len(points) != len(told):
        raise PeerMisbehaved(
            Fault.UNFITTING_REPLY, "the lists of the qrinfo do not end at the work blocks of its cycles"
        )
    return points


def rotation_point(
    network: Network, kind: QuorumType, state: MasternodeState, snapshot: QuorumSnapshot | None
) -> RotationPoint:
    """The cycle whose work block is that of `state`, with what is known of its snapshot."""
    drawn = modifier(
        network,
        kind,
        base_height=state.height + WORK_OFFSET,
        base_hash=bytes(32),  # a rotated quorum is drawn by its work block alone
        work_height=state.height,
        work_hash=state.block_hash,
        chainlock=state.chainlock,
    )
    return RotationPoint(state.entries, drawn, snapshot)


def cycle_members(
    network: Network, kind: QuorumType, points: Mapping[int, RotationPoint]
) -> dict[int, tuple[Members, ...]]:
    """The members of every quorum, by index, of each cycle of `points` whose three cycles before are there too.

    Raises:
        PeerMisbehaved: BAD_QUORUM_SNAPSHOT, for one that another would have to be.
    """
    quarters: dict[int, Quarter] = {}
    members: dict[int, tuple[Members, ...]] = {}
    for base in sorted(points):
        point, before = points[base], [quarters.get(base - i * kind.interval) for i in range(1, QUARTERS)]
        known = [quarter for quarter in before if quarter is not None]
        whole = len(known) == QUARTERS - 1
        if point.snapshot is not None:
            quarters[base] = old_quarter(kind, point)
            if whole and base > network.activations["v19"] and make_snapshot(kind, point, known) != point.snapshot:
                raise PeerMisbehaved(
                    Fault.BAD_QUORUM_SNAPSHOT, f"the snapshot of cycle {base} follows from other quorums"
                )
        elif whole:
            quarters[base] = new_quarter(kind, point, known)
        if whole:
            members[base] = joined([quarters[base], *known])
    return members


def _rotated(kind: QuorumType, info: RotationInfo, states: Iterable[MasternodeState]) -> Iterable[QuorumCommitment]:
    found = {key: quorum for state in states for key, quorum in state.quorums.items() if quorum.type == kind.number}
    for commitment in info.last_commitments:
        if found.get(commitment.key) != commitment:
            raise PeerMisbehaved(Fault.BAD_QUORUM_COMMITMENT, "a newest commitment stands in no list of the qrinfo")
    return found.values()


def _check_chainlock_signatures(info: RotationInfo, states: Mapping[int, MasternodeState], height_of: HeightOf) -> None:
    """Compare the signatures that members are drawn by with the coinbases of the work blocks that are at hand."""
    for diff in info.in_order:
        for signature, indexes in diff.cl_signatures:
            for quorum in [diff.new_quorums[index] for index in indexes]:
                height = height_of(quorum.quorum_hash)
                work = None if height is None else states.get(height - (quorum.index or 0) - WORK_OFFSET)
                if work is not None and work.chainlock is not None and not _same(signature, work.chainlock):
                    raise PeerMisbehaved(
                        Fault.BAD_MASTERNODE_DIFF, f"height {work.height}: another ChainLock signature"
                    )


def _same(signature: bytes, stated: bytes) -> bool:
    return signature == stated or (is_null(signature) and is_null(stated))


def apparent_heights(kind: QuorumType, states: Iterable[MasternodeState]) -> dict[bytes, int]:
    """Where the rotated quorums of a `qrinfo` begin, by its lists alone, without a chain of headers to ask.

    A quorum that stands in a list and not in the one of the cycle before was mined in between. That names its cycle
    wherever commitments are mined before the work block of the next cycle: everywhere but on regtest, where it does as
    long as they are mined as soon as they can be.
    """
    ordered = sorted(states, key=lambda state: state.height)
    heights = {}
    for before, after in pairwise(ordered):
        if after.height - before.height <= kind.interval + WORK_OFFSET:
            fresh = [quorum for key, quorum in after.quorums.items() if key not in before.quorums]
            for quorum in [quorum for quorum in fresh if quorum.type == kind.number]:
                heights[quorum.quorum_hash] = before.height + WORK_OFFSET + (quorum.index or 0)
    return heights
