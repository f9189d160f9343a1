"""An answer that goes on: the frames of a feed, for as long as somebody is there to read them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from phasegate.web.board import Board


class EventStream(Response):
    """Server-sent events.

    Args:
        board: counts the pages that follow.
        frames: what is sent; closed in the end, however it comes.
    """

    media_type = "text/event-stream"

    def __init__(self, board: Board, frames: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._board = board
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as it is called
        """Send until there is nothing more, or nobody."""
        self._board.streams += 1
        try:
            async with trio.open_nursery() as nursery, aclosing(self._frames) as frames:
                nursery.start_soon(_until_gone, receive, nursery.cancel_scope)
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                async for frame in frames:
                    await send({"type": "http.response.body", "body": frame, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                nursery.cancel_scope.cancel()
        finally:
            self._board.page_left()


async def _until_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        await trio.lowlevel.checkpoint()
    scope.cancel()
