"""A wall clock that is set, by hours or by decades, before a run and within one: nothing wedges or is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.headers import MAX_AHEAD
from phasegate.engine.client import Client
from phasegate.engine.config import Config
from phasegate.engine.events import BroadcastMoved
from phasegate.engine.seams import inline_seams
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.node import Node
from phasegate.store import (
    BroadcastRow,
    PeerRow,
    PutBroadcast,
    PutPeers,
    PutReputation,
    ReputationRow,
)
from tests.simulated_world import START, Run, attended

if TYPE_CHECKING:
    from tests.simulated_world import World

pytestmark = pytest.mark.trio

HOUR, DAY, YEAR = 3600.0, 86_400.0, 365 * 86_400.0
JUMPS = [-60 * YEAR, -20 * YEAR, -YEAR, -3 * HOUR, 3 * HOUR, YEAR, 10 * YEAR, 200 * YEAR]
NAMES = [f"{jump / YEAR:+.4g} years" for jump in JUMPS]


@attrs.define
class Clock:
    """A wall clock that can be set; it goes on with the virtual one."""

    ahead: float = 0.0

    def now(self) -> float:
        """Seconds since 1970; before it, less than none."""
        return START + self.ahead + trio.current_time()


@asynccontextmanager
async def client(world: World, config: Config, clock: Clock) -> AsyncIterator[Run]:
    """A client that goes by `clock`."""
    run = Run(Client(config, inline_seams(1, world.open_stream, clock.now)))
    async with attended(run.client, run.told):
        yield run


@pytest.mark.parametrize("jump", JUMPS, ids=NAMES)
async def test_a_clock_that_is_set_while_synced_delays_no_block(
    world: World, autojump_clock: MockClock, jump: float
) -> None:
    """The next blocks come in, or once the clock is right again; what was found and stored stays."""
    chain, clock = generate(120, 5), Clock()
    nodes = [world.add(chain, port) for port in (1, 2)]
    async with client(world, world.config(1, 2, watch=chain.watch), clock) as run:
        await run.until("synced")
        clock.ahead = jump
        await trio.sleep(100)
        await mined(chain, nodes)
        await trio.sleep(300)
        if chain_is_in_the_future(chain.header(chain.height), clock):
            assert run.client.state != "synced"
            assert "header-from-the-future" in run.client.status.reason
            assert run.client.status.reason.endswith("s ahead of our clock")
            assert run.client.status.marks.tip == 120
            clock.ahead = 0.0
        await run.until("synced")
        with trio.fail_after(300):
            while run.client.status.marks.tip < 123 or run.client.state != "synced":
                await trio.sleep(1)
        assert run.client.store.reputations() == []
        assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]
        told = [row.row_id for row in run.client.history()]
        assert told == list(range(1, len(told) + 1))
        clock.ahead = 0.0
        await trio.sleep(300)
        assert run.client.state == "synced"


async def mined(chain: GeneratedChain, nodes: Sequence[Node]) -> None:
    """Three blocks, announced."""
    chain.extend(3)
    for node in nodes:
        await node.announce(3)


def chain_is_in_the_future(header: bytes, clock: Clock) -> bool:
    """Whether a header is further ahead of the clock than the rules allow."""
    return int.from_bytes(header[68:72], "little") > clock.now() + MAX_AHEAD


@pytest.mark.parametrize("jump", JUMPS, ids=NAMES)
async def test_a_clock_that_was_set_between_two_runs_loses_nothing(
    world: World, autojump_clock: MockClock, jump: float
) -> None:
    """A ban lasts no longer than it was to, what is remembered and what is found stays, and it syncs as ever.

    Only what is to be broadcast is given up when two weeks have passed, by a clock that went forward, and that is told.
    """
    chain, clock = generate(120, 5), Clock()
    world.add(chain, 1)
    config, tx = world.config(1, watch=chain.watch), chain.spend_watched()
    async with client(world, config, clock) as run:
        await run.until("synced")
        banned = ReputationRow("127.0.0.7", 7, 0.0, START, START + DAY, "no-node", "")
        known = PeerRow("127.0.0.9", 9, "dns", 1, START, START, START, 0, in_tried=False)
        pending = BroadcastRow(tx.txid, tx.to_bytes(), START, 0.0, "")
        run.client.store.commit([PutReputation(banned), PutPeers((known,)), PutBroadcast(pending)])
        digest = run.client.store.digest()
    clock.ahead = jump
    async with client(world, config, clock) as run:
        await run.until("synced")
        assert run.client.store.digest() == digest
        await trio.sleep(400)
        assert run.client.state == "synced"
        now = clock.now()
        store = run.client.store
        assert ("127.0.0.9", 9) in [(row.host, row.port) for row in store.peers()]
        assert [row.banned_until <= now + DAY for row in store.reputations()] == [True] * (jump < DAY)
        assert [row.txid for row in store.broadcasts()] == [tx.txid] * (jump < 14 * DAY)
        assert ("expired" in [e.stage for e in run.told if isinstance(e, BroadcastMoved)]) == (jump > 14 * DAY)
        assert [row.time for row in store.journal()] == sorted(row.time for row in store.journal()) or jump < 0
    clock.ahead = 0.0
    async with client(world, config, clock) as run:
        await run.until("synced")
        assert run.client.store.digest() == digest
        assert all(row.banned_until <= clock.now() + DAY for row in run.client.store.reputations())


@pytest.mark.parametrize("jump", [YEAR, 200 * YEAR])
async def test_a_clock_that_went_too_far_is_uneasy_about_its_tip_until_it_is_right_again(
    world: World, autojump_clock: MockClock, jump: float
) -> None:
    """The newest block looks old then: said, and over as soon as the clock is set."""
    chain, clock = generate(120, 5), Clock()
    world.add(chain, 1)
    age = START - int.from_bytes(chain.header(120)[68:72], "little")
    async with client(world, world.config(1, max_tip_age=age + DAY), clock) as run:
        await run.until("synced")
        clock.ahead = jump
        await run.until("degraded")
        assert "stale tip: the newest block, 120, is " in run.client.status.reason
        clock.ahead = 0.0
        await run.until("synced")
