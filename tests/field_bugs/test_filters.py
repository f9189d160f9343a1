"""What went wrong in the field with filters and their headers; the number of each failure stands in its test's name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.headers import work_of
from phasegate.consensus.primitives import BlockHeader
from phasegate.engine.config import Address
from phasegate.p2p.messages import CFCheckpt, CFHeaders, CFilter, Message, Services
from phasegate.p2p.simnet.answers import Answer
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.greeting import SERVICES, Identity
from phasegate.p2p.simnet.lies import Lie
from phasegate.store import Anchor
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio


@attrs.frozen
class Twice:
    """Says every filter header message twice; the lie it tells besides is another's."""

    lie: Lie

    def tell(self, chain: SimulatedChain, answer: Answer, version: int) -> Answer:
        told = self.lie.tell(chain, answer, version)
        return attrs.evolve(told, messages=self._doubled(told))

    def _doubled(self, answer: Answer) -> Iterator[Message]:
        for message in answer.messages:
            yield from [message] * (2 if isinstance(message, CFHeaders | CFCheckpt) else 1)


@attrs.frozen
class NoFilters:
    """Answers for filter headers, with a lie in them, but sends no filter."""

    lie: Lie

    def tell(self, chain: SimulatedChain, answer: Answer, version: int) -> Answer:
        told = self.lie.tell(chain, answer, version)
        return attrs.evolve(told, messages=(m for m in told.messages if not isinstance(m, CFilter)))


def anchored(chain: SimulatedChain, height: int) -> Anchor:
    """The block at `height` as the first one of a store."""
    headers = [chain.header(at) for at in range(height + 1)]
    return Anchor(height, headers[-1], sum(work_of(BlockHeader.from_bytes(raw).bits) for raw in headers))


def holds(run: Run, chain: SimulatedChain) -> None:
    """The client has the filters of `chain`, nobody is banned, and what was found is all there is."""
    marks = run.client.status.marks
    assert (marks.tip, marks.filters) == (chain.height, chain.height)
    assert marks.filter_header == chain.filter_header(chain.height)
    assert not [code for code in run.warnings if code.startswith("bad-")]
    assert [tx.txid[::-1].hex() for tx in run.client.transactions()] == chain.expected["transactions"]


@pytest.mark.parametrize("depth", [1, 2, 50])
async def test_02_a_filter_tip_reorged_out_while_closed_is_rewound(
    world: World, running: Start, autojump_clock: MockClock, depth: int
) -> None:
    """All peers agree, only what is stored differs: it is rewound, and nobody is banned."""
    first, then = small_chain(), generate(302, 7, fork_at=300 - depth)
    config = world.config(1, 2, watch=first.watch, masternodes=False)
    for chain in (first, then):
        for port in (1, 2):
            world.add(chain, port)
        async with running(config) as run:
            await run.until("synced")
            holds(run, chain)


@pytest.mark.parametrize("fork_at", [100, 250, 298])
async def test_03_a_reorg_in_the_middle_of_filters_neither_bans_nor_wedges(
    world: World, running: Start, autojump_clock: MockClock, fork_at: int
) -> None:
    """The only peer changes its mind between two answers, and filters of blocks nobody knows come in."""
    first, then = small_chain(), generate(303, 7, fork_at=fork_at)
    node = world.add(first, 1, delay=0.2)
    limits = {"batch": {"cfheaders": 2000, "filters": 20, "blocks": 16}}
    async with running(world.config(1, watch=first.watch, masternodes=False, limits=limits)) as run:
        await run.until("filters")
        while run.client.status.marks.filters < 60:
            await trio.sleep(0.05)
        node.chain = then
        await node.announce(303 - fork_at)
        await run.until("synced")
        while run.client.status.marks.tip != 303 or run.client.state != "synced":
            await trio.sleep(0.5)
        holds(run, then)


@pytest.mark.parametrize("birthday", [0, 1180])
@pytest.mark.parametrize("base", [1, 24, 500, 999, 1000, 1001, 1150, 1200])
async def test_19_a_sync_from_any_base_is_completed(
    world: World, running: Start, autojump_clock: MockClock, base: int, birthday: int
) -> None:
    """The filter header before the base comes with the first of all, and leads to what all peers claim."""
    chain = small_chain(1200, 5)
    for port in (1, 2):
        world.add(chain, port)
    config = world.config(1, 2, watch=chain.watch, anchor=anchored(chain, base), birthday=birthday, masternodes=False)
    async with running(config) as run:
        await run.until("synced")
        marks, store = run.client.status.marks, run.client.store
        assert (marks.base, marks.filters_base) == (base, max(base, birthday))
        assert store.filter_header_at(base - 1) == chain.filter_header(base - 1)
        assert marks.filter_header == chain.filter_header(1200)
        assert marks.filters == marks.corroborated == 1200
        assert store.filters(1200, 1) == [chain.filter(1200)]
        expected = [h for h in chain.watched_heights if h >= marks.filters_base]
        assert set(expected) <= set(store.matched_heights())


async def test_20_without_a_filter_peer_the_client_is_degraded_until_one_comes(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Headers alone are never fully synced; the reason is told, and the first capable peer ends it."""
    chain = small_chain()
    world.add(chain, 1, identity=Identity(services=SERVICES & ~Services.COMPACT_FILTERS))
    async with running(world.config(1, 2, watch=chain.watch, masternodes=False)) as run:
        await run.until("degraded")
        assert "compact filters" in run.client.status.reason
        await trio.sleep(600)
        assert "synced" not in run.path
        assert run.client.requests.sent < 200
        world.add(chain, 2)
        await run.until("synced")
        holds(run, chain)


@pytest.mark.parametrize("peers", [(2,), (2, 3)])
@pytest.mark.parametrize("kind", ["omitted-output", "added-element"])
async def test_26_a_wrong_filter_header_chain_saved_once_is_replaced(
    world: World, running: Start, autojump_clock: MockClock, kind: str, peers: tuple[int, ...]
) -> None:
    """A lone liar's chain is stored; honest peers of a later run are not rejected for it, whatever can be proved."""
    chain = small_chain()
    world.add(chain, 1, lie=Lie.parse(kind, chain))
    config = world.config(1, 2, 3, watch=chain.watch, masternodes=False)
    async with running(config) as run:
        await run.until("synced")
        assert run.client.status.marks.filter_header != chain.filter_header(300)
        assert run.client.status.marks.corroborated < 0
    world.nodes.clear()
    for port in peers:
        world.add(chain, port)
    async with running(config) as run:
        await run.until("synced")
        assert "filter-headers-dropped" in run.warnings
        holds(run, chain)


async def test_26_a_wrong_chain_that_ends_between_checkpoints_is_replaced(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The lie lies above the last stored checkpoint, the peers' tails begin above what is stored."""
    short, long = small_chain(1150, 5), small_chain(2100, 5)
    world.add(short, 1, lie=Lie.parse("omitted-output@1100", short))
    config = world.config(1, 2, watch=short.watch, masternodes=False)
    async with running(config) as run:
        await run.until("synced")
    world.nodes.clear()
    world.add(long, 2)
    async with running(config) as run:
        await run.until("synced")
        holds(run, long)


@pytest.mark.parametrize("old", [(1,), (2,), (1, 2)])
async def test_27_old_filter_rules_are_decided_by_the_block(
    world: World, running: Start, autojump_clock: MockClock, old: tuple[int, ...]
) -> None:
    """No endless retry at the height where the rules differ, and no ban: such peers serve no filters to us any more."""
    chain = small_chain()
    for port in (1, 2, 3):
        world.add(chain, port, lie=Lie.parse("pre-23-filters", chain) if port in old else None)
    async with running(world.config(1, 2, 3, watch=chain.watch, masternodes=False)) as run:
        await run.until("synced", within=60)
        holds(run, chain)
        assert run.client.requests.sent < 60
        outdated = {Address("node", port) for port in old}
        assert run.client._work.live.opinions.outdated == outdated


@pytest.mark.parametrize("first", [1, 2])
async def test_28_a_batch_sent_twice_counts_once(
    world: World, running: Start, autojump_clock: MockClock, first: int
) -> None:
    """The liar repeats itself while the slow honest peer has not answered: it is still compared, and found out."""
    chain = small_chain()
    liar, honest = first, 3 - first
    world.add(chain, liar, lie=Twice(Lie.parse("omitted-output", chain)))
    world.add(chain, honest, delay=3.0)
    async with running(world.config(1, 2, watch=chain.watch, masternodes=False)) as run:
        await run.until("synced")
        assert "bad-filter-header" in run.warnings
        assert [peer.address.port for peer in run.client.peers] == [honest]
        assert run.client.status.marks.filter_header == chain.filter_header(300)
        assert run.client.status.marks.corroborated < 300


async def test_28_silence_on_a_follow_up_question_is_no_lie(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A peer that states filter headers but shows no filter is dropped, not banned."""
    chain = small_chain()
    world.add(chain, 1, lie=NoFilters(Lie.parse("omitted-output", chain)))
    world.add(chain, 2)
    async with running(world.config(1, 2, watch=chain.watch, masternodes=False)) as run:
        await run.until("synced")
        assert not run.client._pool.banned
        assert run.client.requests.silent > 0
        holds(run, chain)
