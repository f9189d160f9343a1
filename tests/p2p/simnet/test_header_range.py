"""A stretch of real headers is served as a chain; what is below it is unknown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phasegate.consensus.params import MAINNET
from phasegate.p2p.compressed import expand
from phasegate.p2p.connection import ConnectionLost
from phasegate.p2p.handshake import our_version
from phasegate.p2p.messages import (
    GetCFHeaders,
    GetData,
    GetHeaders,
    GetHeaders2,
    GetMnListDiff,
    Headers,
    Headers2,
    InvItem,
    InvType,
    Message,
    Version,
)
from phasegate.p2p.simnet import CannotServe
from phasegate.p2p.simnet.answers import answer
from phasegate.p2p.simnet.greeting import Identity
from phasegate.p2p.simnet.header_range import HEADERS_ONLY, HeaderRange
from phasegate.p2p.simnet.node import Node

START, END, V = 1737084, 1742083, 70240
NOWHERE = b"\x11" * 32


@pytest.fixture(scope="module")
def headers(shared: Path) -> HeaderRange:
    """5,000 real headers of mainnet."""
    return HeaderRange(MAINNET, START, (shared / "vectors" / "headers" / f"mainnet_{START}_{END}.bin").read_bytes())


def told(chain: HeaderRange, request: Message) -> Message | None:
    given = answer(chain, request, V)
    return None if given is None else next(iter(given.messages))


def test_heights_are_those_of_the_chain(headers: HeaderRange) -> None:
    """The first and last header have their mainnet heights, and hashes that are found again."""
    assert (headers.start, headers.height) == (START, END)
    assert headers.height_of(headers.hash_at(START + 7)) == START + 7
    assert headers.height_of(MAINNET.genesis) is None
    assert headers.tip_hash == headers.hash_at(END)
    for height in (START - 1, END + 1):
        with pytest.raises(CannotServe):
            headers.hash_at(height)


def test_headers_follow_a_known_locator(headers: HeaderRange) -> None:
    """From behind the first known hash, plain and compressed, up to the limit, the stop or the tip."""
    locator = (NOWHERE, headers.hash_at(START + 99))
    assert told(headers, GetHeaders(V, locator)) == Headers(headers.headers(START + 100, 2000))
    assert told(headers, GetHeaders(V, locator, headers.hash_at(START + 102))) == Headers(
        headers.headers(START + 100, 3)
    )
    packed = told(headers, GetHeaders2(V, locator))
    assert isinstance(packed, Headers2)
    assert expand(packed) == headers.headers(START + 100, 8000)
    assert told(headers, GetHeaders(V, (headers.tip_hash,))) == Headers(b"")


def test_a_single_header_is_had_by_its_hash(headers: HeaderRange) -> None:
    """An empty locator with a stop gives that header alone; one that is not there meets silence."""
    for height in (START, START + 1000, END):
        assert told(headers, GetHeaders(V, (), headers.hash_at(height))) == Headers(headers.header(height))
    below = headers.header(START)[4:36]
    assert told(headers, GetHeaders(V, (), below)) is None


def test_what_it_does_not_have_it_does_not_send(headers: HeaderRange) -> None:
    """An unknown locator would begin at height 1, which is not there; blocks and lists are not there either."""
    assert told(headers, GetHeaders(V, (NOWHERE,))) == Headers(b"")
    assert told(headers, GetHeaders2(V, (NOWHERE,))) == Headers2(0, b"")
    assert told(headers, GetData((InvItem(InvType.BLOCK, headers.tip_hash),))) is None
    assert told(headers, GetMnListDiff(headers.hash_at(START), headers.tip_hash)) is None


@pytest.mark.parametrize("size", [0, 79, 81])
def test_other_bytes_are_no_headers(size: int) -> None:
    """What cannot be cut into headers is refused."""
    with pytest.raises(CannotServe, match=str(size)):
        HeaderRange(MAINNET, 5, bytes(size))


@pytest.mark.trio
async def test_a_node_of_headers_says_what_it_lacks(headers: HeaderRange, call: Callable[[Node], Any]) -> None:
    """Its services have no filters, and who asks for them all the same is disconnected."""
    caller = call(Node(headers, identity=HEADERS_ONLY))
    await caller.greet()
    assert await caller.ask(GetHeaders(V, (), headers.tip_hash)) == [Headers(headers.header(END))]
    await caller.connection.send(GetCFHeaders(0, START, headers.tip_hash))
    with pytest.raises(ConnectionLost):
        await caller.connection.receive()


@pytest.mark.trio
async def test_a_node_tells_its_identity(headers: HeaderRange, call: Callable[[Node], Any]) -> None:
    """Protocol, services and user agent are as it was told to say."""
    caller = call(Node(headers, identity=Identity(70230, 1, "/Dash Core:22.1.3")))
    await caller.connection.send(our_version(nonce=1, time=0))
    version = (await caller.until(Version))[-1]
    assert (version.version, version.services) == (70230, 1)
    assert version.user_agent.startswith("/Dash Core:22.1.3(")
