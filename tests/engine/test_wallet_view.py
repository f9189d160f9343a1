"""What a wallet asks a running client: history, coins, balances and labels, by script or address."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.addresses import address_of
from phasegate.engine.config import watch_script
from phasegate.engine.errors import ConfigError
from phasegate.p2p.simnet.recording import load_recording
from phasegate.store import Balance
from tests.paid_key_chains import account_text
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio


def script_of(address: str) -> bytes:
    return watch_script(address, small_chain().network)


async def test_the_views_of_a_wallet_agree(world: World, running: Start, autojump_clock: MockClock) -> None:
    """History, coins and balances are those that the chain expects, and each the sum of the other."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        client, tip = run.client, chain.height
        told = client.transactions()
        assert [tx.txid[::-1].hex() for tx in told] == list(chain.expected["transactions"])
        assert all(tx.confirmations == tip - tx.height + 1 for tx in told)
        assert all(tx.block_hash == chain.hash_at(tx.height) for tx in told)
        assert client.chainlock is not None
        assert [tx.chainlock for tx in told] == [tx.height <= client.chainlock[0] for tx in told]
        totals = {script.hex(): held.total for script, held in client.balance_of_each().items()}
        assert totals == chain.expected["balances"]
        assert client.balance().total == sum(chain.expected["balances"].values()) == sum(tx.amount for tx in told)
        assert client.balance() == Balance.of(client.utxos())
        for script, held in client.balance_of_each().items():
            address = address_of(script, chain.network)
            assert address is not None
            assert client.balance(script) == client.balance(address, script.hex()) == held
            assert held == Balance.of(client.utxos(address))
            assert [tx.txid for tx in client.transactions(script=address)] == [
                tx.txid for tx in told if script in tx.scripts
            ]


async def test_pages_of_the_history_follow_the_row_ids(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Page after page everything is told once."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        seen, after = set[bytes](), 0
        while page := run.client.transactions(after, limit=3):
            assert seen.isdisjoint([tx.txid for tx in page])
            seen.update([tx.txid for tx in page])
            after = max(tx.row_id for tx in page)
        assert seen == {tx.txid for tx in run.client.transactions()}
        with pytest.raises(ConfigError, match="limit -1 is below 0"):
            run.client.transactions(limit=-1)


async def test_addresses_are_watched_with_labels(world: World, running: Start, autojump_clock: MockClock) -> None:
    """A mapping labels what it adds and relabels what is there; a list leaves labels alone; unwatch takes addresses."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1)) as run:
        client = run.client
        first, second, third = chain.watch[:3]
        await client.watch({first: "till", script_of(second): "rent"})
        await client.watch([first, third, script_of(second).hex()])
        await run.settled()
        await run.until("synced")
        assert sorted(client.labels().values()) == ["", "rent", "till"]
        assert {label for tx in client.transactions(script=first) for label in tx.labels} >= {"till"}
        assert {coin.label for coin in client.utxos(second)} <= {"rent"}
        await client.watch({first: "counter"})
        await client.label({second: ""})
        await run.until("synced")
        assert sorted(client.labels().values()) == ["", "", "counter"]
        await client.unwatch([first, second])
        await run.until("synced")
        assert list(client.labels()) == [script_of(third)]


async def test_what_is_no_item_is_refused_and_named(world: World, running: Start, autojump_clock: MockClock) -> None:
    """One line says which, and nothing is stored of the whole call."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1)) as run:
        client, good = run.client, chain.watch[0]
        for wrong, line in (
            ([good, "nonsense"], "'nonsense' is neither an address nor script hex"),
            (good, "is one item: give a list of items"),
            (bytes.fromhex("51"), "is one item"),
            ([good, 7], "7 is neither a script nor an address"),
            ({good: "two\nlines"}, "label 'two.nlines' is no line of at most 200 characters"),
            ({good: "x" * 201}, "is no line of at most 200"),
            ({good: None}, "label None is no line"),
        ):
            with pytest.raises(ConfigError, match=line):
                await client.watch(wrong)
        assert client.labels() == {}
        for ask in (client.balance, client.utxos):
            with pytest.raises(ConfigError, match=f"not watched: {good}"):
                ask(good)
        with pytest.raises(ConfigError, match=f"not watched: {good}"):
            client.transactions(script=good)
        with pytest.raises(ConfigError, match=f"not watched: {good}"):
            await client.label({good: "x"})
        chain_of_keys = f"pkh({account_text(0)}/0/*)"
        unnamed: Any = {chain_of_keys: None}
        for label in (client.label, client.watch):
            with pytest.raises(ConfigError, match=r"is for a script, and a descriptor with a \* stands"):
                await label({chain_of_keys: "x"})
        with pytest.raises(ConfigError, match="label None is no line"):
            await client.label(unnamed)
        await client.watch([good])
        await client.label({f"addr({good})": "by descriptor"})
        assert client.labels() == {watch_script(good, chain.network): "by descriptor"}


async def test_the_recorded_chain_is_seen_as_its_node_records_it(
    world: World, running: Start, autojump_clock: MockClock, capture: Path
) -> None:
    """Depth and locks of each payment, and what each address received, are what `record.json` says."""
    chain, record = load_recording(capture), json.loads((capture / "record.json").read_text())
    world.add(chain, 1)
    best = max(lock["height"] for lock in record["chainlocks"])
    locked = {lock["txid"] for lock in record["islocks"]}
    async with running(world.config(1, network=chain.network, watch=chain.watch)) as run:
        await run.until("synced")
        with trio.fail_after(300.0):
            while run.client.pending_locks:
                await trio.sleep(0.1)
        told = {tx.txid[::-1].hex(): tx for tx in run.client.transactions()}
        assert len(told) == 17
        for txid, tx in told.items():
            assert chain.height_of(tx.block_hash) == tx.height == record["height"] - tx.confirmations + 1
            assert (tx.chainlock, tx.instantlock) == (tx.height <= best, True if txid in locked else None)
        for address, entry in record["watch"].items():
            own = run.client.transactions(script=address)
            assert {tx.txid[::-1].hex() for tx in own} - {record["spend"]} == set(entry["txs"])
        held = run.client.balance()
        assert held.total == held.confirmed == held.locked == sum(chain.expected["balances"].values())
        assert all(coin.locked and coin.mature for coin in run.client.utxos())
