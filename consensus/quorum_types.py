"""The kinds of quorums that a network knows, by number and by the name that Core gives them [Core llmq/params.h, 23.1].

A quorum is made in a session (DKG) that begins at every height divisible by `interval`; for a rotated type it is one
session for each index, at consecutive heights from there. Its commitment is mined inside a window of the interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs


@attrs.frozen
class QuorumType:
    """One LLMQ type.

    Args:
        number: as in commitments on the wire.
        name: as in Core's arguments.
        size: members of a quorum.
        min_size: valid members without which there is no commitment.
        threshold: members who sign together.
        interval: blocks between two sessions, or two cycles of a rotated type.
        active: quorums signing at once.
        dkg_mining: first and last offset into the interval at which a commitment is mined, both inclusive.
        rotated: whether members change by quarters [DIP24].
    """

    number: int
    name: str
    size: int
    min_size: int
    threshold: int
    interval: int
    active: int
    dkg_mining: tuple[int, int]
    rotated: bool = False


_ROTATED = True
_HOUR, _HALF_DAY, _DAY = 24, 288, 576
_EARLY, _SHIFTED = (10, 18), (12, 20)

QUORUM_TYPES: Mapping[int, QuorumType] = MappingProxyType(
    {
        kind.number: kind
        for kind in (
            QuorumType(1, "llmq_50_60", 50, 40, 30, _HOUR, 24, _EARLY),
            QuorumType(2, "llmq_400_60", 400, 300, 240, _HALF_DAY, 4, (20, 28)),
            QuorumType(3, "llmq_400_85", 400, 350, 340, _DAY, 4, (20, 48)),
            QuorumType(4, "llmq_100_67", 100, 80, 67, _HOUR, 24, _EARLY),
            QuorumType(5, "llmq_60_75", 60, 50, 45, _HALF_DAY, 32, (42, 50), _ROTATED),
            QuorumType(6, "llmq_25_67", 25, 22, 17, _HOUR, 24, _EARLY),
            QuorumType(100, "llmq_test", 3, 2, 2, _HOUR, 2, _EARLY),
            QuorumType(101, "llmq_devnet", 12, 7, 6, _HOUR, 4, _EARLY),
            QuorumType(102, "llmq_test_v17", 3, 2, 2, _HOUR, 2, _EARLY),
            QuorumType(103, "llmq_test_dip0024", 4, 4, 3, _HOUR, 2, _SHIFTED, _ROTATED),
            QuorumType(104, "llmq_test_instantsend", 3, 2, 2, _HOUR, 2, _EARLY),
            QuorumType(105, "llmq_devnet_dip0024", 8, 6, 4, 48, 2, _SHIFTED, _ROTATED),
            QuorumType(106, "llmq_test_platform", 3, 2, 2, _HOUR, 2, _EARLY),
            QuorumType(107, "llmq_devnet_platform", 12, 9, 8, _HOUR, 4, _EARLY),
        )
    }
)
"""Every type there is, by number."""

MAIN_TYPES = (1, 5, 2, 3, 4)
TESTNET_TYPES = (*MAIN_TYPES, 6)
DEVNET_TYPES = (*MAIN_TYPES, 101, 105, 107)
REGTEST_TYPES = (100, 102, 103, 104, 106)


def types_of(*numbers: int) -> Mapping[int, QuorumType]:
    """The types with these numbers."""
    return MappingProxyType({number: QUORUM_TYPES[number] for number in sorted(numbers)})
