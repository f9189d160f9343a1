"""What the client sends is what the recorded client sent to Dash Core: the same bytes for the same questions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from trio.testing import MockClock

from phasegate.consensus.codec import Reader
from phasegate.consensus.params import Network
from phasegate.p2p.messages import GetData, GetMnListDiff, GetQrInfo, InvType, Message, decode
from phasegate.p2p.simnet.recording import RecordedChain, load_recording
from tests.simulated_world import Tapped

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

Conversation = list[tuple[str, str, bytes]]
ASKED = ("getcfcheckpt", "getcfheaders", "getcfilters")
OF_OTHER_BLOCKS = ("getmnlistd", "getqrinfo")
"""Requests of the recorded form that may name other blocks of the chain than the recording does."""


async def test_every_request_equals_a_recorded_one(
    world: World,
    running: Start,
    autojump_clock: MockClock,
    capture: Path,
    recorded_network: Network,
    conversation: Callable[[int], Conversation],
) -> None:
    """Byte for byte; blocks are asked for in one getdata where the recording asked for one at a time."""
    chain = load_recording(capture)
    tap = Tapped(chain)
    world.nodes[1] = tap
    recorded: dict[str, list[bytes]] = {}
    for direction, command, payload in conversation(70240):
        if direction == ">":
            recorded.setdefault(command, []).append(payload)
    async with running(world.config(1, network=recorded_network, watch=chain.watch)) as run:
        await run.until("synced")
    sent: dict[str, list[Message]] = {}
    for message in tap.taken:
        sent.setdefault(message.command, []).append(message)
    assert set(sent) - {"pong", "ping"} <= set(recorded) | {"sendheaders"}
    assert sent["getheaders2"][0].to_payload(70240) == recorded["getheaders2"][0]
    _name_blocks_of([message for command in OF_OTHER_BLOCKS for message in sent[command]], chain)
    for command in ASKED:
        assert [message.to_payload(70240) for message in sent[command]], command
        assert all(message.to_payload(70240) in recorded[command] for message in sent[command]), command
    _blocks_are_asked_for_as_recorded(sent["getdata"], recorded["getdata"])
    _version_has_the_recorded_form(sent["version"][0].to_payload(70240), recorded["version"][0])


def _name_blocks_of(requests: list[Message], chain: RecordedChain) -> None:
    """Blocks of the chain by their hashes; the genesis block, too, which has no other name in the recording."""
    assert requests
    for message in requests:
        assert isinstance(message, GetMnListDiff | GetQrInfo)
        named = [message.base, message.block] if isinstance(message, GetMnListDiff) else [*message.bases, message.block]
        assert None not in [chain.height_of(block) for block in named]


def _blocks_are_asked_for_as_recorded(sent: list[Message], recorded: list[bytes]) -> None:
    known = [decode("getdata", payload, 70240) for payload in recorded]
    items = {item for message in known if isinstance(message, GetData) for item in message.items}
    for message in sent:
        assert isinstance(message, GetData)
        locks = [item for item in message.items if item.type != InvType.BLOCK]
        assert all(item in items for item in message.items if item not in locks)
        assert all(item.type in (InvType.CHAINLOCK, InvType.INSTANTSEND_LOCK) for item in locks)
        assert locks in ([], list(message.items))


def _version_has_the_recorded_form(ours: bytes, theirs: bytes) -> None:
    """The same protocol, services, empty addresses and ending; time, nonce, name, height and relay are our own."""
    pieces = []
    for payload in (ours, theirs):
        r = Reader(payload)
        fixed = (r.i32(), r.u64())
        r.i64()
        addresses = (r.take(26), r.take(26)[:8])
        r.u64()
        r.var_bytes(256)
        r.i32()
        r.u8()
        pieces.append((fixed, addresses[0][:8], r.left))
    assert pieces[0] == pieces[1]
