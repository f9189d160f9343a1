"""Chains of every awkward length: around batch, checkpoint and segment borders, and hardly a chain at all."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import attrs
import pytest
from trio.testing import MockClock

from phasegate.p2p.simnet.generated import GeneratedChain, generate

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

WALK = ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]
LENGTHS = (0, 1, 2, 3, 25, 999, 1000, 1001, 1500, 1800, 1999, 2000, 2001, 3000, 3001)


GROWN = {"at every length": LENGTHS, "far": (999, 2001), "by batches": (1000, 2000, 3000), "late": (500, 1999)}
"""Directories that follow the chain, and the lengths at which they do."""


@cache
def awkward_chain(length: int) -> GeneratedChain:
    """A chain that no test may extend."""
    return generate(length, 22)


async def test_grown_stores_equal_a_fresh_one_at_every_length(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Directories follow the chain from length to length, another begins at each: their digests are the same."""
    chain = generate(0, 21)
    for port in (1, 2):
        world.add(chain, port)
    config = world.config(1, 2, watch=chain.watch)
    for length in sorted(set().union(*GROWN.values())):
        chain.extend(length - chain.height)
        digests = set()
        for directory in (*[name for name in GROWN if length in GROWN[name]], f"fresh at {length}"):
            async with running(attrs.evolve(config, datadir=world.directory / directory)) as run:
                await run.until("synced", within=60)
                marks = run.client.status.marks
                assert run.path == WALK
                assert marks.tip == marks.filter_headers == marks.filters == marks.matched == length
                assert marks.filter_header == chain.filter_header(length)
                assert marks.masternodes == (length if length >= 2 else None)
                assert run.warnings == []
                assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]
                digests.add(run.client.store.digest())
        assert len(digests) == 1


@pytest.mark.parametrize("length", [0, 1, 1000, 2000])
@pytest.mark.parametrize(("masternodes", "filters"), [(False, True), (True, False), (False, False)])
async def test_awkward_lengths_with_phases_left_out(
    world: World, running: Start, autojump_clock: MockClock, length: int, masternodes: bool, filters: bool
) -> None:
    """No length keeps a smaller configuration from the end."""
    world.add(awkward_chain(length), 1)
    async with running(world.config(1, masternodes=masternodes, filters=filters)) as run:
        await run.until("synced", within=60)
        assert run.client.status.marks.tip == length


async def test_a_new_block_on_a_checkpoint_height_is_walked(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """From 998 to 1002, block by block, announced one at a time."""
    chain = generate(998, 23)
    node = world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        for walks in range(2, 6):
            chain.extend(1)
            await node.announce(1)
            await run.until_path(WALK * walks, within=60)
        assert run.client.status.marks.filters == 1002
        assert run.client.status.marks.filter_header == chain.filter_header(1002)
