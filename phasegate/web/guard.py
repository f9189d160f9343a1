"""Who is answered: the door of the live view, before any page.

The view only tells, it changes nothing; what has to be kept is what it tells. A page of somebody else that is open in
the same browser may send requests here, too. It cannot read the answers, as no header allows it (no CORS), but it could
if its own name came to stand for this machine's address (DNS rebinding). So the name in the `Host` header has to be an
address or one that is ours. Where a token is needed every path needs it: as `Authorization: Bearer`, as the cookie that
the first visit sets, or in the address of that first visit, from which a redirect removes it.

Every answer forbids what the page does not need: scripts and styles but its own two files, frames, and being kept.
"""

from __future__ import annotations

import hmac
import socket
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from phasegate.web.place import Place

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
LONGEST_QUERY, MOST_FIELDS = 1024, 16
"""Bytes and fields of a query that is looked at."""


class Guard:
    """Lets through what may be answered, and puts the headers on every answer.

    Args:
        app: what answers.
        place: where it is served, and the token.
    """

    def __init__(self, app: ASGIApp, place: Place) -> None:
        self._app = app
        self._place = place
        self._token = place.token.encode()
        self._cookie = f"phasegate-{place.port}"
        names = {"localhost", place.host} if place.address.is_loopback else {place.host}
        self._names = names | ({socket.gethostname().lower()} if place.address.is_unspecified else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            await _hang_up(scope, send)
            return
        refusal = self._refusal(scope["method"], Headers(scope=scope), scope["query_string"], scope["path"])
        await (self._app if refusal is None else refusal)(scope, receive, _with_headers(send))

    def _refusal(self, method: str, headers: Headers, query: bytes, path: str) -> Response | None:
        if method != "GET":
            return _said(405, "only GET is answered", {"allow": "GET"})
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return _said(421, "this name is not ours: use the address, or give the name to --web")
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return _said(403, "pages of others are not answered")
        return self._unknown(headers, query, path) if self._token else None

    def _is_ours(self, host: str) -> bool:
        name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        name = (name or port).removeprefix("[").removesuffix("]").lower()
        try:
            address = ip_address(name)
        except ValueError:
            return name in self._names
        return address.is_loopback or not self._place.address.is_loopback

    def _unknown(self, headers: Headers, query: bytes, path: str) -> Response | None:
        """The refusal of who does not show the token; a first visit is sent on with a cookie."""
        asked = _asked(query)
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        shown = [bearer] if scheme.lower() == "bearer" else []
        if self._knows([*shown, *self._cookies(headers)]):
            return self._sent_on() if asked and path == "/" else None
        if self._knows(asked):
            return self._sent_on() if path == "/" else None
        line = "this view needs its token: open the address with ?token= that phasegate has printed"
        return _said(401, line, {"www-authenticate": "Bearer"})

    def _knows(self, shown: Iterable[str]) -> bool:
        answers = [hmac.compare_digest(one.strip().encode(), self._token) for one in shown]
        return any(answers)

    def _cookies(self, headers: Headers) -> list[str]:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return []
        return [] if cookie is None else [cookie.value]

    def _sent_on(self) -> Response:
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self._cookie, self._place.token, httponly=True, samesite="lax", path="/")
        return answer


def _asked(query: bytes) -> list[str]:
    """The tokens in an address; none in one that is too long or has too many fields."""
    if len(query) > LONGEST_QUERY:
        return []
    try:
        return parse_qs(query.decode("latin-1"), max_num_fields=MOST_FIELDS).get("token", [])
    except ValueError:
        return []


def _said(status: int, line: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(line + "\n", status, headers)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending


async def _hang_up(scope: Scope, send: Send) -> None:
    """There is no WebSocket here."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
