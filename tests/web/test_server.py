"""The view over real sockets: served beside the client, bounded, and gone when the client is."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
import trio
import trio.testing

from phasegate.engine.client import Client
from phasegate.engine.seams import inline_seams
from phasegate.web import server
from phasegate.web.place import Place, listen
from phasegate.web.server import Server, Visitor
from tests.simulated_world import START, World, small_chain
from tests.web.visits import Viewed

pytestmark = pytest.mark.trio

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "live-view.md"
GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def _serve(nursery: trio.Nursery, viewed: Viewed, at: Place) -> Server:
    serving = Server(viewed.board, at, lambda: START)
    await nursery.start(serving.run)
    return serving


async def _asked(at: Place, path: bytes, until: bytes) -> bytes:
    """What is answered, up to and with `until`."""
    async with await trio.open_tcp_stream("127.0.0.1", at.port) as stream:
        await stream.send_all(GET % path)
        return await _read(stream, until)


async def _read(stream: trio.abc.Stream, until: bytes) -> bytes:
    heard = b""
    with trio.fail_after(30):
        while until not in heard:
            piece = await stream.receive_some()
            assert piece, heard
            heard += piece
    return heard


async def test_it_is_served_over_http(viewing: Any) -> None:
    """The page and the events; the server does not say what it is."""
    at = listen("127.0.0.1:0")
    async with viewing() as viewed, trio.open_nursery() as nursery:
        await _serve(nursery, viewed, at)
        page = await _asked(at, b"/", b"</html>")
        assert page.startswith(b"HTTP/1.1 200 ")
        assert b"server:" not in page.lower()
        events = await _asked(at, b"/events", b"event: now")
        assert b"text/event-stream" in events
        nursery.cancel_scope.cancel()


async def test_a_page_hears_how_the_client_ended(world: World, viewing: Any) -> None:
    """What is open is told the last state before the server goes, within a moment."""
    world.add(small_chain(), 1)
    at = listen("127.0.0.1:0")
    async with viewing() as viewed:
        async with trio.open_nursery() as nursery:
            serving = await _serve(nursery, viewed, at)
            async with await trio.open_tcp_stream("127.0.0.1", at.port) as stream:
                await stream.send_all(GET % b"/events")
                await _read(stream, b"event: now")
                await viewed.client.stop()
                last = await _read(stream, b"event: bye")
                assert b'"state":"stopped"' in last.partition(b"event: bye")[2] or await _read(stream, b"stopped")
            await serving.farewell()
            nursery.cancel_scope.cancel()
        assert viewed.board.streams == 0


async def test_a_browser_that_does_not_read_keeps_nobody(viewing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is being sent to it is let go at once when the client ends, although the library would shield it."""
    at = listen("127.0.0.1:0")
    at.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    async with viewing() as viewed, trio.open_nursery() as nursery:
        serving = await _serve(nursery, viewed, at)
        deaf = trio.socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await deaf.connect(("127.0.0.1", at.port))
        for _ in range(40):  # answers of 40 kB each, which fit no buffer
            await deaf.send(GET % b"/")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert [visitor.is_sending for visitor in serving._visitors] == [True]
        ended = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - ended < server.SLOWEST / 2
    deaf.close()


async def test_a_browser_that_never_reads_is_left(autojump_clock: Any) -> None:
    """After a while its connection is closed, whatever the client does."""

    class Stuck(trio.abc.AsyncResource):
        socket = None

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            await trio.sleep_forever()

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    visitor = Visitor(Stuck())  # type: ignore[arg-type]  # as much of a stream as is needed
    began = trio.current_time()
    with pytest.raises(trio.BrokenResourceError):
        await visitor.send_all(b"x")
    assert trio.current_time() - began == pytest.approx(server.SLOWEST)


async def test_visitors_are_bounded(viewing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is closed at once; when one has left there is room again."""
    monkeypatch.setattr(server, "MOST_VISITORS", 1)
    at = listen("127.0.0.1:0")
    async with viewing() as viewed, trio.open_nursery() as nursery:
        await _serve(nursery, viewed, at)
        async with await trio.open_tcp_stream("127.0.0.1", at.port) as first:
            await first.send_all(GET % b"/events")
            await _read(first, b"event: now")
            async with await trio.open_tcp_stream("127.0.0.1", at.port) as second:
                with trio.fail_after(5):
                    assert await second.receive_some() == b""
        with trio.fail_after(10):
            while viewed.board.streams:
                await viewed.board.deserted()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\xff\xff",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 9000,
        b"GET \xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%ff%fe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_nonsense_costs_its_sender_the_connection(viewing: Any, sent: bytes) -> None:
    """What is no HTTP, or more than is read of it, is not answered with a page; the next visitor is."""
    at = listen("127.0.0.1:0")
    async with viewing() as viewed, trio.open_nursery() as nursery:
        await _serve(nursery, viewed, at)
        async with await trio.open_tcp_stream("127.0.0.1", at.port) as stream:
            await stream.send_all(sent)
            await stream.send_eof()
            with trio.move_on_after(10):
                heard = b"".join([piece async for piece in stream])
                assert b" 200 " not in heard
        assert b" 200 " in await _asked(at, b"/healthz", b"ok")
        nursery.cancel_scope.cancel()


async def test_a_library_that_fails_does_not_end_the_sync(
    viewing: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted and logged, and the next visitor is answered."""

    class Broken:
        def __init__(self, *arguments: object) -> None:
            raise RuntimeError("a bug of somebody else")

    at = listen("127.0.0.1:0")
    async with viewing() as viewed, trio.open_nursery() as nursery:
        await _serve(nursery, viewed, at)
        with monkeypatch.context() as patched:
            patched.setattr(server, "TCPServer", Broken)
            async with await trio.open_tcp_stream("127.0.0.1", at.port) as stream:
                with trio.fail_after(10):
                    assert await stream.receive_some() == b""
        assert viewed.board.failures == 1
        assert "a bug of somebody else" in caplog.text
        assert b" 200 " in await _asked(at, b"/healthz", b"ok")
        nursery.cancel_scope.cancel()


async def test_the_example_of_the_page_runs(world: World) -> None:
    """What the documents print for programs of one's own serves a client for as long as it runs."""
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    text = indent(example.replace("127.0.0.1:8777", "127.0.0.1:0"), "    ")
    names: dict[str, Any] = {}
    exec(f"async def example(client):\n{text}", names)  # noqa: S102 - what we print ourselves
    world.add(small_chain(), 1)
    client = Client(world.config(1), inline_seams(1, world.open_stream, lambda: START))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(names["example"], client)
        await client.wait_synced()
        await client.stop()
