"""Who is in which quorum: replayed from lists alone on the recorded chain, and by snapshots on the public networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs
import pytest

from phasegate.consensus.commitments import Verdict, check_commitment
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.masternodes import MasternodeEntry, MasternodeState
from phasegate.consensus.params import MAINNET, REGTEST, Network, QuorumType
from phasegate.consensus.quorum_members import (
    by_score,
    list_height,
    members,
    modifier,
    takes_evo_only,
    work_height,
)
from phasegate.consensus.quorums import BitSet, QuorumCommitment, QuorumSnapshot
from phasegate.consensus.rotation import (
    NO_SKIPPING,
    SKIPPING_ENTRIES,
    Quarter,
    RotationPoint,
    make_snapshot,
    new_quarter,
    no_quarter,
    old_quarter,
    rotated_members,
)
from phasegate.consensus.rotation_info import rotation_point
from tests.conftest import Conversation
from tests.consensus.conftest import RecordedChain
from tests.consensus.recorded_quorums import mined, recorded_lists

PLAIN, ROTATED = REGTEST.quorum_types[100], REGTEST.quorum_types[103]
FIRST_CYCLE, LAST_CYCLE = 24, 336


@attrs.frozen
class Dealt:
    """What the replay found for one cycle."""

    members: tuple[tuple[MasternodeEntry, ...], ...]
    snapshot: QuorumSnapshot
    point: RotationPoint
    quarter: Quarter


@pytest.fixture(scope="module")
def lists(
    chain: RecordedChain, recorded_network: Network, conversation: Callable[[int], Conversation]
) -> Mapping[int, MasternodeState]:
    return recorded_lists(chain, recorded_network, conversation(70240))


@pytest.fixture(scope="module")
def dealt(chain: RecordedChain, recorded_network: Network, lists: Mapping[int, MasternodeState]) -> dict[int, Dealt]:
    """Every cycle from the first, from its list and what was found before; nothing here comes from a snapshot."""
    found: dict[int, Dealt] = {}
    quarters: list[Quarter] = [no_quarter(ROTATED)] * 3
    for base in range(FIRST_CYCLE, LAST_CYCLE + 1, ROTATED.interval):
        point = rotation_point(recorded_network, ROTATED, _state(chain, lists, base - 8), None)
        snapshot = make_snapshot(ROTATED, point, quarters)
        whole, quarter = rotated_members(ROTATED, point, quarters), new_quarter(ROTATED, point, quarters)
        found[base] = Dealt(whole, snapshot, point, quarter)
        quarters = [quarter, *quarters[:2]]
    return found


def _state(chain: RecordedChain, lists: Mapping[int, MasternodeState], height: int) -> MasternodeState:
    """The list of a height; nobody was registered before the first recorded one."""
    if height in lists:
        return lists[height]
    return MasternodeState(height, chain.hash_at(height), {}, {}, bytes(96))


def _names(quorum: Sequence[MasternodeEntry]) -> str:
    return " ".join(entry.pro_tx_hash[:2].hex() for entry in quorum)


def _commitments(chain: RecordedChain) -> Iterator[tuple[int, QuorumCommitment]]:
    """All that were mined, each with the height that its quorum is named by."""
    for height in range(1, 357):
        for commitment in mined(chain.block(height)):
            yield chain.height_of(commitment.quorum_hash), commitment


@pytest.mark.parametrize(
    ("cycle", "first", "second"),
    [
        (216, "7dab 29cd 7969 0ca6", "0ca6 7969 7dab 29cd"),
        (288, "0ca6 7dab 29cd 6b64", "29cd 0ca6 7969 7dab"),
        (312, "7dab 29cd 6b64 7969", "0ca6 7969 7dab 6b64"),
        (336, "29cd 6b64 7969 0ca6", "7969 7dab 6b64 29cd"),
    ],
)
def test_the_members_of_recorded_cycles(dealt: dict[int, Dealt], cycle: int, first: str, second: str) -> None:
    """In the order in which they sign; the modifier is a hash for the first and a ChainLock for the others."""
    assert [_names(quorum) for quorum in dealt[cycle].members] == [first, second]


@pytest.mark.parametrize(
    ("cycle", "bits", "skips"),
    [(240, "1111", (0, 1, 1, -1, 0)), (264, "1111", (0, 2)), (288, "11101", (1, 1, 2)), (312, "11111", (0, 1))],
)
def test_the_snapshots_made_from_lists_are_those_of_the_node(
    dealt: dict[int, Dealt], cycle: int, bits: str, skips: tuple[int, ...]
) -> None:
    """Without any snapshot to begin with."""
    active = BitSet.of([bit == "1" for bit in bits])
    assert dealt[cycle].snapshot == QuorumSnapshot(SKIPPING_ENTRIES, active, skips)


def test_a_quarter_dealt_from_its_snapshot_is_the_quarter(dealt: dict[int, Dealt]) -> None:
    """In every recorded cycle in which there were masternodes."""
    alive = [one for one in dealt.values() if any(one.quarter)]
    assert len(alive) >= 5
    for one in alive:
        assert old_quarter(ROTATED, attrs.evolve(one.point, snapshot=one.snapshot)) == one.quarter


def test_all_recorded_commitments_verify(
    chain: RecordedChain, recorded_network: Network, lists: Mapping[int, MasternodeState], dealt: dict[int, Dealt]
) -> None:
    """Three of a plain type and six rotated ones, by their members' signatures and by their own."""
    counts = {100: 0, 103: 0}
    for height, commitment in _commitments(chain):
        if commitment.type == 103:
            assert commitment.index is not None
            quorum = dealt[height - commitment.index].members[commitment.index]
        else:
            quorum = _plain_members(recorded_network, lists, height)
        assert check_commitment(recorded_network, commitment, quorum) is Verdict.VERIFIED
        with pytest.raises(PeerMisbehaved):
            check_commitment(recorded_network, commitment, quorum[::-1][: len(quorum) - 1])
        counts[commitment.type] += 1
    assert counts == {100: 3, 103: 6}


def _plain_members(network: Network, lists: Mapping[int, MasternodeState], base: int) -> tuple[MasternodeEntry, ...]:
    state = lists[list_height(network, PLAIN, base)]
    drawn = modifier(
        network, PLAIN, base_height=base, base_hash=bytes(32), work_height=work_height(PLAIN, base),
        work_hash=state.block_hash, chainlock=state.chainlock,
    )  # fmt: skip
    return members(network, PLAIN, state.entries.values(), drawn, evo_only=takes_evo_only(network, PLAIN, base))


def _entry(n: int, **changes: object) -> MasternodeEntry:
    plain = MasternodeEntry(2, bytes((n,)) * 32, b"\1" * 32, bytes(18), bytes(48), bytes(20), True)
    return attrs.evolve(plain, **changes)  # type: ignore[arg-type]


def test_banned_and_unconfirmed_masternodes_are_in_no_quorum() -> None:
    """A confirmed hash of zero means that the registration is too young."""
    listed = [_entry(1), _entry(2, valid=False), _entry(3, confirmed_hash=bytes(32)), _entry(4)]
    assert {entry.pro_tx_hash[0] for entry in by_score(listed, b"\7" * 32)} == {1, 4}


def test_platform_quorums_are_of_evo_masternodes_alone() -> None:
    """Since V19."""
    kind = MAINNET.quorum_types[MAINNET.roles["platform"]]
    v19 = MAINNET.activations["v19"]
    assert [takes_evo_only(MAINNET, kind, height) for height in (v19 - 2, v19 - 1)] == [False, True]
    assert not takes_evo_only(MAINNET, MAINNET.quorum_types[1], v19)
    listed = [_entry(1), _entry(2, type=1), _entry(3, type=1)]
    chosen = members(MAINNET, kind, listed, bytes(32), evo_only=True)
    assert {entry.pro_tx_hash[0] for entry in chosen} == {2, 3}


def test_the_list_and_the_modifier_change_with_v20_at_different_blocks() -> None:
    """Around the activation a quorum is drawn by the rule before, from the list of the rule after."""
    v20, kind = MAINNET.v20, MAINNET.quorum_types[4]
    assert list_height(MAINNET, kind, v20 - 2) == v20 - 2
    assert list_height(MAINNET, kind, v20 - 1) == v20 - 9
    assert list_height(MAINNET, MAINNET.quorum_types[5], 288) == 280
    hashes = {"base_hash": b"\1" * 32, "work_hash": b"\2" * 32}
    drawn = {
        base: modifier(MAINNET, kind, base_height=base, work_height=base - 8, chainlock=b"\x80" * 96, **hashes)
        for base in (v20 - 2, v20 - 1, v20 + 6, v20 + 7)
    }
    assert drawn[v20 - 2] == drawn[v20 - 1] == drawn[v20 + 6] != drawn[v20 + 7]


def test_a_null_chainlock_draws_by_the_hash_of_the_work_block() -> None:
    """As zeros, as infinity, and as nothing at all."""
    place = {"base_height": MAINNET.v20 + 80, "work_height": MAINNET.v20 + 72}
    hashes = {"base_hash": b"\1" * 32, "work_hash": b"\2" * 32}
    kind = MAINNET.quorum_types[5]
    drawn = {
        modifier(MAINNET, kind, chainlock=null, **place, **hashes)  # type: ignore[arg-type]
        for null in (None, b"", bytes(96), b"\xc0" + bytes(95))
    }
    assert len(drawn) == 1


@pytest.mark.parametrize(("kind", "work"), [(ROTATED, 280), (PLAIN, 291)])
def test_rotated_quorums_share_the_work_block_of_their_cycle(kind: QuorumType, work: int) -> None:
    assert work_height(kind, 299, 11) == work


def test_a_modifier_of_another_work_block_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="work block"):
        modifier(REGTEST, PLAIN, base_height=24, base_hash=b"", work_height=15, work_hash=b"", chainlock=None)


@pytest.mark.parametrize("kind", [MAINNET.quorum_types[5], PLAIN])
def test_members_of_rotated_or_foreign_types_are_an_error_of_the_caller(kind: QuorumType) -> None:
    with pytest.raises(ValueError, match="no quorums"):
        members(MAINNET, kind, [], bytes(32), evo_only=False)


LISTED = {entry.pro_tx_hash: entry for entry in (_entry(n) for n in range(1, 8))}
POINT = RotationPoint(LISTED, b"\7" * 32)


@pytest.mark.parametrize(
    "snapshot",
    [
        QuorumSnapshot(NO_SKIPPING, BitSet.of([False] * 6), ()),
        QuorumSnapshot(SKIPPING_ENTRIES, BitSet.of([False] * 7), ()),
        QuorumSnapshot(NO_SKIPPING, BitSet.of([False] * 7), (1,)),
        QuorumSnapshot(2, BitSet.of([False] * 7), ()),
        QuorumSnapshot(SKIPPING_ENTRIES, BitSet.of([False] * 7), (7,)),
        QuorumSnapshot(SKIPPING_ENTRIES, BitSet.of([False] * 7), (1, -2)),
        QuorumSnapshot(SKIPPING_ENTRIES, BitSet.of([False] * 7), (6,)),
    ],
)
def test_a_snapshot_that_no_node_makes_of_this_list_is_refused(snapshot: QuorumSnapshot) -> None:
    """Bits of another number, a mode that does not fit, or places that are never skipped."""
    with pytest.raises(PeerMisbehaved) as caught:
        old_quarter(ROTATED, attrs.evolve(POINT, snapshot=snapshot))
    assert caught.value.fault is Fault.BAD_QUORUM_SNAPSHOT


def test_a_bit_of_a_masternode_that_cannot_be_a_member_is_refused() -> None:
    """Bits belong to those that are ranked; the rest are zero."""
    banned = {**LISTED, bytes(32): _entry(0, valid=False)}
    snapshot = QuorumSnapshot(NO_SKIPPING, BitSet.of([False] * 7 + [True]), ())
    with pytest.raises(PeerMisbehaved, match="in use"):
        old_quarter(ROTATED, RotationPoint(banned, b"\7" * 32, snapshot))


def test_too_few_masternodes_give_an_empty_quarter() -> None:
    """Where even one quarter cannot be filled there is no snapshot to speak of."""
    alone = RotationPoint({}, bytes(32))
    nobody = [no_quarter(ROTATED)] * 3
    assert new_quarter(ROTATED, alone, nobody) == no_quarter(ROTATED)
    assert make_snapshot(ROTATED, alone, nobody) == QuorumSnapshot(NO_SKIPPING, BitSet.of([]), ())
    assert old_quarter(ROTATED, alone) == no_quarter(ROTATED)


def test_a_masternode_that_took_over_an_address_is_not_in_use_twice() -> None:
    """Core keeps those in use in a list in which address and keys are unique: the newer holder counts."""
    old, new = _entry(1, address=b"\5" * 18), _entry(2, address=b"\5" * 18)
    moved = {**LISTED, old.pro_tx_hash: _entry(1, address=b"\6" * 18), new.pro_tx_hash: new}
    before: list[Quarter] = [((new,), ()), ((old,), ()), no_quarter(ROTATED)]
    snapshot = make_snapshot(ROTATED, RotationPoint(moved, b"\7" * 32), before)
    assert snapshot.active_members.count == 1
