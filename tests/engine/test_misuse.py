"""What a program asks of a client that it cannot do: refused at the call by one rule, and the client goes on."""

from __future__ import annotations

import gc
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.client import Client, ClientEnded, ClientFailed
from phasegate.engine.config import Config
from phasegate.engine.errors import ConfigError
from phasegate.engine.following import Seen
from phasegate.engine.opening import open_store
from phasegate.p2p.simnet.generated import generate
from phasegate.store import StoreError, StoreLocked
from tests.simulated_world import Start, World, small_chain

pytestmark = pytest.mark.trio

Call = Callable[[Any], object]
HUGE = 1 << 70

WRONG: dict[str, Call] = {
    "events(0)": lambda c: c.events(0),
    "events(-1)": lambda c: c.events(-1),
    "events(None)": lambda c: c.events(None),
    "events('x')": lambda c: c.events("x"),
    "events(1.5)": lambda c: c.events(1.5),
    "events(True)": lambda c: c.events(True),
    "events(after={})": lambda c: c.events(after={"transition": 1}),
    "events(after=Seen(None))": lambda c: c.events(after=Seen(transition=None)),  # type: ignore[arg-type]
    "events(after=Seen('1'))": lambda c: c.events(after=Seen(lost="1")),  # type: ignore[arg-type]
    "transactions(None)": lambda c: c.transactions(after=None),
    "transactions('1')": lambda c: c.transactions("1"),
    "transactions(huge)": lambda c: c.transactions(HUGE),
    "transactions(limit=-1)": lambda c: c.transactions(limit=-1),
    "transactions(limit=2.5)": lambda c: c.transactions(limit=2.5),
    "lost_transactions(None)": lambda c: c.lost_transactions(None),
    "history(None)": lambda c: c.history(None),
    "history(limit=None)": lambda c: c.history(limit=None),
    "rescan(2.5)": lambda c: c.rescan(2.5),
    "rescan('5')": lambda c: c.rescan("5"),
    "rescan(None)": lambda c: c.rescan(None),
    "rescan(-1)": lambda c: c.rescan(-1),
    "watch(None)": lambda c: c.watch(None),
    "watch(5)": lambda c: c.watch(5),
    "watch([5])": lambda c: c.watch([5]),
    "unwatch(None)": lambda c: c.unwatch(None),
    "label(None)": lambda c: c.label(None),
    "label([])": lambda c: c.label([b"\x51"]),
    "coin(None)": lambda c: c.coin(None),
    "coin(5)": lambda c: c.coin(5),
    "get_header(None)": lambda c: c.get_header(None),
    "get_header(2.0)": lambda c: c.get_header(2.0),
    "get_block(timeout=-1)": lambda c: c.get_block(5, timeout=-1),
    "get_block(timeout=None)": lambda c: c.get_block(5, timeout=None),
    "get_block(timeout=nan)": lambda c: c.get_block(5, timeout=math.nan),
    "get_block(timeout='5')": lambda c: c.get_block(5, timeout="5"),
    "broadcast(None)": lambda c: c.broadcast(None),
    "broadcast('00')": lambda c: c.broadcast("00"),
}


async def _called(call: Call, client: Client) -> None:
    if isinstance(called := call(client), Awaitable):
        await called


@pytest.mark.parametrize("what", WRONG)
async def test_an_argument_of_another_kind_is_refused(
    world: World, running: Start, autojump_clock: MockClock, what: str
) -> None:
    """Whether its type or its value is wrong, and nothing is changed by it."""
    world.add(small_chain(), 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        before = run.client.store.digest()
        with pytest.raises(ConfigError):
            await _called(WRONG[what], run.client)
        await run.settled()
        assert (run.client.state, run.client.store.digest()) == ("synced", before)


@pytest.mark.parametrize(
    "wish", [{"timeout": -1}, {"timeout": None}, {"timeout": math.nan}, {"until": "nonsense"}, {"until": None}]
)
async def test_a_wish_that_cannot_be_is_refused_before_anything_is_sent(
    world: World, running: Start, autojump_clock: MockClock, wish: dict[str, Any]
) -> None:
    """The transaction is not stored, and no peer hears of it."""
    chain = generate(120, 3)
    world.add(chain, 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        with pytest.raises(ConfigError, match="broadcast: "):
            await run.client.broadcast(chain.spend_watched().to_bytes(), **wish)
        await trio.sleep(5)
        assert run.client.store.broadcasts() == []
        assert run.client.broadcasting.statuses() == ()


async def test_a_client_runs_once(world: World, running: Start, autojump_clock: MockClock) -> None:
    """A second run is refused, during the first, which goes on, and after it."""
    world.add(small_chain(), 1)
    async with running(world.config(1)) as run:
        with pytest.raises(ConfigError, match="a client runs once"):
            await run.client.run()
        await run.until("synced")
        assert len(run.client.peers) == 1
    with pytest.raises(ConfigError, match="a client runs once"):
        await run.client.run()


ASKED: dict[str, Callable[[Any], Awaitable[object]]] = {
    "pause": lambda c: c.pause(),
    "resume": lambda c: c.resume(),
    "stop": lambda c: c.stop(),
    "give_up": lambda c: c.give_up(),
    "watch": lambda c: c.watch([b"\x51"]),
    "unwatch": lambda c: c.unwatch([b"\x51"]),
    "label": lambda c: c.label({b"\x51": "x"}),
    "rescan": lambda c: c.rescan(),
    "broadcast": lambda c: c.broadcast(b"\x00"),
}


@pytest.mark.parametrize("what", ASKED)
async def test_after_its_end_everything_says_so(
    world: World, running: Start, autojump_clock: MockClock, what: str
) -> None:
    """One error for whatever is asked of it; what it has stored can be read no more, which is the store's to say."""
    world.add(small_chain(), 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
    with pytest.raises(ClientEnded, match=f"{what}: the client has ended"):
        await ASKED[what](run.client)
    with pytest.raises(StoreError):
        run.client.balances()
    assert issubclass(ClientEnded, ClientFailed)


async def test_who_asks_while_it_ends_is_told_the_same(world: World, running: Start, autojump_clock: MockClock) -> None:
    """The mailbox is closed already, the store not yet."""
    world.add(small_chain(), 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        await run.client.stop()
        await run.client._interpreter.ended.wait()
        with pytest.raises(ClientEnded, match="pause: the client has ended"):
            await run.client.pause()


@pytest.mark.parametrize("what", [*ASKED, "get_block", "wait_synced"])
async def test_from_another_thread_it_is_refused(tmp_path_factory: pytest.TempPathFactory, what: str) -> None:
    """A loop of its own in that thread would leave both hanging; by `trio.from_thread.run` it goes."""
    config = Config.create("simnet", peers=("127.0.0.1:1",), connect_only=True, datadir=tmp_path_factory.mktemp(what))
    more: dict[str, Callable[[Any], Awaitable[object]]] = {
        "get_block": lambda c: c.get_block(0),
        "wait_synced": lambda c: c.wait_synced(),
    }
    calls = {**ASKED, **more}
    told = list[str]()

    async def ask(client: Client) -> None:
        with pytest.raises(ConfigError) as refused:
            await calls[what](client)
        told.append(str(refused.value))

    async with trio.open_nursery() as nursery:
        client: Client = await nursery.start(Client(config).run)
        with trio.fail_after(20):
            await trio.to_thread.run_sync(trio.run, ask, client, abandon_on_cancel=True)
            assert [line.startswith(f"{what}: the client runs in another thread") for line in told] == [True]
            await trio.to_thread.run_sync(trio.from_thread.run, client.watch, [b"\x51"])
        assert b"\x51" in client.balances()
        await client.stop()


async def test_a_client_that_never_ran_gives_its_directory_back(world: World, autojump_clock: MockClock) -> None:
    """By `close`, twice if somebody likes, or when nobody holds it any more; a running one is stopped, not closed."""
    config = world.config(1)
    client = Client(config)
    with pytest.raises(StoreLocked):
        Client(config)
    events = client.events()
    client.close()
    client.close()
    assert [event async for event in events] == []
    with pytest.raises(ClientEnded, match="run: the client has ended"):
        await client.run()
    forgotten = Client(config)
    del forgotten
    gc.collect()
    open_store(config.datadir, config.network)[0].close()


async def test_a_running_client_is_not_closed(world: World, running: Start, autojump_clock: MockClock) -> None:
    """That would pull the store away under it."""
    world.add(small_chain(), 1)
    async with running(world.config(1)) as run:
        with pytest.raises(ConfigError, match="the client runs; stop it"):
            run.client.close()
        await run.until("synced")
    run.client.close()
