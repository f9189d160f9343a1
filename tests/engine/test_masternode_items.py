"""A client that watches a masternode: registered, updated, revoked, in blocks and before, as a fresh scan has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw
import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import Block, Transaction, TxOut
from phasegate.consensus.special_txs import ASSET_LOCK, PRO_REG, PRO_UP_SERV, mentioned
from phasegate.consensus.watch_elements import element_text
from phasegate.engine.errors import ConfigError
from phasegate.engine.events import TransactionFound, TransactionSeen
from phasegate.p2p.simnet import protx
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.lies import Lie
from tests.broadcast_crowds import crowd, mine
from tests.fresh_twins import stored_by_fresh
from tests.simulated_world import small_chain
from tests.store.old_schemas import written_by_schema

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio


def special(chain: GeneratedChain) -> list[tuple[int, Transaction]]:
    """The transactions whose payloads filters hold, with their heights."""
    blocks = [(height, Block.from_bytes(chain.block(height) or b"")) for height in range(1, chain.height + 1)]
    return [(height, tx) for height, block in blocks for tx in block.transactions if mentioned(tx)]


def of_one_masternode(chain: GeneratedChain) -> tuple[dict[str, str], dict[str, list[bytes]]]:
    """Items of the first masternode that announced its service, and what each of them must find."""
    told = special(chain)
    updated = [element for _, tx in told if tx.type == PRO_UP_SERV for element in mentioned(tx) if len(element) == 32]
    registration = next(tx for _, tx in told if tx.txid in updated)
    keys = sorted([element for element in mentioned(registration) if len(element) == 20])
    (collateral,) = [element for element in mentioned(registration) if len(element) == 36]
    elements = {"protx": registration.txid, "key": keys[0], "other key": keys[1], "collateral": collateral}
    found = {name: [tx.txid for _, tx in told if element in mentioned(tx)] for name, element in elements.items()}
    return {name: element_text(element, SIMNET) for name, element in elements.items()}, found


async def test_each_item_finds_what_mentions_it_and_no_money(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    chain = small_chain()
    items, found = of_one_masternode(chain)
    world.add(chain, 1)
    async with running(world.config(1, watch=tuple(items.values()))) as run:
        await run.until("synced")
        for name, item in items.items():
            assert found[name]
            assert [tx.txid for tx in run.client.transactions(script=item)] == found[name]
        everything = run.client.transactions()
        assert {tx.txid for tx in everything} == {txid for txids in found.values() for txid in txids}
        assert {(tx.received, tx.sent, tx.coinbase) for tx in everything} == {(0, 0, False)}
        assert run.client.balance().total == 0
        assert {event.txid for event in run.told if isinstance(event, TransactionFound)} == {
            tx.txid for tx in everything
        }
        assert found["protx"][0] not in [tx.txid for tx in run.client.transactions(script=items["key"])]


@pytest.mark.parametrize("strategy", ["sequential", "interleaved"])
async def test_items_that_are_added_and_removed_while_it_runs_end_as_a_fresh_scan(
    world: World, running: Start, autojump_clock: MockClock, strategy: str
) -> None:
    """The registration is in a block that is fetched for its key; its hash alone does not find it, now as later."""
    chain = small_chain()
    items, _ = of_one_masternode(chain)
    world.add(chain, 1)
    config = world.config(1, watch=(*chain.watch, items["key"]), strategy=strategy)
    async with running(config) as run:
        await run.until("synced")
        await run.client.watch({items["protx"]: "node", items["collateral"]: "collateral"})
        await synced_again(run)
        assert "node" in {label for tx in run.client.transactions(script=items["protx"]) for label in tx.labels}
        await run.client.unwatch([items["key"]])
        await run.client.watch([items["other key"]])
        await run.client.label({items["protx"]: "", items["collateral"]: ""})
        await synced_again(run)
        end = world.config(1, watch=(*chain.watch, *[items[n] for n in ("protx", "collateral", "other key")]))
        fresh = await stored_by_fresh(world, running, run, end)
        assert (run.client.store.digest(), run.client.balances()) == fresh
        with pytest.raises(ConfigError, match=f"not watched: {items['key']}"):
            run.client.transactions(script=items["key"])


async def synced_again(run: Run) -> None:
    """Until what is watched is matched to the tip."""
    with trio.fail_after(300):
        while run.client.state != "synced" or (m := run.client.status.marks).matched < m.tip or m.pending_blocks:
            await trio.sleep(0.05)


async def test_credits_of_asset_locks_are_told_and_are_no_coins(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The chain locks assets for scripts that are watched; its own books count none of them as money."""
    chain = small_chain()
    watched = set(chain.economy.watched)
    credited = [tx.txid for _, tx in special(chain) if tx.type == ASSET_LOCK and mentioned(tx) & watched]
    paid_out = [tx.txid for _, tx in special(chain) if tx.type == PRO_REG and mentioned(tx) & watched]
    assert credited
    assert paid_out
    world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        told = {tx.txid: tx for tx in run.client.transactions()}
        for txid in (*credited, *paid_out):
            assert told[txid].scripts
            assert (told[txid].received, told[txid].sent) == (0, 0)
        assert [txid[::-1].hex() for txid in told] == chain.expected["transactions"]
        assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]


async def test_an_update_is_seen_before_it_is_in_a_block_and_then_found(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    chain = generate(260, 7)
    items, _ = of_one_masternode(chain)
    name = bytes.fromhex(items["protx"].partition(":")[2])[::-1]
    coin = chain.economy.free_coins()[0]

    def payload(inputs: tuple[object, ...]) -> bytes:
        del inputs
        return protx.update_service(name, bytes(18), (), None, bytes(96))

    change = TxOut(coin.output.value - 1000, chain.economy.stranger())
    tx = chain.economy.spend([coin], [change], PRO_UP_SERV, payload).tx
    talkers = crowd(world, chain, 2)
    async with running(world.config(1, 2, watch=(items["protx"],))) as run:
        await run.until("synced")
        talkers[0].pool.add(tx)
        with trio.fail_after(60):
            while not (seen := [event for event in run.told if isinstance(event, TransactionSeen)]):
                await trio.sleep(0.1)
        assert [(event.txid, event.scripts, event.received, event.sent) for event in seen] == [(tx.txid, (name,), 0, 0)]
        (held,) = run.client.unconfirmed()
        assert (held.changes, run.client.balance().unconfirmed) == (((name, 0),), 0)
        await mine(talkers, chain, 1, tx)
        with trio.fail_after(60):
            while tx.txid not in {found.txid for found in run.client.transactions()}:
                await trio.sleep(0.1)
        assert run.client.unconfirmed() == []


async def test_filters_of_older_nodes_alone_hide_masternodes_until_newer_ones_contradict(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Nodes before 23.0 leave out what payloads hold: nothing is found, nor noticed, while there are no others."""
    chain = small_chain()
    items, found = of_one_masternode(chain)
    world.add(chain, 1, lie=Lie.parse("pre-23-filters@1", chain))
    watch = (chain.watch[0], items["protx"])
    async with running(world.config(1, watch=watch)) as run:
        await run.until("synced")
        assert run.client.transactions(script=items["protx"]) == []
        paid = run.client.balance(chain.watch[0])
        assert paid.total > 0
    for port in (2, 3):
        world.add(chain, port)
    async with running(world.config(1, 2, 3, watch=watch)) as run:
        await run.until("synced")
        with trio.fail_after(600):
            while [tx.txid for tx in run.client.transactions(script=items["protx"])] != found["protx"]:
                await trio.sleep(1)
        assert run.client.balance(chain.watch[0]).total == paid.total


async def test_the_store_of_an_earlier_release_has_its_blocks_searched_again(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Which recorded only what pays and spends; in the end it is what a new client stores, known payments included."""
    chain = small_chain()
    world.add(chain, 1)
    config = world.config(1, watch=chain.watch)
    async with running(attrs.evolve(config, datadir=world.directory / "new")) as run:
        await run.until("synced")
        wanted, found = run.client.store.digest(), [tx.txid for tx in run.client.transactions()]
    old = world.directory / "old"
    written_by_schema(3, old, world.directory / "new")
    file = apsw.Connection(str(old / "simnet.sqlite"))
    file.execute(
        """DELETE FROM transactions WHERE txid NOT IN
        (SELECT txid FROM coins UNION SELECT spent_by FROM coins WHERE spent_by IS NOT NULL)"""
    )
    file.execute("DELETE FROM transaction_inputs WHERE spender NOT IN (SELECT txid FROM transactions)")
    left = file.execute("SELECT txid FROM transactions").fetchall()
    file.close()
    assert 0 < len(left) < len(found)
    async with running(attrs.evolve(config, datadir=old)) as run:
        await run.until("synced")
        assert run.path.count("blocks") == 1
        assert [tx.txid for tx in run.client.transactions()] == found
        assert run.client.store.digest() == wanted
