"""Three nodes, of which one or two lie about filters and stand by it: the truth wins where there is proof.

Where there is none, nobody is banned, every surviving filter is matched, and the client says that it is not sure.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.filter_proofs import Provable
from phasegate.consensus.headers import work_of
from phasegate.consensus.primitives import Block, BlockHeader
from phasegate.engine.config import Address
from phasegate.engine.events import Warned
from phasegate.engine.phases import filter_settlement
from phasegate.engine.phases.filter_settlement import Dispute, Opinion, Settlement
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.false_filters import FalseFilters, added_element, omitted_output
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.lies import FALSE_FILTERS, Lie
from phasegate.store import Anchor
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

PROOFS = {
    "wrong-filter-header": "does not hash to its own cfheaders",
    "omitted-output": "lacks the output script ",
    "omitted-spend": "lacks the spent script 76a914",
    "wrong-filter-count": "elements, and the block allows",
}
"""What can be proved, and what the proof says."""


def somewhere(kind: str, chain: SimulatedChain, seed: str) -> Lie:
    """The lie at a height drawn from `seed`, among those where it can be told."""
    falsify = FALSE_FILTERS.get(kind)
    heights = [h for h in range(1, chain.height + 1) if falsify is None or falsify(chain, h) is not None]
    return Lie.parse(f"{kind}@{random.Random(seed).choice(heights)}", chain)


def banned(run: Run) -> dict[Address, str]:
    return {address: fault.detail for address, fault in run.client._pool.banned.items()}


def balances(run: Run) -> dict[str, int]:
    return {script.hex(): value for script, value in run.client.balances().items()}


def found(run: Run) -> list[str]:
    return [tx.txid[::-1].hex() for tx in run.client.transactions()]


@pytest.mark.parametrize("liars", [1, 2])
@pytest.mark.parametrize("kind", PROOFS)
async def test_a_provable_lie_is_found_out_and_its_proof_named(
    world: World, running: Start, autojump_clock: MockClock, kind: str, liars: int
) -> None:
    """At a random height, of one liar or of two who agree: only they are banned, and what is stored is the truth."""
    chain = small_chain()
    lie = somewhere(kind, chain, f"{kind} {liars}")
    for port in (1, 2, 3):
        world.add(chain, port, lie=lie if port <= liars else None)
    async with running(world.config(1, 2, 3, watch=chain.watch, masternodes=False)) as run:
        await run.until("synced")
        assert set(banned(run)) == {Address("node", port) for port in range(1, liars + 1)}
        told = [event for event in run.told if isinstance(event, Warned) and event.code == "bad-filter-header"]
        assert [PROOFS[kind] in event.message and str(lie.height) in event.message for event in told] == [True] * liars
        marks = run.client.status.marks
        assert marks.filter_header == chain.filter_header(chain.height)
        assert marks.disputed is None
        assert balances(run) == chain.expected["balances"]
        assert found(run) == chain.expected["transactions"]


@pytest.mark.parametrize("liars", [1, 2])
async def test_filters_by_the_old_rules_cost_the_peer_its_filters_only(
    world: World, running: Start, autojump_clock: MockClock, liars: int
) -> None:
    """Nodes before 23.0 are dropped as such, not banned, and asked for filters no more, but for the chain."""
    chain = small_chain()
    lie = somewhere("pre-23-filters", chain, "old")
    for port in (1, 2, 3):
        world.add(chain, port, lie=lie if port <= liars else None)
    async with running(world.config(1, 2, 3, watch=chain.watch, masternodes=False)) as run:
        await run.until("synced")
        assert banned(run) == {}
        told = [event.message for event in run.told if isinstance(event, Warned)]
        assert sum("its filters follow the rules before 23.0" in line for line in told) == liars
        await trio.sleep(30)
        assert len(run.client.peers) == 3
        assert run.client.state == "synced"
        assert run.client.status.marks.filter_header == chain.filter_header(chain.height)


def hidden_spend(chain: SimulatedChain) -> tuple[int, bytes, str]:
    """A spend that the block does not tell: its height, the script that was spent, and the spender's txid."""
    paid: dict[bytes, bytes] = {}
    for height in range(1, chain.height + 1):
        block = Block.from_bytes(chain.block(height) or b"")
        shown = Provable.of(block)
        for tx in block.transactions:
            for txin in tx.inputs:
                script = paid.get(txin.prevout.to_bytes())
                if script is not None and script not in shown.outputs | shown.spent.keys() and height > 100:
                    return height, script, tx.txid[::-1].hex()
            paid |= {tx.txid + i.to_bytes(4, "little"): out.script for i, out in enumerate(tx.outputs)}
    raise LookupError("every spend is told")


@pytest.mark.parametrize("liars", [1, 2])
async def test_an_unprovable_lie_hides_nothing_and_is_stated(
    world: World, running: Start, autojump_clock: MockClock, liars: int
) -> None:
    """A junk element stands instead of a watched spend: the spend is found, nobody banned, the headers disputed."""
    chain = small_chain()
    height, script, spender = hidden_spend(chain)
    lie = Lie.parse(f"added-element@{height}", chain)
    for port in (1, 2, 3):
        world.add(chain, port, lie=lie if port <= liars else None)
    watch = (*chain.watch, script.hex())
    async with running(world.config(1, 2, 3, watch=watch, masternodes=False)) as run:
        await run.until("degraded")
        assert run.client.status.reason == f"filter headers disputed at {height}"
        assert run.client.status.marks.disputed == height
        assert run.client.status.marks.filters == run.client.status.marks.matched == chain.height
        assert banned(run) == {}
        assert set(found(run)) > {*chain.expected["transactions"], spender}
        assert run.client.balances()[script] == 0
        lied = run.client.status.marks.filter_header != chain.filter_header(chain.height)
        assert lied == (liars == 2)
        assert "synced" not in run.path


async def test_a_dispute_ends_when_the_dissenter_is_gone(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Two peers agree and nobody says otherwise any more: synced, and the variants are forgotten."""
    chain = small_chain()
    world.add(chain, 1)
    world.add(chain, 2, lie=Lie.parse("added-element", chain))
    world.add(chain, 3)
    async with running(world.config(1, 2, 3, watch=chain.watch, masternodes=False)) as run:
        await run.until("degraded")
        del world.nodes[2]
        await world.cut(2)
        await run.until("synced")
        assert run.client.status.marks.disputed is None
        assert run.client.store.filter_variants(0, 301) == []
        assert run.client.status.marks.corroborated == chain.height


async def test_a_dispute_outlives_a_restart(world: World, running: Start, autojump_clock: MockClock) -> None:
    """A lone peer cannot end it; when a second one agrees it is over."""
    chain = small_chain()
    world.add(chain, 1)
    world.add(chain, 2, lie=Lie.parse("added-element", chain))
    config = world.config(1, 2, 3, watch=chain.watch, masternodes=False)
    async with running(config) as run:
        await run.until("degraded")
    del world.nodes[2]
    async with running(config) as run:
        await run.until("degraded")
        assert "disputed" in run.client.status.reason
        world.add(chain, 3)
        await run.until("synced")


async def test_a_dispute_that_was_over_is_a_dispute_again_when_the_dissenter_is_back(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Its variants went with the end of the dispute and are judged anew, so that what is watched later is found."""
    chain = generate(1030, 7)
    height, script, spender = hidden_spend(chain)
    for port in (1, 2, 3):
        world.add(chain, port, lie=Lie.parse(f"added-element@{height}", chain) if port < 3 else None)
    async with running(world.config(1, 2, 3, watch=chain.watch, masternodes=False)) as run:
        await run.until("degraded")
        honest = world.nodes.pop(3)
        await world.cut(3)
        await run.until("synced")
        world.nodes[3] = honest
        await trio.sleep(100)
        chain.extend(1)
        for node in world.nodes.values():
            await node.announce(1)
        await run.until("degraded")
        assert run.client.status.reason == f"filter headers disputed at {height}"
        await run.client.watch([script])
        await trio.sleep(60)
        assert spender in found(run)


def throughout(chain: SimulatedChain) -> Lie:
    """Junk in every filter that it can be put in."""
    start = next(h for h in range(1, chain.height) if added_element(chain, h) is not None)
    return Lie("added-element", start, FalseFilters(added_element, start, throughout=True))


def turns_taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of each opinion that is held against the main one: how many filters are held in the end, and how far it came."""
    taken: list[tuple[int, int]] = []
    contest = Settlement._contest

    async def watched(self: Settlement, main: Opinion, rival: Opinion) -> Dispute | None:
        dispute = await contest(self, main, rival)
        if dispute is not None:
            taken.append((len(dispute.variants), dispute.reach))
        return dispute

    monkeypatch.setattr(Settlement, "_contest", watched)
    return taken


async def test_more_disputed_heights_than_are_held_are_taken_in_turns(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a bound of four heights no turn holds more, and every difference is still judged, stored and matched."""
    monkeypatch.setattr(filter_settlement, "MOST_VARIANTS", 4)
    turns = turns_taken(monkeypatch)
    chain = small_chain()
    heights = [h for h in range(1, chain.height + 1) if added_element(chain, h) is not None]
    world.add(chain, 1, lie=throughout(chain))
    world.add(chain, 2)
    async with running(world.config(1, 2, watch=chain.watch, masternodes=False)) as run:
        await run.until("degraded")
        assert [height for height, _ in run.client.store.filter_variants(0, 301)] == heights
        assert len(heights) > 12
        assert [count for count, _ in turns[: len(heights) // 4]] == [4] * (len(heights) // 4)
        assert max(count for count, _ in turns) == 4
        assert [reach for _, reach in turns[:3]] == [heights[at] - 1 for at in (4, 8, 12)]
        assert run.client.status.marks.filters == chain.height
        assert found(run) == chain.expected["transactions"]


async def test_one_dissenter_with_more_than_is_held_does_not_spoil_what_another_says_above(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is judged beyond the height that can be stored waits for its turn, and is stored and matched then."""
    monkeypatch.setattr(filter_settlement, "MOST_VARIANTS", 4)
    chain = small_chain()
    heights = [h for h in range(1, chain.height + 1) if added_element(chain, h) is not None]
    other = Lie("added-element", heights[-1], FalseFilters(added_element, heights[-1]))
    world.add(chain, 1)
    world.add(chain, 2, lie=throughout(chain))
    world.add(chain, 3, lie=other)
    async with running(world.config(1, 2, 3, watch=chain.watch, masternodes=False)) as run:
        await run.until("degraded")
        assert run.client.status.reason == f"filter headers disputed at {heights[0]}"
        assert [height for height, _ in run.client.store.filter_variants(0, 301)] == heights
        assert run.client.status.marks.filters == chain.height
        assert banned(run) == {}


async def test_further_peers_are_asked_before_a_dispute_is_stated(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Of five peers two are asked normally; the others make the truth the opinion that is gone on with."""
    chain = small_chain()
    world.add(chain, 1, lie=Lie.parse("added-element", chain))
    for port in (2, 3, 4, 5):
        world.add(chain, port)
    config = world.config(1, 2, 3, 4, 5, watch=chain.watch, masternodes=False, limits={"max_peers": 2})
    async with running(config) as run:
        await run.until("degraded")
        assert run.client.status.marks.filter_header == chain.filter_header(chain.height)
        assert banned(run) == {}


async def test_a_new_block_in_a_long_dispute_costs_what_is_new_only(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """What was judged and stored for one tip is not judged again for the next, however old the dispute."""
    chain = generate(1300, 5)
    lie = somewhere("added-element", chain, "early")
    nodes = [world.add(chain, 1, lie=lie), world.add(chain, 2)]
    async with running(world.config(1, 2, watch=chain.watch, masternodes=False)) as run:
        await run.until("degraded")
        assert run.client.status.marks.disputed == lie.height
        before = run.client.requests.sent
        chain.extend(1)
        for node in nodes:
            await node.announce(1)
        with trio.fail_after(100):
            while run.client.status.marks.filters < 1301 or run.client.state != "degraded":
                await trio.sleep(0.1)
        assert run.client.status.marks.disputed == lie.height
        assert run.client.requests.sent - before <= 10  # two more if the first thousand heights were compared again


@pytest.mark.parametrize("start", ["base", "birthday"])
async def test_a_dispute_about_filters_that_nobody_wants_is_none(
    world: World, running: Start, autojump_clock: MockClock, start: str
) -> None:
    """Below the base or the birthday no filter is looked at; above it the opinions are the same, and all is found."""
    chain = small_chain()
    lie = Lie.parse("added-element", chain)
    begin = lie.height + 10
    world.add(chain, 1, lie=lie)
    world.add(chain, 2)
    headers = [chain.header(at) for at in range(begin + 1)]
    anchor = Anchor(begin, headers[-1], sum(work_of(BlockHeader.from_bytes(raw).bits) for raw in headers))
    changes: dict[str, Any] = {"anchor": anchor} if start == "base" else {"birthday": begin}
    async with running(world.config(1, 2, watch=chain.watch, masternodes=False, **changes)) as run:
        await run.until("synced")
        assert banned(run) == {}
        assert run.client.status.marks.disputed is None
        assert {h for h in chain.watched_heights if h >= begin} <= set(run.client.store.matched_heights())


async def test_many_differences_below_the_birthday_cost_nothing(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first of them is judged; those above it are held beside what is stored as ever."""
    monkeypatch.setattr(filter_settlement, "MOST_VARIANTS", 3)
    chain = small_chain()
    birthday = 200
    heights = [h for h in range(birthday, chain.height + 1) if added_element(chain, h) is not None]
    world.add(chain, 1, lie=throughout(chain))
    world.add(chain, 2)
    async with running(world.config(1, 2, watch=chain.watch, masternodes=False, birthday=birthday)) as run:
        await run.until("degraded")
        assert run.client.status.reason == f"filter headers disputed at {heights[0]}"
        assert [height for height, _ in run.client.store.filter_variants(0, 301)] == heights


async def test_a_liar_is_found_out_below_the_birthday_too(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The first difference is judged, whether or not its filter is wanted."""
    chain = small_chain()
    world.add(chain, 1, lie=Lie.parse("omitted-output", chain))
    world.add(chain, 2)
    async with running(world.config(1, 2, watch=chain.watch, masternodes=False, birthday=250)) as run:
        await run.until("synced")
        assert set(banned(run)) == {Address("node", 1)}
        assert run.client.status.marks.filter_header == chain.filter_header(chain.height)


async def test_a_dispute_is_decided_when_the_dissenter_lies_provably_later(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """First junk that nobody can disprove, then an output omitted in a new block: banned, and the dispute is over."""
    chain = generate(300, 7)
    lie = Lie.parse("added-element", chain)

    def falsify(of: SimulatedChain, height: int) -> bytes | None:
        return (
            omitted_output(of, height) if height == 301 else added_element(of, height) if height == lie.height else None
        )

    liar = Lie("added-element", lie.height, FalseFilters(falsify, lie.height, throughout=True))
    nodes = [world.add(chain, 1, lie=liar), world.add(chain, 2)]
    async with running(world.config(1, 2, watch=chain.watch, masternodes=False)) as run:
        await run.until("degraded")
        chain.extend(1)
        for node in nodes:
            await node.announce(1)
        await run.until("synced")
        assert set(banned(run)) == {Address("node", 1)}
        assert run.client.status.marks.disputed is None
        assert run.client.status.marks.filter_header == chain.filter_header(301)
