"""Transactions on their way: offered, fetched, told on, refused, locked and mined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio.testing

from phasegate.consensus.filters import block_elements, build_filter
from phasegate.consensus.primitives import Block, OutPoint, Transaction, TxOut
from phasegate.consensus.spent_scripts import spent_script
from phasegate.p2p.messages import (
    GetData,
    Inv,
    InvItem,
    InvType,
    Mempool,
    Message,
    NotFound,
    TxMessage,
    Unknown,
    Verack,
    decode,
)
from phasegate.p2p.simnet.economy import FEE
from phasegate.p2p.simnet.generated import GeneratedChain, ImpossibleChain, generate
from phasegate.p2p.simnet.memory_pool import UNCONDITIONAL_RELAY_DELAY, MemoryPool
from phasegate.p2p.simnet.node import Node
from phasegate.p2p.simnet.wallet import Unspendable

Calling = Callable[[Node], Any]
Clock = trio.testing.MockClock
DELAY = 2.0


@pytest.fixture
def chain() -> GeneratedChain:
    """A chain with watched coins, that may be extended."""
    return generate(30, "wallet")


def item(tx: Transaction) -> InvItem:
    return InvItem(InvType.TX, tx.txid)


async def met(call: Calling, node: Node, *, relay: bool = True) -> Any:
    """A new peer that has heard all it is told on connect."""
    caller = call(node)
    await caller.greet(relay=relay)
    await caller.ask(Verack())
    return caller


async def heard(caller: Any, seconds: float = DELAY + 0.1) -> list[Message]:
    """What a peer hears of transactions within so many seconds."""
    await trio.sleep(seconds)
    said: list[Message] = await caller.ask(Verack())
    return said


@pytest.mark.trio
async def test_an_offered_transaction_is_fetched_and_told_to_the_others(
    chain: GeneratedChain, call: Calling, autojump_clock: Clock
) -> None:
    """Two seconds after the offer it is asked for, two after it came told, but not to its sender, nor to relay 0."""
    node, tx = Node(chain), chain.spend_watched()
    sender, friend, deaf = await met(call, node), await met(call, node), await met(call, node, relay=False)
    await sender.connection.send(Inv((item(tx),)))
    assert await heard(sender, DELAY - 0.1) == []
    assert await heard(sender, 0.2) == [GetData((item(tx),))]
    await sender.connection.send(TxMessage(tx))
    assert await heard(friend, DELAY - 0.1) == []
    assert await heard(friend, 0.2) == [Inv((item(tx),))]
    assert await friend.ask(GetData((item(tx),))) == [TxMessage(tx)]
    assert node.pool.transactions == (tx,)
    for other in (sender, deaf):
        assert await heard(other, 60.0) == []
    for again in (sender, friend):
        await again.connection.send(Inv((item(tx),)))
        assert await heard(again) == []


@pytest.mark.trio
async def test_a_shared_pool_echoes_on_every_node(chain: GeneratedChain, call: Calling, autojump_clock: Clock) -> None:
    """What one node took, another tells: the sender hears it on its other connections, each once."""
    pool = MemoryPool()
    nodes = [Node(chain, pool=pool) for _ in range(3)]
    callers = [await met(call, node) for node in nodes]
    tx = chain.spend_watched()
    await callers[0].connection.send(TxMessage(tx))
    await trio.testing.wait_all_tasks_blocked()
    assert [await heard(caller) for caller in callers] == [[], [Inv((item(tx),))], [Inv((item(tx),))]]
    other = chain.spend_watched()
    assert pool.add(other)
    assert not pool.add(other)
    assert [await heard(caller) for caller in callers] == [[Inv((item(other),))]] * 3


@pytest.mark.trio
async def test_who_left_is_told_nothing_more(chain: GeneratedChain, call: Calling, autojump_clock: Clock) -> None:
    """A connection that ended no longer listens to the pool."""
    node = Node(chain)
    caller = await met(call, node)
    assert len(node.pool.listeners) == 1
    await caller.connection.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert node.pool.listeners == []
    assert node.pool.add(chain.spend_watched())


@pytest.mark.trio
async def test_a_transaction_nobody_was_told_of_is_not_given(
    chain: GeneratedChain, call: Calling, autojump_clock: Clock
) -> None:
    """Its sender gets notfound until others were told or two minutes are over, as with Core."""
    node, tx = Node(chain), chain.spend_watched()
    sender = await met(call, node)
    await sender.connection.send(TxMessage(tx))
    assert await sender.ask(GetData((item(tx),))) == [NotFound((item(tx),))]
    await trio.sleep(UNCONDITIONAL_RELAY_DELAY)
    strange = InvItem(InvType.TX, bytes(32))
    block = InvItem(InvType.BLOCK, chain.tip_hash)
    first, *rest = await sender.ask(GetData((block, strange, item(tx))))
    assert first == TxMessage(tx)
    assert [message.command for message in rest] == ["block", "notfound"]
    assert rest[1] == NotFound((strange,))


@pytest.mark.trio
async def test_a_conflict_is_refused_in_silence(chain: GeneratedChain, call: Calling, autojump_clock: Clock) -> None:
    """The first spender of an input stays; the second is neither kept nor told."""
    node, tx = Node(chain), chain.spend_watched()
    sender, friend = await met(call, node), await met(call, node)
    rival = attrs.evolve(tx, outputs=(attrs.evolve(tx.outputs[0], value=1),))
    for told in (tx, rival):
        await sender.connection.send(TxMessage(told))
    assert await heard(friend) == [Inv((item(tx),))]
    assert await heard(friend) == []
    assert node.pool.transactions == (tx,)
    assert await sender.ask(GetData((item(rival),))) == [NotFound((item(rival),))]


@pytest.mark.trio
async def test_a_node_can_refuse_all(chain: GeneratedChain, call: Calling, autojump_clock: Clock) -> None:
    """It asks for what is offered, once, and then nothing comes of it; a node that shares its pool takes it still."""
    pool, tx = MemoryPool(), chain.spend_watched()
    refusing, taking = Node(chain, pool=pool, refuse_txs=True), Node(chain, pool=pool)
    sender = await met(call, refusing)
    await sender.connection.send(Inv((item(tx),)))
    assert await heard(sender) == [GetData((item(tx),))]
    await sender.connection.send(TxMessage(tx))
    await sender.connection.send(Inv((item(tx),)))
    assert await heard(sender) == []
    assert not pool.transactions
    other = await met(call, taking)
    await other.connection.send(TxMessage(tx))
    await trio.testing.wait_all_tasks_blocked()
    assert pool.transactions == (tx,)


@pytest.mark.trio
@pytest.mark.parametrize("relay", [True, False])
async def test_mempool_tells_what_waits(
    chain: GeneratedChain, call: Calling, relay: bool, autojump_clock: Clock
) -> None:
    """To those who wish transactions; others hear at most of the best ChainLock."""
    node, tx = Node(chain, locks=False), chain.spend_watched()
    node.pool.add(tx)
    caller = await met(call, node, relay=relay)
    assert await caller.ask(Mempool()) == ([Inv((item(tx),))] if relay else [])


@pytest.mark.trio
async def test_what_is_mined_waits_no_more(chain: GeneratedChain, call: Calling, autojump_clock: Clock) -> None:
    """Announcing its block takes it out of the pool, and it is not asked for again; a reorganisation puts it back."""
    other = chain.branch("elsewhere")
    node, tx = Node(chain), chain.spend_watched()
    rival = attrs.evolve(tx, outputs=(attrs.evolve(tx.outputs[0], value=1),))
    node.pool.add(rival)
    caller = await met(call, node)
    chain.extend(1, include=(tx,))
    await node.announce(1)
    assert not node.pool.transactions
    node.pool.add(second := chain.spend_watched())
    chain.extend(1, include=chain.mineable(node.pool.transactions))
    await node.announce(1)
    assert not node.pool.transactions
    await caller.ask(Verack())
    await caller.connection.send(Inv((item(second),)))
    assert GetData((item(second),)) not in await heard(caller)
    other.extend(3)
    await node.switch(other)
    assert node.pool.transactions == (second,)


def test_a_mined_transaction_is_in_the_books_and_in_the_filter(chain: GeneratedChain) -> None:
    """Its block holds it last, its filter has what it pays and spends, and what a client finds includes it."""
    before, tx = chain.expected, chain.spend_watched()
    chain.extend(2, include=(tx,))
    block = Block.from_bytes(chain.block(31) or b"")
    assert block.transactions[-1] == tx
    assert tx not in Block.from_bytes(chain.block(32) or b"").transactions
    script = spent_script(tx.inputs[0].script_sig)
    assert script is not None
    assert tx.outputs[1].script == script
    blocks = [Block.from_bytes(chain.block(height) or b"") for height in range(1, 32)]
    made = {OutPoint(t.txid, n): o.script for b in blocks for t in b.transactions for n, o in enumerate(t.outputs)}
    spent = [made[i.prevout] for t in block.transactions if not t.is_coinbase for i in t.inputs]
    assert script in spent
    assert build_filter(block.hash, block_elements(block, spent)) == chain.filter(31)
    after = chain.expected
    assert tx.txid[::-1].hex() in after["transactions"]
    assert tx.txid[::-1].hex() not in before["transactions"]
    lost = before["balances"][script.hex()] - after["balances"][script.hex()]
    assert lost == tx.outputs[0].value + FEE


def test_a_reserved_coin_is_left_alone(chain: GeneratedChain) -> None:
    """However long its transaction waits, the chain does not spend the coin, and it can still be mined."""
    waiting = [chain.spend_watched() for _ in range(2)]
    assert waiting[0] != waiting[1]
    chain.extend(150)
    assert chain.mineable(waiting) == waiting
    chain.extend(1, include=waiting)
    assert Block.from_bytes(chain.block(chain.height) or b"").transactions[-2:] == tuple(waiting)


def test_the_same_chain_makes_the_same_transaction(chain: GeneratedChain) -> None:
    """Making one leaves the chance of the chain as it was, and in a copy of the chain it is the same one."""
    copy, chance = chain.branch("copy"), chain.economy.rng.getstate()
    assert chain.spend_watched() == copy.spend_watched()
    assert chain.economy.rng.getstate() == chance


def test_what_no_miner_would_take_is_refused(chain: GeneratedChain) -> None:
    """An unknown or spent coin, one spent twice, or more than there is: nothing is mined then."""
    tx = chain.spend_watched()
    greedy = attrs.evolve(tx, outputs=(TxOut(tx.outputs[0].value * 3, b"\x51"),))
    foreign = attrs.evolve(
        tx, inputs=(attrs.evolve(tx.inputs[0], prevout=attrs.evolve(tx.inputs[0].prevout, index=9)),)
    )
    twice = attrs.evolve(tx, lock_time=1)
    for impossible in ((greedy,), (foreign,), (tx, twice)):
        with pytest.raises(Unspendable):
            chain.extend(1, include=impossible)
        assert chain.height == 30
    assert chain.mineable((foreign, tx, twice)) == [tx]
    chain.extend(1, include=(tx,))
    with pytest.raises(Unspendable, match="is spent"):
        chain.extend(1, include=(tx,))


def test_a_chain_of_outside_transactions_is_mined_in_one_block(chain: GeneratedChain) -> None:
    """One may spend what the one before it made."""
    first = chain.spend_watched()
    prevout = attrs.evolve(first.inputs[0].prevout, txid=first.txid, index=0)
    child = attrs.evolve(
        first,
        inputs=(attrs.evolve(first.inputs[0], prevout=prevout),),
        outputs=(TxOut(first.outputs[0].value - FEE, b"\x51"),),
    )
    chain.extend(1, include=(first, child))
    assert Block.from_bytes(chain.block(31) or b"").transactions[-2:] == (first, child)


def test_without_a_coin_there_is_no_transaction() -> None:
    """A chain too young to have paid anybody says so."""
    with pytest.raises(Unspendable, match="no watched coin"):
        generate(3, "wallet").spend_watched()


@pytest.mark.trio
async def test_a_transaction_can_be_locked_before_it_is_mined(call: Calling, autojump_clock: Clock) -> None:
    """The lock is offered to those who wish transactions, given on request, and the same one stays when it is mined."""
    chain = generate(220, "locks")
    node, tx = Node(chain), chain.spend_watched()
    caller, deaf = await met(call, node), await met(call, node, relay=False)
    announced = chain.lock_transaction(tx)
    await node.offer([announced])
    wanted = InvItem(InvType.INSTANTSEND_LOCK, announced.hash)
    assert await caller.ask(Verack()) == [Inv((wanted,))]
    assert await deaf.ask(Verack()) == []
    (given,) = await caller.ask(GetData((wanted,)))
    assert given == decode("isdlock", announced.payload, 70240)
    assert not isinstance(given, Unknown)
    assert given.txid == tx.txid
    chain.extend(1, include=(tx,))
    assert chain.lock_transaction(tx) == announced
    assert announced in chain.locks_of(chain.height)


def test_a_young_chain_locks_nothing(chain: GeneratedChain) -> None:
    """Before the first quorums nobody can sign."""
    with pytest.raises(ImpossibleChain, match="no quorum can lock"):
        chain.lock_transaction(chain.spend_watched())
