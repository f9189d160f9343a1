"""Random block trees, served in random order by peers that change their minds, to a client that is restarted.

The chain chosen is always the one that a reference model of ten lines chooses, and what is stored in the end is what a
fresh sync of that chain stores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from phasegate.consensus.params import SIMNET, Network
from phasegate.engine.config import Config
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.node import Node
from tests import block_trees
from tests.block_trees import LISTLESS, WATCHED, forked
from tests.simulated_world import Run, World, runner

PEERS = (1, 2, 3)
CALM = 45.0
"""Virtual seconds without a new tip after which nothing more is to come: longer than any retry of a living peer."""


@attrs.frozen
class Switch:
    """A peer goes over to a branch and tells it."""

    peer: int
    branch: int


@attrs.frozen
class Restart:
    """The client ends and starts again from what it stored."""


@attrs.frozen
class Play:
    """A tree as branches `(parent, fork, length)`, what the peers have at first, and what happens then."""

    branches: tuple[tuple[int, int, int], ...]
    first: tuple[int, ...]
    acts: tuple[Switch | Restart, ...]

    def paths(self) -> list[block_trees.Path]:
        """The path of each branch; branch 0 is the trunk."""
        made: list[block_trees.Path] = []
        for number, (parent, fork, length) in enumerate(self.branches):
            if not made:
                made.append(((length, 0),))
            else:
                trunk = made[parent % len(made)]
                made.append(forked(trunk, fork % (trunk[-1][0] + 1), length, number))
        return made


@st.composite
def plays(draw: st.DrawFn) -> Play:
    """Small trees of up to five branches, one to three peers, up to six acts."""
    length = st.integers(1, 24)
    branch = st.tuples(st.integers(0, 4), st.integers(0, 30), length)
    branches = (draw(st.tuples(st.just(0), st.just(0), length)), *draw(st.lists(branch, min_size=1, max_size=4)))
    which = st.integers(0, len(branches) - 1)
    first = draw(st.lists(which, min_size=1, max_size=len(PEERS)))
    switch = st.builds(Switch, st.integers(0, len(first) - 1), which)
    acts = draw(st.lists(st.one_of(switch, switch, st.just(Restart())), max_size=6))
    return Play(branches, tuple(first), tuple(acts))


def chosen(offers: list[set[int]], work: Callable[[int], int]) -> set[int]:
    """The reference model: the branches a client may hold after these offers, those made at once in one set.

    Most work wins; a tie displaces nothing that is held already.
    """
    held: set[int] = set()
    for offer in offers:
        best = max(map(work, offer))
        if not held or best > max(map(work, held)):
            held = {branch for branch in offer if work(branch) == best}
    return held


def test_the_model_lets_most_work_win_and_a_tie_change_nothing() -> None:
    """The reference model is held against cases decided by hand."""
    work = {0: 5, 1: 7, 2: 7, 3: 6}.__getitem__
    assert chosen([{0}, {1}, {2}], work) == {1}
    assert chosen([{0, 3}], work) == {3}
    assert chosen([{1, 2}, {3}], work) == {1, 2}


async def _calm(run: Run) -> None:
    """Until nothing has changed for a while."""
    with trio.fail_after(3600):
        while True:
            tip = run.client.status.marks.tip_hash
            await trio.sleep(CALM)
            if run.client.state in ("synced", "degraded") and run.client.status.marks.tip_hash == tip:
                return


async def _perform(play: Play, chains: list[SimulatedChain], network: Network, watch: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with trio.open_nursery() as nursery:
            world = World(nursery, Path(directory))
            nodes = [world.add(chains[branch], port) for port, branch in zip(PEERS, play.first, strict=False)]
            lists = network is SIMNET
            config = world.config(*PEERS[: len(nodes)], network=network, watch=watch, masternodes=lists)
            offers = [set(play.first)]
            async with AsyncExitStack() as first:
                run = await first.enter_async_context(runner(world)(config))
                await _calm(run)
                for act in play.acts:
                    if isinstance(act, Restart):
                        await first.aclose()
                        run = await first.enter_async_context(runner(world)(config))
                    else:
                        nodes[act.peer].chain = chains[act.branch]
                        await nodes[act.peer].announce(1)
                        offers.append({act.branch})
                    await _calm(run)
                best = chosen(offers, lambda branch: block_trees.work(chains[branch]))
                tips = {chains[branch].tip_hash for branch in best}
                assert run.client.status.marks.tip_hash in tips
                await _agree(world, nodes, chains, run)
                await _same_as_fresh(world, config, run)
            nursery.cancel_scope.cancel()


async def _agree(world: World, nodes: Sequence[Node], chains: list[SimulatedChain], run: Run) -> None:
    """Every peer ends up with the chosen chain; the client must be able to finish with it."""
    tip = run.client.status.marks.tip_hash
    final = next(chain for chain in chains if chain.tip_hash == tip)
    for port in PEERS[: len(nodes)]:
        world.nodes[port].chain = final
        await world.nodes[port].announce(1)
    await run.until("synced")
    await _calm(run)
    assert (run.client.state, run.client.status.marks.tip_hash) == ("synced", tip)
    assert not run.client.hopeless


async def _same_as_fresh(world: World, config: Config, run: Run) -> None:
    """What is stored is what a client stores that never saw another chain."""
    async with runner(world)(attrs.evolve(config, datadir=world.directory / "fresh")) as fresh:
        await fresh.until("synced")
        assert fresh.client.store.digest() == run.client.store.digest()


def _play(play: Play, network: Network, chain_of: Callable[[block_trees.Path], SimulatedChain]) -> None:
    chains = [chain_of(path) for path in play.paths()]
    watch = tuple(dict.fromkeys(item for chain in chains for item in chain.watch))
    trio.run(_perform, play, chains, network, watch, clock=MockClock(autojump_threshold=0))


relaxed = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.mark.timeout(600)
@relaxed
@given(plays())
def test_the_most_work_wins_in_any_tree_of_regtest_blocks(play: Play) -> None:
    """Equal difficulty: the longest branch wins, ties change nothing, and nothing of other branches stays."""
    _play(play, LISTLESS, block_trees.listless)


@pytest.mark.timeout(600)
@relaxed
@given(plays())
def test_the_most_work_wins_in_any_tree_of_simnet_blocks(play: Play) -> None:
    """Difficulty moves, lists, quorums and payments differ between branches."""
    _play(play, SIMNET, block_trees.generated)


def test_the_watched_script_is_paid_and_spent_in_the_trees() -> None:
    """The trees are not empty of what a wallet would miss."""
    chain = block_trees.listless(((60, 0),))
    filters = [chain.filter(height) for height in range(1, chain.height + 1)]
    assert len(set(filters)) > 10
    assert WATCHED.hex() in chain.watch
