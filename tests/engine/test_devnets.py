"""Whole clients on devnets: made ones from genesis, with names and checkpoints of their own, and a real one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus import checkpoints as known
from phasegate.consensus.checkpoints import Checkpoint
from phasegate.consensus.params import Network, network
from phasegate.engine.config import Config, Devnet
from phasegate.p2p.simnet.header_range import HEADERS_ONLY
from phasegate.store import Store, StoreMismatch
from tests.block_trees import ListlessChain
from tests.real_headers import CONTEXT, config, ended, headers_of, trusted
from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

PLAIN: Mapping[str, int] = MappingProxyType({"dip3": 1_000_000, "v20": 1_000_000, "mn_rr": 1_000_000})
"""Devnets without masternode lists: their blocks cost two hashes."""


def devnet(name: str, min_difficulty_blocks: int = 0) -> Network:
    """A devnet of that name, with blocks that cost next to nothing."""
    return network("devnet", PLAIN, devnet_name=name, min_difficulty_blocks=min_difficulty_blocks)


@cache
def devnet_chain(name: str, height: int, seed: int = 0, fork: int = 0, min_difficulty_blocks: int = 0) -> ListlessChain:
    """The chain of a devnet; above `fork` by `seed`."""
    return ListlessChain(((fork, 0), (height, seed)), devnet(name, min_difficulty_blocks))


def on_devnet(world: World, name: str, ports: tuple[int, ...] = (1,), **settings: Any) -> Config:
    """A client of a devnet that wants filters, however old the chain is."""
    own = settings.pop("devnet", Devnet(name))
    words = {"activations": PLAIN, "filters": True, "max_tip_age": 0, "devnet": own, **settings}
    return config(world, "devnet", ports, **words)


@pytest.mark.parametrize(("height", "easy"), [(570, 0), (1300, 1300)])
async def test_it_syncs_from_genesis(
    world: World, running: Start, autojump_clock: MockClock, height: int, easy: int
) -> None:
    """Block 1 is that of its name; beyond 576 blocks it was told to keep the difficulty at the limit."""
    chain = devnet_chain("foo", height, min_difficulty_blocks=easy)
    world.add(chain, 1)
    async with running(on_devnet(world, "foo", watch=chain.watch, devnet=Devnet("foo", easy))) as run:
        assert await ended(run, "synced") == ("synced", height, "")
        store, marks = run.client.store, run.client.status.marks
        assert (marks.tip_hash, marks.work) == (chain.tip_hash, chain.work)
        assert store.hash_at(1) == known.checkpoints(chain.network)[1].hash
        assert marks.filter_header == chain.filter_header(height)
        assert run.client.transactions()
    assert [path.name for path in world.directory.glob("*.sqlite")] == ["devnet-foo.sqlite"]


async def test_without_its_minimum_difficulty_the_chain_is_refused(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The reason names the height from which the rule is another one, not the peer alone."""
    world.add(devnet_chain("foo", 1300, min_difficulty_blocks=1300), 1)
    async with running(on_devnet(world, "foo")) as run:
        _, tip, reason = await ended(run, "degraded")
        assert tip < 576
        assert "bad-difficulty: height 576: bits 207fffff instead of" in reason


@pytest.mark.parametrize(("ours", "theirs"), [("foo", "bar"), ("foo", "foobar"), ("foobar", "foo"), ("", "foo")])
async def test_peers_of_another_name_are_refused(
    world: World, running: Start, autojump_clock: MockClock, ours: str, theirs: str
) -> None:
    """By us or by them in the handshake, or, where one name contains the other, by block 1."""
    world.add(devnet_chain(theirs, 20), 1)
    async with running(on_devnet(world, ours)) as run:
        await trio.sleep(60)
        assert run.client.status.marks.tip == 0
        assert "synced" not in run.path
        reason = run.client.status.reason
        assert f"peer is not of devnet.devnet-{ours}" in reason or "during the handshake" in reason


async def test_the_chain_of_another_name_is_refused(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Whatever its node says of itself, block 1 tells; the peer is banned for it."""
    stranger = ListlessChain(((20, 0),), devnet("bar"))
    stranger.network = devnet("foo")
    world.add(stranger, 1)
    async with running(on_devnet(world, "foo")) as run:
        _, tip, reason = await ended(run, "degraded")
        assert tip == 0
        assert "checkpoint-contradicted: height 1" in reason
        assert known.checkpoints(devnet("foo"))[1].hash[::-1].hex() in reason


async def test_a_second_run_under_another_name_has_another_store(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Two devnets share a directory, not a file."""
    for port, name in enumerate(("foo", "bar"), 1):
        world.add(devnet_chain(name, 20), port)
        async with running(on_devnet(world, name, (port,))) as run:
            await run.until("synced")
    hashes = []
    for name in ("foo", "bar"):
        store = Store.open(world.directory, devnet(name))
        hashes.append(store.hash_at(20))
        store.close()
    assert hashes == [devnet_chain(name, 20).tip_hash for name in ("foo", "bar")]


@pytest.mark.parametrize("base", [3900 + CONTEXT, 4020, 4100, 5100])
async def test_real_headers_of_a_devnet(
    shared: Path, world: World, running: Start, autojump_clock: MockClock, base: int
) -> None:
    """From where its minimum difficulty still held, over to DarkGravityWave with its wrapped products."""
    name = "devnet_3900_5100"
    chain = headers_of(shared, name, 4032)
    world.add(chain, 1, identity=HEADERS_ONLY)
    own, start = Devnet(min_difficulty_blocks=4032), trusted(shared, name, base)
    async with running(config(world, "devnet", devnet=own, trusted_header=start, max_tip_age=0)) as run:
        assert await ended(run, "synced") == ("synced", 5100, "")
        assert run.client.status.marks.work == 0x1A54A41F0


KNOWN_AT = 150


def wrong_chain() -> ListlessChain:
    """Longer than the right one, and another from below the checkpoint on."""
    return devnet_chain("foo", 400, seed=9, fork=100)


@pytest.fixture
def checkpoint(monkeypatch: pytest.MonkeyPatch) -> Checkpoint:
    """A built-in checkpoint at `KNOWN_AT` of devnet-foo, from which a chain can begin."""
    first = known.checkpoints(devnet("foo"))[1]
    wrong_chain()  # could not be made any more when the checkpoint is known
    shorter = devnet_chain("foo", KNOWN_AT)
    found = Checkpoint(KNOWN_AT, shorter.tip_hash, shorter.header(KNOWN_AT), shorter.work)
    monkeypatch.setattr(known, "_first_block", lambda *_: MappingProxyType({1: first, KNOWN_AT: found}))
    return found


@pytest.mark.parametrize("ports", [(1, 2), (2, 1)])
async def test_a_longer_chain_that_contradicts_a_checkpoint_is_refused(
    world: World, running: Start, autojump_clock: MockClock, checkpoint: Checkpoint, ports: tuple[int, ...]
) -> None:
    """Whoever is asked first: the liar is banned, the checkpoint named, and the shorter chain taken."""
    honest = devnet_chain("foo", 200)
    world.add(honest, 1)
    world.add(wrong_chain(), 2)
    async with running(on_devnet(world, "foo", ports)) as run:
        assert await ended(run, "synced") == ("synced", 200, "")
        await run.until_warned("checkpoint-contradicted")
        assert run.client.status.marks.tip_hash == honest.tip_hash
        assert checkpoint.hash[::-1].hex() in run.said("checkpoint-contradicted")


async def test_a_stored_chain_that_contradicts_a_checkpoint_is_left(
    world: World, running: Start, autojump_clock: MockClock, request: pytest.FixtureRequest
) -> None:
    """A newer program knows a checkpoint more: what is stored above the last right one is rolled back."""
    wrong, right = wrong_chain(), devnet_chain("foo", 200)
    world.add(wrong, 1)
    async with running(on_devnet(world, "foo")) as run:
        await run.until("synced")
    request.getfixturevalue("checkpoint")
    world.add(right, 1)
    async with running(on_devnet(world, "foo")) as run:
        assert await ended(run, "synced") == ("synced", 200, "")
        assert run.client.status.marks.tip_hash == right.tip_hash
        assert "headers-repaired" in run.warnings


@pytest.mark.parametrize("word", ["latest", "150", "199"])
async def test_a_store_begins_at_a_checkpoint(
    world: World, running: Start, autojump_clock: MockClock, checkpoint: Checkpoint, word: str
) -> None:
    """Nothing below it is stored but what the first headers are judged by."""
    chain = devnet_chain("foo", 200)
    world.add(chain, 1)
    async with running(on_devnet(world, "foo", checkpoint=word)) as run:
        assert await ended(run, "synced") == ("synced", 200, "")
        marks = run.client.status.marks
        assert (marks.base, marks.filters_base, marks.work) == (KNOWN_AT, KNOWN_AT, chain.work)
        assert marks.filter_header == chain.filter_header(200)


async def test_a_birthday_by_date_begins_at_the_checkpoint_before_that_day(
    world: World, running: Start, autojump_clock: MockClock, checkpoint: Checkpoint
) -> None:
    """The checkpoint is of 2014-12-04, half an hour before midnight: the next day's blocks may stand below it."""
    chain = devnet_chain("foo", 200)
    world.add(chain, 1)
    for day, base in (("2014-12-05", 0), ("2014-12-06", checkpoint.height)):
        born = attrs.evolve(on_devnet(world, "foo", birthday=day, watch=chain.watch), datadir=world.directory / day)
        async with running(born) as run:
            assert await ended(run, "synced") == ("synced", 200, "")
            marks, store = run.client.status.marks, run.client.store
            assert (marks.base, marks.filters_base, marks.filters) == (base, base, 200)
            assert store.filters(base, 201 - base) == [chain.filter(height) for height in range(base, 201)]
            assert run.client.transactions()
    earlier = attrs.evolve(on_devnet(world, "foo", birthday="2014-12-05"), datadir=world.directory / "2014-12-06")
    with pytest.raises(StoreMismatch, match="has filters from height 150 on, which is above the wanted 0"):
        async with running(earlier):
            pass
