"""Which lists it takes to judge quorums: exact at the edges of deployments, complete for every quorum to come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.params import DEVNET, MAINNET, NETWORKS, SIMNET, TESTNET, Network
from phasegate.consensus.quorum_members import list_height
from phasegate.consensus.quorums import BASIC, BASIC_INDEXED, LEGACY, BitSet, QuorumCommitment
from phasegate.engine.quorum_plan import LEGACY_REASON, Draw, Plan, Rotation, coming, plan
from phasegate.store.masternodes import KEPT_ANCHORS

V20_ON_MAINNET = 1_987_776
ROTATED, PLATFORM, CHAINLOCKS = 5, 4, 2


def hash_of(height: int) -> bytes:
    """A block hash that says which."""
    return height.to_bytes(32, "big")


def height_of(block_hash: bytes) -> int:
    """The height that `hash_of` was given."""
    return int.from_bytes(block_hash, "big")


def commitment(kind: int, height: int, index: int | None = None, version: int = BASIC) -> QuorumCommitment:
    """One of a quorum that begins at `height`."""
    bits = BitSet.of([True] * 3)
    version = version if index is None else BASIC_INDEXED
    return QuorumCommitment(
        version, kind, hash_of(height), bits, bits, b"\1" * 48, b"\1" * 32, b"\1" * 96, b"\1" * 96, index
    )


def planned(network: Network, *quorums: QuorumCommitment, base: int = 0) -> Plan:
    """The plan for `quorums`."""
    return plan(network, base, quorums, height_of)


@pytest.mark.parametrize(
    ("base_height", "taken"),
    [
        (V20_ON_MAINNET - 288, V20_ON_MAINNET - 288),
        (V20_ON_MAINNET, V20_ON_MAINNET - 8),
        (V20_ON_MAINNET + 288, V20_ON_MAINNET + 280),
    ],
)
def test_before_v20_a_quorum_is_drawn_from_the_list_of_its_base_and_from_then_on_of_its_work_block(
    base_height: int, taken: int
) -> None:
    found = planned(MAINNET, commitment(CHAINLOCKS, base_height))
    assert [(draw.base_height, draw.list_height) for draw in found.draws] == [(base_height, taken)]
    assert found.heights == (taken,)


def test_what_was_signed_before_v19_takes_nothing_and_says_why() -> None:
    quorum = commitment(1, 1_738_000 // 24 * 24, version=LEGACY)
    assert planned(MAINNET, quorum) == Plan(excused=((quorum, LEGACY_REASON),))


@pytest.mark.parametrize("kind", [1, CHAINLOCKS])
def test_no_quorum_that_begins_after_v19_is_signed_as_before(kind: int) -> None:
    """Exact at the edge: the quorum whose base is followed by the first block of V19 has the new form."""
    v19 = MAINNET.activations["v19"]
    last = commitment(kind, v19 - 2, version=LEGACY)
    assert planned(MAINNET, last) == Plan(excused=((last, LEGACY_REASON),))
    with pytest.raises(PeerMisbehaved, match=f"begins at block {v19 - 1}, and is signed as before V19") as refused:
        planned(MAINNET, commitment(kind, v19 - 1, version=LEGACY))
    assert refused.value.fault is Fault.BAD_QUORUM_COMMITMENT


def test_a_type_that_the_network_does_not_know_is_excused() -> None:
    [(_, reason)] = planned(SIMNET, commitment(99, 240)).excused
    assert reason == "its type 99 is unknown here"


def test_a_rotated_type_that_qrinfo_is_not_about_is_excused() -> None:
    """Nodes tell the rotation of the InstantSend type alone."""
    [(_, reason)] = planned(DEVNET, commitment(ROTATED, 2880, 0)).excused
    assert reason == "no node tells how type 5 rotates"


def test_a_whole_rotation_takes_its_work_block_and_those_of_three_cycles_before() -> None:
    start = 2_028_672
    found = planned(MAINNET, *[commitment(ROTATED, start + index, index) for index in range(32)])
    assert [len(rotation.commitments) for rotation in found.rotations] == [32]
    assert found.rotations[0].starts == (start, start - 288, start - 576, start - 864)
    assert found.rotations[0].heights == (
        2_028_664,
        2_028_376,
        2_028_088,
        2_027_800,
    )  # as in the recorded mainnet qrinfo
    assert found.heights == tuple(sorted(found.rotations[0].heights))


def test_a_straggler_takes_the_lists_of_its_own_cycle_and_not_of_the_newest() -> None:
    """An index whose newest attempts failed is served by a quorum of an older cycle: two rotations, oldest first."""
    start, old = 2_028_672, 2_028_672 - 5 * 288
    quorums = [commitment(ROTATED, start + index, index) for index in range(32) if index != 7]
    found = planned(MAINNET, *quorums, commitment(ROTATED, old + 7, 7))
    assert [(r.height, [q.index for q in r.commitments][:1], len(r.commitments)) for r in found.rotations] == [
        (old, [7], 1),
        (start, [0], 31),
    ]
    assert found.rotations[0].heights == (old - 8, old - 296, old - 584, old - 872)
    assert len(found.heights) == 8


@pytest.mark.parametrize("base", [2_028_672 - 864, 2_028_672 - 288, 2_028_700])
def test_what_needs_a_list_below_the_first_stored_block_is_excused_and_the_rest_is_not(base: int) -> None:
    quorums = [commitment(ROTATED, 2_028_672 + 3, 3), commitment(CHAINLOCKS, 2_028_672 + 288)]
    found = planned(MAINNET, *quorums, base=base)
    assert [quorum.type for quorum, _ in found.excused] == [ROTATED]
    assert f"below the first stored block, {base}" in found.excused[0][1]
    assert [draw.commitment.type for draw in found.draws] == [CHAINLOCKS]


def test_a_quorum_that_begins_below_the_first_stored_block_is_excused() -> None:
    found = plan(MAINNET, 2_000_000, [commitment(PLATFORM, 1_999_992)], lambda _: None)
    assert found.excused[0][1] == "it begins below the first stored block, 2000000"


@pytest.mark.parametrize(
    "quorum",
    [
        commitment(CHAINLOCKS, 2_028_673),
        commitment(ROTATED, 2_028_672 + 4, 3),
        commitment(ROTATED, 2_028_672 + 32, 32),
        commitment(ROTATED, 2_028_671, -1),
        commitment(ROTATED, 2_028_672),
    ],
)
def test_a_quorum_that_cannot_begin_where_it_says_is_refused(quorum: QuorumCommitment) -> None:
    with pytest.raises(PeerMisbehaved) as refused:
        planned(MAINNET, quorum)
    assert refused.value.fault is Fault.BAD_QUORUM_COMMITMENT


def test_a_quorum_named_by_no_block_of_a_whole_chain_is_refused() -> None:
    with pytest.raises(PeerMisbehaved):
        plan(MAINNET, 0, [commitment(CHAINLOCKS, 2_028_672)], lambda _: None)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=lambda network: network.name)
@given(data=st.data())
def test_a_list_is_kept_from_when_it_is_the_tip_until_no_quorum_can_be_mined_that_takes_it(
    network: Network, data: st.DataObject
) -> None:
    """Whatever quorum is mined in the next block, the lists it takes are among those kept by then."""
    kind = data.draw(st.sampled_from(sorted(network.quorum_types.values(), key=lambda kind: kind.number)))
    floor = network.dip3 + 8 * kind.interval
    start = data.draw(st.integers(floor, floor + 3_000_000)) // kind.interval * kind.interval
    mined = start + data.draw(st.integers(*kind.dkg_mining))
    kept = coming(network, mined - 1)
    taken = Rotation(kind, start, ()).heights if kind.rotated else (list_height(network, kind, start),)
    assert set(taken) <= set(kept)
    assert set(coming(network, taken[0])) & set(taken) == set(taken) - set(range(taken[0] + 1, mined))
    assert len(kept) <= KEPT_ANCHORS
    assert all(network.dip3 <= height < mined for height in kept)


@pytest.mark.parametrize("network", [MAINNET, TESTNET], ids=lambda network: network.name)
@given(tip=st.integers(2_100_000, 4_000_000))
def test_no_more_than_nine_lists_are_kept_on_a_public_network(network: Network, tip: int) -> None:
    """A rotation's four, and the few of sessions under way: half a megabyte each."""
    assert len(coming(network, tip)) <= 9


def test_nothing_is_kept_before_there_are_lists() -> None:
    assert coming(MAINNET, MAINNET.dip3 - 1) == ()
    assert coming(SIMNET, 0) == ()


def test_a_plan_of_nothing_takes_nothing() -> None:
    assert planned(SIMNET) == Plan()
    assert Plan().heights == ()


def test_parts_say_what_they_are_about() -> None:
    one, two = commitment(100, 240), commitment(103, 265, 1)
    found = planned(SIMNET, one, two)
    assert found.parts == (
        Draw(SIMNET.quorum_types[100], one, 240, 232),
        Rotation(SIMNET.quorum_types[103], 264, (two,)),
    )
    assert [part.commitments for part in found.parts] == [(one,), (two,)]
    assert found.heights == (184, 208, 232, 256)
