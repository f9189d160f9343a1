"""The addresses that a payment service gives away: of an extended key, at an index, and back."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from phasegate import KeyPlace, address_of, derive, network
from phasegate.consensus.params import SIMNET
from phasegate.engine.errors import ConfigError
from tests.simulated_world import Start, World, small_chain

XPUB = "tpubD8eQVK4BJJ95XPuso1VwwvgV8iUZZmxsziPzVxFM8zdKR86zZmMk6anM4FenQVbE5uVRpkWFsbGzfn8gJFPzLBWZ7HYA5NVz572P97SUaSA"
ADDRESSES = {
    (0, 0): "yXebmux4DR4ypn4USZc8K3KfE73FuDxD9i",
    (0, 7): "yLkRd9usLKziCGCafqeJcnQKSs3jcL8rnW",
    (1, 0): "yaCHSCqoN8WMi8ommB4w2irkPminRw13GA",
    (1, 41): "yVKB3TMs14BjeJv5ihvBK36JFhdpDQcQg3",
}
"""By chain and index, from a derivation that was written by itself in plain Python."""
KEY = "02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


@pytest.mark.parametrize(("chain", "index"), ADDRESSES)
def test_an_extended_key_gives_addresses(chain: int, index: int) -> None:
    """Those to be given away and those of change; its descriptor gives the same, whatever its gap limit."""
    (script,) = derive(f"{XPUB}:gap=3", index, SIMNET, chain=chain)
    assert address_of(script, SIMNET) == ADDRESSES[chain, index]
    assert derive(f"pkh({XPUB}/{chain}/*)", index, SIMNET) == (script,)


def test_other_descriptors_give_scripts() -> None:
    """Two of a combo, one of which has no address; a script that many keys share has one."""
    to_key, to_hash = derive(f"combo({XPUB}/0/*)", 0, SIMNET)
    assert [address_of(script, SIMNET) for script in (to_key, to_hash)] == [None, ADDRESSES[0, 0]]
    (shared,) = derive(f"sh(multi(1,{XPUB}/0/*,{KEY}))", 5, SIMNET)
    assert (address_of(shared, SIMNET) or "")[0] in "89"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((XPUB, -1, SIMNET), "index -1 is below 0"),
        ((XPUB, 1 << 31, SIMNET), "index 2147483648 is not below"),
        ((XPUB, "7", SIMNET), "index '7' is no whole number"),
        ((XPUB, 0, "simnet"), "and a network"),
        ((None, 0, SIMNET), "as a text"),
        ((XPUB, 0, network("mainnet")), "of another network"),
        ((ADDRESSES[0, 0], 0, SIMNET), "neither an extended key nor"),
        ((f"pkh({KEY})", 0, SIMNET), "neither an extended key nor"),
        (("nonsense", 0, SIMNET), "neither an address nor"),
    ],
)
def test_what_gives_none_is_refused(given: tuple[Any, ...], told: str) -> None:
    """With what was wrong."""
    with pytest.raises(ConfigError, match=told):
        derive(*given)


@pytest.mark.parametrize("chain", [2, -1, None])
def test_a_chain_that_is_none_is_refused(chain: Any) -> None:
    """An extended key stands for two."""
    with pytest.raises(ConfigError, match="derive: chain"):
        derive(XPUB, 0, SIMNET, chain=chain)


@pytest.mark.parametrize("given", [("76a9", SIMNET), (b"\x51", "simnet"), (None, SIMNET)])
def test_an_address_is_of_a_script_and_a_network(given: tuple[Any, Any]) -> None:
    """Text is no script here."""
    with pytest.raises(ConfigError, match="address_of"):
        address_of(*given)


@pytest.mark.trio
async def test_a_client_tells_where_a_script_comes_from(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """As far as its chains are watched; the place is what `derive` takes."""
    world.add(small_chain(), 1)
    async with running(world.config(1)) as run:
        await run.client.watch([f"{XPUB}:gap=8", b"\x51"])
        for chain, index in ((0, 0), (0, 7), (1, 0)):
            place = run.client.place_of(ADDRESSES[chain, index])
            assert place == KeyPlace(f"pkh({XPUB}/{chain}/*)", index)
            (script,) = derive(place.descriptor, place.index, run.client.network)
            assert run.client.place_of(script) == place
        assert run.client.place_of(ADDRESSES[1, 41]) is None
        assert run.client.place_of(b"\x51") is None
        with pytest.raises(ConfigError):
            run.client.place_of(5)
