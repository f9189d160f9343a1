"""The pages of the live view: one for people, and what machines ask for."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from importlib.resources import files

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from phasegate import __version__
from phasegate.web.board import Board
from phasegate.web.feed import Feeds
from phasegate.web.guard import Guard
from phasegate.web.metrics import Metrics
from phasegate.web.place import Place
from phasegate.web.stream import EventStream

MOST_PAGES = 32
"""Pages that may follow the events at once."""

Endpoint = Callable[[Request], Response]


def view(board: Board, place: Place, now: Callable[[], float]) -> Guard:
    """The whole view as an ASGI application.

    Args:
        board: the memory of the view of one client.
        place: where it is served, and who may look.
        now: the wall clock, in seconds since 1970.
    """
    feeds, metrics = Feeds(board, now), Metrics(board, now)
    page = _page(board)
    routes = [
        _fixed("/", page, "text/html"),
        *(_fixed(f"/{name}", _text(name), kind) for name, kind in FILES.items()),
        _route("/events", lambda request: _events(board, feeds, request)),
        _route("/status.json", lambda _: JSONResponse(feeds.document())),
        _route("/metrics", lambda _: Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)),
        _route("/healthz", lambda _: _health(board)),
    ]
    return Guard(Starlette(routes=routes), place)


FILES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}


def _text(name: str) -> str:
    return (files("phasegate.web") / name).read_text(encoding="utf-8")


def _page(board: Board) -> str:
    """The page with the chart in it; nothing in it comes from peers."""
    parts = {
        "network": escape(board.client.network.file_name),
        "version": escape(__version__),
        "wide": board.picture.wide,
        "tall": board.picture.tall,
    }
    text = _text("page.html")
    for name, part in parts.items():
        text = text.replace(f"<!--{name}-->", part)
    return text


def _route(path: str, answer: Endpoint) -> Route:
    async def endpoint(request: Request) -> Response:
        return answer(request)

    return Route(path, endpoint)


def _fixed(path: str, text: str, kind: str) -> Route:
    return _route(path, lambda _: Response(text, media_type=kind))


def _health(board: Board) -> Response:
    """200 while the client lives and has not failed, else 503 and why."""
    status = board.client.status
    if status.state in ("failed", "stopped"):
        return PlainTextResponse(f"{status.state}: {status.reason}".removesuffix(": ") + "\n", 503)
    return PlainTextResponse(f"ok: {status.state}\n")


def _events(board: Board, feeds: Feeds, request: Request) -> Response:
    if board.streams >= MOST_PAGES:
        return PlainTextResponse("too many pages are open\n", 503, {"retry-after": "10"})
    return EventStream(board, feeds.frames(request.headers.get("last-event-id", "")))
