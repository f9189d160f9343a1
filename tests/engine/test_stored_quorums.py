"""What the stored quorum sets tell of the heights between them: the truth, or nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.params import MAINNET, QuorumType
from phasegate.consensus.quorums import BASIC, BASIC_INDEXED, BitSet, QuorumCommitment
from phasegate.engine.quorums import active_at, missing_sets, stored_at
from phasegate.engine.seams import Writer, compute_inline
from phasegate.p2p.simnet.generated import GeneratedChain
from phasegate.store import AppendHeaders, SetQuorumSet, Store
from tests.simulated_world import small_chain

CHAINLOCKS, ROTATED = MAINNET.quorum_types[2], MAINNET.quorum_types[5]


class History:
    """The quorums of one type over a few sessions, each mined somewhere in its window, or not at all."""

    def __init__(self, kind: QuorumType, seed: int, sessions: int = 6) -> None:
        self.kind, chance = kind, random.Random(seed)
        self.end = (sessions + 1) * kind.interval
        self.mined: dict[int, list[QuorumCommitment]] = {}
        for start in range(kind.interval, self.end, kind.interval):
            for index in range(2) if kind.rotated else [None]:
                if chance.random() < 0.8:
                    height = start + chance.randint(*kind.dkg_mining)
                    self.mined.setdefault(height, []).append(_commitment(kind, start + (index or 0), index))

    def active(self, height: int) -> tuple[QuorumCommitment, ...]:
        """The truth."""
        past = [quorum for at in sorted(self.mined) if at <= height for quorum in self.mined[at]]
        if self.kind.rotated:
            return tuple({quorum.index: quorum for quorum in past}.values())
        return tuple(past[-self.kind.active :])


def _commitment(kind: QuorumType, height: int, index: int | None) -> QuorumCommitment:
    bits, version = BitSet.of([True]), BASIC if index is None else BASIC_INDEXED
    block = height.to_bytes(32, "big")
    return QuorumCommitment(
        version, kind.number, block, bits, bits, b"\1" * 48, b"\1" * 32, b"\1" * 96, b"\1" * 96, index
    )


class Sets:
    """A store that holds the quorum sets of some heights."""

    def __init__(self, history: History, heights: set[int]) -> None:
        self._history, self._heights = history, heights

    def quorum_set(self, height: int) -> tuple[QuorumCommitment, ...] | None:
        return self._history.active(height) if height in self._heights else None

    def quorum_set_heights(self, start: int, end: int) -> list[int]:
        return sorted(height for height in self._heights if start <= height <= end)


@pytest.mark.parametrize("kind", [CHAINLOCKS, ROTATED], ids=["plain", "rotated"])
@given(seed=st.integers(0, 1 << 30), data=st.data())
def test_what_is_told_is_true(kind: QuorumType, seed: int, data: st.DataObject) -> None:
    """Between any stored sets, near to windows and far from them, an answer is the set of that very height."""
    history = History(kind, seed)
    inside = st.integers(0, history.end)
    stored, asked = data.draw(st.sets(inside, max_size=12)), data.draw(inside)
    told = stored_at(Sets(history, stored), kind, asked, history.end)  # type: ignore[arg-type]
    assert told is None or {q.key for q in told} == {q.key for q in history.active(asked)}
    if asked in stored:
        assert told is not None


@given(seed=st.integers(0, 1 << 30), data=st.data())
def test_a_set_is_known_from_one_window_to_the_next(seed: int, data: st.DataObject) -> None:
    """One stored set after a window tells all heights up to the next one, which spares asking for them."""
    history = History(CHAINLOCKS, seed)
    session = data.draw(st.integers(1, 5)) * CHAINLOCKS.interval
    first, last = CHAINLOCKS.dkg_mining
    heights = st.integers(session + last, session + CHAINLOCKS.interval + first - 1)
    one, other = data.draw(heights), data.draw(heights)
    assert stored_at(Sets(history, {one}), CHAINLOCKS, other, history.end) is not None  # type: ignore[arg-type]


class Bench:
    """The little of a workbench that looking up quorums takes."""

    def __init__(self, store: Store, chain: GeneratedChain) -> None:
        self.store, self.network = store, chain.network
        self.writer = Writer(store, compute_inline)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A store with the headers of the small chain and two quorum sets of it."""
    chain = small_chain()
    store = Store.open(tmp_path, chain.network)
    hashes = b"".join([chain.hash_at(height) for height in range(1, chain.height + 1)])
    store.commit([AppendHeaders(1, chain.headers(1, chain.height), hashes, 1 << 20)])
    for height in (200, 292):
        active = tuple(chain.masternodes_at(height).quorums.values())
        store.commit([SetQuorumSet(height, chain.hash_at(height), active)])
    return Bench(store, chain)


@pytest.mark.trio
async def test_the_store_alone_tells_what_it_can_and_no_more(bench: Bench) -> None:
    kind = bench.network.quorum_types[100]
    exact = await active_at(bench, None, kind, 292)  # type: ignore[arg-type]
    assert exact is not None
    assert {quorum.type for quorum in exact} == {100}
    assert await active_at(bench, None, kind, 289) == exact  # type: ignore[arg-type]
    assert await active_at(bench, None, kind, 250) is None  # type: ignore[arg-type]


def test_of_the_heights_that_are_wanted_only_those_are_brought_that_decide(bench: Bench) -> None:
    """One set a window, and none for what the stored ones tell already."""
    wanted = {201, 240, 241, 243, 247, 252, 289, 292}
    assert missing_sets(bench, wanted) == [240, 252]  # type: ignore[arg-type]
