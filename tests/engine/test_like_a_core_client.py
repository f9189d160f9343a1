"""What the client sends is what the recorded client sent to Dash Core: the same bytes for the same questions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from trio.testing import MockClock

from phasegate.consensus.codec import Reader
from phasegate.consensus.params import Network
from phasegate.p2p.messages import GetData, InvType, Message, decode
from phasegate.p2p.simnet.recording import load_recording
from tests.engine.conftest import Tapped

if TYPE_CHECKING:
    from tests.engine.conftest import Start, World

pytestmark = pytest.mark.trio

Conversation = list[tuple[str, str, bytes]]
ASKED = ("getheaders", "getmnlistd", "getcfcheckpt", "getcfheaders", "getcfilters")


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
    assert sent["getheaders"][0].to_payload(70240) == recorded["getheaders"][0]
    for command in ASKED[1:]:
        assert [message.to_payload(70240) for message in sent[command]], command
        assert all(message.to_payload(70240) in recorded[command] for message in sent[command]), command
    _blocks_are_asked_for_as_recorded(sent["getdata"], recorded["getdata"])
    _version_has_the_recorded_form(sent["version"][0].to_payload(70240), recorded["version"][0])


def _blocks_are_asked_for_as_recorded(sent: list[Message], recorded: list[bytes]) -> None:
    known = [decode("getdata", payload, 70240) for payload in recorded]
    items = {item for message in known if isinstance(message, GetData) for item in message.items}
    for message in sent:
        assert isinstance(message, GetData)
        assert all(item.type == InvType.BLOCK and item in items for item in message.items)


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
