"""Peers that send just enough of an answer to seem on their way cost a minute or two, never hours; nobody is banned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from phasegate.p2p.messages import (
    BlockMessage,
    CFCheckpt,
    CFHeaders,
    GetCFCheckpt,
    GetCFHeaders,
    GetData,
    GetMnListDiff,
    GetQrInfo,
    KnownMessage,
    Message,
    MnListDiff,
    QrInfo,
)
from tests.dripping_nodes import Drips
from tests.engine.test_disputed_filters import StandsBy, hiding
from tests.field_bugs.uneven_lines import Uneven
from tests.listing_clients import assert_all_verified, chain_to, listing
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

WITHIN = 100.0
"""Seconds that a client needs that meets one who drips: an honest one alone needs less than 3."""
STRATEGIES = ("sequential", "interleaved")
LISTS: dict[str, tuple[type[Message], type[KnownMessage]]] = {
    "qrinfo": (GetQrInfo, QrInfo),
    "mnlistdiff": (GetMnListDiff, MnListDiff),
}
FILTERS: dict[str, tuple[type[Message], type[KnownMessage]]] = {
    "cfcheckpt": (GetCFCheckpt, CFCheckpt),
    "cfheaders": (GetCFHeaders, CFHeaders),
    "block": (GetData, BlockMessage),
}


def times_blamed(run: Run, port: int) -> int:
    """How often the node at `port` kept the client waiting."""
    return sum(n for at, n in run.client._work.live.silent.items() if at.port == port)


def assert_slow_and_no_liar(run: Run, port: int) -> None:
    """It comes after all others from now on, and that is all."""
    assert times_blamed(run, port) > 0
    assert all(times_blamed(run, other) == 0 for other in range(1, 5) if other != port)
    assert set(run.warnings) <= {"peer-lost"}
    assert all(run.client.banned(at) is None for at in run.client._work.config.peers)
    assert run.client._work.chain_peers()[0].address.port != port


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", LISTS)
async def test_masternode_lists_are_there_though_one_peer_drips(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, kind: str, strategy: str
) -> None:
    """A rotation and a list of 3 MB at 467 bytes a second would take two hours; another peer has them at once."""
    chain = chain_to(300)
    nodes = [world.add(chain, port) for port in (1, 2, 3, 4)]
    drips = Drips(monkeypatch, nodes[:1], *LISTS[kind])
    async with running(listing(world, 1, 2, 3, 4, strategy=strategy)) as run:
        await run.until("synced", within=WITHIN)
        assert drips.times > 0
        assert_slow_and_no_liar(run, 1)
        assert_all_verified(run, chain)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", FILTERS)
async def test_filters_and_blocks_are_there_though_one_peer_drips(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, kind: str, strategy: str
) -> None:
    """All peers are asked for their claims, and all are waited for: who drips no longer than with a list."""
    chain = small_chain()
    nodes = [world.add(chain, port) for port in (1, 2, 3, 4)]
    drips = Drips(monkeypatch, nodes[:1], *FILTERS[kind])
    async with running(world.config(1, 2, 3, 4, watch=chain.watch, strategy=strategy)) as run:
        await run.until("synced", within=WITHIN)
        assert drips.times > 0
        if kind != "block":  # there another peer had it before that was too long
            assert_slow_and_no_liar(run, 1)
        assert run.client.status.marks.filters == chain.height


async def test_the_block_that_settles_a_dispute_comes_from_another_peer(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first peer drips the block, the second lies about its filter: the third one's block shows it."""
    chain = small_chain()
    first = world.add(chain, 1)
    world.add(chain, 2, lie=StandsBy(chain, hiding(chain)))
    world.add(chain, 3)
    drips = Drips(monkeypatch, [first], GetData, BlockMessage)
    async with running(world.config(1, 2, 3)) as run:
        await run.until("synced", within=WITHIN)
        assert drips.times > 0
        assert times_blamed(run, 1) > 0
        assert run.client.status.marks.filter_header == chain.filter_header(chain.height)
        assert "bad-filter-header" in run.warnings


async def test_two_that_drip_at_once_hold_up_no_download(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A piece that is with two peers is asked of no third one: there, too, their time ends."""
    chain = chain_to(300)
    nodes = [world.add(chain, port) for port in (1, 2, 3)]
    drips = Drips(monkeypatch, nodes[:2], GetMnListDiff, MnListDiff)
    async with running(listing(world, 1, 2, 3)) as run:
        await run.until("synced", within=2 * WITHIN)
        assert drips.times > 1
        assert_all_verified(run, chain)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_two_that_send_one_filter_in_nine_seconds_hold_up_no_download(
    world: World, running: Start, autojump_clock: MockClock, strategy: str
) -> None:
    """Each filter is a sign of life, so neither is silent: a third one is asked for what all wait for."""
    chain = small_chain()
    for port in (1, 2):
        world.nodes[port] = Uneven(chain, lambda name: 9.0 if name == "cfilter" else 0.0)
    world.add(chain, 3)
    async with running(world.config(1, 2, 3, watch=chain.watch, strategy=strategy)) as run:
        await run.until("synced", within=2 * WITHIN)
        assert set(run.warnings) <= {"peer-lost"}
        assert run.client.status.marks.filters == chain.height


async def test_who_hangs_up_before_the_last_byte_comes_after_the_others(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there again in a second, and is not asked first again."""
    chain = chain_to(300)
    nodes = [world.add(chain, port) for port in (1, 2, 3, 4)]
    drips = Drips(monkeypatch, nodes[:1], GetQrInfo, QrInfo, hang_up_after=5)
    async with running(listing(world, 1, 2, 3, 4)) as run:
        await run.until("synced", within=WITHIN)
        await trio.sleep(10)
        assert drips.times == 1
        assert 1 in [peer.address.port for peer in run.client.peers]
        assert_slow_and_no_liar(run, 1)
        assert_all_verified(run, chain)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_slow_peer_alone_is_enough(
    world: World, running: Start, autojump_clock: MockClock, strategy: str
) -> None:
    """Where nobody else can be asked an answer may take as long as it takes, if only it comes."""
    chain = small_chain(1500)
    world.add(chain, 1, trickle=700.0)
    async with running(world.config(1, masternodes=False, watch=chain.watch, strategy=strategy)) as run:
        await run.until("headers")
        while not run.client.status.marks.tip:
            await trio.sleep(1)
        assert trio.current_time() > WITHIN  # for one answer, of 121 kB
        await run.until("synced", within=1000)
        assert "no whole answer" not in run.said("peer-lost")


async def test_where_all_lines_are_slow_the_time_grows_until_it_is_enough(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Headers that take 32 s where 20 are allowed at first: everybody is left in turn, nobody is banned, they come."""
    chain = small_chain(2500)
    for port in (1, 2, 3):
        world.add(chain, port, trickle=5000.0)
    limits = {"idle_timeout": 2.0, "idle_cap": 16.0}
    config = world.config(1, 2, 3, masternodes=False, watch=chain.watch, limits=limits)
    async with running(config) as run:
        await run.until("synced", within=1500)
        assert "no whole answer to getheaders within 20 s" in run.said("peer-lost")
        assert all(run.client.banned(at) is None for at in config.peers)
