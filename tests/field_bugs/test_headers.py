"""Headers, forks and compressed headers: what other clients got wrong, by the numbers of the list of field bugs."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus import checkpoints as known
from phasegate.consensus.checkpoints import Checkpoint
from phasegate.consensus.faults import Fault
from phasegate.consensus.headers import genesis_tip, locator_heights, work_of
from phasegate.consensus.params import REGTEST, SIMNET
from phasegate.consensus.primitives import Block
from phasegate.consensus.x11 import x11_many
from phasegate.engine import branches, sync
from phasegate.engine.branches import Branch
from phasegate.engine.config import Config, Limits
from phasegate.engine.errors import Failure, PeerGone
from phasegate.engine.events import Rewound
from phasegate.engine.phases import headers_choice, headers_requests
from phasegate.engine.phases.headers import download_headers
from phasegate.engine.seams import Writer
from phasegate.p2p.compressed import MAX_COMPRESSED, Expansion, Headers2, compress, max_headers2
from phasegate.p2p.messages import (
    GetCFHeaders,
    GetCFilters,
    GetData,
    GetHeaders2,
    Headers,
    InvType,
    Message,
    decode,
)
from phasegate.p2p.messages_chain import MAX_HEADERS, BlockMessage, LocatorRequest
from phasegate.p2p.messages_filters import MAX_FILTER_HEADERS_ASKED, MAX_FILTERS_ASKED
from phasegate.p2p.simnet import conversation as simulated
from phasegate.p2p.simnet.answers import Punished, answer
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.store import Anchor, AppendHeaders, Store
from tests.scripted_peers import FakePeer, HeaderChain, Serving, bench, changed
from tests.simulated_world import START, Tapped

if TYPE_CHECKING:
    from tests.conftest import Conversation
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

BARE: dict[str, Any] = {"masternodes": False, "filters": False}


@cache
def ours() -> GeneratedChain:
    """No ChainLock binds anybody to it."""
    return generate(120, 5, locks=False)


@cache
def theirs() -> GeneratedChain:
    """Two blocks of `ours` are reorganised out."""
    return generate(125, 5, fork_at=118, fork_seed=9, locks=False)


@cache
def trunk() -> HeaderChain:
    return HeaderChain().grown(100)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store of regtest."""
    store = Store.open(tmp_path / "store", REGTEST)
    yield store
    store.close()


async def same_as_fresh(world: World, running: Start, run: Run) -> None:
    """What is stored is what a new client of the same peers stores."""
    fresh = attrs.evolve(run.client.config, datadir=world.directory / "fresh")
    async with running(fresh) as other:
        await other.until("synced")
        assert other.client.store.digest() == run.client.store.digest()


async def test_01_a_tip_reorged_out_while_offline_is_found_by_the_locator(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Headers, filter headers, filters and lists above the fork go; only what follows the fork is asked for again."""
    world.add(ours(), 1)
    config = world.config(1, watch=(*ours().watch, *theirs().watch))
    async with running(config) as run:
        await run.until("synced")
    world.nodes[1] = tapped = Tapped(theirs())
    async with running(config) as run:
        await run.until("synced")
        taken = list(tapped.taken)
        assert run.client.status.marks.tip_hash == theirs().tip_hash
        assert not run.client.hopeless
        assert [(event.old_tip, event.fork_height) for event in run.told if isinstance(event, Rewound)] == [(120, 118)]
        locators = [message.locator for message in taken if isinstance(message, LocatorRequest)]
        assert locators[0][:3] == tuple(ours().hash_at(height) for height in (120, 119, 118))
        assert {message.start_height for message in taken if isinstance(message, GetCFilters)} == {119}
        assert all(message.start_height > 118 for message in taken if isinstance(message, GetCFHeaders))
        blocks = [item for message in taken if isinstance(message, GetData) for item in message.items]
        assert all((theirs().height_of(item.hash) or 119) > 118 for item in blocks if item.type == InvType.BLOCK)
        await same_as_fresh(world, running, run)


async def test_01_a_peer_that_answers_from_its_first_block_on_is_followed_all_the_same(
    store: Store, autojump_clock: MockClock
) -> None:
    """It knows no hash of ours but the first: what is stored is skipped, and the fork found."""
    old = bench(store, Serving(trunk().cut(98).grown(2, seed=1)))
    await download_headers(old.work)
    serving = Serving(trunk(), limit=30)

    def from_the_first(question: LocatorRequest) -> bytes:
        newest = serving.chain.height_of(question.locator[0])
        return serving(question) if newest is not None else serving.chain.headers(1, 100)

    on = bench(store, from_the_first, Serving(trunk().grown(3)))
    await download_headers(on.work)
    assert (store.marks.tip, on.pool.faults) == (103, {})


async def test_03_a_reorganisation_amid_the_filters_neither_bans_nor_wedges(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The only peer goes over to another chain without a word; the stop hashes we ask for mean nothing to it then."""
    node = world.add(ours(), 1, delay=0.2)
    limits = {"batch": {"cfheaders": 2000, "filters": 20, "blocks": 16}}
    async with running(world.config(1, watch=(*ours().watch, *theirs().watch), limits=limits)) as run:
        await run.until("filters")
        node.chain = theirs()
        with trio.fail_after(300):
            while run.client.status.marks.tip_hash != theirs().tip_hash or run.client.state != "synced":
                await trio.sleep(0.5)
        assert not run.client.hopeless
        await same_as_fresh(world, running, run)


async def test_04_what_comes_unasked_when_synced_is_stored_once_or_not_at_all(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Headers that connect to nothing, without work or from long ago, an old block; then one new block, three times."""
    chain = generate(60, 4)
    nodes = [world.add(chain, port) for port in (1, 2, 3)]
    async with running(world.config(1, 2, 3, **BARE)) as run:
        await run.until("synced")
        before = run.client.store.digest()
        header = chain.header(60)
        old = Block.from_bytes(chain.block(7) or b"")
        for told in (
            Headers(changed(header, 0, 4, b"\1" * 32)),
            Headers(header[:4] + chain.tip_hash + header[36:76] + b"\0\0\0\1"),
            Headers(chain.headers(3, 4)),
            BlockMessage(old),
        ):
            await nodes[0]._peers[0].wire.send(told)
            await trio.sleep(5)
            await run.until("synced")
            assert run.client.store.digest() == before
        chain.extend(1)
        for node in nodes:
            await node.announce(1)
        await trio.sleep(10)
        await run.until("synced")
        store = run.client.store
        assert store.marks.tip_hash == chain.tip_hash
        assert [store.height_of(chain.hash_at(height)) for height in range(62)] == list(range(62))


async def test_05_a_second_answer_to_the_same_question_changes_nothing(store: Store, autojump_clock: MockClock) -> None:
    """The compressed answer comes after its timeout, right before the plain one to the question asked instead."""
    on = bench(store, Serving(trunk(), limit=30), compressed=(30,))
    peer, real = on.peers[0], FakePeer.send

    class Late(FakePeer):
        owed: Message | None = None

        async def send(self, message: Message) -> None:
            if isinstance(message, GetHeaders2):
                self.asked.append(message)
                Late.owed = compress(self.answer(message))
                return
            if Late.owed is not None:
                self.ledger.deliver(self, Late.owed)
            await real(self, message)

    peer.__class__ = Late
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults) == (trunk().tip_hash, {})
    assert store.headers(1, 100) == trunk().headers(1, 100)
    assert on.work.ledger.tally.late == 1
    assert not on.rewound


@pytest.mark.parametrize("base", [0, 1, 36, 64])
@pytest.mark.parametrize("stored", [0, 1, 2, 30])
async def test_06_the_first_locator_hash_is_the_stored_tip(
    tmp_path: Path, autojump_clock: MockClock, base: int, stored: int
) -> None:
    """Wherever a run begins: at genesis, at a base, one above it, or n above it; and the last hash is the base."""
    chain = trunk()
    anchor = Anchor(base, chain.header(base), chain.tips[base].work)
    store = Store.open(tmp_path, REGTEST, anchor=anchor)
    on = bench(store, Serving(chain.cut(base + stored)), config=Config(REGTEST, anchor=anchor))
    await download_headers(on.work)
    store.close()
    store = Store.open(tmp_path, REGTEST)
    again = bench(store, Serving(chain), config=Config(REGTEST))
    await download_headers(again.work)
    first = again.peers[0].asked[0].locator
    assert first == tuple(chain.hash_at(height) for height in locator_heights(base + stored, base))
    assert (first[0], first[-1]) == (chain.hash_at(base + stored), chain.hash_at(base))
    assert store.marks.tip == 100
    store.close()


async def test_09_after_a_batch_that_is_wrong_in_the_middle_tip_and_locator_agree(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint is contradicted by the 20th header: the tip is the last accepted header, not the last received."""
    monkeypatch.setattr(headers_requests, "PIECE", 7)
    lies = trunk().cut(17).grown(60, seed=3)
    listed = {20: Checkpoint(20, trunk().hash_at(20))}
    monkeypatch.setattr(known, "checkpoints", lambda _: listed)
    on = bench(store, Serving(lies), Serving(trunk()))
    on.peers[1].mute = True
    with pytest.raises(Failure):
        await download_headers(on.work)
    assert on.pool.faults[on.peers[0]].fault is Fault.CHECKPOINT_CONTRADICTED
    assert (store.marks.tip, store.marks.tip_hash) == (14, trunk().hash_at(14))
    again = bench(store, Serving(trunk()))
    await download_headers(again.work)
    assert again.peers[0].asked[0].locator[0] == trunk().hash_at(14)
    assert store.marks.tip_hash == trunk().tip_hash


async def test_10_what_has_come_is_stored_when_the_rest_does_not(store: Store, autojump_clock: MockClock) -> None:
    """Nothing waits in memory for a message that never comes: each batch is stored before the one after the next."""
    serving = Serving(trunk(), limit=20)
    on = bench(store, serving)
    peer = on.peers[0]

    def tiring(question: LocatorRequest) -> bytes:
        peer.mute = len(peer.asked) > 3
        return serving(question)

    peer.answer = tiring
    with pytest.raises(Failure):
        await download_headers(on.work)
    assert store.marks.tip_hash == trunk().hash_at(60)


async def test_10_completion_is_asked_for_by_the_clock(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No activity ever returns, and no message comes when all is there: each phase is left within two ticks."""
    done: dict[str, float] = {}
    for name in ("headers", "masternodes", "filter_headers", "filters", "blocks"):
        _never_returning(monkeypatch, f"download_{name}", done)
    chain = ours()
    world.add(chain, 1, locks=False)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced", within=30)
        assert run.path == ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]
        left = [row.time - START for row in run.client.history() if row.event == "advance"]
        assert len(left) == len(done) == 5
        for ended, at in zip(done.values(), left, strict=True):
            assert at - ended <= 2 * run.client.config.limits.tick


def _never_returning(monkeypatch: pytest.MonkeyPatch, name: str, done: dict[str, float]) -> None:
    real: Any = getattr(sync, name)

    async def activity(work: Any) -> None:
        await real(work)
        done[name] = trio.current_time()
        await trio.sleep_forever()

    monkeypatch.setattr(sync, name, activity)


async def test_10_headers_that_wait_to_be_stored_are_no_progress(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk takes a minute for the one batch: until it is there the figure is nought, and the phase goes on."""
    real, chain = Writer.commit_fresh, ours()

    async def commit_fresh(writer: Writer, make: Callable[[], Any]) -> Any:
        if any(isinstance(change, AppendHeaders) for change in make()):
            await trio.sleep(60)
        return await real(writer, make)

    monkeypatch.setattr(Writer, "commit_fresh", commit_fresh)
    world.add(chain, 1)
    async with running(world.config(1, **BARE)) as run:
        await trio.sleep(45)
        figure = run.client.progress()
        assert figure is not None
        assert (figure.phase, figure.done, figure.total, figure.percent) == ("headers", 0, 120, 0.0)
        assert not run.client.facts.headers_complete
        await run.until("synced", within=60)
        assert run.client.status.marks.tip == 120


async def test_11_what_is_imported_after_the_start_is_in_the_first_locator(
    store: Store, autojump_clock: MockClock
) -> None:
    """Nothing that was derived from the store before is kept."""
    on = bench(store, Serving(trunk()))
    imported = AppendHeaders(1, trunk().headers(1, 70), trunk().hashes(1, 70), trunk().tips[70].work)
    await on.work.writer.commit([imported])
    await download_headers(on.work)
    assert on.peers[0].asked[0].locator[0] == trunk().hash_at(70)
    assert store.marks.tip_hash == trunk().tip_hash


async def test_13_when_all_peers_fail_the_same_check_it_is_our_data_that_is_wrong(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Stored bits were changed: the difficulty that is due is nonsense. It is repaired, and nobody is banned."""
    right = ours().headers(1, 100)
    work = genesis_tip(SIMNET).work + sum(
        work_of(int.from_bytes(right[at + 72 :][:4], "little")) for at in range(0, 8000, 80)
    )
    with_damage = Store.open(world.directory, SIMNET)
    with_damage.commit([AppendHeaders(1, changed(right, 90, 72, bytes.fromhex("0000011f")), x11_many(right), work)])
    with_damage.close()
    for port in (1, 2, 3):
        world.add(ours(), port)
    async with running(world.config(1, 2, 3, **BARE)) as run:
        await run.until("synced")
        assert run.client.status.marks.tip_hash == ours().tip_hash
        assert run.client.store.headers(1, 120) == ours().headers(1, 120)
        assert set(run.warnings) == {"headers-repaired"}
        assert not run.client.hopeless


async def test_15_endless_low_work_headers_are_bounded_in_memory(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that mines on and on at the limit, with every block two hours late, loses its place; we lose little."""
    easy = attrs.evolve(SIMNET, allow_min_difficulty=True)
    store = Store.open(tmp_path, easy)
    honest = HeaderChain(easy).grown(40).grown(60, spacing=30)
    await download_headers(bench(store, Serving(honest), config=Config(easy)).work)
    monkeypatch.setattr(branches, "MAX_LEAD", 120)
    monkeypatch.setattr(headers_choice, "Branch", partial(Branch, held=20))
    serving = Serving(honest.cut(40).grown(1, seed=1, spacing=7201), limit=10)

    def endless(question: LocatorRequest) -> bytes:
        serving.chain = serving.chain.grown(10, seed=1, spacing=7201)
        return serving(question)

    on = bench(store, endless, config=Config(easy))
    tracemalloc.start()
    with pytest.raises(Failure):
        await download_headers(on.work)
    ours_alone = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, branches.__file__)])
    tracemalloc.stop()
    assert on.pool.faults[on.peers[0]].fault is Fault.LOW_WORK_HEADERS
    assert len(on.peers[0].asked) < 40
    assert sum(trace.size for trace in ours_alone.traces) < 20 * 112 + 4096
    assert store.marks.tip_hash == honest.tip_hash
    store.close()


async def test_16_compressed_headers_are_those_of_the_recorded_node(
    conversation: Callable[[int], Conversation],
) -> None:
    """Byte for byte in both directions, and every list of versions begins empty."""
    payloads = [
        payload for direction, command, payload in conversation(70240) if (direction, command) == ("<", "headers2")
    ]
    assert payloads
    for payload in payloads:
        message = decode("headers2", payload, 70240)
        assert isinstance(message, Headers2)
        raw, hashes = Expansion(message).take(message.count)
        assert compress(raw).to_payload(70240) == payload
        assert hashes == x11_many(raw)
        assert Expansion(message).take(message.count) == (raw, hashes)


async def test_17_compressed_answers_stay_with_their_peer_and_their_order(
    store: Store, autojump_clock: MockClock
) -> None:
    """Expansion runs elsewhere, in pieces: no peer's answer is taken for another's, none overtakes another."""
    other = trunk().cut(50).grown(70, seed=7)
    on = bench(store, Serving(trunk(), 15), Serving(other, 11), compressed=(15, 11))
    await download_headers(on.work)
    assert store.headers(1, 120) == other.headers(1, 120)
    assert not on.pool.faults
    assert not on.work.ledger.tally.late
    gone = on.peers[0]
    on.work.ledger.peer_lost(gone, "gone")
    assert not on.work.ledger.deliver(gone, compress(trunk().headers(1, 3)))


@pytest.mark.parametrize("seed", range(4))
async def test_17_expansion_that_takes_its_time_overtakes_nothing(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Each piece takes another while, and one peer is lost in the middle of it: what is stored is one chain, whole."""
    monkeypatch.setattr(headers_requests, "PIECE", 3)
    chance, other = random.Random(seed), trunk().cut(50).grown(70, seed=7)
    on = bench(store, Serving(trunk(), 15), Serving(other, 11), compressed=(15, 11))

    async def compute(function: Callable[..., Any], *arguments: Any) -> Any:
        await trio.sleep(chance.random())
        return function(*arguments)

    work = attrs.evolve(on.work, seams=attrs.evolve(on.work.seams, compute=cast(Any, compute)))

    async def lose_the_first() -> None:
        await trio.sleep(1 + 3 * chance.random())
        on.pool.drop(on.peers[0], "gone")
        on.work.ledger.peer_lost(on.peers[0], "gone")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lose_the_first)
        await download_headers(work)
    assert store.headers(1, 120) == other.headers(1, 120)
    assert store.hashes(1, 120) == other.hashes(1, 120)
    assert on.pool.faults == {}


async def test_17_the_address_of_a_lost_peer_is_not_that_peer(store: Store, autojump_clock: MockClock) -> None:
    """A new connection from there has its own questions: what the old one still owed is nobody's answer."""
    on = bench(store, Serving(trunk(), 15), compressed=(15,))
    old = on.peers[0]
    again = FakePeer(on.work.ledger, Serving(trunk()), 0, 15)
    assert again.address == old.address
    with on.work.desk("headers") as desk:
        async with trio.open_nursery() as nursery:
            old.mute = again.mute = True
            gone = list[str]()

            async def ask(peer: FakePeer) -> None:
                with suppress(PeerGone):
                    await desk.ask(peer, GetHeaders2(70240, (trunk().hash_at(0),), bytes(32)), Headers2, lambda _: True)
                    gone.append("answered")

            nursery.start_soon(ask, old)
            await trio.sleep(1)
            on.work.ledger.peer_lost(old, "gone")
            nursery.start_soon(ask, again)
            await trio.sleep(1)
            late = compress(trunk().headers(1, 3))
            assert not on.work.ledger.deliver(old, late)
            await trio.testing.wait_all_tasks_blocked()
            assert gone == []
            assert on.work.ledger.deliver(again, late)
            await trio.testing.wait_all_tasks_blocked()
            assert gone == ["answered"]


async def test_18_getheaders2_at_genesis_that_ends_the_connection_is_given_up_for_that_peer(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other peer, which knows it, goes on being asked for it."""
    seen: dict[int, list[str]] = {1: [], 2: []}
    nodes = {id(chain): port for port, chain in ((1, ours()), (2, theirs()))}
    real = answer

    def touchy(chain: Any, request: Message, *rest: Any) -> Any:
        seen[nodes[id(chain)]].append(request.command)
        if request.command == "getheaders2" and chain is ours():
            raise Punished("a command it does not know")
        return real(chain, request, *rest)

    monkeypatch.setattr(simulated, "answer", touchy)
    world.add(ours(), 1)
    async with running(world.config(1, 2, **BARE)) as run:
        await run.until("synced")
        world.add(theirs(), 2)
        with trio.fail_after(200):
            while run.client.status.marks.tip_hash != theirs().tip_hash:
                await trio.sleep(0.5)
        assert not run.client.hopeless
    assert seen[1].count("getheaders2") == 1
    assert "getheaders" in seen[1]
    assert "getheaders2" in seen[2]
    assert "getheaders" not in seen[2]


async def test_18_a_full_batch_is_as_long_as_was_negotiated() -> None:
    """8000 compressed headers between new peers, 2000 before, and always 2000 plain ones."""
    assert [max_headers2(version) for version in (70234, 70235, 70240)] == [2000, 8000, 8000]
    assert MAX_HEADERS == 2000


@pytest.mark.parametrize(("limit", "asked", "full"), [(20, 6, 5), (25, 5, 4), (30, 5, 3), (0, 2, 0)])
async def test_18_a_short_answer_is_the_last_only_by_the_measure_of_its_form(
    store: Store, autojump_clock: MockClock, limit: int, asked: int, full: int
) -> None:
    """A hundred headers in answers of that many: after a full one another is asked for at once, ahead of judging it;
    the walk ends by an answer with nothing in it, never by a short one."""
    on = bench(store, Serving(trunk(), limit or 2000), compressed=(limit,))
    await download_headers(on.work)
    questions = on.peers[0].asked
    assert store.marks.tip == 100
    assert len(questions) == asked
    assert all(isinstance(question, GetHeaders2) == (limit > 0) for question in questions)
    assert questions[-1].locator[0] == trunk().tip_hash
    ahead = [q for q in questions[1:] if q.locator[1] != trunk().hash_at((trunk().height_of(q.locator[0]) or 0) - 1)]
    assert len(ahead) == full


async def test_31_no_request_asks_for_more_than_the_protocol_allows() -> None:
    """Two thousand headers and filter headers, a thousand filters, eight thousand compressed headers."""
    assert (MAX_HEADERS, MAX_COMPRESSED) == (2000, 8000)
    assert (MAX_FILTER_HEADERS_ASKED, MAX_FILTERS_ASKED) == (2000, 1000)
    batch = Limits().batch
    assert (batch["cfheaders"], batch["filters"]) == (2000, 1000)
