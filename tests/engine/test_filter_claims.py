"""A peer whose claim about the filter headers is at odds with itself: what is named, and that nobody else is blamed.

Each liar here tells one thing wrong, or is at one with itself up to a beginning that no chain has. The client finds it
out where two of its own statements meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import pytest
from trio.testing import MockClock

from phasegate.consensus.filters import filter_header
from phasegate.p2p.messages import CFCheckpt, CFHeaders, Message
from phasegate.p2p.simnet.answers import Answer
from phasegate.p2p.simnet.chain import SimulatedChain
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from phasegate.p2p.simnet.generated import GeneratedChain
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

JUNK = b"\x5a" * 32
Twist = Callable[[SimulatedChain, Message], Message]


@attrs.frozen
class Says:
    """A node that twists each of its messages."""

    twist: Twist

    def tell(self, chain: SimulatedChain, answer: Answer, version: int) -> Answer:
        """The answer, twisted."""
        return attrs.evolve(answer, messages=(self.twist(chain, message) for message in answer.messages))


class PrecedesGenesis:
    """Filter headers of the true filters, at one with themselves, that begin with one before the first."""

    def __init__(self, chain: SimulatedChain) -> None:
        self._told = {bytes(32): JUNK}
        before = JUNK
        for height in range(chain.height + 1):
            before = filter_header(chain.filter_hash(height), before)
            self._told[chain.filter_header(height)] = before

    def __call__(self, _chain: SimulatedChain, message: Message) -> Message:
        if isinstance(message, CFHeaders):
            return attrs.evolve(message, prev_header=self._told[message.prev_header])
        if isinstance(message, CFCheckpt):
            places = range(0, len(message.headers), 32)
            headers = b"".join([self._told[message.headers[i : i + 32]] for i in places])
            return attrs.evolve(message, headers=headers)
        return message


def one_checkpoint_more(_chain: SimulatedChain, message: Message) -> Message:
    """One that no height belongs to, before all others, so that the last is the right one."""
    return attrs.evolve(message, headers=JUNK + message.headers) if isinstance(message, CFCheckpt) else message


def one_checkpoint_less(_chain: SimulatedChain, message: Message) -> Message:
    """The first is left out, so that the last is the right one."""
    return attrs.evolve(message, headers=message.headers[32:]) if isinstance(message, CFCheckpt) else message


def false_checkpoint(_chain: SimulatedChain, message: Message) -> Message:
    """The second of them is another; the filter hashes lead to the true one."""
    if not isinstance(message, CFCheckpt):
        return message
    return attrs.evolve(message, headers=message.headers[:32] + JUNK + message.headers[64:])


def begins_elsewhere(after: int) -> Twist:
    """The filter hashes that follow the height `after` are said to follow another filter header."""

    def twist(chain: SimulatedChain, message: Message) -> Message:
        if isinstance(message, CFHeaders) and message.prev_header == chain.filter_header(after):
            return attrs.evolve(message, prev_header=JUNK)
        return message

    return twist


def long_chain() -> GeneratedChain:
    """With filter checkpoints at 1000, 2000 and 3000."""
    return small_chain(3500, 11)


Made = Callable[[], Twist]

ALONE: dict[str, tuple[Callable[[], GeneratedChain], Made, str, str]] = {
    "a checkpoint too many": (
        long_chain,
        lambda: one_checkpoint_more,
        "bad-filter-checkpoint",
        "cfcheckpt has 4 headers for a tip at 3500",
    ),
    "a checkpoint too few": (
        long_chain,
        lambda: one_checkpoint_less,
        "bad-filter-checkpoint",
        "cfcheckpt has 2 headers for a tip at 3500",
    ),
    "a checkpoint of a chain that has none": (
        small_chain,
        lambda: one_checkpoint_more,
        "bad-filter-checkpoint",
        "cfcheckpt has 1 headers for a tip at 300",
    ),
    "a tail that leaves the checkpoint": (
        long_chain,
        lambda: begins_elsewhere(3000),
        "bad-filter-checkpoint",
        "cfheaders after 3000 do not begin at its own checkpoint",
    ),
    "a range that leaves the checkpoint": (
        long_chain,
        lambda: begins_elsewhere(1000),
        "broken-filter-header-chain",
        "cfheaders from 1001 begin with another filter header than was settled",
    ),
    "checkpoints that nothing leads to": (
        long_chain,
        lambda: false_checkpoint,
        "bad-filter-checkpoint",
        "do not lead to the checkpoint at 2000",
    ),
    "a short chain before genesis": (
        small_chain,
        lambda: PrecedesGenesis(small_chain()),
        "broken-filter-header-chain",
        "the first filter header has a predecessor",
    ),
    "a long chain before genesis": (
        long_chain,
        lambda: PrecedesGenesis(long_chain()),
        "broken-filter-header-chain",
        "cfheaders from 0 begin with another filter header than was settled",
    ),
}
"""What a peer that is alone is caught at: its chain, what it tells, the fault, and how that is told."""


def check_banned(run: Run, code: str, detail: str) -> None:
    """The node at port 1, for this and nothing else, and nobody else for anything."""
    assert run.warnings == [code]
    assert "node:1 banned" in run.said(code)
    assert detail in run.said(code)


@pytest.mark.parametrize("lie", ALONE)
async def test_a_lone_peer_at_odds_with_itself_is_banned_and_nothing_of_it_is_stored(
    world: World, running: Start, autojump_clock: MockClock, lie: str
) -> None:
    """Found out by what it says, before any filter is asked for."""
    chain_of, twist, code, detail = ALONE[lie]
    chain = chain_of()
    world.add(chain, 1, lie=Says(twist()))
    async with running(world.config(1, masternodes=False)) as run:
        await run.until("degraded")
        check_banned(run, code, detail)
        marks = run.client.status.marks
        assert marks.filter_headers < 0 or marks.filter_header == chain.filter_header(marks.filter_headers)


DISPUTED: dict[str, tuple[Made, str]] = {
    "checkpoints that nothing leads to": (
        lambda: false_checkpoint,
        "its cfheaders 1001..2000 do not lead to the filter header it claims",
    ),
    "a chain before genesis": (
        lambda: PrecedesGenesis(long_chain()),
        "its cfheaders 0..1000 do not lead to the filter header it claims",
    ),
}
"""What is found out when two others say otherwise: what the peer tells, and how that is told."""


@pytest.mark.parametrize("lie", DISPUTED)
async def test_a_claim_against_two_others_that_no_filter_hashes_bear_out_gets_its_peer_banned(
    world: World, running: Start, autojump_clock: MockClock, lie: str
) -> None:
    """The filters are all the true ones, so that only the hashes can tell."""
    twist, detail = DISPUTED[lie]
    chain = long_chain()
    world.add(chain, 1, lie=Says(twist()))
    world.add(chain, 2)
    world.add(chain, 3)
    async with running(world.config(1, 2, 3, masternodes=False)) as run:
        await run.until("synced")
        check_banned(run, "bad-filter-checkpoint", detail)
        assert run.client.status.marks.filter_header == chain.filter_header(chain.height)
        assert run.client.status.marks.disputed is None
