"""Starting in mid-chain: what stands below the base is fetched and judged before anything is added above it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from phasegate.consensus.faults import Fault
from phasegate.consensus.headers import context_size
from phasegate.consensus.params import DEVNET, REGTEST, SIMNET
from phasegate.engine.config import Config
from phasegate.engine.errors import Failure, FailureKind
from phasegate.engine.phases.bootstrap import context_wanted
from phasegate.engine.phases.headers import download_headers
from phasegate.p2p.messages import GetHeaders
from phasegate.store import Anchor, AppendHeaders, Store
from tests.scripted_peers import Answer, Bench, HeaderChain, Serving, bench, changed, remined

pytestmark = pytest.mark.trio

OLD_RULES = attrs.evolve(DEVNET, name="simnet", pow_limit=SIMNET.pow_limit, genesis=SIMNET.genesis)
"""The first rules of devnets and testnets, which look back to the last change of the difficulty."""


@cache
def trunk() -> HeaderChain:
    return HeaderChain(SIMNET).grown(120, spacing=130)


@cache
def old_rules() -> HeaderChain:
    """Above 576 late blocks at the limit, but for 710, which is as difficult as 576: a second's work each."""
    return HeaderChain(OLD_RULES).grown(576, spacing=128).grown(133, spacing=400).grown(1).grown(4, spacing=400)


def anchored(directory: Path, chain: HeaderChain, height: int, *answers: Answer, raw: bytes = b"") -> Bench:
    """A workbench on a new store that begins with the chain's header at `height`."""
    anchor = Anchor(height, raw or chain.header(height), chain.tips[height].work)
    store = Store.open(directory, chain.network, anchor=anchor)
    return bench(store, *(answers or [Serving(chain)]), config=Config(chain.network, anchor=anchor))


@pytest.mark.parametrize("base", [1, 10, 11, 12, 23, 24, 25, 34, 35, 36, 60, 119, 120])
async def test_a_walk_from_any_base_ends_at_the_tip(tmp_path: Path, autojump_clock: MockClock, base: int) -> None:
    """Heights, work and hashes are those of the whole chain."""
    on = anchored(tmp_path, trunk(), base)
    await download_headers(on.work)
    store = on.work.store
    assert (store.marks.tip, store.marks.work) == (120, trunk().tip.work)
    assert store.headers(base, 121 - base) == trunk().headers(base, 121 - base)
    wanted = min(base, 35)
    assert store.context() == trunk().headers(base - wanted, wanted)
    assert not on.pool.faults
    store.close()


@pytest.mark.parametrize("above", [1, 11, 24])
async def test_the_first_headers_above_a_base_are_judged_by_what_is_below_it(
    tmp_path: Path, autojump_clock: MockClock, above: int
) -> None:
    """Difficulty and median time of the first, the eleventh and the 24th header are checked like any other's."""
    for place, value, fault in ((72, "ffff7f1f", Fault.BAD_DIFFICULTY), (68, "00000001", Fault.BAD_HEADER_TIME)):
        lied = trunk().headers(61, 60)
        wrong = remined(changed(lied, above - 1, place, bytes.fromhex(value))[(above - 1) * 80 : above * 80])
        serving = Serving(trunk())

        def lying(question: Any, lie: bytes = wrong, honest: Answer = serving) -> bytes:
            return changed(honest(question), above - 1, 0, lie) if question.locator else honest(question)

        directory = tmp_path / fault.name
        on = anchored(directory, trunk(), 60, lying)
        with pytest.raises(Failure):
            await download_headers(on.work)
        told = on.pool.faults[on.peers[0]]
        assert f"height {60 + above}" in told.detail
        assert told.fault in (fault, Fault.BAD_DIFFICULTY)
        on.work.store.close()


async def test_the_context_is_fetched_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    """The next walk begins with the tip at once."""
    on = anchored(tmp_path, trunk(), 60)
    await download_headers(on.work)
    asked = len(on.peers[0].asked)
    on.work.live.agreed.clear()
    await download_headers(on.work)
    assert len(on.peers[0].asked) == asked + 1
    on.work.store.close()


async def test_the_headers_below_are_asked_for_by_their_hashes(tmp_path: Path, autojump_clock: MockClock) -> None:
    """An empty locator and a stop hash ask for exactly one header."""
    on = anchored(tmp_path, trunk(), 60)
    await download_headers(on.work)
    single = [question for question in on.peers[0].asked if not question.locator]
    assert [question.stop for question in single] == [trunk().hash_at(height) for height in range(59, 24, -1)]
    assert {type(question) for question in single} == {GetHeaders}
    on.work.store.close()


async def test_a_forged_header_below_the_base_costs_its_sender_its_place(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Its hash is not the one that was asked for; another peer has it."""
    serving = Serving(trunk())

    def forging(question: Any) -> bytes:
        return serving(question) if question.locator else trunk().header(3)

    on = anchored(tmp_path, trunk(), 60, forging, serving)
    await download_headers(on.work)
    assert on.pool.faults[on.peers[0]].fault is Fault.UNFITTING_REPLY
    assert on.work.store.marks.tip == 120
    on.work.store.close()


async def test_without_what_is_below_nothing_is_added(tmp_path: Path, autojump_clock: MockClock) -> None:
    """No peer has it: the failure says what is missing, and the store is as it was."""
    serving = Serving(trunk())
    on = anchored(tmp_path, trunk(), 60, lambda q: serving(q) if q.locator else b"")
    with pytest.raises(Failure, match="below block 60, where this store begins") as caught:
        await download_headers(on.work)
    assert caught.value.kind is FailureKind.PEER_LOST
    assert (on.work.store.marks.tip, on.work.store.marks.context) == (60, 0)
    assert not on.pool.faults
    on.work.store.close()


async def test_a_base_that_breaks_the_rules_is_refused(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A user's trusted header is held against what stands below it, and named."""
    forged = remined(changed(trunk().header(60), 0, 72, bytes.fromhex("ffff7f1f")))
    on = anchored(tmp_path, trunk(), 60, raw=forged)
    with pytest.raises(Failure, match=r"the block at 60.*bits 1f7fffff instead of") as caught:
        await download_headers(on.work)
    assert caught.value.kind is FailureKind.DISPUTED
    assert not on.pool.faults
    on.work.store.close()


async def test_a_peer_that_has_none_of_our_blocks_is_no_liar(tmp_path: Path, autojump_clock: MockClock) -> None:
    """It is still far below our base and answers from its first block on: of no use, but honest."""
    young, old = Serving(trunk().cut(20)), Serving(trunk())
    on = anchored(tmp_path, trunk(), 60, lambda q: young(q) if q.locator else old(q), old)
    await download_headers(on.work)
    assert on.work.store.marks.tip == 120
    assert not on.pool.faults
    assert "where this store begins" in on.pool.dropped[on.peers[0]]
    on.work.store.close()


@pytest.mark.parametrize("base", [570, 576, 580, 700])
async def test_older_rules_look_back_further(tmp_path: Path, autojump_clock: MockClock, base: int) -> None:
    """Testnets and devnets began with Bitcoin's rule: as much is fetched as that needs."""
    chain = old_rules()
    on = anchored(tmp_path, chain, base)
    assert context_wanted(on.work) == max(35, context_size(OLD_RULES, base) - 1)
    await download_headers(on.work)
    assert on.work.store.marks.tip_hash == chain.tip_hash
    assert not on.pool.faults
    on.work.store.close()


async def test_damaged_context_is_fetched_again(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not lead to the base is no context."""
    on = anchored(tmp_path, trunk(), 60)
    await download_headers(on.work)
    store, real = on.work.store, on.work.store.context
    stored, wrong = real(), changed(real(), 20, 40, b"\0")
    longer = trunk().grown(5, spacing=130)
    again = bench(store, Serving(longer), config=on.work.config)
    calls = iter([wrong, wrong])
    monkeypatch.setattr(type(store), "context", lambda _: next(calls, stored))
    await download_headers(again.work)
    assert (store.marks.tip_hash, again.pool.faults) == (longer.tip_hash, {})
    store.close()


async def test_a_store_from_genesis_needs_no_context(tmp_path: Path, autojump_clock: MockClock) -> None:
    """There is nothing below."""
    store = Store.open(tmp_path, REGTEST)
    chain = HeaderChain().grown(5)
    store.commit([AppendHeaders(1, chain.headers(1, 3), chain.hashes(1, 3), chain.tips[3].work)])
    on = bench(store, Serving(chain))
    await download_headers(on.work)
    assert (store.marks.tip, store.context()) == (5, b"")
    store.close()
