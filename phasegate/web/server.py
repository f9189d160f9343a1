"""Serves the view beside a running client: in the same nursery, for as long, and never longer.

hypercorn speaks HTTP, a connection at a time, on streams that are ours. That is needed for one reason: it lets no
cancellation interrupt what it sends, and a browser that does not read would keep the client from ending. So what is
sent to a visitor has a deadline, and is let go at once when the client ends. How many visitors there are is bounded,
too.

The sync does not depend on the view. What goes wrong while a visitor is served closes that visitor's connection, is
counted, and logged; it is the one place beside the interpreter where every exception is caught, because the code that
raises there belongs to libraries, and what makes them raise is sent by strangers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from phasegate.engine.client import Client
from phasegate.web.app import view
from phasegate.web.board import Board
from phasegate.web.place import Place

MOST_VISITORS = 64
"""Connections at a time; one more is closed."""
SLOWEST = 30.0
"""Seconds in which a visitor has to take what is sent at once."""
FAREWELL = 0.3
"""Seconds that open pages have to hear how the client ended."""

_log = logging.getLogger("phasegate.web")


class Visitor(trio.abc.HalfCloseableStream):
    """A connection whose sending ends in time, and at once when it has to."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.socket = stream.socket
        self._stream = stream
        self._sending: trio.CancelScope | None = None
        self._left = False

    @property
    def is_sending(self) -> bool:
        """Whether something waits to be sent."""
        return self._sending is not None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or break the connection when that takes too long."""
        if self._left:
            raise trio.ClosedResourceError("the client has ended")
        with trio.move_on_after(SLOWEST) as self._sending:
            await self._stream.send_all(data)
            self._sending = None
            return
        await trio.aclose_forcefully(self._stream)
        raise trio.BrokenResourceError("a visitor does not read")

    def leave(self) -> None:
        """Send no more."""
        self._left = True
        if self._sending is not None:
            self._sending.cancel()

    async def wait_send_all_might_not_block(self) -> None:
        """As of any stream."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As of any stream."""
        return bytes(await self._stream.receive_some(max_bytes))

    async def send_eof(self) -> None:
        """As of any stream."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """As of any stream."""
        await self._stream.aclose()


class Server:
    """Takes visitors at the place of the view.

    Args:
        board: the memory of the view of one client.
        place: where it is served; its socket is closed in the end.
        now: the wall clock, in seconds since 1970.
    """

    def __init__(self, board: Board, place: Place, now: Callable[[], float]) -> None:
        self._board = board
        self._place = place
        self._app = ASGIWrapper(cast(Any, view(board, place, now)))
        self._config = Config()
        self._config.include_server_header = False
        self._config.errorlog = _log
        self._context = WorkerContext(None)
        self._visitors: set[Visitor] = set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take visitors until cancelled."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._place.socket))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._let_go)
            task_status.started()
            await trio.serve_listeners(self._serve, [listener], handler_nursery=nursery)

    async def farewell(self) -> None:
        """Wait a moment for open pages to hear the end."""
        with trio.move_on_after(FAREWELL):
            await self._board.deserted()

    async def _let_go(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            for visitor in self._visitors:
                visitor.leave()

    async def _serve(self, stream: trio.SocketStream) -> None:
        visitor = Visitor(stream)
        if len(self._visitors) >= MOST_VISITORS:
            await visitor.aclose()
            return
        self._visitors.add(visitor)
        try:
            await TCPServer(self._app, self._config, self._context, ConnectionState({}), cast(Any, visitor))
        except Exception:  # a library's, met by what a stranger sent: the sync has nothing to do with it
            self._board.failures += 1
            _log.exception("a connection of the live view failed")
        finally:
            self._visitors.discard(visitor)
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def served(client: Client, place: Place, now: Callable[[], float] = time.time) -> AsyncIterator[Board]:
    """The view of a client, for the length of an `async with`; the client may be started inside.

    Args:
        client: whose view it is.
        place: where it is served; its socket is closed in the end.
        now: the wall clock, in seconds since 1970.
    """
    board = Board(client)
    server = Server(board, place, now)
    async with trio.open_nursery() as nursery:
        await nursery.start(board.run)
        await nursery.start(server.run)
        try:
            yield board
            await server.farewell()
        finally:
            nursery.cancel_scope.cancel()
