"""A node that lies: nothing of the lie is stored, the reason is named, and an honest peer completes the sync.

Each kind of lie there is stands in one of the tables below, by what comes of it; those about filters that are at one
with themselves are tested in `test_filter_lies`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from trio.testing import MockClock

from phasegate.engine.events import Warned
from phasegate.engine.limits import Limits
from phasegate.p2p.simnet.lies import FALSE_FILTERS, KINDS, Lie
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from phasegate.p2p.simnet.generated import GeneratedChain
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

OFFENCES = {
    "wrong-pow": "bad-proof-of-work",
    "broken-link": "broken-header-link",
    "wrong-difficulty": "bad-difficulty",
    "wrong-merkle-proof": "bad-merkle-proof",
    "wrong-masternode-entry": "bad-masternode-root",
    "wrong-quorum": "bad-quorum-root",
    "wrong-filter": "bad-filter",
    "wrong-filter-header": "bad-filter-header",
    "wrong-cfcheckpt": "bad-filter-checkpoint",
    "wrong-block-body": "bad-block-merkle-root",
    "truncated-message": "malformed-message",
    "oversized-message": "oversized-message",
}
"""Lies that get their teller banned, and the code that each is named by when an honest peer is there as well."""
ALONE = {**OFFENCES, "wrong-filter-header": "bad-filter"}
"""The same when the liar is the only peer: then its filter headers are found out by its filters."""
SILENCE = {"other-block": "no answer to getdata within 10 s", "wrong-checksum": "no answer to getheaders within 10 s"}
"""Lies that come to nothing but a request without its answer, and how that is told."""
HARMLESS = ("unasked-messages",)
"""Lies that change nothing."""


async def test_every_lie_there_is_has_its_expectation() -> None:
    """One place in the tables above for each kind, and no kind that does not exist."""
    assert sorted([*OFFENCES, *SILENCE, *HARMLESS, *FALSE_FILTERS]) == sorted(KINDS)


def _chain(kind: str) -> GeneratedChain:
    return small_chain(3500, 11) if kind == "wrong-cfcheckpt" else small_chain()


async def _honest_digest(world: World, running: Start, chain: GeneratedChain) -> str:
    """What a new client holds that is served by nobody but an honest node."""
    world.directory /= "honest"
    world.add(chain, 9)
    async with running(world.config(9, watch=chain.watch)) as run:
        await run.until("synced")
        digest: str = run.client.store.digest()
        return digest


@pytest.mark.parametrize("kind", OFFENCES)
async def test_an_honest_second_peer_completes_the_sync(
    world: World, running: Start, autojump_clock: MockClock, kind: str
) -> None:
    """The liar is banned under the right name, and what is stored equals what the honest node serves."""
    chain = _chain(kind)
    world.add(chain, 1, lie=Lie.parse(kind, chain))
    if kind == "wrong-filter-header":  # found out by comparison, so both have to be there from the beginning
        world.add(chain, 2)
    async with running(world.config(1, 2, watch=chain.watch)) as run:
        await run.until_warned(OFFENCES[kind])
        world.add(chain, 2)
        await run.until("synced")
        assert run.client.status.marks.filter_header == chain.filter_header(chain.height)
        assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]
        digest = run.client.store.digest()
    assert digest == await _honest_digest(world, running, chain)


@pytest.mark.parametrize("kind", SILENCE)
async def test_a_lie_that_is_no_answer_costs_the_connection_only(
    world: World, running: Start, autojump_clock: MockClock, kind: str
) -> None:
    """It is told once as a lost peer, nobody is banned, and the honest peer completes the sync.

    All blocks are asked of the first peer at once, and nobody takes over before the time is up.
    """
    chain = _chain(kind)
    world.add(chain, 1, lie=Lie.parse(kind, chain))
    world.add(chain, 2)
    limits = {"batch": {**Limits().batch, "blocks": 1000}, "steal_after": math.inf}
    async with running(world.config(1, 2, watch=chain.watch, limits=limits)) as run:
        await run.until("synced")
        told = [(event.code, event.message) for event in run.told if isinstance(event, Warned)]
        assert told == [("peer-lost", f"peer node:1: {SILENCE[kind]}")]
        assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]
        digest = run.client.store.digest()
    assert digest == await _honest_digest(world, running, chain)


@pytest.mark.parametrize("kind", SILENCE)
async def test_with_no_honest_peer_a_lie_that_is_no_answer_degrades(
    world: World, running: Start, autojump_clock: MockClock, kind: str
) -> None:
    """Never synced and nothing of the lie stored, but no ban either: the peer may find its voice."""
    chain = _chain(kind)
    world.add(chain, 1, lie=Lie.parse(kind, chain))
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("degraded", within=1000.0)
        assert SILENCE[kind].removesuffix(" within 10 s") in run.client.status.reason
        assert set(run.warnings) == {"peer-lost"}
        assert run.client.hopeless == ""
        assert "synced" not in run.path
        _only_truth(run.client.store, chain)


@pytest.mark.parametrize("kind", ALONE)
async def test_with_no_honest_peer_the_client_is_degraded_and_says_why(
    world: World, running: Start, autojump_clock: MockClock, kind: str
) -> None:
    """Never FullySynced: the state is degraded, its reason names the lie, and nothing of the lie is stored."""
    chain = _chain(kind)
    world.add(chain, 1, lie=Lie.parse(kind, chain))
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("degraded")
        code = ALONE[kind]
        assert code in run.client.status.reason
        assert code in run.warnings
        assert code in run.client.hopeless
        assert "synced" not in run.path
        _only_truth(run.client.store, chain)


def _only_truth(store, chain) -> None:  # type: ignore[no-untyped-def]
    marks = store.read_marks()
    assert store.headers(0, marks.tip + 1) == chain.headers(0, marks.tip + 1)
    if marks.filter_headers >= 0:
        assert marks.filter_header == chain.filter_header(marks.filter_headers)
    for height, raw in enumerate(store.filters(0, marks.filters + 1)):
        assert raw == chain.filter(height)
    assert marks.masternodes in (None, chain.height)


async def test_of_two_liars_and_one_honest_peer_the_honest_one_is_left(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Filter headers are settled by proof, not by majority."""
    chain = small_chain()
    for port in (1, 2):
        world.add(chain, port, lie=Lie.parse("wrong-filter-header@150", chain))
    world.add(chain, 3)
    async with running(world.config(1, 2, 3, watch=chain.watch)) as run:
        await run.until("synced")
        assert run.warnings.count("bad-filter-header") == 2
        assert run.client.status.marks.filter_header == chain.filter_header(chain.height)


@pytest.mark.parametrize("kind", HARMLESS)
async def test_answers_nobody_asked_for_are_dropped_and_counted(
    world: World, running: Start, autojump_clock: MockClock, kind: str
) -> None:
    """True things, but never asked for: nobody is warned of, and what is stored is what an honest node serves."""
    chain = _chain(kind)
    world.add(chain, 1, lie=Lie.parse(kind, chain))
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        assert run.client.requests.unasked > 0
        assert run.warnings == []
        assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]
        digest = run.client.store.digest()
    assert digest == await _honest_digest(world, running, chain)
