"""Trouble and progress in one stream of events: scenario 52 of the list of field bugs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.config import Limits
from phasegate.engine.events import Event, Progress, Rewound, Subscription, Transition, Warned
from phasegate.p2p.messages import Message, Services
from phasegate.p2p.simnet.answers import Answer, Punished
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.greeting import SERVICES, Identity
from tests.field_bugs.fresh_clients import is_complete
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

PLAIN = Identity(services=SERVICES & ~Services.HEADERS_COMPRESSED)
ANSWERS = {
    "headers": "headers",
    "mnlistdiff": "mnlist",
    "cfheaders": "cfheaders",
    "cfilter": "filters",
    "block": "blocks",
}
SMALL = {"batch": {**Limits().batch, "filters": 20, "blocks": 2}, "in_flight": {"filters": 1, "blocks": 1}}
ENOUGH = 3
"""Messages of its kind that a node sends before there is trouble."""


@attrs.define
class Troubled:
    """After some messages of one name it says no more, or hangs up each time, until it is `mended`."""

    command: str
    hangs_up: bool
    mended: bool = False
    sent: int = 0

    def tell(self, chain: SimulatedChain, answer: Answer, version: int) -> Answer:
        return attrs.evolve(answer, messages=self._messages(answer))

    def _messages(self, answer: Answer) -> Iterator[Message]:
        for message in answer.messages:
            if message.command == self.command and not self.mended:
                self.sent += 1
                if self.sent > ENOUGH * (self.command in ("cfilter", "block")):
                    if self.hangs_up:
                        raise Punished("hangs up")
                    return
            yield message


def held_to_its_word(events: Sequence[Event]) -> None:
    """Percentages rise within a walk and between roll-backs, for each phase and overall; 100 is reached by all."""
    best: dict[str, float] = {}
    for event in events:
        if isinstance(event, Rewound) or (isinstance(event, Transition) and event.source in ("synced", "paused")):
            best.clear()
        if isinstance(event, Progress):
            assert event.percent >= best.get(event.phase, 0.0)
            assert event.overall >= best.get("overall", 0.0)
            rises = event.percent > best.get(event.phase, 0.0)
            assert (event.percent == 100.0) == (event.done == event.total) or not rises
            best[event.phase], best["overall"] = event.percent, event.overall


@pytest.mark.parametrize("hangs_up", [True, False])
@pytest.mark.parametrize("command", ANSWERS)
async def test_52_trouble_is_told_and_the_bar_stays_where_it_is(
    world: World, running: Start, autojump_clock: MockClock, command: str, hangs_up: bool
) -> None:
    """In each phase: the reason comes as an event, the overall figure stays below 100, and then goes on from there."""
    chain, lie = small_chain(300, 5), Troubled(command, hangs_up)
    world.add(chain, 1, lie=lie, identity=PLAIN, locks=False)
    async with running(world.config(1, watch=chain.watch, limits=SMALL)) as run:
        with trio.fail_after(3600):
            while "degraded" not in run.path:
                await trio.sleep(1)
        trouble = [event for event in run.told if isinstance(event, Transition) and event.trigger == "fail"]
        assert trouble[0].source == ANSWERS[command]
        assert all(event.reason for event in trouble)
        assert [event for event in run.told if isinstance(event, Warned) and event.message]
        last = trouble[-1]
        assert last.target == "degraded"
        assert run.client.status.reason
        said = [event for event in run.told if isinstance(event, Progress)]
        assert all(event.overall < 100.0 for event in said)
        lie.mended = True
        await run.until("synced", within=300)
        is_complete(run, chain)
        held_to_its_word(run.told)
        assert [event.overall for event in run.told if isinstance(event, Progress)][-1] == 100.0


async def test_52_a_bar_falls_only_where_a_roll_back_is_told(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A reorganisation between two walks: `rewound` is in the stream before any smaller figure."""
    ours, theirs = generate(200, 5, locks=False), generate(230, 5, fork_at=80, fork_seed=9, locks=False)
    node = world.add(ours, 1, delay=0.3)
    async with running(world.config(1, watch=(*ours.watch, *theirs.watch), limits=SMALL)) as run:
        await run.until("filters")
        while run.client.status.marks.filters < 60:
            await trio.sleep(0.05)
        await node.switch(theirs)
        with trio.fail_after(300):
            while run.client.state != "synced" or run.client.status.marks.tip_hash != theirs.tip_hash:
                await trio.sleep(0.1)
        held_to_its_word(run.told)
        assert sum(isinstance(event, Rewound) for event in run.told) == 1


async def test_52_a_client_that_fails_says_so_in_the_stream(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug ends it: the last transition names it, and whoever waits for the end learns of it."""
    chain = small_chain(60, 5)
    world.add(chain, 1)

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("phasegate.engine.phases.blocks.scan_block", broken)
    subscribed: list[Subscription] = []

    async def run_to_the_end() -> None:
        async with running(world.config(1, watch=chain.watch)) as run:
            subscribed.append(run.client.events())
            await trio.sleep(60)

    with pytest.raises(BaseExceptionGroup, match="Exceptions from Trio nursery") as caught:
        await run_to_the_end()
    assert "ClientFailed" in repr(caught.value)
    last = [event async for event in subscribed[0] if isinstance(event, Transition)][-1]
    assert (last.source, last.target, last.trigger) == ("blocks", "failed", "crash")
    assert "a bug" in last.reason
