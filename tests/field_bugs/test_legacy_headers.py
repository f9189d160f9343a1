"""Headers as a sequential client of others got them wrong: findings A2 to A5 of the list of field bugs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.faults import Fault
from phasegate.consensus.params import REGTEST, SIMNET
from phasegate.consensus.primitives import Block
from phasegate.engine.config import Address, Config
from phasegate.engine.errors import Failure
from phasegate.engine.phases.headers import download_headers
from phasegate.p2p.messages import BlockMessage, Headers, Inv, InvItem, InvType
from phasegate.p2p.messages_chain import LocatorRequest
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.lies import Lie
from phasegate.store import Store
from tests.field_bugs.fresh_clients import is_complete, nobody_is_blamed, same_as_fresh
from tests.scripted_peers import HeaderChain, Serving, bench, changed, remined
from tests.simulated_world import Tapped, small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

WALK = ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store of regtest."""
    store = Store.open(tmp_path / "store", REGTEST)
    yield store
    store.close()


# -- A2: after the sync ---------------------------------------------------------------------------------------------


async def test_a02_a_block_that_is_announced_again_and_again_is_stored_once(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Two peers name it three times each, by inv and by header: every later height is where it belongs."""
    chain = generate(120, 5)
    nodes = [world.add(chain, port, locks=False) for port in (1, 2)]
    async with running(world.config(1, 2, watch=chain.watch)) as run:
        await run.until("synced")
        for _ in range(4):
            chain.extend(1)
            named = (Inv((InvItem(InvType.BLOCK, chain.tip_hash),)), Headers(chain.header(chain.height)))
            for told in named * 3:
                for node in nodes:
                    await node._peers[0].wire.send(told)
            await trio.sleep(5)
            await run.until("synced", within=10)
        store = run.client.store
        assert [store.hash_at(height) for height in range(125)] == [chain.hash_at(height) for height in range(125)]
        assert [store.height_of(chain.hash_at(height)) for height in range(125)] == list(range(125))
        is_complete(run, chain)
        nobody_is_blamed(run)


async def test_a02_the_body_of_an_old_matched_block_is_no_new_header(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """It comes unasked into the synced client: counted as unasked, and neither chain nor wallet moves."""
    chain = small_chain(120, 5)
    node = world.add(chain, 1, locks=False)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        await trio.sleep(60)  # locks that stand in blocks have their answer, too
        path, digest, unasked = run.path, run.client.store.digest(), run.client.requests.unasked
        for height in chain.watched_heights[:3]:
            body = Block.from_bytes(chain.block(height) or b"")
            await node._peers[0].wire.send(BlockMessage(body))
            await trio.sleep(2)
        assert (run.path, run.client.store.digest()) == (path, digest)
        assert run.client.requests.unasked == unasked + 3
        is_complete(run, chain)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("wrong-pow", "bad-proof-of-work"),
        ("broken-link", "broken-header-link"),
        ("wrong-difficulty", "bad-difficulty"),
    ],
)
async def test_a02_a_header_that_is_announced_after_the_sync_is_judged_like_any_other(
    world: World, running: Start, autojump_clock: MockClock, kind: str, code: str
) -> None:
    """A liar's next block is not stored and costs its connection; the honest next block is stored."""
    ours, next_one, longer = generate(120, 5), generate(121, 5), generate(124, 5)
    liar, honest = world.add(ours, 1, locks=False), world.add(ours, 2, locks=False)
    async with running(world.config(1, 2, watch=ours.watch)) as run:
        await run.until("synced")
        liar.lie = Lie.parse(f"{kind}@121", next_one)
        liar.chain = next_one
        await liar.announce(1)
        await trio.sleep(30)
        await run.until("synced")
        assert run.client.status.marks.tip_hash == ours.tip_hash
        assert [warned for warned in run.warnings if warned.startswith(("bad-", "broken-"))] == [code]
        assert [peer.address.port for peer in run.client.peers] == [2]
        honest.chain = longer
        await honest.announce(4)
        with trio.fail_after(30):
            while run.client.status.marks.tip != 124 or run.client.state != "synced":
                await trio.sleep(0.1)
        is_complete(run, longer)


async def test_a02_filters_of_new_blocks_are_matched(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Ten blocks with a payment each come after the sync, one by one: each payment is found as it comes."""
    chain = generate(120, 5)
    node = world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        for count in range(1, 11):
            known = len(run.client.transactions())
            chain.extend(1, include=[chain.spend_watched()])
            await node.announce(1)
            await run.until_path(WALK * (count + 1), within=10)
            marks = run.client.status.marks
            assert marks.filters == marks.matched == chain.height
            assert len(run.client.transactions()) > known
            assert run.client.transactions()[-1].height == chain.height
        is_complete(run, chain)


# -- A3: forks ------------------------------------------------------------------------------------------------------


@cache
def branch(fork: int) -> GeneratedChain:
    """A heavier branch of `generate(160, 5)`."""
    return generate(170, 5, fork_at=fork, fork_seed=9, locks=False)


@pytest.mark.parametrize("fork", [159, 150, 97, 20])
async def test_a03_a_synced_client_goes_over_to_a_heavier_branch(
    world: World, running: Start, autojump_clock: MockClock, fork: int
) -> None:
    """One block deep or many: told once, rolled back in every table, and found by one walk."""
    ours, theirs = generate(160, 5, locks=False), branch(fork)
    node = world.add(ours, 1)
    async with running(world.config(1, watch=(*ours.watch, *theirs.watch))) as run:
        await run.until("synced")
        await node.switch(theirs)
        await run.until_path(WALK * 2, within=30)
        rewound = [(e.old_tip, e.fork_height) for e in run.told if type(e).__name__ == "Rewound"]
        assert rewound == [(160, fork)]
        assert run.client.status.marks.tip_hash == theirs.tip_hash
        nobody_is_blamed(run)
        await same_as_fresh(world, running, run)


async def test_a03_headers_that_connect_to_nothing_are_not_asked_for_again_and_again(
    store: Store, autojump_clock: MockClock
) -> None:
    """Who answers so is left, with a reason; another peer is followed, and the locator has more than the tip in it."""
    chain = HeaderChain().grown(100)
    await download_headers(bench(store, Serving(chain.cut(40))).work)
    foreign = HeaderChain().grown(60, seed=4)

    def nowhere(question: LocatorRequest) -> bytes:
        return foreign.headers(50, 10)

    on = bench(store, nowhere, Serving(chain))
    await download_headers(on.work)
    assert store.marks.tip_hash == chain.tip_hash
    assert on.pool.faults[on.peers[0]].fault is Fault.BROKEN_HEADER_LINK
    assert len(on.peers[0].asked) == 1
    assert len(on.peers[1].asked[0].locator) > 10


async def test_a03_alone_with_headers_that_connect_to_nothing_the_phase_fails_visibly(
    store: Store, autojump_clock: MockClock
) -> None:
    """No stall: the one question is answered wrongly, and that is the reason told."""
    chain, foreign = HeaderChain().grown(40), HeaderChain().grown(60, seed=4)
    await download_headers(bench(store, Serving(chain)).work)
    on = bench(store, lambda _: foreign.headers(50, 10))
    with trio.fail_after(60), pytest.raises(Failure, match="broken-header-link"):
        await download_headers(on.work)
    assert store.marks.tip_hash == chain.tip_hash


# -- A4: what a header is held to -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "value", "fault"),
    [
        (72, (0x207FFFFE).to_bytes(4, "little"), Fault.BAD_DIFFICULTY),
        (68, (1_417_713_337).to_bytes(4, "little"), Fault.BAD_HEADER_TIME),
        (68, (1_900_000_000 + 7201).to_bytes(4, "little"), Fault.HEADER_FROM_THE_FUTURE),
    ],
    ids=["another target", "before the median", "from the future"],
)
async def test_a04_proof_of_its_own_target_is_not_enough(
    store: Store, autojump_clock: MockClock, at: int, value: bytes, fault: Fault
) -> None:
    """The header is mined, connects, and is refused for the rule that it breaks; nothing from it on is stored."""
    chain = HeaderChain().grown(60)
    forged = remined(changed(chain.header(50), 0, at, value))
    lies = chain.headers(1, 49) + forged
    on = bench(store, lambda question: lies if question.locator[0] == chain.hash_at(0) else b"")
    with pytest.raises(Failure):
        await download_headers(on.work)
    assert on.pool.faults[on.peers[0]].fault is fault
    assert store.marks.tip < 50


async def test_a04_the_work_of_all_headers_decides_and_not_their_number(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Many easy headers against fewer hard ones: the heavier chain stays, though it is much shorter."""
    easy = attrs.evolve(SIMNET, allow_min_difficulty=True)
    store = Store.open(tmp_path, easy)
    trunk = HeaderChain(easy).grown(40)
    heavy, long = trunk.grown(60, spacing=30), trunk.grown(90, seed=1, spacing=7201)
    assert long.height > heavy.height
    assert long.tip.work < heavy.tip.work
    on = bench(store, Serving(long), Serving(heavy), config=Config(easy))
    await download_headers(on.work)
    assert (store.marks.tip_hash, store.marks.work) == (heavy.tip_hash, heavy.tip.work)
    assert on.pool.faults == {}
    store.close()


async def test_a04_a_chain_of_too_little_work_is_not_synced_with(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The work of the whole chain is stored, not that of its last header; below the least it says so."""
    chain = small_chain(120, 5)
    world.add(chain, 1)
    async with running(world.config(1, min_chainwork=chain.tip.work + 1)) as run:
        await run.until("degraded", within=60)
        assert run.client.status.marks.work == chain.tip.work
        assert "not enough work" in run.client.status.reason
        await trio.sleep(600)
        assert "synced" not in run.path


# -- A5: when headers are complete ----------------------------------------------------------------------------------


@pytest.mark.parametrize("slow", [0.4, 2.0, 4.0])
async def test_a05_one_empty_answer_does_not_complete_the_headers(
    world: World, running: Start, autojump_clock: MockClock, slow: float
) -> None:
    """A peer on a short chain has nothing more to tell at once; the phase is left with what the slow one has."""
    chain, short = small_chain(300, 5), generate(200, 5)
    assert short.tip_hash == chain.hash_at(200)
    world.add(short, 1)
    world.add(chain, 2, delay=slow)
    async with running(world.config(1, 2, masternodes=False, filters=False)) as run:
        await run.until("synced", within=120)
        first = next(row for row in run.client.history() if row.source == "headers")
        facts = json.loads(first.facts_json)
        assert (facts["tip"], facts["agreed"], facts["ready_peers"]) == (300, True, 2)
        assert run.path == ["headers", "synced"]


async def test_a05_each_ready_peer_was_asked_about_the_stored_tip(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The last question to every one of them begins with the very tip that the phase is left with."""
    chain = small_chain(300, 5)
    nodes = [Tapped(chain) for _ in range(3)]
    world.nodes = dict(enumerate(nodes, 1))
    async with running(world.config(1, 2, 3, masternodes=False, filters=False)) as run:
        await run.until("synced")
        for node in nodes:
            asked = [message for message in node.taken if isinstance(message, LocatorRequest)]
            assert asked[-1].locator[0] == chain.tip_hash


async def test_a05_a_peer_that_says_nothing_has_not_agreed(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Alone it is left and tried again, and no silence completes anything."""
    chain = small_chain(120, 5)
    node = world.add(chain, 1, silent=True)
    async with running(world.config(1, masternodes=False, filters=False)) as run:
        await trio.sleep(900)
        assert "synced" not in run.path
        assert set(run.path) <= {"headers", "switching", "backoff", "waiting", "degraded"}
        assert run.client.status.marks.tip == 0
        node.silent = False
        await run.until("synced", within=120)
        assert run.client.status.marks.tip == 120
        assert Address("node", 1) not in run.client._pool.banned
