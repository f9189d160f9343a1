"""Whatever is watched and given up while blocks come, chains reorganise and the client is restarted: as a fresh scan.

The items overlap: a script of an account is also watched by itself, and by a descriptor of another form. Some are of
masternodes: updates, registrations that a reorganisation takes away, and payout scripts of the accounts in them. What
is asked for in the end is known from two sets; a new client that is told so from the start finds the history and the
balances that the other one must have come to.
"""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import Block, Transaction
from phasegate.consensus.special_txs import mentioned
from phasegate.consensus.watch_elements import element_text
from phasegate.consensus.watch_texts import KeyChain, Watch, parse_watch
from phasegate.engine.config import Config
from phasegate.p2p.simnet.generated import GeneratedChain
from phasegate.store import WalletTransaction
from tests.paid_key_chains import account_text, begin, extend_busily, script
from tests.simulated_world import Run, World, runner

PLACES = (
    *[(0, 0, index) for index in (0, 1, 3, 5, 8, 12)],
    *[(0, 1, index) for index in (0, 2)],
    *[(1, 0, index) for index in (1, 2, 4)],
    (2, 0, 0),
)
ITEMS = {
    "account": f"{account_text(0)}:gap=3",
    "given away": f"combo({account_text(0)}/0/*):gap=4",
    "other account": f"pkh({account_text(1)}/0/*):gap=2",
    "one of the account": script(0, 0, 3).hex(),
    "one far up": f"pkh({account_text(0)}/0/12)",
    "stranger": script(2, 0, 0).hex(),
}
MASTERNODES = ("changed masternode", "revoked masternode", "old key", "new key", "key of a branch", "collateral")


@attrs.frozen
class Add:
    """Items are watched."""

    names: tuple[str, ...]


@attrs.frozen
class Remove:
    """Items are given up."""

    names: tuple[str, ...]


@attrs.frozen
class Blocks:
    """The node goes on to a heavier chain, `steps` further in the list: new blocks, or a reorganisation."""

    steps: int


@attrs.frozen
class Wait:
    """Seconds pass; None: until the client is synced."""

    seconds: float | None


@attrs.frozen
class Restart:
    """The client ends and starts again from what it stored."""


Act = Add | Remove | Blocks | Wait | Restart


@cache
def chains() -> tuple[GeneratedChain, ...]:
    """Ever heavier ones: two go on from the one before them, three leave it further down."""
    stem = extend_busily(begin(PLACES, 11), 60)
    grown = [extend_busily(stem.branch("a"), 6)]
    grown.append(extend_busily(grown[-1].branch("b"), 6))
    grown.append(extend_busily(stem.branch("c"), 22))
    grown.append(extend_busily(grown[-1].branch("d"), 6))
    grown.append(extend_busily(grown[0].branch("e"), 36))
    grown.append(extend_busily(stem.branch("f"), 52))
    return (stem, *grown)


@cache
def masternode_items() -> dict[str, str]:
    """An item for each name: what special transactions of the chains mention, the last of several."""
    stem, branch = chains()[0], chains()[2]
    named = [(tx, mentioned(tx)) for height in range(1, 61) for tx in transactions_at(stem, height)]
    late = [(tx, mentioned(tx)) for height in range(61, branch.height + 1) for tx in transactions_at(branch, height)]

    def of(kind: int, size: int, told: list[tuple[Transaction, frozenset[bytes]]] = named) -> bytes:
        return [element for tx, held in told if tx.type == kind for element in sorted(held) if len(element) == size][-1]

    elements = of(2, 32), of(4, 32), of(1, 20), of(3, 20), of(1, 20, late), of(1, 36, late)
    return dict(zip(MASTERNODES, [element_text(element, SIMNET) for element in elements], strict=True))


def transactions_at(chain: GeneratedChain, height: int) -> tuple[Transaction, ...]:
    return Block.from_bytes(chain.block(height) or b"").transactions


def text_of(name: str) -> str:
    """What is written of an item."""
    return ITEMS.get(name) or masternode_items()[name]


names = st.lists(st.sampled_from(sorted([*ITEMS, *MASTERNODES])), min_size=1, max_size=3, unique=True).map(tuple)
acts = st.one_of(
    st.builds(Add, names),
    st.builds(Remove, names),
    st.builds(Blocks, st.integers(1, 2)),
    st.builds(Wait, st.sampled_from([0.0, 0.11, 0.26, 0.53, 1.1, None])),
    st.builds(Restart),
)


@attrs.define
class Asked:
    """What is asked for, after whatever was added and removed."""

    scripts: dict[bytes, None] = attrs.field(factory=dict)
    chains: dict[str, KeyChain] = attrs.field(factory=dict)

    def add(self, watch: Watch) -> None:
        """Items are watched."""
        self.scripts |= dict.fromkeys(watch.scripts)
        self.chains |= {str(chain.descriptor): chain for chain in watch.chains}

    def remove(self, watch: Watch) -> None:
        """Items are given up."""
        for gone in watch.scripts:
            self.scripts.pop(gone, None)
        for chain in watch.chains:
            self.chains.pop(str(chain.descriptor), None)


def watch_of(names: tuple[str, ...]) -> Watch:
    return Watch.joined([parse_watch(text_of(name), SIMNET) for name in names])


Found = tuple[list[WalletTransaction], dict[bytes, int]]


def found(run: Run) -> Found:
    """The history, row ids left out, and what every script holds, if anything."""
    history = [attrs.evolve(tx, row_id=0) for tx in run.client.transactions()]
    return history, {script: value for script, value in run.client.balances().items() if value}


async def synced(run: Run, world: World) -> None:
    """Until the client is synced with what its node has."""
    with trio.fail_after(600):
        while run.client.state != "synced" or run.client.status.marks.tip_hash != world.nodes[1].chain.tip_hash:
            await trio.sleep(0.1)


async def act(one: Act, run: Run, world: World, at: int, asked: Asked) -> int:
    """Have it happen; the number of the chain that the node has then."""
    match one:
        case Add(names):
            asked.add(watch_of(names))
            await run.client.watch([text_of(name) for name in names])
        case Remove(names):
            asked.remove(watch_of(names))
            await run.client.unwatch([text_of(name) for name in names])
        case Blocks(steps):
            at = min(at + steps, len(chains()) - 1)
            await world.nodes[1].switch(chains()[at])
        case Wait(None):
            await synced(run, world)
        case Wait(seconds):
            assert seconds is not None
            await trio.sleep(seconds)
    return at


async def perform(story: list[Act], config: Config, world: World) -> None:
    asked, at = Asked(), 0
    async with AsyncExitStack() as life:
        run = await life.enter_async_context(runner(world)(config))
        for one in story:
            if isinstance(one, Restart):
                await life.aclose()
                run = await life.enter_async_context(runner(world)(config))
            else:
                at = await act(one, run, world, at, asked)
        await synced(run, world)
        await as_fresh(run, world, asked)


_fresh: dict[tuple[bytes, str], Found] = {}


async def as_fresh(run: Run, world: World, asked: Asked) -> None:
    """What `run` found is what a client finds that is told from the start what is asked for."""
    chosen = tuple([chain for _, chain in sorted(asked.chains.items())])
    told = attrs.evolve(run.client.config, watch=tuple(sorted(asked.scripts)), key_chains=chosen)
    key = world.nodes[1].chain.tip_hash, repr((told.watch, [(d, c.gap) for d, c in sorted(asked.chains.items())]))
    if key not in _fresh:
        async with runner(world)(attrs.evolve(told, datadir=world.directory / "fresh")) as fresh:
            await synced(fresh, world)
            assert {item.script for item in fresh.client.store.watch_items()} <= watched(run)
            _fresh[key] = found(fresh)
    assert found(run) == _fresh[key]
    assert run.client.store.watched_alone() == set(asked.scripts)
    assert [chain.descriptor for chain in run.client.store.key_chains()] == sorted(asked.chains)


def watched(run: Run) -> set[bytes]:
    return {item.script for item in run.client.store.watch_items()}


async def _play(story: list[Act], strategy: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with trio.open_nursery() as nursery:
            world = World(nursery, Path(directory))
            world.add(chains()[0], 1, delay=0.05)
            small = {"batch": {"filters": 20, "blocks": 3, "cfheaders": 40}}
            await perform(story, world.config(1, masternodes=False, limits=small, strategy=strategy), world)
            nursery.cancel_scope.cancel()


@pytest.mark.timeout(600)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(story=st.lists(acts, min_size=3, max_size=12), interleaved=st.booleans())
def test_any_story_ends_where_a_fresh_scan_does(story: list[Act], interleaved: bool) -> None:
    strategy = "interleaved" if interleaved else "sequential"
    trio.run(_play, story, strategy, clock=MockClock(autojump_threshold=0))


def test_the_stem_of_the_chains_uses_every_place() -> None:
    """So that gap limits stop nowhere in the stories, whatever a reorganisation takes away."""
    stem = chains()[0]
    paid = {out.script for height in range(1, 61) for tx in transactions_at(stem, height) for out in tx.outputs}
    assert paid >= set(stem.economy.watched)
    heavier = [chain.tip.work for chain in chains()]
    assert heavier == sorted(set(heavier))


def test_the_items_of_masternodes_are_told_apart_and_some_are_in_a_branch_alone() -> None:
    """So that stories add them, lose them in a reorganisation, and find them beside what pays."""
    elements = {name: parse_watch(text_of(name), SIMNET).scripts[0] for name in MASTERNODES}
    assert sorted(map(len, elements.values())) == [20, 20, 20, 32, 32, 36]
    assert len(set(elements.values())) == len(MASTERNODES)
    mentions = [
        {
            element
            for height in range(1, chain.height + 1)
            for tx in transactions_at(chain, height)
            for element in mentioned(tx)
        }
        for chain in chains()
    ]
    for name in ("key of a branch", "collateral"):
        assert [elements[name] in held for held in mentions].count(True) == 1
    scripts = {script(*place) for place in PLACES}
    assert all(held & scripts for held in mentions)
