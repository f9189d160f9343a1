"""What a configuration and a running client are told to watch, and how wrong items are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from trio.testing import MockClock

from phasegate.consensus.params import SIMNET
from phasegate.consensus.watch_texts import Watch, parse_watch
from phasegate.engine.config import Config
from phasegate.engine.errors import ConfigError
from phasegate.engine.watching import asked, to_add, to_remove
from phasegate.store import AddKeyChains, AddWatch, RemoveKeyChains, RemoveWatch
from tests.paid_key_chains import account_text, descriptor, script
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

XPUB = account_text(0)
CHAINS = tuple(str(descriptor(0, branch)) for branch in (0, 1))


def test_a_configuration_takes_every_kind_of_item() -> None:
    mine = script(0, 0, 7)
    config = Config.create("simnet", watch=(mine.hex(), f"{XPUB}:gap=9", f"pkh({XPUB}/0/7)", "51"))
    assert config.watch == (mine, b"\x51")
    assert [(str(chain.descriptor), chain.gap) for chain in config.key_chains] == [(chain, 9) for chain in CHAINS]


@pytest.mark.parametrize(("items", "why"), [("51", "give a list"), (b"51", "give a list"), (["51", "x"], "'x' is")])
def test_a_wrong_item_is_named(items: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        asked(items, SIMNET)


def test_raw_bytes_and_texts_are_asked_for_together() -> None:
    assert asked([b"\x51", "52", XPUB], SIMNET) == Watch((b"\x51", b"\x52"), parse_watch(XPUB, SIMNET).chains)


def test_only_what_is_asked_for_becomes_a_change() -> None:
    chains, alone = parse_watch(XPUB, SIMNET), Watch((b"\x51",))
    assert to_add(Watch()) == []
    assert to_add(alone) == [AddWatch(((b"\x51", ""),))]
    assert to_add(chains) == [AddKeyChains(tuple((chain, 20) for chain in CHAINS))]
    assert to_remove(alone) == [RemoveWatch((b"\x51",))]
    assert to_remove(chains) == [RemoveWatch(()), RemoveKeyChains(CHAINS)]


@pytest.mark.trio
async def test_a_wrong_item_changes_nothing_in_a_running_client(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    world.add(small_chain(), 1)
    async with running(world.config(1, watch=small_chain().watch, masternodes=False)) as run:
        await run.until("synced")
        before = run.client.store.digest()
        for tell in (run.client.watch, run.client.unwatch):
            with pytest.raises(ConfigError, match="'nonsense' is neither"):
                await tell([small_chain().watch[0], "nonsense"])
        await run.settled()
        assert (run.client.state, run.client.store.digest()) == ("synced", before)


@pytest.mark.trio
async def test_a_known_coin_is_watched_by_its_outpoint_alone(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Its script is asked for by itself from then on; an unknown one is refused, and so is what is no outpoint."""
    world.add(small_chain(), 1)
    config = world.config(1, watch=small_chain().watch, masternodes=False)
    async with running(config) as run:
        await run.until("synced")
        store = run.client.store
        coins = store.coins()
        point, coin = next(iter(coins.items()))
        named = f"{point.txid[::-1].hex()}:{point.index}"
        found = run.client.coin(named)
        assert found is not None
        assert (found.script, found.value, found.height, found.spent_by) == (coin.script, coin.value, coin.height, None)
        await run.client.watch([named])
        await run.client.unwatch([named])
        assert coin.script not in {item.script for item in store.watch_items()}
        assert run.client.coin(named) is None
        for outpoint, why in ((named, "is watched by its script"), ("x:1", "neither an address")):
            with pytest.raises(ConfigError, match=why):
                await run.client.watch([outpoint])
        with pytest.raises(ConfigError, match="is no outpoint, TXID:N"):
            run.client.coin("x")
