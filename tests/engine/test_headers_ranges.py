"""Header ranges between known blocks: several peers at once, joined in order, and nobody believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.headers import genesis_tip
from phasegate.consensus.params import MAINNET, REGTEST, SIMNET, TESTNET, Network
from phasegate.consensus.x11 import x11_many
from phasegate.engine.config import Limits
from phasegate.engine.errors import RolledBack
from phasegate.engine.phases import headers_ranges
from phasegate.engine.phases.headers import download_headers
from phasegate.engine.phases.headers_ranges import Range, plan_ranges
from phasegate.store import Store
from tests.header_ranges import LENGTH, LIMIT, ROUND_TRIP, SPAN, far, knowing, longer, trunk
from tests.scripted_peers import Answer, Serving, changed
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World


pytestmark = pytest.mark.trio


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store of regtest."""
    store = Store.open(tmp_path, REGTEST)
    yield store
    store.close()


# -- the plan ------------------------------------------------------------------------------------------------------


async def test_ranges_end_at_known_blocks_about_a_span_apart() -> None:
    """Finer ones are skipped, wider gaps are one range, and what nobody claims is left out."""
    heights = [10, 20, 30, 45, 60, 150, 151]
    network = attrs.evolve(REGTEST, known_blocks={at: bytes([at]) * 32 for at in heights})
    tip = genesis_tip(REGTEST)
    ranges = plan_ranges(network, tip, 1000, 30)
    assert ranges[0] == Range(0, tip.hash, 30, bytes([30]) * 32)
    assert [(r.start, r.end) for r in ranges] == [(0, 30), (30, 60), (60, 150), (150, 151)]
    assert all(r.start_hash == bytes([r.start]) * 32 for r in ranges[1:])
    assert [r.end for r in plan_ranges(network, tip, 149, 30)] == [30, 60]
    assert [r.end for r in plan_ranges(network, attrs.evolve(tip, height=25), 60, 30)] == [45, 60]


@pytest.mark.parametrize("claimed", [-1, 0, 9, 44])
async def test_one_range_alone_is_not_worth_it(claimed: int) -> None:
    """Nor none."""
    network = attrs.evolve(REGTEST, known_blocks={at: bytes([at]) * 32 for at in (10, 20, 44)})
    assert plan_ranges(network, genesis_tip(REGTEST), claimed, 50) == []


async def test_a_gap_too_wide_to_be_held_in_memory_ends_the_ranges() -> None:
    network = attrs.evolve(REGTEST, known_blocks={at: bytes([at]) * 32 for at in (10, 20, 61, 70)})
    assert [r.end for r in plan_ranges(network, genesis_tip(REGTEST), 100, 10)] == [10, 20]


@pytest.mark.parametrize(("network", "least"), [(MAINNET, 60), (TESTNET, 30)])
async def test_all_built_in_checkpoints_of_the_public_networks_are_reached(network: Network, least: int) -> None:
    """In ranges of which the longest is no longer than memory allows."""
    span = Limits().header_span
    ranges = plan_ranges(network, genesis_tip(network), 1 << 31, span)
    assert len(ranges) >= least
    assert [r.start for r in ranges] == [0, *[r.end for r in ranges[:-1]]]
    assert max(r.end - r.start for r in ranges) <= headers_ranges.LONGEST * span


# -- the download --------------------------------------------------------------------------------------------------


async def seconds(store: Store, *answers: Answer, network: Network) -> float:
    """How long the headers phase takes by the virtual clock when each answer takes its time."""
    began = trio.current_time()
    on, _ = far(store, *answers, delay=ROUND_TRIP, network=network, span=30)
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults, on.pool.dropped) == (trunk().tip_hash, {}, {})
    return trio.current_time() - began


async def test_four_peers_are_three_times_as_fast_as_one_without_ranges(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Each takes 0.2 s an answer, and gives one after another."""
    stores = [Store.open(tmp_path / name, REGTEST) for name in ("one", "four")]
    alone = await seconds(stores[0], Serving(trunk(), 10), network=REGTEST)
    together = await seconds(stores[1], *[Serving(trunk(), 10)] * 4, network=knowing(trunk()))
    assert alone == pytest.approx((LENGTH // 10 + 1) * ROUND_TRIP)
    assert alone / together >= 3
    assert stores[0].digest() == stores[1].digest()
    for store in stores:
        store.close()


@pytest.mark.parametrize("compressed", [(), (LIMIT,) * 3])
async def test_ranges_of_either_form_make_the_chain(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, compressed: Sequence[int]
) -> None:
    """Each header is asked for once, from all peers, none is hashed twice, and commits hold several answers."""
    hashed: list[int] = []

    def counted(raw: bytes) -> bytes:
        hashed.append(len(raw) // 80)
        return x11_many(raw)

    monkeypatch.setattr("phasegate.consensus.headers.x11_many", counted)
    monkeypatch.setattr(headers_ranges, "COMMITTED", 2 * LIMIT)
    monkeypatch.setattr(headers_ranges, "LEAST_PIECE", LIMIT)
    on, peers = far(store, *[Serving(trunk(), LIMIT)] * 3, compressed=compressed, delay=0.01)
    tips: list[int] = []
    on.work.writer.on_receipt = lambda _, after: tips.append(after.tip)
    await download_headers(on.work)
    assert (store.marks.tip, store.marks.tip_hash) == (LENGTH, trunk().tip_hash)
    assert store.marks.work == trunk().tip.work
    assert store.headers(0, LENGTH + 1) == trunk().headers(0, LENGTH + 1)
    assert all(peer.ranges for peer in peers)
    assert sum(len(peer.ranges) for peer in peers) == 630 // LIMIT + 1  # the last range has 30 headers
    assert sum(hashed) == (0 if compressed else LENGTH)
    assert tips[:5] == [40, 60, 100, 120, 160]
    assert tips == sorted(tips)


async def test_a_short_way_is_walked(store: Store, autojump_clock: MockClock) -> None:
    """Nobody is asked for ranges when there are no two of them."""
    on, peers = far(store, Serving(trunk(), LIMIT), Serving(trunk(), LIMIT), span=LENGTH)
    await download_headers(on.work)
    assert (store.marks.tip_hash, [peer.ranges for peer in peers]) == (trunk().tip_hash, [[], []])


async def test_a_download_that_was_ended_goes_on_from_the_stored_tip(store: Store, autojump_clock: MockClock) -> None:
    """In the middle of a range as well, and what is stored is not asked for again."""
    on, _ = far(store, *[Serving(trunk(), LIMIT)] * 2, delay=ROUND_TRIP)
    with trio.move_on_after(14 * ROUND_TRIP):
        await download_headers(on.work)
    reached = store.marks.tip
    assert 0 < reached < LENGTH - 100
    assert store.headers(0, reached + 1) == trunk().headers(0, reached + 1)
    on, peers = far(store, *[Serving(trunk(), LIMIT)] * 2)
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults) == (trunk().tip_hash, {})
    asked = [trunk().height_of(question.locator[0]) for peer in peers for question in peer.ranges]
    assert min(height for height in asked if height is not None) == reached


async def test_a_tip_within_a_range_is_gone_on_from(store: Store, autojump_clock: MockClock) -> None:
    """It need be no known block."""
    on, _ = far(store, Serving(trunk().cut(77), LIMIT), network=REGTEST)
    await download_headers(on.work)
    on, peers = far(store, Serving(trunk(), LIMIT))
    await download_headers(on.work)
    assert store.marks.tip_hash == trunk().tip_hash
    asked = {(trunk().height_of(question.locator[0]), trunk().height_of(question.stop)) for question in peers[0].ranges}
    assert {(77, 120), (97, 120), (117, 120), (120, 180)} <= asked
    assert all(start >= 77 for start, _ in asked if start is not None)


async def test_memory_is_bounded(store: Store, autojump_clock: MockClock) -> None:
    """No more ranges are under way, or wait, than there is room for."""
    room = 3 * SPAN * headers_ranges.HEADER_BYTES
    on, peers = far(store, *[Serving(trunk(), LIMIT)] * 4, delay=ROUND_TRIP, hold_bytes=room)
    peers[0].delay = 20 * ROUND_TRIP  # it has the first range
    with trio.move_on_after(10 * ROUND_TRIP):
        await download_headers(on.work)
    answered = {question.stop for peer in peers for question in peer.ranges}
    assert (store.marks.tip, len(answered)) == (0, 2)


# -- what is stored ------------------------------------------------------------------------------------------------


async def test_a_stored_branch_is_left_by_the_walk(store: Store, autojump_clock: MockClock) -> None:
    """Nobody has what follows its tip, so no range can be joined to it."""
    on, _ = far(store, Serving(longer().cut(170), LIMIT), network=REGTEST)
    await download_headers(on.work)
    assert store.marks.tip == 170
    on, _ = far(store, *[Serving(trunk(), LIMIT)] * 2)
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults, on.pool.dropped) == (trunk().tip_hash, {}, {})
    assert on.rewound == [(170, 150)]


async def test_our_own_damage_is_repaired_and_nobody_blamed(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A range that cannot stand on what is stored: the stored headers are looked at first."""
    on, _ = far(store, Serving(trunk().cut(60), LIMIT), network=REGTEST)
    await download_headers(on.work)
    on, _ = far(store, Serving(trunk(), LIMIT))
    real = store.headers

    def damaged(first: int, count: int) -> bytes:
        raw = real(first, count)
        for height in range(max(first, 50), min(first + count, 61)):
            raw = changed(raw, height - first, 68, bytes([255] * 4))
        return raw

    monkeypatch.setattr(store, "headers", damaged)
    with pytest.raises(RolledBack):
        await download_headers(on.work)
    assert (store.marks.tip < 60, on.warned, on.pool.faults) == (True, ["headers-repaired"], {})


async def test_a_range_that_cannot_stand_on_sound_headers_is_left_to_the_walk(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is known of it is that it leads to a known block: nobody is blamed for that."""

    def refuse(*_: object) -> None:
        raise PeerMisbehaved(Fault.BAD_HEADER_TIME, "height 1: as a test wishes")

    monkeypatch.setattr(headers_ranges, "join", refuse)
    on, _ = far(store, Serving(trunk(), LIMIT))
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults, on.warned) == (trunk().tip_hash, {}, [])


# -- whole clients -------------------------------------------------------------------------------------------------


async def test_whole_clients_use_ranges(world: World, running: Start, autojump_clock: MockClock) -> None:
    """From two nodes, compressed; then from where they are on, block after block."""
    chain = small_chain(60)
    network = attrs.evolve(SIMNET, known_blocks={at: chain.hash_at(at) for at in range(10, 60, 10)})
    for port in (1, 2):
        world.add(chain, port)
    settings = world.config(1, 2, network=network, limits={"header_span": 10}, masternodes=False, filters=False)
    async with running(settings) as run:
        await run.until("synced")
        digest = run.client.store.digest()
        assert run.path == ["headers", "synced"]
        assert run.warnings == []
    plain = world.config(1, masternodes=False, filters=False)
    async with running(attrs.evolve(plain, datadir=world.directory / "walked")) as run:
        await run.until("synced")
        assert run.client.store.digest() == digest


async def test_a_walk_heeds_known_blocks(store: Store, autojump_clock: MockClock) -> None:
    """With nothing to gain from ranges as well."""
    network = attrs.evolve(REGTEST, known_blocks={200: trunk().hash_at(200)})
    on, peers = far(store, Serving(longer()), Serving(trunk()), network=network)
    await download_headers(on.work)
    assert {peer: found.fault for peer, found in on.pool.faults.items()} == {peers[0]: Fault.CHECKPOINT_CONTRADICTED}
    assert store.marks.tip_hash == trunk().tip_hash
