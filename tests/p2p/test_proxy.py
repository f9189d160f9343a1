"""Connections through a real SOCKS5 proxy on loopback: nothing is looked up here, and every failure has a reason."""

from __future__ import annotations

import gc
import json
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import attrs
import pytest
import trio

from phasegate.engine.seams import Seams, proxied
from phasegate.p2p.addresses import Address
from phasegate.p2p.connection import Connection
from phasegate.p2p.messages import GetData, InvItem, Message, Ping, Pong
from phasegate.p2p.proxy import OpenStream, ProxyFailed, through_proxy
from tests.socks_proxy import NO_AUTH, USER_PASS, Asked, SocksProxy

ONION = "pg6mmjiyjmcrsslvykfwnntlaru7p5svn6y2ymmju6nubxndf4pscryd.onion"
TARGETS = ["seed.example", "UPPER.example", ONION, f"{'a' * 52}.b32.i2p", "203.0.113.5", "2001:db8::5"]
MAGIC = b"\xbf\x0c\x6b\xbd"
Handler = Callable[[trio.SocketStream], Any]


@pytest.fixture(autouse=True)
def nothing_is_leaked() -> Iterator[None]:
    """A socket that nobody closed is found when the test ends, not at some later one."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def no_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks the system's resolver for anything but a number fails the test."""
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host is None or set(host) <= set("0123456789.:"):
            return real(host, *args, **kwargs)
        raise AssertionError(f"{host!r} was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@attrs.frozen
class Place:
    """A proxy, and an echo behind each of `TARGETS`."""

    proxy: SocksProxy
    nursery: trio.Nursery

    def opener(self, seed: int = 1, *, isolate: bool = True) -> OpenStream:
        return through_proxy(self.proxy.address, random=random.Random(seed), isolate=isolate)

    async def listen(self, handler: Handler) -> int:
        """The port of a new server on loopback."""
        listeners = await self.nursery.start(trio.serve_tcp, handler, 0)
        return int(listeners[0].socket.getsockname()[1])


async def echo(stream: trio.SocketStream) -> None:
    """Send back what comes, and end when it ends."""
    async for piece in stream:
        await stream.send_all(piece)
    await stream.aclose()


@pytest.fixture
async def place(nursery: trio.Nursery) -> AsyncIterator[Place]:
    place = Place(SocksProxy(), nursery)
    await nursery.start(place.proxy.serve)
    port = await place.listen(echo)
    place.proxy.routes = dict.fromkeys(TARGETS, ("127.0.0.1", port))
    yield place
    nursery.cancel_scope.cancel()


async def said_back(stream: trio.abc.Stream, what: bytes) -> bytes:
    """What an echo returns for `what`."""
    await stream.send_all(what)
    back = b""
    while len(back) < len(what) and (piece := await stream.receive_some(4096)):
        back += piece
    return back


async def refusal(open_stream: OpenStream, host: str = "seed.example") -> OSError:
    """Why `host` cannot be reached."""
    with pytest.raises(OSError, match=r"^proxy ") as failed:
        await open_stream(host, 9999)
    return failed.value


@pytest.mark.trio
@pytest.mark.parametrize("host", TARGETS)
async def test_the_proxy_gets_the_target_as_it_is_written(place: Place, host: str) -> None:
    """A name, a hidden service or a number: the proxy alone finds out where it is, and the stream leads there."""
    async with await place.opener()(host, 9999) as stream:
        assert await said_back(stream, b"through " * 2000) == b"through " * 2000
    assert [(asked.host, asked.port) for asked in place.proxy.asked] == [(host, 9999)]


@pytest.mark.trio
async def test_messages_travel_through_the_proxy(place: Place) -> None:
    """The stream is one a connection can use, whole frames in both directions, and its end is seen."""
    messages: list[Message] = [Ping(1), GetData((InvItem(2, bytes(32)),) * 3000), Pong(2)]
    connection = Connection(await place.opener()(ONION, 9999), MAGIC, compute=trio.to_thread.run_sync)
    for message in messages:
        await connection.send(message)
    assert [await connection.receive() for _ in messages] == messages
    await connection.aclose()
    await place.proxy.until(lambda proxy: proxy.open == 0)


@pytest.mark.trio
async def test_each_connection_has_a_user_of_its_own(place: Place) -> None:
    """So that Tor isolates it; the names come from the randomness given, and can be left out."""
    for opener in (place.opener(1), place.opener(1), place.opener(2), place.opener(1, isolate=False)):
        for _ in range(2):
            await (await opener("seed.example", 9999)).aclose()
    first, again, other, plain = (
        [asked.username for asked in place.proxy.asked[start : start + 2]] for start in (0, 2, 4, 6)
    )
    assert first == again
    assert len({*first, *other}) == 4
    assert all(len(name) == 16 for name in (*first, *other))
    assert plain == ["", ""]


@pytest.mark.trio
async def test_a_proxy_without_passwords_will_do(place: Place) -> None:
    """Isolation is offered, not demanded."""
    place.proxy.methods = frozenset({NO_AUTH})
    async with await place.opener()("seed.example", 9999) as stream:
        assert await said_back(stream, b"plain") == b"plain"
    assert place.proxy.asked == [Asked("seed.example", 9999, "")]


@pytest.mark.trio
async def test_a_proxy_that_wants_a_password_blames_nobody_else(place: Place) -> None:
    """No method in common, or the made-up user refused: the proxy's failing, not the target's."""
    place.proxy.methods = frozenset({USER_PASS})
    failed = await refusal(place.opener(isolate=False))
    assert isinstance(failed, ProxyFailed)
    assert str(failed) == f"proxy {place.proxy.address}: No acceptable authentication methods were offered"
    place.proxy.deny_passwords = True
    failed = await refusal(place.opener())
    assert isinstance(failed, ProxyFailed)
    assert str(failed) == f"proxy {place.proxy.address}: Username and password authentication failure"
    assert place.proxy.asked == []


@pytest.mark.trio
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1, "it failed for a reason that the proxy does not tell"),
        (2, "the proxy's rules do not allow it"),
        (3, "network unreachable"),
        (4, "host unreachable"),
        (5, "connection refused"),
        (6, "it took too long"),
        (7, "the proxy does not connect to anything"),
        (8, "the proxy does not know such addresses"),
    ],
)
async def test_every_refusal_says_why(place: Place, code: int, reason: str) -> None:
    """The proxy's reply, in words, with the proxy and the target; the proxy itself is not to blame."""
    place.proxy.refuse = code
    failed = await refusal(place.opener(), "2001:db8::5")
    assert str(failed) == f"proxy {place.proxy.address}: [2001:db8::5]:9999: {reason}"
    assert not isinstance(failed, ProxyFailed)
    await place.proxy.until(lambda proxy: proxy.open == 0)


@pytest.mark.trio
async def test_what_is_not_routed_or_not_listening_is_refused(place: Place) -> None:
    """The proxy's own reasons: an unknown host, and a known one where nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place.proxy.routes = {"seed.example:9999": ("127.0.0.1", unused.getsockname()[1])}
        assert str(await refusal(place.opener(), "other.example")).endswith("other.example:9999: host unreachable")
        assert str(await refusal(place.opener())).endswith("seed.example:9999: connection refused")


@pytest.mark.trio
async def test_a_proxy_where_nothing_listens_is_to_blame(place: Place) -> None:
    """A user who started no Tor reads that, and not that the peers are gone."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxy = Address("127.0.0.1", unused.getsockname()[1])
        failed = await refusal(through_proxy(proxy, random=random.Random(1)))
    assert isinstance(failed, ProxyFailed)
    assert str(failed) == f"proxy {proxy}: Connection refused"


@pytest.mark.trio
@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05", b"\x05\x00\x05", b"\x05\x01"])
async def test_what_speaks_no_socks5_is_to_blame(place: Place, reply: bytes) -> None:
    """A web server, one that hangs up at any point, one that picks a method that was not offered."""

    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some(4)
        await stream.send_all(reply)
        await stream.aclose()

    proxy = Address("127.0.0.1", await place.listen(answer))
    failed = await refusal(through_proxy(proxy, random=random.Random(1)))
    assert isinstance(failed, ProxyFailed)
    assert str(failed).startswith(f"proxy {proxy}: ")
    assert failed.__cause__ is not None


@pytest.mark.trio
async def test_a_proxy_that_hangs_is_left_without_a_trace(place: Place) -> None:
    """The caller's patience ends it, the cancellation stays a cancellation, and the proxy sees the socket closed."""
    place.proxy.hang = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(place.opener(), "seed.example", 9999)
        await place.proxy.until(lambda proxy: len(proxy.asked) == 1)
        assert place.proxy.open == 1
        nursery.cancel_scope.cancel()
    assert nursery.cancel_scope.cancelled_caught
    await place.proxy.until(lambda proxy: proxy.open == 0)


@pytest.mark.trio
async def test_a_name_that_is_none_is_an_os_error(place: Place) -> None:
    """However long or odd a name is, the pool sees nothing but an OSError, and nothing is left open."""
    failed = await refusal(place.opener(), f"{'x' * 64}.onion")
    assert str(failed).endswith("this is no name")
    await place.proxy.until(lambda proxy: proxy.open == 0)


@pytest.mark.trio
async def test_proxied_seams_go_nowhere_else(place: Place) -> None:
    """Streams through the proxy, no look-up at all, everything else as it was."""
    before = Seams()
    after = proxied(before, place.proxy.address)
    async with await after.open_stream(ONION, 9999) as stream:
        assert await said_back(stream, b"hidden") == b"hidden"
    with pytest.raises(OSError, match=r"^names are resolved by the proxy$"):
        await after.resolve("dnsseed.dash.org", 9999)
    assert attrs.evolve(after, open_stream=before.open_stream, resolve=before.resolve) == before


@pytest.mark.trio
async def test_the_test_proxy_runs_as_a_process(place: Place, tmp_path: Path) -> None:
    """It says where it listens, follows its routes and logs each request before it is answered."""
    routes, log = tmp_path / "routes.json", tmp_path / "log.jsonl"
    routes.write_text(json.dumps({"seed.example": place.proxy.routes["seed.example"]}))
    script = Path(__file__).parent.parent / "socks_proxy.py"
    command = [sys.executable, str(script), "--routes", str(routes), "--log", str(log)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with process.stdout:
        said = json.loads(await process.stdout.receive_some(4096))
        opener = through_proxy(Address(said["host"], said["port"]), random=random.Random(1), isolate=False)
        async with await opener("seed.example", 9999) as stream:
            assert await said_back(stream, b"afar") == b"afar"
        assert str(await refusal(opener, "other.example")).endswith("host unreachable")
        process.terminate()
        await process.wait()
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert rows == [{"host": name, "port": 9999, "username": ""} for name in ("seed.example", "other.example")]


@pytest.mark.trio
async def test_a_look_up_would_be_noticed(place: Place) -> None:
    """The guard of these tests bites: a direct connection by name does ask the resolver."""

    async def direct() -> NoReturn:
        await trio.open_tcp_stream("seed.example", 9999)
        raise RuntimeError("connected")

    with pytest.raises(AssertionError, match=r"'seed\.example' was looked up"):
        await direct()
