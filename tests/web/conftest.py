"""The view of a simulated client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from phasegate.engine.client import Client
from phasegate.engine.seams import inline_seams
from phasegate.web.app import view
from phasegate.web.board import Board
from phasegate.web.feed import Feeds
from phasegate.web.place import Place
from tests.simulated_world import START, World, small_chain
from tests.web.visits import Viewed, place


@pytest.fixture(autouse=True)
def one_seed_one_run(seeded_scheduler: None, signatures_judged_once: None) -> None:
    """Every test of this folder runs the same way each time."""


@pytest.fixture
def viewing(world: World) -> Any:
    """`async with viewing() as viewed`: a client with its view, from before it starts."""

    @asynccontextmanager
    async def start(at: Place | None = None, **changes: Any) -> AsyncIterator[Viewed]:
        def now() -> float:
            return START + trio.current_time()

        chain = small_chain()
        client = Client(world.config(1, watch=chain.watch, **changes), inline_seams(1, world.open_stream, now))
        board = Board(client)
        at = at or place()
        with at.socket:
            async with trio.open_nursery() as nursery:
                await nursery.start(board.run)
                await nursery.start(client.run)
                yield Viewed(client, board, Feeds(board, now), view(board, at, now), world)
                if client.state not in ("failed", "stopped"):
                    await client.stop()

    return start


@pytest.fixture
async def synced(world: World, viewing: Any, autojump_clock: Any) -> AsyncIterator[Viewed]:
    """The view of a client that is fully synced."""
    world.add(small_chain(), 1)
    async with viewing() as viewed:
        await viewed.until("synced")
        yield viewed
