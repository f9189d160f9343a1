"""Announcements of blocks: every form in which a node may tell of one is noticed, and nothing else is taken for one."""

from __future__ import annotations

import attrs
import pytest

from phasegate.consensus.primitives import Block
from phasegate.engine.announcements import ANNOUNCED, announces_news
from phasegate.p2p.compressed import Headers2, compress
from phasegate.p2p.messages import Addr, ClSig, Headers, Inv, InvItem, InvType, Message, Ping
from phasegate.p2p.simnet.announcing import FORMS, announcement
from phasegate.p2p.simnet.compact_blocks import compact_block
from tests.simulated_world import small_chain

CHAIN = small_chain()
TIP = CHAIN.height


@attrs.define
class Asked:
    """Somebody who knows every block, and which ones he was asked for."""

    blocks: list[bytes] = attrs.field(factory=list)

    def knows(self, block: bytes) -> bool:
        self.blocks.append(block)
        return True


def stored(height: int, message: Message) -> bool:
    """Whether `message` is news to a client that has the chain up to `height`."""
    known = {CHAIN.hash_at(n) for n in range(height + 1)}
    return announces_news(message, known.__contains__)


@pytest.mark.parametrize("burst", [1, 2, 8, 9, ANNOUNCED])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_tells_of_news(form: str, burst: int) -> None:
    """Single blocks, bursts as long as headers are announced for, longer ones; once stored they are news no more."""
    messages = announcement(CHAIN, TIP - burst + 1, form, nonce=7)
    assert any(stored(TIP - burst, message) for message in messages)
    assert stored(TIP - 1, messages[-1])
    assert not any(stored(TIP, message) for message in messages)


def test_a_long_burst_of_invs_is_noticed() -> None:
    """Five hundred hashes in one inv: the newest, which stand last, are looked up; not all of them."""
    hashes = [CHAIN.hash_at(n) for n in range(1, TIP + 1)] * 2
    asked = Asked()
    inv = Inv(tuple([InvItem(InvType.BLOCK, block) for block in hashes]))
    assert stored(TIP - 1, inv)
    assert not announces_news(inv, asked.knows)
    assert asked.blocks == hashes[-ANNOUNCED:]


def test_transactions_beside_it_hide_no_block() -> None:
    """An inv is looked at item by item."""
    items = [InvItem(InvType.TX, bytes([n]) * 32) for n in range(5)]
    assert not stored(TIP - 1, Inv(tuple(items)))
    assert stored(TIP - 1, Inv((*items, InvItem(InvType.BLOCK, CHAIN.tip_hash), *items)))


def test_compressed_headers_that_cannot_be_read_are_no_hint() -> None:
    """Cut short, without a previous hash to begin from, none at all, or more than any announcement has."""
    whole = compress(CHAIN.headers(TIP, 1), announcement=True)
    assert stored(TIP - 1, whole)
    continued = compress(CHAIN.headers(TIP - 1, 2))
    second = Headers2(1, continued.records[len(compress(CHAIN.headers(TIP - 1, 1)).records) :])
    for broken in (second, Headers2(0, b""), compress(CHAIN.headers(1, ANNOUNCED + 1))):
        assert not stored(0, broken)


def test_a_chainlock_of_an_unknown_block_is_news() -> None:
    """Its signer has a block that is not stored; an InstantSend lock tells of no block."""
    assert stored(TIP - 1, ClSig(TIP, CHAIN.tip_hash, bytes(96)))
    assert not stored(TIP, ClSig(TIP, CHAIN.tip_hash, bytes(96)))


@pytest.mark.parametrize("message", [Headers(b""), Inv(()), Ping(1), Addr(())], ids=lambda message: message.command)
def test_nothing_else_is_an_announcement(message: Message) -> None:
    """Empty ones, and messages about other things."""
    assert not announces_news(message, lambda _: False)


def test_a_compact_block_is_known_by_its_header() -> None:
    """Its transactions are neither looked at nor asked for."""
    block = compact_block(Block.from_bytes(CHAIN.block(TIP) or b""), nonce=1)
    asked = Asked()
    assert not announces_news(block, asked.knows)
    assert asked.blocks == [CHAIN.tip_hash]
