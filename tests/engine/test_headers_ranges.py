"""Header ranges between known blocks: several peers at once, joined in order, and nobody believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.faults import Fault
from phasegate.consensus.headers import genesis_tip
from phasegate.consensus.params import MAINNET, REGTEST, SIMNET, TESTNET, Network
from phasegate.consensus.x11 import x11_many
from phasegate.engine.config import Config, Limits
from phasegate.engine.errors import Failure, RolledBack
from phasegate.engine.phases import headers_ranges
from phasegate.engine.phases.headers import download_headers
from phasegate.engine.phases.headers_ranges import Range, plan_ranges
from phasegate.p2p.compressed import compress
from phasegate.p2p.messages import GetHeaders, Message
from phasegate.p2p.messages_chain import LocatorRequest
from phasegate.store import Store
from tests.scripted_peers import Answer, Bench, FakePeer, HeaderChain, Serving, bench, changed, remined
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

LENGTH, SPAN, LIMIT = 640, 60, 20
"""Headers of the chain and of a range, and those that a peer sends at once."""
ROUND_TRIP = 0.2


@cache
def trunk() -> HeaderChain:
    return HeaderChain().grown(LENGTH)


@cache
def longer() -> HeaderChain:
    """Leaves the trunk above 150, and has more work."""
    return trunk().cut(150).grown(LENGTH - 140, seed=1)


def knowing(chain: HeaderChain, every: int = 30, network: Network = REGTEST) -> Network:
    """The network with each so-many-th block of a chain known."""
    return attrs.evolve(network, known_blocks={at: chain.hash_at(at) for at in range(every, chain.height + 1, every)})


def config(network: Network, span: int = SPAN, **limits: Any) -> Config:
    return Config(network, limits=Limits(header_span=span, **limits))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store of regtest."""
    store = Store.open(tmp_path, REGTEST)
    yield store
    store.close()


class Far(FakePeer):
    """A peer that announces a height, and answers one question after another, each after a while."""

    start_height = LENGTH
    delay = 0.0
    line: trio.Lock

    async def send(self, message: Message) -> None:
        async with self.line:
            await trio.sleep(self.delay)
        await super().send(message)

    @property
    def ranges(self) -> list[LocatorRequest]:
        """The questions that ended in a known block."""
        return [question for question in self.asked if any(question.stop)]


def far(
    store: Store,
    *answers: Answer,
    delay: float = 0.0,
    network: Network | None = None,
    compressed: Sequence[int] = (),
    **limits: Any,
) -> tuple[Bench, list[Far]]:
    """A workbench whose peers announce the height of the trunk."""
    on = bench(store, *answers, config=config(network or knowing(trunk()), **limits), compressed=compressed)
    peers = []
    for peer in on.peers:
        peer.__class__ = Far
        assert isinstance(peer, Far)
        peer.delay, peer.line = delay, trio.Lock()
        peers.append(peer)
    return on, peers


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


# -- who is at fault -----------------------------------------------------------------------------------------------


def lying_at(height: int, lie: Callable[[bytes], bytes]) -> Answer:
    """Honest but for the header at `height`."""
    honest = Serving(trunk(), LIMIT)

    def answer(message: LocatorRequest) -> bytes:
        raw = honest(message)
        first = trunk().height_of(raw[4:36])
        at = height - 1 - (first if first is not None else height)
        return changed(raw, at, 0, lie(raw[at * 80 : at * 80 + 80])) if 0 <= at < len(raw) // 80 else raw

    return answer


def other_time(header: bytes) -> bytes:
    """As good a header, but another."""
    return remined(changed(header, 0, 68, (int.from_bytes(header[68:72], "little") + 1).to_bytes(4, "little")))


def unproven(header: bytes) -> bytes:
    """Its root is another, its work not done."""
    for byte in range(256):
        made = changed(header, 0, 36, bytes([byte]) * 32)
        if remined(made) != made:
            return made
    raise AssertionError("all prove their work")


LIES = {
    "another block where one is known": (420, other_time, Fault.CHECKPOINT_CONTRADICTED),
    "a block in a range that the next one does not continue": (389, other_time, Fault.BROKEN_HEADER_LINK),
    "a block without work": (401, unproven, Fault.BAD_PROOF_OF_WORK),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_liar_in_the_middle_is_banned_and_others_bring_its_ranges(
    store: Store, autojump_clock: MockClock, lie: str
) -> None:
    """Nothing of what it told of that range is stored, and the others are none the worse."""
    height, told, fault = LIES[lie]
    on, peers = far(store, lying_at(height, told), *[Serving(trunk(), LIMIT)] * 2, delay=ROUND_TRIP)
    peers[0].delay = 0.0  # it has most to tell
    await download_headers(on.work)
    assert {peer: found.fault for peer, found in on.pool.faults.items()} == {peers[0]: fault}
    assert set(on.pool.dropped) <= {peers[0]}
    assert store.marks.tip_hash == trunk().tip_hash


async def test_a_peer_of_another_branch_is_caught_at_the_next_known_block(
    store: Store, autojump_clock: MockClock
) -> None:
    """It has the block at which a range begins, and another at its end: as in a walk, that is a contradiction."""
    on, peers = far(store, Serving(longer(), LIMIT), *[Serving(trunk(), LIMIT)] * 2, delay=ROUND_TRIP)
    peers[0].delay = 0.0
    await download_headers(on.work)
    assert [found.fault for found in on.pool.faults.values()] == [Fault.CHECKPOINT_CONTRADICTED]
    assert store.marks.tip_hash == trunk().tip_hash


@pytest.mark.parametrize("chain", ["shorter", "genesis", "other"])
async def test_a_peer_that_does_not_have_the_ranges_is_left_to_the_walk(
    store: Store, autojump_clock: MockClock, chain: str
) -> None:
    """It claims more than it has, or is on another chain from the beginning: neither dropped, nor asked for more."""
    network = attrs.evolve(REGTEST, known_blocks={at: trunk().hash_at(at) for at in range(210, LENGTH, 30)})
    has = {"shorter": trunk().cut(200), "genesis": trunk().cut(0), "other": HeaderChain().grown(40, seed=9)}[chain]
    on, peers = far(store, Serving(has, LIMIT), *[Serving(trunk(), LIMIT)] * 2, delay=ROUND_TRIP, network=network)
    peers[0].delay = ROUND_TRIP / 2
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.dropped) == (trunk().tip_hash, {})
    ends = {question.stop for question in peers[0].ranges if trunk().height_of(question.stop)}
    assert 0 < len(ends) <= on.work.limits.in_flight["headers"]
    by_walk = {found.detail[:11] for found in on.pool.faults.values()}
    assert by_walk == ({"a fork at 0"} if chain == "other" else set())


async def test_those_who_claim_less_have_their_turn_when_those_who_claim_most_have_nothing(
    store: Store, autojump_clock: MockClock
) -> None:
    """One that claims the whole chain has none of it, one that claims half of it has that."""
    on, peers = far(store, Serving(trunk().cut(3), LIMIT), Serving(trunk().cut(320), LIMIT), delay=ROUND_TRIP)
    peers[1].start_height = 320
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults, on.pool.dropped) == (trunk().hash_at(320), {}, {})
    stops = [height for question in peers[1].ranges if (height := trunk().height_of(question.stop)) is not None]
    assert set(stops) == {60, 120, 180, 240, 300}


@pytest.mark.parametrize("claim", [LENGTH, LENGTH + 1])
async def test_a_silent_peer_holds_nobody_up_for_long(store: Store, autojump_clock: MockClock, claim: int) -> None:
    """Its ranges are asked of others after `steal_after`, or, when it claims most, after its timeout."""
    on, peers = far(store, *[Serving(trunk(), LIMIT)] * 3, delay=ROUND_TRIP)
    peers[0].mute, peers[0].start_height = True, claim
    with trio.fail_after(30):
        await download_headers(on.work)
    assert store.marks.tip_hash == trunk().tip_hash
    assert set(on.pool.dropped) <= {peers[0]}


async def test_a_peer_that_brings_crumbs_is_overtaken(store: Store, autojump_clock: MockClock) -> None:
    """One header an answer: others bring its ranges long before."""
    on, peers = far(store, Serving(trunk(), 1), *[Serving(trunk(), LIMIT)] * 2, delay=ROUND_TRIP, steal_after=1.0)
    peers[0].delay = 1.0
    with trio.fail_after(60):
        await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults) == (trunk().tip_hash, {})


async def test_wrong_compression_is_asked_again_plainly(store: Store, autojump_clock: MockClock) -> None:
    """Said once, however many ranges were under way; the peer stays."""
    on, peers = far(store, *[Serving(trunk(), LIMIT)] * 2, compressed=(LIMIT, LIMIT), delay=ROUND_TRIP)

    def spoiled(raw: bytes) -> Message:
        return compress(changed(raw, 5, 36, b"\1" * 32) if len(raw) > 400 else raw)

    peers[0].packed = spoiled
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults, on.pool.dropped) == (trunk().tip_hash, {}, {})
    assert on.warned == ["headers2-unusable"]
    assert any(isinstance(question, GetHeaders) for question in peers[0].ranges)
    assert not any(isinstance(question, GetHeaders) for question in peers[1].ranges)


async def test_when_all_are_gone_the_walk_says_so(store: Store, autojump_clock: MockClock) -> None:
    """With what is stored by then."""
    on, peers = far(store, lying_at(301, unproven), delay=ROUND_TRIP)
    with pytest.raises(Failure):
        await download_headers(on.work)
    assert [found.fault for found in on.pool.faults.values()] == [Fault.BAD_PROOF_OF_WORK]
    assert store.marks.tip_hash == trunk().hash_at(store.marks.tip)
    assert peers[0].ranges


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


# -- whole clients -------------------------------------------------------------------------------------------------


async def test_whole_clients_use_ranges(world: World, running: Start, autojump_clock: MockClock) -> None:
    """From two nodes, compressed; then from where they are on, block after block."""
    chain = small_chain(60)
    network = attrs.evolve(SIMNET, known_blocks={at: chain.hash_at(at) for at in range(10, 60, 10)})
    for port in (1, 2):
        world.add(chain, port)
    settings = world.config(1, 2, network=network, watch=chain.watch, limits={"header_span": 10})
    async with running(settings) as run:
        await run.until("synced")
        digest = run.client.store.digest()
        assert run.path == ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]
        assert run.warnings == []
    plain = world.config(1, watch=chain.watch)
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
