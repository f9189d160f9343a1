"""Whole clients that broadcast: who is told of a transaction, who is given it, and what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.primitives import OutPoint, Transaction, TxIn, TxOut
from phasegate.consensus.transactions import RefusedTransaction
from phasegate.engine.broadcast_relay import LEFT_OUT
from phasegate.engine.broadcast_stages import BroadcastStatus, Stage
from phasegate.engine.broadcasts import BroadcastLimit
from phasegate.engine.errors import ClientEnded
from phasegate.p2p.messages import GetData, Inv, InvItem, InvType
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.store import Store, StoreFailed
from tests.broadcast_crowds import crowd, reached, stages, told_of

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio


@pytest.fixture
def chain() -> GeneratedChain:
    """A chain that a test may extend."""
    return generate(40, "broadcasts", locks=False)


async def test_a_part_is_told_and_the_others_are_the_echo(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Half of the peers is told; they fetch it, the rest announces it without having heard of it from us."""
    talkers, tx = crowd(world, chain, 4), chain.spend_watched()
    async with running(world.config(1, 2, 3, 4)) as run:
        await run.until("synced")
        status = await run.client.broadcast(tx.to_bytes(), timeout=25.0)
        told = told_of(talkers, tx)
        assert status.stage is Stage.ECHOED
        assert (status.announced, len(told)) == (2, 2)
        assert status.fetched >= 1
        assert 1 <= status.echoed <= 2
        assert all(talker.given(tx.txid) == 0 for talker in talkers if talker not in told)
        assert sum(talker.given(tx.txid) for talker in talkers) == status.fetched
        await run.settled()
        assert stages(run) == ["waiting", "announced", "fetched", "echoed"]


async def test_one_peer_alone_is_told_and_cannot_be_the_echo(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """It fetches, which is all that can be known, and what it says of the transaction afterwards counts for nothing."""
    (talker,), tx = crowd(world, chain, 1), chain.spend_watched()
    async with running(world.config(1)) as run:
        await run.until("synced")
        status = await run.client.broadcast(tx.to_bytes(), until=Stage.FETCHED)
        assert status == BroadcastStatus(tx.txid, Stage.FETCHED, 1, 1, 0)
        await talker.say(Inv((InvItem(InvType.TX, tx.txid),)))
        status = await run.client.broadcast(tx.to_bytes(), timeout=20.0)
        assert status.stage is Stage.FETCHED


async def test_who_was_not_told_is_given_nothing(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Asked by somebody to whom it was not announced we have nothing, known or not; who was told gets it once."""
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    item, strange = InvItem(InvType.TX, tx.txid), InvItem(InvType.TX, bytes(32))
    for talker in talkers:
        talker.tx_delay = 1e9
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes(), until=Stage.ANNOUNCED)
        await run.settled()
        (told,) = told_of(talkers, tx)
        (other,) = [talker for talker in talkers if talker is not told]
        await other.say(GetData((item, strange)))
        await told.say(GetData((item, item, strange)))
        await trio.sleep(1)
        assert (other.given(tx.txid), other.denied) == (0, [item, strange])
        assert (told.given(tx.txid), told.denied) == (1, [strange])
        await told.say(GetData((item,)))
        await trio.sleep(1)
        assert (told.given(tx.txid), told.denied) == (1, [strange, item])
        await trio.sleep(40)
        assert told.announced(tx.txid) == 2
        await told.say(GetData((item,)))
        await trio.sleep(1)
        assert told.given(tx.txid) == 2


async def test_a_new_connection_to_the_same_peer_is_owed_nothing(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """What was announced on the connection before is not given on this one before it is announced again."""
    (talker,), tx = crowd(world, chain, 1), chain.spend_watched()
    talker.tx_delay = 1e9
    async with running(world.config(1)) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes(), until=Stage.ANNOUNCED)
        await run.client.pause()
        await world.cut(1)
        await run.settled()
        with trio.fail_after(30):
            while not talker.peers:
                await trio.sleep(0.1)
        await talker.say(GetData((InvItem(InvType.TX, tx.txid),)))
        await trio.sleep(2)
        assert talker.given(tx.txid) == 0
        assert talker.denied == [InvItem(InvType.TX, tx.txid)]


async def test_who_wishes_no_transactions_is_told_of_none(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """A peer whose version message says so would hang up."""
    (talker,), tx = crowd(world, chain, 1), chain.spend_watched()
    async with running(world.config(1)) as run:
        await run.until("synced")
        (peer,) = run.client.peers
        assert peer.info is not None
        peer.info = attrs.evolve(peer.info, relay=False)
        status = await run.client.broadcast(tx.to_bytes(), timeout=100.0)
        assert status.stage is Stage.WAITING
        assert talker.announced(tx.txid) == 0


async def test_peers_that_take_nothing_are_no_dead_end(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """When the one that was told does nothing with it, the one left out is told after a few rounds."""
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    for talker in talkers:
        talker.tx_delay = 1e9
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes(), until=Stage.ANNOUNCED)
        await run.settled()
        (deaf,) = told_of(talkers, tx)
        (left,) = [talker for talker in talkers if talker is not deaf]
        with trio.fail_after(600):
            while not left.announced(tx.txid):
                await trio.sleep(1)
        assert deaf.announced(tx.txid) == LEFT_OUT + 1


async def test_when_all_who_were_told_are_gone_others_are_told_at_once(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """A told peer that vanishes before it fetched costs seconds, not the pause until the next round."""
    talkers, tx = crowd(world, chain, 3), chain.spend_watched()
    for talker in talkers:
        talker.tx_delay = 1e9
    async with running(world.config(1, 2, 3)) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes(), until=Stage.ANNOUNCED)
        await run.settled()
        gone = told_of(talkers, tx)
        for talker in gone:
            port = talkers.index(talker) + 1
            del world.nodes[port]
            await world.cut(port)
        await trio.sleep(3)
        (left,) = [talker for talker in talkers if talker not in gone]
        assert left.announced(tx.txid) == 1


async def test_it_waits_for_the_first_peer(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Without a peer it is kept, and announced as soon as there is one."""
    tx = chain.spend_watched()
    async with running(world.config(1)) as run:
        status = await run.client.broadcast(tx.to_bytes(), timeout=30.0)
        assert status.stage is Stage.WAITING
        crowd(world, chain, 1)
        assert (await reached(run, tx, Stage.FETCHED)).announced == 1


async def test_a_full_disk_refuses_a_new_one_and_delays_what_became_of_it(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be stored is not announced; later changes are kept, the trouble is told once."""
    talkers, tx, other = crowd(world, chain, 2), chain.spend_watched(), chain.spend_watched()
    commit, full = Store.commit, False

    def refuse(store: Store, batch: Sequence[object]) -> object:
        if full and any("Broadcast" in type(change).__name__ for change in batch):
            raise StoreFailed("the disk is full")
        return commit(store, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "commit", refuse)
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes())
        full = True
        with pytest.raises(StoreFailed, match="full"):
            await run.client.broadcast(other.to_bytes())
        await trio.sleep(30)
        assert told_of(talkers, other) == []
        await run.client.broadcasting.drop(tx.txid)
        await trio.sleep(60)
        assert run.warnings.count("broadcast-not-stored") == 1
        assert [row.txid for row in run.client.store.broadcasts()] == [tx.txid]
        full = False
        await run.client.broadcast(other.to_bytes())
        assert [row.txid for row in run.client.store.broadcasts()] == [other.txid]


async def test_a_refused_one_is_never_announced_though_the_commit_had_landed(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller was told that it failed, and may have signed another: neither this run nor the next one sends it."""
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    commit, lost = Store.commit, False

    def lose_the_answer(store: Store, batch: Sequence[object]) -> object:
        done = commit(store, batch)  # type: ignore[arg-type]
        if lost and any(type(change).__name__ == "PutBroadcast" for change in batch):
            raise StoreFailed("disk I/O error")
        return done

    monkeypatch.setattr(Store, "commit", lose_the_answer)
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        lost = True
        with pytest.raises(StoreFailed, match="I/O"):
            await run.client.broadcast(tx.to_bytes())
        lost = False
        await trio.sleep(120)
        assert run.client.store.broadcasts() == []
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        await trio.sleep(60)
        assert told_of(talkers, tx) == []


async def test_dropped_and_given_again_it_is_kept(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Of two changes to one transaction the last counts, also in the store."""
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes(), until=Stage.ANNOUNCED)
        await run.client.broadcasting.drop(tx.txid)
        assert run.client.broadcasting.status(tx.txid) is None
        await run.client.broadcast(tx.to_bytes(), until=Stage.ANNOUNCED)
        await trio.sleep(5)
        assert [row.txid for row in run.client.store.broadcasts()] == [tx.txid]
        assert told_of(talkers, tx)


async def test_paused_it_announces_nothing(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Until `resume`."""
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        await run.client.pause()
        status = await run.client.broadcast(tx.to_bytes(), timeout=300.0)
        assert status.stage is Stage.WAITING
        assert told_of(talkers, tx) == []
        await run.client.resume()
        assert (await run.client.broadcast(tx.to_bytes())).stage is Stage.ECHOED


async def test_the_same_one_twice_at_once_is_one(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Ten tasks that broadcast it get one outcome, and it is announced as one."""
    talkers, tx = crowd(world, chain, 4), chain.spend_watched()
    outcomes: list[BroadcastStatus] = []
    async with running(world.config(1, 2, 3, 4)) as run:
        await run.until("synced")

        async def broadcast() -> None:
            outcomes.append(await run.client.broadcast(tx.to_bytes(), timeout=25.0))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(broadcast)
        assert {outcome.stage for outcome in outcomes} == {Stage.ECHOED}
        assert [row.txid for row in run.client.store.broadcasts()] == [tx.txid]
        assert sorted(talker.announced(tx.txid) for talker in talkers) == [0, 0, 1, 1]


async def test_no_more_than_a_thousand_and_those_in_a_few_messages(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """All are announced and fetched though a peer's queue holds 64 messages; one more is refused, a known one not."""
    (talker,), script = crowd(world, chain, 1), b"\x76\xa9\x14" + bytes(20) + b"\x88\xac"
    inputs = [TxIn(OutPoint(n.to_bytes(32, "big"), 0), bytes(20)) for n in range(1, 1002)]
    *txs, last = [Transaction(2, 0, (txin,), (TxOut(1, script),)) for txin in inputs]
    async with running(world.config(1)) as run:
        await run.until("synced")
        for tx in txs:
            await run.client.broadcasting.add(tx)
        with pytest.raises(BroadcastLimit, match="1000"):
            await run.client.broadcast(last.to_bytes())
        assert (await run.client.broadcast(txs[0].to_bytes(), timeout=1.0)).stage is not Stage.WAITING
        with trio.fail_after(60):
            while len(talker.pool.transactions) < len(txs):
                await trio.sleep(1)
        assert {status.stage for status in run.client.broadcasting.statuses()} == {Stage.FETCHED}
        announcements = [message for message in talker.taken if isinstance(message, Inv)]
        assert sum(len(message.items) for message in announcements) < 2 * len(txs)
        assert len(run.client.store.broadcasts()) == 1000


async def test_a_flood_of_questions_costs_only_who_asks(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """It gets the transaction once and is slowed down, while others fetch and echo as if nothing was."""
    talkers, tx = crowd(world, chain, 4), chain.spend_watched()
    flooder = talkers[0]
    flooder.tx_delay = 1e9
    question = GetData((InvItem(InvType.TX, tx.txid),) * 1000)
    async with running(world.config(1, 2, 3, 4)) as run:
        await run.until("synced")

        async def flood() -> None:
            for _ in range(1000):
                await flooder.say(question)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            status = await run.client.broadcast(tx.to_bytes())
            assert status.stage is Stage.ECHOED
            nursery.cancel_scope.cancel()
        assert flooder.given(tx.txid) <= flooder.announced(tx.txid)
        assert all(talker.peers for talker in talkers[1:])
        throttled = {peer.address.port: peer.throttled for peer in run.client.peers}
        assert throttled.get(1, 1.0) > 0.0, "slowed down, or gone by now"
        assert not any(throttled.get(port) for port in (2, 3, 4))


async def test_what_no_node_would_take_is_refused_at_once(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """And nothing of it is stored."""
    async with running(world.config(1)) as run:
        with pytest.raises(RefusedTransaction, match="this is no transaction"):
            await run.client.broadcast(b"\x00")
        assert run.client.store.broadcasts() == []


async def test_the_end_of_the_client_ends_the_waiting(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Whoever waits for a transaction is told when the client stops: that is no outcome, and no time-out either."""
    crowd(world, chain, 1)
    tx, ended = chain.spend_watched(), list[bool]()
    async with trio.open_nursery() as nursery, running(world.config(1)) as run:

        async def wait() -> None:
            with pytest.raises(ClientEnded, match="the client has ended; the transaction is fetched"):
                await run.client.broadcast(tx.to_bytes(), until=Stage.MINED, timeout=1e6)
            ended.append(True)

        nursery.start_soon(wait)
        await reached(run, tx, Stage.FETCHED)
        await run.client.stop()
    assert ended == [True]
    assert trio.current_time() < 1000
