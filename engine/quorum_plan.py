"""Which masternode lists it takes to judge quorums, found out before anything is asked for.

Who is in a quorum follows from the masternode list at one block and the ChainLock that this block's coinbase carries
[DIP6, DIP29]; for a rotated quorum from four such blocks, those of its own cycle and of the three before [DIP24]. The
cycle is the quorum's, not the tip's: an index whose newest attempts failed is still served by a quorum of an older
cycle, and while the commitments of the newest cycle are not mined yet every index is.

A list at a height cannot be had from later ones, so the lists that quorums still in the making will need are kept when
the walk passes them: `coming`.

Pure: heights and hashes in, heights out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.params import Network, QuorumType
from phasegate.consensus.quorum_members import list_height, work_height
from phasegate.consensus.quorums import QuorumCommitment

QUARTERS = 4
"""Cycles that the members of a rotated quorum come from."""

LEGACY_REASON = "signed before V19, in a form that is not IETF BLS"


@attrs.frozen
class Draw:
    """A quorum that does not rotate: its base, and the height of the list that its members are drawn from."""

    kind: QuorumType
    commitment: QuorumCommitment
    base_height: int
    list_height: int

    @property
    def commitments(self) -> tuple[QuorumCommitment, ...]:
        """Those of the quorums that this is about."""
        return (self.commitment,)

    @property
    def heights(self) -> tuple[int, ...]:
        """The heights whose lists it takes."""
        return (self.list_height,)


@attrs.frozen
class Rotation:
    """The rotated quorums of one cycle, which begins at `height`."""

    kind: QuorumType
    height: int
    commitments: tuple[QuorumCommitment, ...]

    @property
    def starts(self) -> tuple[int, ...]:
        """Where this cycle and the three before it begin, newest first."""
        return tuple([self.height - i * self.kind.interval for i in range(QUARTERS)])

    @property
    def heights(self) -> tuple[int, ...]:
        """The work blocks of these four cycles, whose lists it takes, newest first."""
        return tuple([work_height(self.kind, start, 0) for start in self.starts])


@attrs.frozen
class Plan:
    """How to judge some quorums.

    Args:
        draws: quorums that one list decides.
        rotations: rotated quorums, by cycle, oldest first.
        excused: commitments whose members cannot be told, each with the reason; the quorum root and the quorum's own
            signature have to do.
    """

    draws: tuple[Draw, ...] = ()
    rotations: tuple[Rotation, ...] = ()
    excused: tuple[tuple[QuorumCommitment, str], ...] = ()

    @property
    def parts(self) -> tuple[Draw | Rotation, ...]:
        """All that is to be judged."""
        return (*self.draws, *self.rotations)

    @property
    def heights(self) -> tuple[int, ...]:
        """The heights whose lists it takes, ascending; before DIP3, where there are no lists, some may be negative."""
        return tuple(sorted({height for part in self.parts for height in part.heights}))


def plan(
    network: Network, base: int, unjudged: Iterable[QuorumCommitment], height_of: Callable[[bytes], int | None]
) -> Plan:
    """How to judge `unjudged`.

    Args:
        network: where this happens.
        base: the first stored block; what lies below cannot be asked for.
        unjudged: commitments of a proven list.
        height_of: the height of a stored block by its hash.

    Raises:
        PeerMisbehaved: BAD_QUORUM_COMMITMENT; a quorum is named by a block at which none of its type can begin, or
            none that is signed as this one is.
    """
    draws: list[Draw] = []
    cycles: dict[tuple[int, int], Rotation] = {}
    excused: list[tuple[QuorumCommitment, str]] = []
    for commitment in unjudged:
        part = _part(network, base, commitment, height_of)
        if isinstance(part, Draw):
            draws.append(part)
        elif isinstance(part, Rotation):
            place = part.kind.number, part.height
            before = cycles[place].commitments if place in cycles else ()
            cycles[place] = attrs.evolve(part, commitments=(*before, commitment))
        else:
            excused.append((commitment, part))
    return Plan(tuple(draws), tuple([cycles[place] for place in sorted(cycles)]), tuple(excused))


def _part(
    network: Network, base: int, commitment: QuorumCommitment, height_of: Callable[[bytes], int | None]
) -> Draw | Rotation | str:
    """What judging one quorum takes, or why it cannot be done."""
    kind = network.quorum_types.get(commitment.type)
    if kind is None:
        return f"its type {commitment.type} is unknown here"
    if commitment.is_legacy:
        _check_is_old(network, commitment, height_of(commitment.quorum_hash))
        return LEGACY_REASON
    if kind.rotated and kind.number != network.roles["instantsend"]:
        return f"no node tells how type {kind.number} rotates"
    height = height_of(commitment.quorum_hash)
    if height is None and base:
        return f"it begins below the first stored block, {base}"
    part = _placed(network, kind, commitment, height)
    if base > min(part.heights):
        return f"it takes the masternode list of {min(part.heights)}, below the first stored block, {base}"
    return part


def _check_is_old(network: Network, commitment: QuorumCommitment, height: int | None) -> None:
    """Nobody signs as before V19 in a quorum that begins after it [Core CFinalCommitment::Verify]."""
    if height is not None and height + 1 >= network.activations["v19"]:
        name = f"quorum {commitment.quorum_hash[::-1].hex()} of type {commitment.type}"
        detail = f"{name} begins at block {height}, and is signed as before V19"
        raise PeerMisbehaved(Fault.BAD_QUORUM_COMMITMENT, detail)


def _placed(network: Network, kind: QuorumType, commitment: QuorumCommitment, height: int | None) -> Draw | Rotation:
    index = commitment.index if kind.rotated else 0
    if height is None or index is None or not 0 <= index < kind.active or (height - index) % kind.interval:
        name = f"quorum {commitment.quorum_hash[::-1].hex()} of type {kind.number}"
        raise PeerMisbehaved(Fault.BAD_QUORUM_COMMITMENT, f"{name} cannot begin at block {height}")
    if kind.rotated:
        return Rotation(kind, height - index, (commitment,))
    return Draw(kind, commitment, height, list_height(network, kind, height))


def coming(network: Network, tip: int) -> tuple[int, ...]:
    """The heights up to `tip`, ascending, whose lists will be needed for quorums that are not mined yet.

    Args:
        network: where this happens.
        tip: the newest stored block.
    """
    found = {height for kind in network.quorum_types.values() for height in _coming(network, kind, tip)}
    return tuple(sorted([height for height in found if network.dip3 <= height <= tip]))


def _coming(network: Network, kind: QuorumType, tip: int) -> Iterable[int]:
    """Of one type: the session that can next be mined, and those after it whose work block is here already."""
    last_chance = tip - kind.dkg_mining[1]
    first = max(last_chance // kind.interval + 1, 1) * kind.interval
    ahead = tip + kind.interval
    for start in range(first, max(first, ahead) + 1, kind.interval):
        yield from Rotation(kind, start, ()).heights if kind.rotated else (list_height(network, kind, start),)
