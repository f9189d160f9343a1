"""Who asks a view without a network, and what is answered."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from ipaddress import ip_address
from typing import Any

import attrs
import trio

from phasegate.engine.client import Client
from phasegate.web.board import Board
from phasegate.web.feed import Feeds
from phasegate.web.place import Place
from tests.simulated_world import World

TOKEN = "a-token-that-nobody-guesses"  # noqa: S105 - nobody's


@attrs.frozen
class Answer:
    """What was answered."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)


def place(address: str = "127.0.0.1", *, host: str = "", token: str = "", port: int = 8777) -> Place:
    """A place that nobody listens at."""
    return Place(host or address, ip_address(address), port, token, False, socket.socket())


async def ask(app: Any, path: str, method: str = "GET", query: str = "", **headers: str) -> Answer:
    """Ask an application once; a header's name has `_` for `-`."""
    given = {"host": "localhost:8777"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items() if value], "http_version": "1.1",
        "scheme": "http", "root_path": "", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8777),
        "asgi": {"version": "3.0", "spec_version": "2.3"},
    }  # fmt: skip
    sent: list[Any] = []
    asked = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        if not asked:
            await trio.sleep_forever()
        return asked.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *parts = sent
    told = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], told, b"".join(part.get("body", b"") for part in parts).decode())


@attrs.define
class Viewed:
    """A running client and its view."""

    client: Client
    board: Board
    feeds: Feeds
    app: Any
    world: World

    async def until(self, state: str) -> None:
        """Wait until the chart is in `state`, and the board has heard of it."""
        with trio.fail_after(600):
            while self.client.state != state or self.board.step is None or self.board.step["to"] != state:
                await trio.sleep(0.05)


Frame = tuple[str, str, Any]


def parsed(frame: bytes) -> Frame:
    """Name, id and content of a frame."""
    fields = dict(line.split(": ", 1) for line in frame.decode().splitlines() if line)
    return fields.get("event", ""), fields.get("id", ""), json.loads(fields.get("data", "null"))


class Follower:
    """Somebody who follows a feed."""

    def __init__(self, frames: AsyncIterator[bytes]) -> None:
        self._frames = frames

    async def until(self, fits: Callable[[Frame], bool] | str) -> list[Frame]:
        """The next frames, up to the first that fits, or is called so; a `retry` is passed over."""
        heard: list[Frame] = []
        with trio.fail_after(600):
            async for frame in self._frames:
                if not frame.startswith(b"retry"):
                    heard.append(parsed(frame))
                    if heard[-1][0] == fits or (callable(fits) and fits(heard[-1])):
                        break
        return heard


@asynccontextmanager
async def following(feeds: Feeds, last: str = "") -> AsyncIterator[Follower]:
    """A page that had everything up to the event `last`."""
    async with aclosing(feeds.frames(last)) as frames:
        yield Follower(frames)
