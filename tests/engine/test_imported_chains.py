"""An imported chain is no better proven than it is: a client goes on from it, and its peers have the last word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from trio.testing import MockClock

from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.false_filters import FalseFilters, omitted_output
from phasegate.p2p.simnet.greeting import Identity
from phasegate.store import Store
from tests.exported_chains import exported, stored, taken_in
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio


def imported(world: World, tmp_path: Path, chain: SimulatedChain, height: int, filters: object = None) -> None:
    """Have the client's directory hold what a file of the chain up to `height` gives."""
    store = stored(tmp_path / "source", chain, height, filters)
    raw = exported(store, chain.network)
    store.close()
    world.directory = tmp_path / "client"
    taken_in(raw, world.directory, chain.network)


def balances(run: Run) -> dict[str, int]:
    return {script.hex(): value for script, value in run.client.balances().items()}


def hidden(chain: SimulatedChain) -> FalseFilters:
    """Filters that fit each other, from the first payment on without it."""
    return FalseFilters(omitted_output, chain.watched_heights[0])


@pytest.mark.parametrize(("height", "strategy"), [(200, "sequential"), (300, "interleaved")])
async def test_a_client_goes_on_from_it(
    world: World, running: Start, autojump_clock: MockClock, tmp_path: Path, height: int, strategy: str
) -> None:
    """It downloads what is missing, finds all that is to be found, and ends as one that began with nothing."""
    chain = small_chain()
    imported(world, tmp_path, chain, height)
    world.add(chain, 1)
    world.add(chain, 2)
    async with running(world.config(1, 2, watch=chain.watch, strategy=strategy)) as run:
        await run.until("synced")
        assert balances(run) == chain.expected["balances"]
        assert run.client.status.marks.corroborated == 300
        assert run.warnings == []
        held = run.client.store.digest()
    world.directory = tmp_path / "fresh"
    async with running(world.config(1, 2, watch=chain.watch, strategy=strategy)) as run:
        await run.until("synced")
        assert run.client.store.digest() == held


@pytest.mark.parametrize(
    ("height", "peers", "strategy"),
    [
        (200, 1, "sequential"),
        (300, 1, "sequential"),
        (300, 2, "sequential"),
        (200, 2, "interleaved"),
        (300, 1, "interleaved"),
    ],
)
async def test_a_false_filter_is_dropped_at_the_word_of_one_peer(
    world: World, running: Start, autojump_clock: MockClock, tmp_path: Path, height: int, peers: int, strategy: str
) -> None:
    """A file hides a payment by filters that fit its filter headers: the first peer contradicts, and it is found."""
    chain = small_chain()
    imported(world, tmp_path, chain, height, hidden(chain))
    ports = range(1, peers + 1)
    for port in ports:
        world.add(chain, port)
    async with running(world.config(*ports, watch=chain.watch, strategy=strategy)) as run:
        await run.until("synced")
        assert "filter-headers-dropped" in run.warnings
        assert not any(code.startswith("bad-") for code in run.warnings)
        assert balances(run) == chain.expected["balances"]
        assert run.client.store.filter_header_at(300) == chain.filter_header(300)


async def test_nobody_is_believed_to_have_said_it(
    world: World, running: Start, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """With peers that serve no filters a whole imported chain does not become a synced client."""
    chain = small_chain()
    imported(world, tmp_path, chain, 300)
    world.add(chain, 1, identity=Identity(services=1))
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("degraded")
        assert "compact filters" in run.client.status.reason
    store = Store.open(world.directory, chain.network)
    assert (store.marks.tip, store.marks.filter_headers) == (300, 299)
    store.close()
