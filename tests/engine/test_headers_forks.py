"""Branches that compete with the stored chain: by work, by checkpoint, by ChainLock; and what spam costs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus import checkpoints as known
from phasegate.consensus.checkpoints import Checkpoint
from phasegate.consensus.faults import Fault
from phasegate.consensus.headers import work_of
from phasegate.consensus.locks import ChainLock
from phasegate.consensus.params import REGTEST, SIMNET
from phasegate.consensus.primitives import BlockHeader
from phasegate.engine import branches
from phasegate.engine.branches import Branch
from phasegate.engine.config import Config
from phasegate.engine.errors import Failure, FailureKind, RolledBack
from phasegate.engine.phases import headers_choice
from phasegate.engine.phases.headers import download_headers
from phasegate.p2p.simnet.generated import generate
from phasegate.store import Anchor, Store
from tests.header_branches import heavier, lighter, synced, trunk
from tests.scripted_peers import HeaderChain, Serving, bench
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

EASY = attrs.evolve(SIMNET, allow_min_difficulty=True)
"""Simnet, where blocks more than two hours apart may be as easy as the limit."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store of regtest."""
    store = Store.open(tmp_path, REGTEST)
    yield store
    store.close()


@pytest.fixture
def easy_store(tmp_path: Path) -> Iterator[Store]:
    """A new store of a network with cheap branches."""
    store = Store.open(tmp_path / "easy", EASY)
    yield store
    store.close()


@pytest.mark.parametrize("depth", [1, 2, 50, 1000])
async def test_a_reorganisation_of_any_depth(store: Store, autojump_clock: MockClock, depth: int) -> None:
    """One commit takes the heavier branch, whichever peer has it."""
    common = HeaderChain().grown(20)
    old, new = common.grown(depth, seed=1), common.grown(depth + 1, seed=2)
    await synced(store, old)
    on = bench(store, Serving(old), Serving(new, limit=300))
    await download_headers(on.work)
    assert (store.marks.tip_hash, store.marks.work) == (new.tip_hash, new.tip.work)
    assert store.headers(1, new.height) == new.headers(1, new.height)
    assert on.rewound == [(20 + depth, 20)]
    assert not on.pool.faults


async def test_the_first_seen_of_two_equal_branches_stays(store: Store, autojump_clock: MockClock) -> None:
    """More work is needed, not as much."""
    await synced(store, trunk())
    on = bench(store, Serving(trunk()), Serving(trunk().cut(59).grown(1, seed=4)))
    await download_headers(on.work)
    assert store.marks.tip_hash == trunk().tip_hash
    assert on.work.live.elsewhere == {on.peers[1]}


async def test_all_who_are_on_another_branch_are_known_to_be(store: Store, autojump_clock: MockClock) -> None:
    """Agreeing with the branch of the one who was followed last is no agreement with the stored tip."""
    on = bench(
        store, Serving(trunk()), Serving(lighter()), Serving(lighter()), Serving(trunk()), config=Config(REGTEST)
    )
    await download_headers(on.work)
    assert store.marks.tip_hash == trunk().tip_hash
    assert on.work.live.elsewhere == {on.peers[1], on.peers[2]}
    assert on.pool.faults == {}


async def test_a_long_branch_is_fetched_twice(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not held in full comes again once its work is proved, and the outcome is the same."""
    monkeypatch.setattr(headers_choice, "Branch", partial(Branch, held=7))
    await synced(store, trunk())
    on = bench(store, Serving(heavier(), limit=5))
    await download_headers(on.work)
    assert store.marks.tip_hash == heavier().tip_hash
    assert store.headers(1, 70) == heavier().headers(1, 70)
    stops = [question.stop for question in on.peers[0].asked if question.stop != bytes(32)]
    assert stops
    assert set(stops) == {heavier().hash_at(61)}


async def test_a_long_branch_whose_peer_changes_its_mind_is_let_go(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two fetches the peer went over to another chain: no fault, and that chain is taken."""
    monkeypatch.setattr(headers_choice, "Branch", partial(Branch, held=7))
    await synced(store, trunk())
    final = trunk().grown(30, seed=6)
    serving = Serving(heavier(), limit=5)

    def wavering(question: Any) -> bytes:
        if question.stop != bytes(32):
            serving.chain = final
        return serving(question)

    on = bench(store, wavering)
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults) == (final.tip_hash, {})


# -- spam ----------------------------------------------------------------------------------------------------------


@cache
def costly() -> HeaderChain:
    return HeaderChain(EASY).grown(40, spacing=150).grown(60, spacing=30)


@cache
def cheap() -> HeaderChain:
    """Leaves `costly` above 40, and is far longer, with less work."""
    return costly().cut(40).grown(300, seed=1, spacing=7201)


async def test_low_work_headers_without_end_cost_their_sender_its_connection(
    easy_store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held of them in memory meanwhile is bounded, and nothing of them is stored."""
    sizes = []
    real = Branch.grow

    def watched(self: Branch, piece: Any) -> None:
        real(self, piece)
        sizes.append(self.size)

    monkeypatch.setattr(branches, "MAX_LEAD", 200)
    monkeypatch.setattr(headers_choice, "Branch", partial(Branch, held=50))
    monkeypatch.setattr(Branch, "grow", watched)
    assert cheap().tip.work < costly().tip.work
    await synced(easy_store, costly())
    on = bench(easy_store, Serving(cheap(), limit=20), config=Config(EASY))
    with pytest.raises(Failure) as caught:
        await download_headers(on.work)
    assert caught.value.kind is FailureKind.ALL_BANNED
    assert on.pool.faults[on.peers[0]].fault is Fault.LOW_WORK_HEADERS
    assert max(sizes) <= 50 * 112
    assert easy_store.marks.tip_hash == costly().tip_hash


# -- checkpoints ---------------------------------------------------------------------------------------------------


def checkpointed(monkeypatch: pytest.MonkeyPatch, *blocks: tuple[HeaderChain, int]) -> None:
    """Regtest has these checkpoints."""
    listed = {height: Checkpoint(height, chain.hash_at(height)) for chain, height in blocks}
    monkeypatch.setattr(known, "checkpoints", lambda _: listed)


async def test_a_fork_below_a_checkpoint_is_refused(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much work it has: the checkpoint is named."""
    checkpointed(monkeypatch, (trunk(), 45))
    await synced(store, trunk())
    on = bench(store, Serving(trunk()), Serving(heavier()))
    await download_headers(on.work)
    assert store.marks.tip_hash == trunk().tip_hash
    fault = on.pool.faults[on.peers[1]]
    assert fault.fault is Fault.CHECKPOINT_CONTRADICTED
    assert trunk().hash_at(45)[::-1].hex() in fault.detail


async def test_a_branch_that_passes_a_checkpoint_needs_no_more_work(
    easy_store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of long ago are cheap today: a liar can outweigh them, but not pass the checkpoint that follows."""
    checkpointed(monkeypatch, (cheap(), 130))
    await synced(easy_store, costly())
    on = bench(easy_store, Serving(cheap(), limit=20), config=Config(EASY))
    await download_headers(on.work)
    assert (easy_store.marks.tip_hash, on.pool.faults) == (cheap().tip_hash, {})


async def test_a_stored_header_that_contradicts_a_checkpoint_is_rolled_back(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last checkpoint that holds; the walk then begins again and finds the right chain."""
    await synced(store, heavier())
    checkpointed(monkeypatch, (trunk(), 30), (trunk(), 50))
    on = bench(store, Serving(trunk()))
    with pytest.raises(RolledBack, match="contradicts the checkpoint"):
        await download_headers(on.work)
    assert (store.marks.tip_hash, store.marks.work) == (trunk().hash_at(30), trunk().tips[30].work)
    assert on.warned == ["headers-repaired"]
    await download_headers(on.work)
    assert store.marks.tip_hash == trunk().tip_hash


# -- ChainLocks ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Lock:
    height: int


async def test_a_better_branch_that_conflicts_with_a_binding_lock_is_refused(
    store: Store, autojump_clock: MockClock
) -> None:
    """It is recorded with all that tells what it was, and its peer is banned."""
    await synced(store, trunk())
    on = bench(store, Serving(trunk()), Serving(heavier()))
    on.binding.lock = Lock(55)
    await download_headers(on.work)
    assert store.marks.tip_hash == trunk().tip_hash
    assert on.pool.faults[on.peers[1]].fault is Fault.CONFLICTS_WITH_CHAINLOCK
    [refused] = store.refused_branches()
    tip = heavier().tip
    assert (refused.fork_height, refused.lock_height, refused.peer) == (40, 55, "peer:1")
    assert (refused.tip_height, refused.tip_hash, refused.work) == (tip.height, tip.hash, tip.work)
    assert set(on.binding.forks) == {40}


async def test_a_lighter_branch_with_a_binding_lock_replaces_ours(store: Store, autojump_clock: MockClock) -> None:
    """And the heavier one, still there, does not come back, whoever is asked first."""
    await synced(store, trunk())
    on = bench(store, Serving(trunk()), Serving(lighter()))
    on.binding.locked = ChainLock(45, lighter().hash_at(45), bytes(96))
    await download_headers(on.work)
    assert store.marks.tip_hash == lighter().tip_hash
    assert on.pool.faults[on.peers[0]].fault is Fault.CONFLICTS_WITH_CHAINLOCK
    assert on.work.has_agreed(on.peers[1])


async def test_of_two_locked_branches_ours_stays(store: Store, autojump_clock: MockClock) -> None:
    """A lock on ours that binds as well is as good as theirs, and ours was first."""
    await synced(store, trunk())
    on = bench(store, Serving(lighter()))
    on.binding.lock = Lock(58)
    on.binding.locked = ChainLock(45, lighter().hash_at(45), bytes(96))
    await download_headers(on.work)
    assert store.marks.tip_hash == trunk().tip_hash


# -- whole clients -------------------------------------------------------------------------------------------------


async def test_below_the_least_work_the_headers_are_not_complete(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Every peer agrees, and yet the client is degraded and says why; nobody is blamed."""
    world.add(small_chain(), 1)
    config = world.config(1, masternodes=False, filters=False, min_chainwork=small_chain().tip.work + 1)
    async with running(config) as run:
        await run.until("degraded")
        assert "not enough work" in run.client.status.reason
        assert run.client.status.marks.tip == 300
        assert "synced" not in run.path
        assert not run.client.hopeless
    async with running(attrs.evolve(config, min_chainwork=small_chain().tip.work)) as run:
        await run.until("synced")


@pytest.mark.parametrize("base", [1, 30, 299, 300])
async def test_a_client_that_begins_in_mid_chain(
    world: World, running: Start, autojump_clock: MockClock, base: int
) -> None:
    """From a header that the user trusts, to the tip, and again from what is stored."""
    chain = small_chain()
    world.add(chain, 1)
    work = chain.tip.work - sum(work_of(BlockHeader.from_bytes(chain.header(h)).bits) for h in range(base + 1, 301))
    config = world.config(1, masternodes=False, filters=False, anchor=Anchor(base, chain.header(base), work))
    for _ in range(2):
        async with running(config) as run:
            await run.until("synced")
            marks = run.client.status.marks
            assert (marks.base, marks.tip_hash, marks.work) == (base, chain.tip_hash, chain.tip.work)
            assert marks.context == min(base, 35)


async def test_a_heavier_branch_below_a_real_chainlock_is_refused(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The quorum that locked our tip was mined below the fork: the other node is banned, and its branch recorded."""
    ours, theirs = generate(200, 5), generate(215, 5, fork_at=195, fork_seed=9)
    world.add(ours, 1)
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        with trio.fail_after(60):
            while run.client.status.marks.chainlock is None:
                await trio.sleep(0.5)
        world.add(theirs, 2)
        await run.until_warned("conflicts-with-chainlock")
        await run.until("synced")
        assert run.client.status.marks.tip_hash == ours.tip_hash
        [refused] = run.client.store.refused_branches()
        assert (refused.fork_height, refused.tip_height, refused.peer) == (195, 215, "node:2")
