"""The masternode list as a source of addresses: when it is looked at, and what comes of it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing

from phasegate.consensus.masternode_entry import MasternodeEntry
from phasegate.consensus.masternodes import MasternodeState
from phasegate.consensus.params import MAINNET, REGTEST, SIMNET, TESTNET, Network
from phasegate.engine.config import Address, Config
from phasegate.engine.listed_nodes import EVERY, PIECE, SOURCE, ListedNodes
from phasegate.engine.peer_memory import PeerMemory
from phasegate.engine.seams import inline_seams
from phasegate.store import StoreFailed
from tests.peer_internet import START, at


def state(*addresses: Address, banned: bool = False) -> bytes:
    """The stored form of a list of masternodes at these addresses."""
    entries = {}
    for n, address in enumerate(addresses):
        key, place = (
            n.to_bytes(32, "big"),
            bytes(10) + b"\xff\xff" + address.network[1] + address.port.to_bytes(2, "big"),
        )
        entries[key] = MasternodeEntry(2, key, bytes(32), place, bytes(48), bytes(20), not banned)
    return MasternodeState(5, bytes(32), entries, {}).to_bytes()


@attrs.define
class Shelf:
    """As much of a store as is read here, and how often it was."""

    raw: bytes | None
    fails: bool = False
    reads: int = 0

    def masternode_state(self) -> bytes | None:
        self.reads += 1
        if self.fails:
            raise StoreFailed("disk is gone")
        return self.raw


def listed(shelf: Any, network: Network = MAINNET, **settings: Any) -> tuple[ListedNodes, PeerMemory]:
    config = Config(network, **settings)
    seams = inline_seams(1, now=lambda: START)
    memory = PeerMemory(config, seams)
    return ListedNodes(config, seams, memory, shelf), memory


@pytest.mark.trio
async def test_the_book_gets_to_know_every_masternode_that_is_not_banned() -> None:
    """With the list as their source; whoever is known already is not new."""
    places = [at(n) for n in range(3 * PIECE)]
    nodes, memory = listed(Shelf(state(*places)))
    known = memory.learn([(places[0], 5)], "dns")
    new = await nodes.learn()
    assert (known, new + known) == (1, len(memory.book))
    assert new > 2.8 * PIECE
    assert {entry.source for entry in memory.book.entries() if entry.address != places[0]} == {SOURCE}
    assert await nodes.learn() == 0
    banned, memory = listed(Shelf(state(*places, banned=True)))
    assert (await banned.learn(), len(memory.book)) == (0, 0)
    none, _ = listed(Shelf(None))
    assert await none.learn() == 0


@pytest.mark.trio
async def test_it_is_looked_at_when_synced_and_once_an_hour(autojump_clock: trio.testing.MockClock) -> None:
    """Not before, however long that takes, and not again when the client comes and goes."""
    shelf, synced = Shelf(state(at(0))), [False]
    nodes, memory = listed(shelf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(nodes.run, lambda: synced[0])
        await trio.sleep(10 * EVERY)
        assert shelf.reads == 0
        synced[0] = True
        await trio.sleep(1)
        assert (shelf.reads, at(0) in memory.book) == (1, True)
        for _ in range(100):
            synced[0] = not synced[0]
            await trio.sleep(EVERY / 50)
        assert shelf.reads in (2, 3)
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_disk_that_refuses_is_tried_again_later(autojump_clock: trio.testing.MockClock) -> None:
    """Nobody hears of it: the phase that needs the list meets it, too."""
    shelf = Shelf(state(at(0)), fails=True)
    nodes, memory = listed(shelf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(nodes.run, lambda: True)
        await trio.sleep(1)
        shelf.fails = False
        await trio.sleep(EVERY)
        assert (shelf.reads, at(0) in memory.book) == (2, True)
        nursery.cancel_scope.cancel()


@pytest.mark.trio
@pytest.mark.parametrize(
    ("network", "settings", "of_use"),
    [
        (MAINNET, {}, True),
        (TESTNET, {}, True),
        (REGTEST, {}, True),
        (SIMNET, {}, False),
        (MAINNET, {"connect_only": True}, False),
        (MAINNET, {"masternodes": False}, False),
    ],
)
async def test_where_it_is_of_no_use_it_is_never_read(
    network: Network, settings: dict[str, bool], of_use: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """Not on a network whose list is made up, nor when only the configured peers are wanted."""
    shelf = Shelf(state(at(0)))
    nodes, _ = listed(shelf, network, **settings)
    with trio.move_on_after(10):
        await nodes.run(lambda: True)
    assert shelf.reads == of_use
