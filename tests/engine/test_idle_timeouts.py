"""How long silence is borne: idle, never in all; doubled when the world is slow, and never for one peer's sake."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.engine.errors import PeerGone
from phasegate.engine.patience import Patience
from phasegate.engine.peers import Peer
from phasegate.engine.requests import Desk, Ledger, Tally
from phasegate.p2p.messages import ClSig, InvItem, InvType
from tests.asked_peers import CAP, IDLE, FakePeer, Node, ask, patient, reply, settle
from tests.simulated_world import Start, World, small_chain


async def wait_for(ledger: Ledger, node: Node, phase: str = "filters") -> float:
    """How long it takes until the node has answered, or is given up."""
    start = trio.current_time()
    with patient(ledger, phase) as desk:
        await _ask_quietly(desk, node.peer, 0)
    return trio.current_time() - start


@pytest.mark.trio
async def test_silence_doubles_the_timeout_up_to_the_cap_and_an_answer_ends_that(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """That of two peers, or of one that came back; in that phase, over its stays; another phase has its own."""
    ledger = Ledger()
    async with trio.open_nursery() as nursery:

        def node(delay: float | None = None) -> Node:
            return Node(ledger, nursery, "node", delay)

        assert [await wait_for(ledger, node()) for _ in range(10)] == [10, 10, 20, 20, 40, 40, 80, 80, 80, 80]
        assert await wait_for(ledger, node(), "blocks") == 10
        assert [await wait_for(ledger, node(delay)) for delay in (70.0, 15.0, 16.0, 1.0)] == [70, 15, 16, 1]
        assert await wait_for(ledger, node(15.0)) == 10
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_one_peer_alone_is_no_slow_world(autojump_clock: trio.testing.MockClock) -> None:
    """However often it is asked and however much at once, as long as it is connected."""
    ledger = Ledger()
    async with trio.open_nursery() as nursery:
        mute = Node(ledger, nursery, "mute", None)
        assert [await wait_for(ledger, mute) for _ in range(5)] == [10] * 5
        nursery.cancel_scope.cancel()


@pytest.mark.trio
@pytest.mark.parametrize("delay", [15.0, 19.0, 35.0, 79.0])
async def test_where_everybody_is_slow_the_timeout_is_learnt_once(
    autojump_clock: trio.testing.MockClock, delay: float
) -> None:
    """A few silences in the beginning, eight at a time or not; then all requests are answered."""
    ledger, silences = Ledger(), list[int]()
    async with trio.open_nursery() as nursery:
        for start in range(0, 400, 8):
            node = Node(ledger, nursery, "slow", delay)  # who was silent is dropped; another one comes
            before = ledger.tally.silent
            with patient(ledger) as desk:
                async with trio.open_nursery() as asking:
                    for number in range(start, start + 8):
                        asking.start_soon(_ask_quietly, desk, node.peer, number)
            silences.append(ledger.tally.silent - before)
        nursery.cancel_scope.cancel()
    learning = 2 * math.ceil(math.log2(delay / IDLE))
    assert silences[learning:] == [0] * (50 - learning)
    assert all(silences[:learning])


async def _ask_quietly(desk: Desk, peer: Peer, number: int) -> None:
    with suppress(PeerGone):
        await ask(desk, peer, number)


@pytest.mark.trio
async def test_mute_peers_beside_others_cost_no_more_each_time(autojump_clock: trio.testing.MockClock) -> None:
    """Two that fall mute and an honest one are asked together, again and again: each round takes the base timeout."""
    ledger = Ledger()
    async with trio.open_nursery() as nursery:
        nodes = [Node(ledger, nursery, f"p{i}", 0.0) for i in range(3)]
        for number in range(20):
            start = trio.current_time()
            with patient(ledger) as desk:
                async with trio.open_nursery() as asking:
                    for node in nodes:
                        asking.start_soon(_ask_quietly, desk, node.peer, number)
            assert trio.current_time() - start == (IDLE if number else 0)
            nodes[0].delay = nodes[2].delay = None
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_an_answer_between_two_silences_parts_them(autojump_clock: trio.testing.MockClock) -> None:
    """Two peers that answered before fall silent, but not both before the next answer."""
    ledger = Ledger()
    async with trio.open_nursery() as nursery:
        nodes = [Node(ledger, nursery, f"p{i}", 1.0) for i in range(3)]
        assert [await wait_for(ledger, node) for node in nodes] == [1, 1, 1]
        nodes[0].delay = nodes[2].delay = None
        assert [await wait_for(ledger, node) for node in (*nodes, nodes[2])] == [10, 1, 10, 10]
        assert await wait_for(ledger, nodes[0]) == 10
        assert await wait_for(ledger, nodes[2]) == 20
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_mute_newcomers_are_no_slow_world(autojump_clock: trio.testing.MockClock) -> None:
    """One after the other, while nothing is asked of those that did answer; if these fail, it is another matter."""
    ledger = Ledger()
    async with trio.open_nursery() as nursery:
        honest = [Node(ledger, nursery, f"p{i}", 1.0) for i in range(2)]
        assert [await wait_for(ledger, node) for node in honest] == [1, 1]
        assert [await wait_for(ledger, Node(ledger, nursery, "newcomer", None)) for _ in range(4)] == [10] * 4
        for node in honest:
            node.delay = 35.0  # now everything takes long, and those who are dropped come back as newcomers
        returned = [Node(ledger, nursery, "returned", 35.0) for _ in range(4)]
        assert [await wait_for(ledger, node) for node in honest + returned] == [10, 10, 20, 20, 35, 35]
        nursery.cancel_scope.cancel()


EVENTS = st.lists(st.tuples(st.one_of(st.none(), st.floats(0.0, 200.0)), st.integers(0, 3)), max_size=30)


@given(EVENTS)
@settings(deadline=None)
def test_patience_stays_within_its_bounds_and_above_what_answers_need(course: list[tuple[float | None, int]]) -> None:
    """Whatever follows whatever: None is a silence, a number the longest pause of an answer."""
    patience, peers = Patience(IDLE, CAP), [FakePeer(f"p{i}") for i in range(4)]
    for pause, who in course:
        wait = patience.begin()
        assert IDLE <= wait.timeout <= CAP
        if pause is None or pause > wait.timeout:
            patience.silent(wait, peers[who])
            assert patience.timeout in (wait.timeout, min(CAP, 2 * wait.timeout))
            patience.silent(wait, peers[who])
            assert patience.timeout in (wait.timeout, min(CAP, 2 * wait.timeout))
        else:
            patience.answered(pause)
            peers[who].answers += 1
            assert pause <= patience.timeout <= wait.timeout


@pytest.mark.trio
async def test_a_row_of_requests_to_a_steady_peer_does_not_time_out_from_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Nine seconds an answer, eight asked for at once: the last one comes after 72 s (field-bugs 25)."""
    ledger = Ledger()
    async with trio.open_nursery() as nursery:
        node = Node(ledger, nursery, "steady", IDLE - 1)
        with patient(ledger) as desk:
            async with trio.open_nursery() as asking:
                for number in range(8):
                    asking.start_soon(ask, desk, node.peer, number)
        nursery.cancel_scope.cancel()
    assert ledger.tally == Tally(sent=8, answered=8)


@pytest.mark.trio
async def test_who_answers_only_later_requests_is_silent_on_the_first(autojump_clock: trio.testing.MockClock) -> None:
    """A node answers in order: an answer to another one is no sign of life for what was asked before."""
    ledger, peer = Ledger(), FakePeer("peer")
    with patient(ledger) as desk:
        async with trio.open_nursery() as nursery:
            with pytest.RaisesGroup(pytest.RaisesExc(PeerGone, match="within 10 s")):
                async with trio.open_nursery() as asking:
                    asking.start_soon(ask, desk, peer, 0)
                    await settle()
                    asking.start_soon(ask, desk, peer, 1)
                    await trio.sleep(IDLE - 1)
                    ledger.deliver(peer, reply(1))
            nursery.cancel_scope.cancel()
    assert trio.current_time() == IDLE


@pytest.mark.trio
async def test_locks_that_drop_in_are_no_sign_of_life_for_a_phase(autojump_clock: trio.testing.MockClock) -> None:
    """An errand to the same peer, sent before, is another matter than what the phase waits for."""
    ledger, peer = Ledger(), FakePeer("peer")
    lock = ClSig(7, bytes(32), bytes(96))
    items = [InvItem(InvType.CHAINLOCK, lock.inventory_hash), InvItem(InvType.CHAINLOCK, bytes(32))]
    with ledger.errand(2, IDLE) as errands, patient(ledger) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(errands.fetch, peer, items, lambda *_: None)
            await settle()
            nursery.start_soon(_ask_quietly, desk, peer, 0)
            await trio.sleep(IDLE - 1)
            ledger.deliver(peer, lock)
            await trio.sleep(1 + 1e-6)
            assert (ledger.tally.silent, ledger.errand_tally.silent) == (1, 0)
            nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_world_in_which_every_answer_takes_fifteen_seconds_is_synced(
    world: World, running: Start, autojump_clock: trio.testing.MockClock
) -> None:
    """Longer than the idle timeout: each phase learns it by one silence, and nobody is banned."""
    for port in (1, 2, 3):
        world.add(small_chain(), port, delay=15.0)
    async with running(world.config(1, 2, 3)) as run:
        await run.until("synced", 1800.0)
        assert run.client.requests.silent >= 1
        assert not run.client.hopeless
        assert set(run.warnings) <= {"peer-lost"}
