"""What a user looks up in the proven chain: headers, blocks from a peer, masternodes, the best ChainLock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.masternodes import MasternodeState
from phasegate.consensus.primitives import Block
from phasegate.consensus.raw_blocks import RawBlock
from phasegate.engine import block_orders
from phasegate.engine.block_orders import BlockUnavailable
from phasegate.engine.errors import ConfigError
from phasegate.engine.proven import UnknownBlock
from phasegate.p2p.messages import BlockMessage, GetData, InvType
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.lies import Lie
from phasegate.store import StoreError
from tests.lock_tampering import chainlocks
from tests.simulated_world import Tapped, small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio


async def test_a_header_is_found_by_height_and_hash(world: World, running: Start, autojump_clock: MockClock) -> None:
    """By 32 bytes in wire order, or as people write it; what is told of it is what the chain says."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        while run.client.pending_locks:
            await trio.sleep(0.1)
        header = run.client.get_header(250)
        wire = chain.hash_at(250)
        assert run.client.get_header(wire) == run.client.get_header(wire[::-1].hex().upper()) == header
        assert (header.height, header.hash, header.raw) == (250, wire, chain.header(250))
        assert header.previous == chain.hash_at(249)
        assert (header.confirmations, header.chainlocked) == (51, True)
        best = run.client.get_chainlock()
        assert best is not None
        assert (best.height, best.signature) == (chainlocks(chain)[-1].height, chainlocks(chain)[-1].signature)
        assert (best.height, best.block_hash) == run.client.chainlock
        assert (
            not run.client.get_header(best.height + 1 if best.height < 300 else 300).chainlocked or best.height == 300
        )
        assert run.client.get_header(0).raw == chain.network.genesis


@pytest.mark.parametrize("unknown", [301, -1, bytes(32), "00" * 32])
async def test_a_block_that_is_not_stored_is_unknown(
    world: World, running: Start, autojump_clock: MockClock, unknown: Any
) -> None:
    """Above the tip, below the base, or of another chain."""
    world.add(small_chain(), 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        with pytest.raises(UnknownBlock, match=r"block (301|-1|0{64}) is not stored; the newest is 300"):
            run.client.get_header(unknown)
        with pytest.raises(UnknownBlock):
            await run.client.get_block(unknown)


@pytest.mark.parametrize("wrong", [True, None, b"short", "0x" + "00" * 31, "00" * 31, 1.0])
async def test_what_is_no_height_and_no_hash_is_refused(world: World, wrong: Any, running: Start) -> None:
    """Naming what it should be."""
    async with running(world.config(1)) as run:
        with pytest.raises(ConfigError, match="32 bytes of hash in wire order, or its 64 hex digits in display order"):
            run.client.get_header(wrong)


@pytest.mark.parametrize("strategy", ["sequential", "interleaved"])
async def test_a_block_is_fetched_and_proven(
    world: World, running: Start, autojump_clock: MockClock, strategy: str
) -> None:
    """Whole, by height or hash, several at once; no phase notices, and nothing is stored."""
    chain = small_chain()
    node = world.nodes[1] = Tapped(chain)
    async with running(world.config(1, strategy=strategy)) as run:
        await run.until("synced")
        path, digest, got = list(run.path), run.client.store.digest(), dict[int, Any]()

        async def get(height: int) -> None:
            got[height] = await run.client.get_block(chain.hash_at(height) if height % 2 else height)

        async with trio.open_nursery() as nursery:
            for height in (1, 20, 33, 300):
                nursery.start_soon(get, height)
        for height, block in got.items():
            assert block.raw == chain.block(height)
            assert block.transactions == Block.from_bytes(block.raw).transactions
            assert block.header == run.client.get_header(height)
        await trio.sleep(2)
        assert (run.path, run.client.store.digest(), run.client.facts.outstanding) == (path, digest, 0)
        asked = [item for message in node.taken if isinstance(message, GetData) for item in message.items]
        assert sorted(i.hash for i in asked if i.type == InvType.BLOCK) == sorted(chain.hash_at(h) for h in got)


async def test_who_lies_about_a_block_is_banned_and_another_asked(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The body that the header does not commit to is never handed over."""
    chain = small_chain()
    world.add(chain, 1, lie=Lie("wrong-block-body", 40))
    world.add(chain, 2, delay=0.1)
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        block = await run.client.get_block(40)
        assert block.raw == chain.block(40)
        with trio.fail_after(60):
            while len(run.client.peers) > 1 and not [code for code in run.warnings if code.startswith("bad-")]:
                await run.client.get_block(40)
        assert [peer.address.port for peer in run.client.peers] == [2]


async def test_a_block_that_nobody_sends_is_unavailable(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The silent peer is named; who waits for less time than that is told where the client is."""
    chain = small_chain()
    node = world.add(chain, 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        monkeypatch.setattr(node, "silent", True)
        with pytest.raises(BlockUnavailable, match=r"could not be had within 2 s: the client is in state synced"):
            await run.client.get_block(7, timeout=2)
        with pytest.raises(
            BlockUnavailable, match=r"block [0-9a-f]{64} could not be had.*node:1: no answer to getdata"
        ):
            await run.client.get_block(7)


async def test_it_is_refused_while_the_client_is_not_synced(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Before the first sync, while it is paused, and after its end: it says so at once."""
    world.add(small_chain(), 1, delay=0.2)
    async with running(world.config(1)) as run:
        await run.until("filters")
        with pytest.raises(BlockUnavailable, match="blocks are fetched while the client is synced, and it is in state"):
            await run.client.get_block(7)
        await run.until("synced")
        await run.client.pause()
        await run.until("paused")
        with pytest.raises(BlockUnavailable, match="in state paused"):
            await run.client.get_block(7)
    with pytest.raises(StoreError):
        await run.client.get_block(7)


async def test_a_walk_for_a_new_block_holds_an_order_up_and_loses_none(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The request goes with its stay in `synced`, and is made again in the next."""
    chain = generate(120, 3)
    node = world.add(chain, 1, delay=0.2)
    async with running(world.config(1)) as run:
        await run.until("synced")
        async with trio.open_nursery() as nursery:
            got: list[Any] = []

            async def get() -> None:
                got.append(await run.client.get_block(60))

            nursery.start_soon(get)
            await trio.sleep(0.1)
            await run.client.rescan()
            await run.until("headers")
            chain.extend(3)
            await node.announce(3)
        assert got[0].raw == chain.block(60)
        assert run.client.requests.unasked == 0
        await run.until("synced")


async def test_an_order_that_is_cancelled_leaves_nothing(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Its request ends with it; the others go on, and there are never more than a few."""
    chain = small_chain()
    node = world.add(chain, 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        node.delay = 0.2
        orders = run.client._work.block_orders
        async with trio.open_nursery() as nursery:
            for height in range(block_orders.MOST):
                nursery.start_soon(run.client.get_block, height)
            await run.settled()
            with pytest.raises(BlockUnavailable, match=f"{block_orders.MOST} blocks are being fetched already"):
                await run.client.get_block(50)
            nursery.cancel_scope.cancel()
        await run.settled()
        assert orders._orders == []
        assert not [one for one in run.client.open_requests if one.phase == "synced"]
        await run.client.get_block(50)


async def test_who_waits_for_a_block_is_told_of_the_end(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    chain = small_chain()
    node = world.add(chain, 1)
    refused: list[BaseException] = []
    async with running(world.config(1)) as run, trio.open_nursery() as nursery:

        async def get() -> None:
            try:
                await run.client.get_block(50)
            except BlockUnavailable as told:
                refused.append(told)

        await run.until("synced")
        node.delay = 1.0
        nursery.start_soon(get)
        await run.settled()
        await run.client.stop()
    assert [str(told).endswith("the client has ended") for told in refused] == [True]


async def test_the_masternodes_are_those_of_the_list(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Typed rows of the newest stored list, banned ones too, with the root that its coinbase states."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1)) as run:
        assert await run.client.get_masternodes() is None
        await run.until("synced")
        listed = await run.client.get_masternodes()
        raw = run.client.store.masternode_state()
        assert listed is not None
        assert raw is not None
        state = MasternodeState.from_bytes(raw)
        assert (listed.height, listed.block_hash) == (300, chain.tip_hash)
        assert listed.merkle_root == state.merkle_root()
        assert [row.pro_tx_hash for row in listed.masternodes] == sorted(state.entries)
        for row in listed.masternodes:
            entry = state.entries[row.pro_tx_hash]
            assert (row.enabled, row.evo, row.operator_key) == (entry.valid, entry.type == 1, entry.operator_key)
        assert any(":" in place for row in listed.masternodes for place in row.addresses)


def asked_of(run: Run) -> list[str]:
    return [one.phase for one in run.client.open_requests]


async def test_a_block_that_was_not_ordered_is_nobodys_answer(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The desk of `synced` takes what it asked for, and counts the rest as unasked."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        (peer,) = run.client.peers
        message = BlockMessage(RawBlock(chain.block(9) or b""))
        assert not run.client._ledger.deliver(peer, message)
        assert asked_of(run) == []
