"""The door of the view: who is answered, and what every answer forbids."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from phasegate.web.guard import Guard
from phasegate.web.place import Place
from tests.web.visits import TOKEN, Answer, ask, place

pytestmark = pytest.mark.trio

PATHS = ("/", "/events", "/metrics", "/healthz", "/status.json", "/page.css", "/page.js", "/icon.svg", "/nothing")


def guarded(at: Place) -> Guard:
    """A door before something that answers everything."""

    async def inside(request: Request) -> PlainTextResponse:
        return PlainTextResponse("inside")

    at.socket.close()
    return Guard(Starlette(routes=[Route("/{path:path}", inside)]), at)


async def _status(at: Place, path: str = "/", **given: Any) -> int:
    return (await ask(guarded(at), path, **given)).status


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8777", "LOCALHOST:1", "127.0.0.1:8777", "127.1.2.3", "[::1]:80", "[::1]"]
)
async def test_the_loopback_answers_to_its_own_names(host: str) -> None:
    """A port may differ, as when one is forwarded."""
    assert await _status(place(), host=host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8777",
        "192.0.2.1:8777",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "",
        "::",
        ":80",
    ],
)
async def test_no_other_name_leads_here(host: str) -> None:
    """A name that came to stand for this machine's address gets nothing [DNS rebinding], and neither does none."""
    assert await _status(place(), host=host) == 421


async def test_elsewhere_addresses_and_the_given_name_are_ours() -> None:
    """An address cannot be rebound; of names only the one given to --web is known."""

    def at() -> Place:
        return place("192.0.2.7", host="box.example", token=TOKEN)

    shown = {"authorization": f"Bearer {TOKEN}"}
    assert await _status(at(), host="192.0.2.7:8777", **shown) == 200
    assert await _status(at(), host="box.example:8777", **shown) == 200
    assert await _status(at(), host="evil.example", **shown) == 421


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_nothing_but_get(method: str) -> None:
    """The view changes nothing, so nothing else is answered."""
    answer = await ask(guarded(place()), "/status.json", method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_needs_the_token(path: str) -> None:
    """Where there is a token nothing is told without it, not even what there is."""
    assert await _status(place(token=TOKEN), path) == 401
    assert await _status(place(token=TOKEN), path, authorization=f"Bearer {TOKEN}") == 200


@pytest.mark.parametrize(
    "shown",
    [
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer ünïcode"},
        {"cookie": f"phasegate-8777={TOKEN[:-1]}"},
        {"cookie": f"phasegate-8778={TOKEN}"},
        {"query": f"token={TOKEN}x"},
        {"query": "token="},
        {"query": "&".join(["token=x"] * 15)},
        {"query": "&".join(["token=x"] * 17)},
        {"query": "&".join([f"token={TOKEN}"] * 17)},
        {"query": "&" * 1000},
        {"query": f"token={'x' * 2000}&token={TOKEN}"},
    ],
)
async def test_a_wrong_token_is_none(shown: dict[str, str]) -> None:
    """However it is shown."""
    answer = await ask(guarded(place(token=TOKEN)), "/", **shown)
    assert answer.status == 401
    assert "token" in answer.body
    assert TOKEN not in answer.body


async def test_the_first_visit_leaves_a_cookie_and_no_token_in_the_address() -> None:
    """The browser is sent on to an address without it, and shows the cookie from then on."""
    app = guarded(place(token=TOKEN))
    first = await ask(app, "/", query=f"token={TOKEN}")
    assert (first.status, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert (await ask(app, "/", cookie=cookie.partition(";")[0])).body == "inside"


async def test_who_has_shown_the_token_may_ask_for_anything() -> None:
    """A query that is too long for a first visit is no reason to send a known visitor away."""
    query = "&".join(["a=b"] * 17)
    assert await _status(place(token=TOKEN), query=query, authorization=f"Bearer {TOKEN}") == 200


async def test_a_program_may_show_the_token_in_the_address() -> None:
    """A scraper keeps no cookies; it is answered at once."""
    assert await _status(place(token=TOKEN), "/metrics", query=f"token={TOKEN}") == 200


async def test_pages_of_others_get_nothing() -> None:
    """What a page of another site asks for is refused, but a link there may be followed."""
    crossing = {"sec_fetch_site": "cross-site"}
    assert await _status(place(), "/events", sec_fetch_mode="cors", **crossing) == 403
    assert await _status(place(), "/", sec_fetch_mode="navigate", **crossing) == 200
    assert await _status(place(), "/events", sec_fetch_mode="cors", sec_fetch_site="same-origin") == 200


def _strict(answer: Answer) -> None:
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_every_answer_is_strict() -> None:
    """Answers and refusals alike forbid foreign scripts and frames, are not kept, and allow no other origin."""
    _strict(await ask(guarded(place()), "/"))
    _strict(await ask(guarded(place()), "/", "POST"))
    _strict(await ask(guarded(place()), "/", host="evil.example"))
    _strict(await ask(guarded(place(token=TOKEN)), "/"))


async def test_there_is_no_websocket() -> None:
    """A connection that wants one is closed."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await guarded(place())({"type": "websocket", "path": "/events"}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
