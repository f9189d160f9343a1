"""What has to hold whatever the delays, heights and batches are; by the numbers of the list of field bugs."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import attrs
import pytest
import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from phasegate.consensus.headers import locator_heights
from phasegate.engine.config import Limits
from phasegate.engine.limits import MOST_OF_A_BATCH
from phasegate.engine.phases import filter_claims, filter_headers, filter_settlement
from phasegate.p2p.simnet import answers
from tests.field_bugs.uneven_lines import Uneven
from tests.field_bugs.wire_limits import FILTER_HEADERS, FILTERS, LOCATOR, kept_the_limits
from tests.simulated_world import Tapped, World, runner, small_chain

T = TypeVar("T")

RANGE = 50
"""Heights between two filter checkpoints in scenario 23: three hundred blocks are several ranges."""


def virtually(played: Callable[[World], Awaitable[T]]) -> T:
    """Play in a world of its own, on a virtual clock, with the scheduler's chance as at the beginning."""

    async def play() -> T:
        with tempfile.TemporaryDirectory() as directory:
            async with trio.open_nursery() as nursery:
                result = await played(World(nursery, Path(directory)))
                nursery.cancel_scope.cancel()
        return result

    trio._core._run._r.seed(0)
    return trio.run(play, clock=MockClock(autojump_threshold=0))


@contextmanager
def short_ranges() -> Iterator[None]:
    """Nodes and client agree on checkpoints that are nearer together."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (filter_claims, filter_headers, filter_settlement):
            patch.setattr(module, "INTERVAL", RANGE)
        patch.setattr(answers, "CHECKPOINT_INTERVAL", RANGE)
        yield


@attrs.define
class Delays:
    """How long the filter headers that one peer sends take, one answer after the other; then none takes any time."""

    left: list[float]

    def __call__(self, command: str) -> float:
        return self.left.pop(0) if command in ("cfheaders", "cfcheckpt") and self.left else 0.0


async def seconds_with(delays: Sequence[Sequence[float]], expected: str, world: World) -> float:
    """Sync filter headers from peers with these delays; the seconds that took, and the store is the `expected` one."""
    chain = small_chain()
    for port, row in enumerate(delays, 1):
        world.nodes[port] = Uneven(chain, Delays(list(row)))
    limits = {"batch": {**Limits().batch, "cfheaders": 2 * RANGE}}
    config = world.config(*range(1, len(delays) + 1), masternodes=False, birthday=chain.height, limits=limits)
    async with runner(world)(config) as run:
        await run.until("synced")
        store, seconds = run.client.store, trio.current_time()
        assert store.filter_headers(0, 301) == b"".join(map(chain.filter_header, range(301)))
        assert (store.digest(), store.check()) == (expected, ())
        assert run.client.requests.silent == 0
        assert run.warnings == []
    return seconds


@cache
def digest_without_delays() -> str:
    """What one prompt peer's answers make."""

    async def sync(world: World) -> str:
        world.add(small_chain(), 1)
        async with runner(world)(world.config(1, masternodes=False, birthday=300)) as run:
            await run.until("synced")
            digest: str = run.client.store.digest()
            return digest

    return virtually(sync)


DELAYS = st.lists(st.sampled_from([0.0, 0.0, 0.1, 1.0, 3.0, 9.0]), max_size=9)


@settings(deadline=None, max_examples=40)
@given(delays=st.lists(DELAYS, min_size=1, max_size=4))
def test_23_filter_headers_in_any_order_of_arrival_make_the_same_store(delays: list[list[float]]) -> None:
    """However long each answer of each of up to four peers takes, what is stored is the same to the bit."""
    with short_ranges():
        virtually(partial(seconds_with, delays, digest_without_delays()))


@pytest.mark.parametrize("pause", [0.5, 1.0, 4.0])
def test_23_two_peers_are_faster_than_one(pause: float) -> None:
    """Of two equals each does its half; a slow one beside a prompt one costs no more than its own claim takes."""
    expected = digest_without_delays()
    with short_ranges():
        rows = ([[pause] * 20], [[pause] * 20] * 2, [[pause] * 20, [2 * pause] * 20])
        alone, both, mixed = [virtually(partial(seconds_with, row, expected)) for row in rows]
    assert both < 0.8 * alone
    assert mixed <= alone + 2 * 2 * pause  # the two answers that its claim is made of


BATCHES = st.fixed_dictionaries(
    {
        "cfheaders": st.sampled_from([1001, 1999, FILTER_HEADERS]),
        "filters": st.sampled_from([50, 500, 999, FILTERS]),
        "blocks": st.sampled_from([1, 7, 16, MOST_OF_A_BATCH["blocks"]]),
    }
)


def assert_limits_are_kept(height: int, batch: dict[str, int]) -> None:
    """A sync of a chain of that height, with these batches configured, breaks no limit and is completed."""

    async def sync(world: World) -> None:
        chain = small_chain(height, 5)
        world.nodes[1] = tapped = Tapped(chain)
        limits = {"batch": {**Limits().batch, **batch}}
        async with runner(world)(world.config(1, watch=chain.watch, masternodes=False, limits=limits)) as run:
            await run.until("synced", within=60)
            assert run.client.status.marks.filters == height
            assert run.warnings == []
        kept_the_limits(tapped)

    virtually(sync)


@settings(deadline=None, max_examples=12, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(height=st.sampled_from([1, 60, 999, 1000, 1001, 2100]), batch=BATCHES)
def test_31_no_request_asks_for_more_than_core_answers(height: int, batch: dict[str, int]) -> None:
    """Whatever the height of the chain is, and whatever batches are configured, up to the largest that are allowed."""
    assert_limits_are_kept(height, batch)


@pytest.mark.parametrize("size", [1, 999, 1000])
@pytest.mark.parametrize("height", [999, 1000, 2100])
def test_31_small_batches_of_filter_headers_are_as_good(height: int, size: int) -> None:
    """A batch within the distance of two checkpoints is no reason to stop."""
    assert_limits_are_kept(height, {"cfheaders": size})


@given(tip=st.integers(0, (1 << 32) - 1), data=st.data())
def test_31_no_locator_is_too_long(tip: int, data: st.DataObject) -> None:
    """From any tip down to any base, one hash more included: that of a batch which is not stored yet."""
    base = data.draw(st.integers(0, tip))
    heights = locator_heights(tip, base)
    assert len(heights) + 1 <= LOCATOR
    assert (heights[0], heights[-1]) == (tip, base)
