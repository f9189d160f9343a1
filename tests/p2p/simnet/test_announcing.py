"""Blocks told of in one form or another, and compact blocks as BIP152 has them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from phasegate.consensus.filters import siphash
from phasegate.consensus.primitives import Block
from phasegate.p2p.compressed import expand
from phasegate.p2p.messages import CmpctBlock, Headers, Headers2, Inv, InvItem, InvType, Message, Verack, decode
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.node import Node

Calling = Callable[[Node], Any]
pytestmark = pytest.mark.trio


async def announced(call: Calling, form: str, blocks: int) -> tuple[Any, list[Message]]:
    """The chain, and what a peer without wishes hears of its newest blocks."""
    chain = generate(40, "told")
    node = Node(chain, announce_by=form, locks=False)
    caller = call(node)
    await caller.greet()
    await caller.ask(Verack())
    chain.extend(blocks)
    await node.announce(blocks)
    return chain, await caller.ask(Verack())


@pytest.mark.parametrize("blocks", [1, 8])
async def test_a_form_can_be_forced(call: Calling, blocks: int) -> None:
    """Whatever the peer wished and has, it hears of up to eight blocks in the form that the node was told to use."""
    for form in ("inv", "headers", "headers2", "cmpctblock"):
        chain, told = await announced(call, form, blocks)
        raw = chain.headers(41, blocks)
        match form:
            case "inv":
                assert told == [Inv((InvItem(InvType.BLOCK, chain.tip_hash),))]
            case "headers":
                assert told == [Headers(raw)]
            case "headers2":
                (message,) = told
                assert isinstance(message, Headers2)
                assert expand(message) == raw
            case _:
                assert b"".join([m.header.to_bytes() for m in told if isinstance(m, CmpctBlock)]) == raw
                assert len(told) == blocks


@pytest.mark.parametrize("form", ["headers", "headers2", "cmpctblock"])
async def test_a_long_burst_is_an_inv_of_the_tip(call: Calling, form: str) -> None:
    """Nine blocks are too many for any other form."""
    chain, told = await announced(call, form, 9)
    assert told == [Inv((InvItem(InvType.BLOCK, chain.tip_hash),))]


async def test_a_compact_block_tells_its_block(call: Calling) -> None:
    """Header and coinbase are sent and every other transaction is named by its short id, in block order [BIP152]."""
    chain, told = await announced(call, "cmpctblock", 8)
    short_ids = 0
    for height, message in enumerate(told, 41):
        assert isinstance(message, CmpctBlock)
        assert decode("cmpctblock", message.to_payload(70240), 70240) == message
        block = Block.from_bytes(chain.block(height))
        assert message.header == block.header
        assert [(p.skipped, p.tx) for p in message.prefilled] == [(0, block.transactions[0])]
        key = hashlib.sha256(block.header.to_bytes() + message.nonce.to_bytes(8, "little")).digest()
        k0, k1 = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
        ids = [siphash(k0, k1, tx.txid).to_bytes(8, "little")[:6] for tx in block.transactions[1:]]
        assert message.short_ids == b"".join(ids)
        short_ids += len(ids)
    assert short_ids > 3


async def test_only_known_forms_are_taken() -> None:
    """A form that nobody speaks is refused when the node is made."""
    with pytest.raises(ValueError, match="announce_by"):
        Node(generate(1, "told"), announce_by="pigeon")
