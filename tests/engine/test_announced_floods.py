"""A peer that announces more than anybody needs has it fetched out of its own allowance, and nobody else notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.codec import compact_size, dsha
from phasegate.engine.events import TransactionSeen
from phasegate.engine.limits import Limits
from phasegate.engine.lock_offers import AT_ONCE
from phasegate.p2p.framing import encode_frame
from phasegate.p2p.messages import GetData, Inv, InvItem, InvType
from phasegate.p2p.simnet.conversation import Conversation
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.node import Node
from phasegate.p2p.simnet.wire import RawFrame
from tests.broadcast_crowds import crowd

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

SIZE = 99_000
"""Bytes of an object that is as large as any that nodes relay, nearly."""
KINDS = {"tx": InvType.TX, "isdlock": InvType.INSTANTSEND_LOCK}


def fat_tx(number: int) -> bytes:
    spent = number.to_bytes(32, "little") + bytes(5) + b"\xff" * 4
    raw = b"\2\0\0\0\1" + spent + b"\1" + (1).to_bytes(8, "little")
    script = bytes(SIZE - len(raw) - 5 - 4)
    return raw + compact_size(len(script)) + script + bytes(4)


def fat_lock(number: int) -> bytes:
    inputs = b"".join([(number * 10_000 + place).to_bytes(36, "little") for place in range(SIZE // 36)])
    count = compact_size(SIZE // 36)
    return b"\1" + count + inputs + number.to_bytes(32, "big") + b"\7" * 32 + b"\x8a" + bytes(95)


FAT = {"tx": fat_tx, "isdlock": fat_lock}


class Flood:
    """Announces 64 fat objects a second from one node, and serves what is asked for of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, node: Node, kind: str) -> None:
        self.served = self.bytes = self.number = 0
        self._node = node
        self._kind = kind
        self._made: dict[bytes, bytes] = {}
        real, flood = Conversation._answer, self

        async def answered(conversation: Conversation, request: Any) -> None:
            wanted = [i for i in request.items if i.hash in flood._made] if isinstance(request, GetData) else []
            for item in wanted:
                await flood._serve(conversation, flood._made[item.hash])
            if not wanted:
                await real(conversation, request)

        monkeypatch.setattr(Conversation, "_answer", answered)

    async def _serve(self, conversation: Conversation, raw: bytes) -> None:
        self.served += 1
        self.bytes += len(raw)
        magic = self._node.chain.network.magic
        await conversation.wire.send(RawFrame(self._kind, encode_frame(magic, self._kind, raw)))

    async def run(self, seconds: float) -> None:
        until = trio.current_time() + seconds
        while trio.current_time() < until:
            items = tuple([self._next() for _ in range(AT_ONCE)])
            for conversation in self._node._peers:
                await conversation.say(Inv(items))
            await trio.sleep(0.25)

    def _next(self) -> InvItem:
        self.number += 1
        raw = FAT[self._kind](self.number)
        self._made[dsha(raw)] = raw
        return InvItem(KINDS[self._kind], dsha(raw))


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_announced_is_fetched_out_of_an_allowance(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """63 MB in ten seconds: 8 are fetched, and what is under way by then; told once, no ban, others are heard."""
    chain = generate(260, 7)
    bad, good = crowd(world, chain, 2)
    flood, limits = Flood(monkeypatch, bad, kind), Limits()
    tx = chain.spend_watched()
    async with running(world.config(1, 2, watch=chain.watch)) as run:
        await run.until("synced")
        await flood.run(10.0)
        allowed = limits.chatter_burst_bytes + 10 * limits.chatter_bytes
        under_way = limits.in_flight["locks"] * AT_ONCE * SIZE
        assert allowed <= flood.bytes <= allowed + under_way
        assert set(run.warnings) - {"locks-let-go"} == {"announces-too-much"}
        assert run.warnings.count("announces-too-much") == 1
        assert "node:1" in run.said("announces-too-much")
        good.pool.add(tx)
        await trio.sleep(10)
        assert [event.txid for event in run.told if isinstance(event, TransactionSeen)] == [tx.txid]
        before = flood.bytes
        await trio.sleep(160)  # its debt is paid: it is asked again, at its rate
        assert before < flood.bytes <= before + 170 * limits.chatter_bytes + under_way
        assert {peer.address.port for peer in run.client.peers} == {1, 2}
