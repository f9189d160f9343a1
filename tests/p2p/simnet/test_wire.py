"""The node's end of a connection, when the other end is torn away."""

from __future__ import annotations

import socket
import struct

import pytest
import trio
import trio.testing

from phasegate.consensus.params import SIMNET
from phasegate.p2p.simnet.wire import Gone, Wire

RESET = struct.pack("ii", 1, 0)
"""Linger for no time at all: closing sends a reset, as the system does for a killed process with unread bytes."""


async def reset(stream: trio.SocketStream) -> str:
    """Tear a connection away and return the address it had."""
    host, port = stream.socket.getsockname()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    await stream.aclose()
    return f"{host}:{port}"


async def connected() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Both ends of a TCP connection, the node's first."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        theirs = await trio.testing.open_stream_to_socket_listener(listener)
        return await listener.accept(), theirs


@pytest.mark.trio
async def test_a_peer_that_was_reset_keeps_its_name() -> None:
    """What a killed client had asked for is still logged under its address."""
    ours, theirs = await connected()
    wire = Wire(ours, SIMNET.magic)
    address = await reset(theirs)
    with pytest.raises(Gone):
        await wire.receive()
    assert wire.name == address
    await wire.aclose()


@pytest.mark.trio
async def test_a_peer_that_was_reset_before_it_was_met_is_just_gone() -> None:
    """A connection that ended before its first byte does the node no harm."""
    ours, theirs = await connected()
    await reset(theirs)
    with pytest.raises(trio.BrokenResourceError):
        await ours.receive_some(1)
    wire = Wire(ours, SIMNET.magic)
    assert wire.name == "gone"
    await wire.aclose()
