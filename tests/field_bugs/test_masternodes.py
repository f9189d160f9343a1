"""Field failures 38 to 42 and 44: masternode lists left half done, rejected for ever, or trusted unchecked."""

from __future__ import annotations

import json
import lzma
import random
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.codec import Reader
from phasegate.consensus.commitments import check_commitments
from phasegate.consensus.faults import Malformed, PeerMisbehaved
from phasegate.consensus.headers import extend, genesis_tip
from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState
from phasegate.consensus.params import MAINNET, SIMNET, TESTNET, Network
from phasegate.consensus.primitives import CoinbasePayload
from phasegate.consensus.quorums import QuorumCommitment
from phasegate.engine.config import Address
from phasegate.engine.phases.rotations import deal
from phasegate.engine.quorum_plan import Rotation, plan
from phasegate.p2p.messages import QrInfo
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.store import Anchor, SetMasternodes, Store
from tests.listing_clients import assert_all_verified, blamed, chain_to, listing, verdicts
from tests.simulated_world import START, Start, World
from tests.twisted_lists import Twisted, record_requests, with_false_snapshots, without_lists

MAINNET_FILE = "qrinfo-mainnet-0-2028764-70230.dat.xz"
TESTNET_FILE = "qrinfo-testnet-0-905770-70230-after20.HF.dat"
REAL = [(MAINNET_FILE, MAINNET, 2_028_384), (MAINNET_FILE, MAINNET, 2_028_672), (TESTNET_FILE, TESTNET, 905_472)]
"""Recorded files, and where cycles begin whose quorums they explain."""


@pytest.mark.trio
@pytest.mark.parametrize("delay", [0.0, 0.7, 4.0])
async def test_38_the_phase_is_left_only_when_nothing_is_outstanding(
    world: World, running: Start, autojump_clock: MockClock, delay: float
) -> None:
    """However slow the answers: at the step that leaves the phase the list and all verdicts are stored."""
    chain = chain_to(300)
    world.add(chain, 1, delay=delay)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        [left] = [row for row in run.client.history() if row.source == "mnlist"]
        facts = json.loads(left.facts_json)
        assert (left.event, left.target) == ("advance", "synced")
        assert (facts["masternodes"], facts["outstanding"]) == (300, 0)
        assert_all_verified(run, chain)
        assert run.client.requests.late == run.client.requests.unasked == 0


@attrs.frozen
class Rotated:
    """A recorded `qrinfo`: its lists by height, and a cycle that it explains."""

    network: Network
    told: QrInfo
    states: dict[int, MasternodeState]
    rotation: Rotation

    @property
    def needed(self) -> list[MasternodeState]:
        return [self.states[height] for height in self.rotation.heights]

    def check(self, states: list[MasternodeState]) -> None:
        """Judge all commitments by these lists."""
        snapshots = {share.diff.block_hash: share.snapshot for share in self.told.rotation.shares}
        dealt = deal(self.network, self.rotation, states, snapshots)
        check_commitments(self.network, [(q, dealt[q.index or 0]) for q in self.rotation.commitments])


def recorded(shared: Path, name: str, network: Network, start: int) -> Rotated:
    """A recorded `qrinfo` of a public network, with the 32 quorums of the cycle that begins at `start`."""
    raw = (shared / "vectors" / "qrinfo" / name).read_bytes()
    told = QrInfo.parse(Reader(lzma.decompress(raw) if name.endswith(".xz") else raw), 70230)
    diffs = [told.tip, told.cycle, *[share.diff for share in told.rotation.shares]]
    states = {state.height: state for state in map(_full, diffs)}
    made = told.last_commitments
    if start > states[max(states)].height - 288 and network is MAINNET:  # mined after the block that was asked about
        made = tuple([quorum for quorum in told.tip.new_quorums if quorum.type == 5])
    heights = {quorum.quorum_hash: start + (quorum.index or 0) for quorum in made}
    [rotation] = plan(network, 0, made, heights.get).rotations
    return Rotated(network, told, states, rotation)


def _full(diff: MasternodeListDiff) -> MasternodeState:
    payload = CoinbasePayload.from_bytes(diff.coinbase.payload)
    entries = {entry.pro_tx_hash: entry for entry in diff.added}
    quorums = {quorum.key: quorum for quorum in diff.new_quorums}
    return MasternodeState(payload.height, diff.block_hash, entries, quorums, payload.best_cl_signature)


@pytest.mark.parametrize(("name", "network", "start"), REAL)
def test_39_each_cycle_is_drawn_by_the_chainlock_of_its_own_work_block(
    shared: Path, name: str, network: Network, start: int
) -> None:
    """All 32 real commitments hold; with the ChainLock of a neighbouring cycle none of them would."""
    real = recorded(shared, name, network, start)
    assert len(real.rotation.commitments) == 32
    real.check(real.needed)
    shifted = [attrs.evolve(real.needed[0], chainlock=real.needed[1].chainlock), *real.needed[1:]]
    with pytest.raises(PeerMisbehaved):
        real.check(shifted)


@pytest.mark.trio
@pytest.mark.parametrize(("height", "cycles"), [(212, {168, 192}), (260, {192, 240}), (350, {312, 336})])
async def test_39_a_straggler_is_verified_by_the_lists_of_its_own_cycle(
    world: World, running: Start, autojump_clock: MockClock, height: int, cycles: set[int]
) -> None:
    """Index by index the newest commitment, of whichever cycle, over one gap or more."""
    chain = chain_to(height)
    active = [quorum for quorum in chain.masternodes_at(height).quorums.values() if quorum.type == 103]
    assert {(chain.height_of(quorum.quorum_hash) or 0) - (quorum.index or 0) for quorum in active} == cycles
    world.add(chain, 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert_all_verified(run, chain)
        assert run.path == ["headers", "mnlist", "synced"]


@pytest.mark.trio
@pytest.mark.parametrize("after", range(0, 24, 3))
async def test_40_no_place_of_the_tip_in_a_cycle_makes_honest_peers_fail(
    world: World, running: Start, autojump_clock: MockClock, after: int
) -> None:
    """Some blocks after the boundary, before the new cycle has any quorum, with four honest peers: all are kept."""
    chain = chain_to(264 + after, seed=3)
    for port in range(1, 5):
        world.add(chain, port)
    async with running(listing(world, 1, 2, 3, 4)) as run:
        await run.until("synced")
        assert_all_verified(run, chain)
        assert (blamed(run), world.nodes[1].peers, world.nodes[4].peers) == ([], 1, 1)


def test_40_a_real_tip_ten_blocks_after_a_boundary_is_judged_by_the_cycle_before(shared: Path) -> None:
    """The recorded testnet tip 905770: its quorums are of the cycle that began at 905472."""
    real = recorded(shared, TESTNET_FILE, TESTNET, 905_472)
    assert max(real.states) == 905_770
    assert real.rotation.height == 905_472
    assert real.rotation.heights == (905_464, 905_176, 904_888, 904_600)
    real.check(real.needed)


@pytest.mark.trio
@pytest.mark.parametrize("twist", [lambda _: None, with_false_snapshots])
async def test_40_rotation_data_that_is_refused_or_never_comes_is_asked_for_again(
    world: World, running: Start, autojump_clock: MockClock, twist: Any
) -> None:
    """Twenty times in a row: degraded for a while perhaps, but never for good."""
    chain = chain_to(300)
    left = [20]

    def tells(told: QrInfo) -> QrInfo | None:
        left[0] -= 1
        return told if left[0] < 0 else twist(told)

    world.add(Twisted(chain, rotation=tells), 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced", within=7200)
        assert_all_verified(run, chain)
        assert left[0] < 0


def crafted(index: int) -> Any:
    """A difference whose rotated commitments all name `index`."""

    def twist(_base: int, _height: int, diff: MasternodeListDiff) -> MasternodeListDiff:
        quorums = [q if q.index is None else attrs.evolve(q, index=index) for q in diff.new_quorums]
        return attrs.evolve(diff, new_quorums=tuple(quorums))

    return twist


@pytest.mark.trio
@pytest.mark.parametrize("index", [-32768, -1, 2, 32767])
async def test_41_a_crafted_quorum_index_costs_one_peer(
    world: World, running: Start, autojump_clock: MockClock, index: int
) -> None:
    """In a list it misses the quorum root."""
    chain = chain_to(300)
    world.add(Twisted(chain, diff=crafted(index)), 1)
    world.add(chain, 2)
    async with running(listing(world, 1, 2)) as run:
        await run.until("synced")
        assert_all_verified(run, chain)
        assert blamed(run) == ["bad-quorum-root"]
        assert set(run.client._pool.banned) == {Address("node", 1)}


@pytest.mark.trio
async def test_41_a_crafted_quorum_index_in_rotation_data_is_not_even_read(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Which quorums are active is known from the proven list."""
    chain = chain_to(300)

    def tells(told: QrInfo) -> QrInfo:
        return attrs.evolve(told, last_commitments=tuple(map(_crafted, told.last_commitments)))

    world.add(Twisted(chain, rotation=tells), 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert_all_verified(run, chain)
        assert run.client._pool.banned == {}


def _crafted(quorum: QuorumCommitment) -> QuorumCommitment:
    return attrs.evolve(quorum, index=32767)


@pytest.mark.trio
@pytest.mark.parametrize("seed", range(12))
async def test_41_any_flipped_bit_of_masternode_data_costs_at_most_one_peer(
    world: World, running: Start, autojump_clock: MockClock, seed: int
) -> None:
    """Every difference and rotation of one peer with a random bit turned: the other peer's truth is stored."""
    chain, chance = chain_to(300), random.Random(f"flip {seed}")
    world.add(
        Twisted(
            chain,
            diff=lambda _base, _height, diff: _flipped(diff, chance),
            rotation=lambda told: _flipped(told, chance),
        ),
        1,
    )
    world.add(chain, 2)
    async with running(listing(world, 1, 2)) as run:
        await run.until("synced")
        assert_all_verified(run, chain)
        assert set(run.client._pool.banned) <= {Address("node", 1)}
        assert Address("node", 2) in {peer.address for peer in run.client.peers}


def _flipped(message: Any, chance: random.Random) -> Any:
    """The message with one bit turned, among those turns that can still be read."""
    raw = message.to_bytes(70240) if isinstance(message, MasternodeListDiff) else message.to_payload(70240)
    while True:
        place = chance.randrange(len(raw) * 8)
        wrong = bytearray(raw)
        wrong[place >> 3] ^= 1 << (place & 7)
        r = Reader(bytes(wrong))
        try:
            parsed = type(message).parse(r, 70240)
            r.end()
        except Malformed:
            continue
        return parsed


@pytest.mark.trio
@pytest.mark.parametrize("base", [17, 150, 288])
async def test_42_a_client_that_starts_in_mid_chain_builds_on_nothing_below_its_first_block(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, base: int
) -> None:
    """Every list starts from genesis, whose hash is always known, or from a stored block."""
    chain = chain_to(300)
    world.add(chain, 1)
    work = extend(SIMNET, genesis_tip(SIMNET), chain.headers(1, base), int(START)).tip.work
    asked = record_requests(monkeypatch, chain)
    async with running(listing(world, 1, anchor=Anchor(base, chain.header(base), work))) as run:
        await run.until("synced")
        assert asked.hops
        assert all(start == 0 or start >= base for start, _ in asked.hops)
        assert all(height >= base for _, height in asked.hops)
        assert all(min(bases) >= base for bases, _, _ in asked.rotations)
        assert None not in {verified for verified, _ in verdicts(run.client.store, 300).values()}
        assert run.warnings == []


@pytest.mark.trio
async def test_44_a_peer_that_does_not_answer_costs_seconds(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Five before another one is asked as well, not five milliseconds and not five thousand seconds."""
    chain = chain_to(300)
    world.add(Twisted(chain, diff=without_lists(300)), 1)
    world.add(chain, 2)
    async with running(listing(world, 1, 2)) as run:
        began = trio.current_time()
        await run.until("synced")
        assert 5 <= trio.current_time() - began < 7


@pytest.mark.trio
async def test_44_a_mismatch_resets_the_list_and_heals(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stored list belongs to another chain of events: the next walk starts over from genesis, by itself."""
    chain, other = generate(300, 7), chain_to(300, seed=8)
    world.add(chain_to(290), 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
    _put_foreign_list(world, chain, other.masternodes_at(290))
    world.add(chain, 1)
    asked = record_requests(monkeypatch, chain)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert_all_verified(run, chain)
        assert "masternodes-replaced" in run.warnings
        assert blamed(run) == []
    assert 0 in {base for base, _ in asked.hops}


def _put_foreign_list(world: World, chain: GeneratedChain, state: MasternodeState) -> None:
    """Have the store hold, at every height it has a list of, one of another chain."""
    store = Store.open(world.directory, SIMNET)
    for height in store.masternode_heights():
        wrong = attrs.evolve(state, height=height, block_hash=chain.hash_at(height))
        store.commit([SetMasternodes(height, wrong.block_hash, wrong.to_bytes())])
    store.close()
