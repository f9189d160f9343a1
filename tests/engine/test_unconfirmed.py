"""Transactions in no block: seen as peers announce them, told with their lock, and gone with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.primitives import OutPoint, Transaction, TxOut
from phasegate.engine import mempool, unconfirmed
from phasegate.engine.config import watch_script
from phasegate.engine.events import (
    Event,
    InstantLocked,
    TransactionConflicted,
    TransactionDropped,
    TransactionFound,
    TransactionSeen,
)
from phasegate.p2p.messages import GetData, Inv, InvItem, InvType
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from tests.broadcast_crowds import Talker, crowd, mine, rival_of

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio
E = TypeVar("E", bound=Event)

FOREIGN = OutPoint(b"\x0f" * 32, 0)


@pytest.fixture
def chain() -> GeneratedChain:
    """A chain that a test may extend."""
    return generate(260, 7)


def told(run: Run, kind: type[E]) -> list[E]:
    return [event for event in run.told if isinstance(event, kind)]


async def has_told(run: Run, kind: type[E], count: int = 1) -> E:
    with trio.fail_after(300.0):
        while len(told(run, kind)) < count:
            await trio.sleep(0.1)
    return told(run, kind)[-1]


def asked(talker: Talker, txid: bytes) -> int:
    item = InvItem(InvType.TX, txid)
    return sum(isinstance(message, GetData) and item in message.items for message in talker.taken)


async def test_a_transaction_is_seen_and_then_found(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Fetched once, told as unconfirmed, in no confirmed balance; mined it is found, and no longer unconfirmed."""
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    async with running(world.config(1, 2, watch=chain.watch)) as run:
        await run.until("synced")
        before = run.client.balance()
        talkers[0].pool.add(tx)
        seen = await has_told(run, TransactionSeen)
        (held,) = run.client.unconfirmed()
        assert (seen.txid, seen.confirmed, seen.instantlock) == (tx.txid, False, False)
        assert (held.txid, held.raw, held.received, held.sent) == (tx.txid, tx.to_bytes(), seen.received, seen.sent)
        assert held.sent > 0
        assert seen.scripts == held.scripts
        await trio.sleep(30)
        assert sum(asked(talker, tx.txid) for talker in talkers) == 1
        now = run.client.balance()
        assert now == attrs.evolve(before, unconfirmed=held.received - held.sent)
        assert {script for script, own in run.client.balance_of_each().items() if own.unconfirmed} <= set(held.scripts)
        assert tx.txid not in {found.txid for found in run.client.transactions()}

        await mine(talkers, chain, 1, tx)
        with trio.fail_after(60):
            while tx.txid not in {event.txid for event in told(run, TransactionFound)}:
                await trio.sleep(0.1)
        assert run.client.unconfirmed() == []
        assert [*told(run, TransactionDropped), *told(run, TransactionConflicted)] == []
        assert run.client.balance().unconfirmed == 0


@pytest.mark.parametrize("first", ["lock", "transaction"])
async def test_its_lock_is_told_whichever_comes_first(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain, first: str
) -> None:
    """A verified InstantSend lock is what makes it believable."""
    (talker,), tx = crowd(world, chain, 1), chain.spend_watched()
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        if first == "lock":
            await talker.offer([chain.lock_transaction(tx)])
            with trio.fail_after(60):
                while run.client.store.instantlock(tx.txid) is None:
                    await trio.sleep(0.1)
            talker.pool.add(tx)
            assert (await has_told(run, TransactionSeen)).instantlock
        else:
            talker.pool.add(tx)
            assert not (await has_told(run, TransactionSeen)).instantlock
            await talker.offer([chain.lock_transaction(tx)])
            with trio.fail_after(60):
                while tx.txid not in {event.txid for event in told(run, InstantLocked)}:
                    await trio.sleep(0.1)
        assert [held.instantlock for held in run.client.unconfirmed()] == [True]


@pytest.mark.parametrize("by", ["lock", "block"])
async def test_what_another_one_defeats_is_given_up(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain, by: str
) -> None:
    """A rival that is locked or mined ends it, and is named; afterwards it is not taken again."""
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    rival = rival_of(tx)
    async with running(world.config(1, 2, watch=chain.watch)) as run:
        await run.until("synced")
        talkers[0].pool.add(tx)
        await has_told(run, TransactionSeen)
        if by == "lock":
            await talkers[0].offer([chain.lock_transaction(rival)])
        else:
            await mine(talkers, chain, 1, rival)
        dropped = await has_told(run, TransactionDropped)
        conflict = told(run, TransactionConflicted)[0]
        assert (dropped.txid, dropped.reason) == (tx.txid, "conflicted")
        assert (conflict.txid, conflict.conflict) == (tx.txid, rival.txid)
        assert run.client.unconfirmed() == []
        run.client._unconfirmed.rewound()
        run.client._unconfirmed.take(tx)
        assert run.client.unconfirmed() == []


async def test_what_does_not_concern_the_wallet_or_breaks_a_rule_is_not_kept(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Looked at once, then forgotten; the peer stays."""
    (talker,), tx = crowd(world, chain, 1), chain.spend_watched()
    ours = tx.outputs[1].script
    stranger = attrs.evolve(rival_of(tx), inputs=(attrs.evolve(tx.inputs[0], prevout=FOREIGN),))
    invented = attrs.evolve(made_up(tx, 1), outputs=(TxOut(1 << 60, ours),))
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        for useless in (stranger, invented):
            talker.pool.add(useless)
            await trio.sleep(30)
            assert asked(talker, useless.txid) == 1
            await talker.say(Inv((InvItem(InvType.TX, useless.txid),)))
            await trio.sleep(30)
            assert asked(talker, useless.txid) == 1
        assert run.client.unconfirmed() == told(run, TransactionSeen) == []
        assert len(run.client.peers) == 1


@pytest.mark.parametrize("change", [{"unconfirmed": False}, {"watch": ()}])
async def test_nothing_is_fetched_that_nobody_wants(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain, change: dict[str, Any]
) -> None:
    """Without a watched script, or when the configuration says so."""
    (talker,), tx = crowd(world, chain, 1), chain.spend_watched()
    async with running(attrs.evolve(world.config(1, watch=chain.watch), **change)) as run:
        await run.until("synced")
        talker.pool.add(tx)
        await trio.sleep(60)
        assert asked(talker, tx.txid) == 0
        assert run.client.unconfirmed() == []


async def test_one_of_our_own_is_seen_without_asking_anybody(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """What is broadcast counts as seen at once, and no echo of it is fetched, in this run or in the next."""
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    config = world.config(1, 2, watch=chain.watch)
    async with running(config) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes())
        assert [held.txid for held in run.client.unconfirmed()] == [tx.txid]
        await trio.sleep(60)
        assert [asked(talker, tx.txid) for talker in talkers] == [0, 0]
    async with running(config) as run:
        await run.until("synced")
        for talker in talkers:
            await talker.say(Inv((InvItem(InvType.TX, tx.txid),)))
        await trio.sleep(60)
        assert [asked(talker, tx.txid) for talker in talkers] == [0, 0]


async def test_a_chain_of_them_is_followed(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """One that spends what another one in no block pays is known to take it away."""
    (talker,), tx = crowd(world, chain, 1), chain.spend_watched()
    further = attrs.evolve(rival_of(tx), inputs=(attrs.evolve(tx.inputs[0], prevout=OutPoint(tx.txid, 1)),))
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        before = run.client.balance()
        talker.pool.add(tx)
        await has_told(run, TransactionSeen)
        talker.pool.add(further)
        seen = await has_told(run, TransactionSeen, 2)
        assert (seen.txid, seen.received, seen.sent) == (further.txid, 0, tx.outputs[1].value)
        spent = sum(event.sent - event.received for event in told(run, TransactionSeen))
        assert run.client.balance() == attrs.evolve(before, unconfirmed=-spent)


async def test_they_are_bounded_and_do_not_stay_for_ever(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest goes when there are too many, a locked one last; after two weeks they are given up."""
    monkeypatch.setattr(mempool, "MOST", 2)
    (talker,), tx = crowd(world, chain, 1), chain.spend_watched()
    paying = [made_up(tx, number) for number in range(3)]
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        await talker.offer([chain.lock_transaction(tx)])
        with trio.fail_after(60):
            while run.client.store.instantlock(tx.txid) is None:
                await trio.sleep(0.1)
        for count, each in enumerate((tx, *paying), 1):
            talker.pool.add(each)
            await has_told(run, TransactionSeen, count)
        assert [(event.txid, event.reason) for event in told(run, TransactionDropped)] == [
            (each.txid, "let-go") for each in paying[:2]
        ]
        assert [held.txid for held in run.client.unconfirmed()] == [tx.txid, paying[2].txid]
        held = run.client._unconfirmed._mempool.get(paying[2].txid)
        assert held is not None
        held.since -= unconfirmed.KEPT
        last = await has_told(run, TransactionDropped, 3)
        assert (last.txid, last.reason) == (paying[2].txid, "expired")
        assert [held.txid for held in run.client.unconfirmed()] == [tx.txid]
        await run.client.unwatch([watch_script(item, chain.network) for item in chain.watch])
        run.client._unconfirmed.sweep()
        assert run.client.unconfirmed() == []


def made_up(tx: Transaction, number: int) -> Transaction:
    """Somebody pays to the script of `tx` from a coin of their own."""
    spent = attrs.evolve(tx.inputs[0], prevout=OutPoint(FOREIGN.txid, 10 + number))
    return attrs.evolve(tx, inputs=(spent,), outputs=(TxOut(5000, tx.outputs[1].script),))
