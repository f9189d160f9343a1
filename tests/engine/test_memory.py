"""The bound on memory: what follows from it, and what is refused."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.primitives import MAX_BLOCK_SIZE
from phasegate.engine.config import Config
from phasegate.engine.errors import ConfigError
from phasegate.engine.limits import MIB, Limits
from phasegate.engine.memory import ARRIVING, CHAIN, LEAST_HELD, MEMORY_LIMIT, PROGRAM, within


def test_the_limits_are_by_default_what_follows_from_the_default_bound() -> None:
    assert within(Limits(), MEMORY_LIMIT) == Limits()
    config = Config.create("regtest", peers=("127.0.0.1",))
    assert (config.memory_limit, config.limits) == (256 * MIB, Limits())


@given(st.integers(0, 4096), st.integers(1, 64), st.integers(0, 8))
def test_the_parts_fit_into_the_bound_or_it_is_refused(megabytes: int, peers: int, filter_peers: int) -> None:
    """What is fixed, the chain's, the peers', and what waits; no answer is larger than what may wait."""
    own = Limits(max_peers=peers, filter_peers=filter_peers)
    taken = PROGRAM + CHAIN + ARRIVING * (peers + filter_peers)
    if megabytes * MIB < taken + LEAST_HELD:
        with pytest.raises(ConfigError, match=f"the least is {-(-(taken + LEAST_HELD) // MIB)} MB"):
            within(own, megabytes * MIB)
        return
    limits = within(own, megabytes * MIB)
    assert taken + limits.hold_bytes <= megabytes * MIB
    assert limits.hold_bytes >= LEAST_HELD
    assert limits.batch["blocks"] * MAX_BLOCK_SIZE <= limits.hold_bytes
    rest = {"hold_bytes": own.hold_bytes, "window": own.window, "batch": own.batch}
    assert attrs.evolve(limits, **rest) == own  # type: ignore[arg-type]


def test_the_least_that_is_told_is_enough() -> None:
    with pytest.raises(ConfigError, match="memory-limit 200 MB is not enough: the least is 228 MB with 8 peers"):
        Config.create("regtest", memory_limit=200 * MIB)
    config = Config.create("regtest", memory_limit=228 * MIB)
    assert (config.memory_limit, config.limits.hold_bytes) == (228 * MIB, 4 * MIB)
    assert (config.limits.window, config.limits.batch["blocks"]) == (8, 2)


def test_more_memory_lets_more_wait() -> None:
    more = Config.create("regtest", memory_limit=1024 * MIB).limits
    assert (more.hold_bytes, more.window, more.batch) == (800 * MIB, 128, Limits().batch)
