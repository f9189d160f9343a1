"""A SOCKS5 proxy on loopback, for tests [RFC 1928, RFC 1929]: it leads names where a table says, and tells who asked.

Nothing that is not in the table is reached, so whatever a client does get to see went through the table. As a process:

    python tests/socks_proxy.py --routes FILE --log FILE

prints `{"event": "listening", "host": "127.0.0.1", "port": N}` as its first line. The routes are a JSON object of
`"NAME"` or `"NAME:PORT"` to `["HOST", PORT]`; the log gets one JSON line for each request, before it is answered.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import attrs
import trio

from phasegate.p2p.addresses import Address

NO_AUTH, USER_PASS, NONE_FITS = 0, 2, 0xFF
GRANTED, HOST_UNREACHABLE, CONNECTION_REFUSED, NO_SUCH_COMMAND, NO_SUCH_ADDRESS_TYPE = 0, 4, 5, 7, 8
IPV4, NAME, IPV6 = 1, 3, 4
HEAD = b"\5"
NOWHERE = b"\1" + bytes(6)
PIECE = 64 * 1024


class _Ended(Exception):
    """The client left in the middle of a sentence, or does not speak SOCKS5."""


@attrs.frozen
class Asked:
    """One request to connect.

    Args:
        host: a name or a number, as the client sent it.
        port: likewise.
        username: what it authenticated as, "" if it did not.
    """

    host: str
    port: int
    username: str = ""


@attrs.define
class SocksProxy:
    """The proxy.

    Args:
        routes: `NAME:PORT` or `NAME` (or a numeric host) to the real host and port; port 0 keeps the one asked for.
        others: where everything leads that is in no route; None: nowhere.
        methods: the authentication that it takes; of several the one with a password, as Tor does.
        refuse: the reply code for every request, 0 to look into the routes.
        deny_passwords: whether every user name is refused.
        hang: whether requests are read and never answered.
        told: called with each request.
    """

    routes: Mapping[str, tuple[str, int]] = attrs.field(factory=dict)
    others: tuple[str, int] | None = attrs.field(default=None, kw_only=True)
    methods: frozenset[int] = frozenset({NO_AUTH, USER_PASS})
    refuse: int = 0
    deny_passwords: bool = False
    hang: bool = False
    told: Callable[[Asked], object] = lambda _asked: None
    asked: list[Asked] = attrs.field(factory=list)
    open: int = 0
    """Connections of clients that are open now."""
    port: int = 0
    _changed: trio.Event = attrs.field(factory=trio.Event)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address("127.0.0.1", self.port)

    async def serve(
        self, port: int = 0, *, task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen on a port of loopback, 0 for a free one, until cancelled; started when it listens."""
        [listener] = await trio.open_tcp_listeners(port, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        await trio.serve_listeners(self._handle, [listener], task_status=task_status)

    async def until(self, done: Callable[[SocksProxy], bool]) -> None:
        """Wait until `done(self)`, looked at whenever a client came, asked or left."""
        while not done(self):
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _handle(self, client: trio.SocketStream) -> None:
        self.open += 1
        self._tell()
        try:
            async with client:
                with suppress(_Ended, trio.BrokenResourceError):
                    await self._serve_one(client)
        finally:
            self.open -= 1
            self._tell()

    async def _serve_one(self, client: trio.SocketStream) -> None:
        asked, code = await self._take_request(client, await self._authenticate(client))
        self.asked.append(asked)
        self.told(asked)
        self._tell()
        if self.hang:
            await _until_gone(client)
        target = None if code or self.refuse else self._routed(asked)
        if target is None:
            await client.send_all(HEAD + bytes((self.refuse or code or HOST_UNREACHABLE, 0)) + NOWHERE)
            return
        await _lead(client, *target)

    def _routed(self, asked: Asked) -> tuple[str, int] | None:
        route = self.routes.get(str(Address(asked.host, asked.port))) or self.routes.get(asked.host) or self.others
        return route and (route[0], route[1] or asked.port)

    async def _authenticate(self, client: trio.SocketStream) -> str:
        """Agree on a method; the user name, "" for none."""
        version, count = await _exactly(client, 2)
        offered = set(await _exactly(client, count))
        method = max(offered & self.methods, default=NONE_FITS)
        await client.send_all(HEAD + bytes((method,)))
        if version != 5 or method == NONE_FITS:
            raise _Ended
        return await self._take_password(client) if method == USER_PASS else ""

    async def _take_password(self, client: trio.SocketStream) -> str:
        version, length = await _exactly(client, 2)
        name = (await _exactly(client, length)).decode()
        await _exactly(client, (await _exactly(client, 1))[0])
        refused = self.deny_passwords or version != 1
        await client.send_all(bytes((1, refused)))
        if refused:
            raise _Ended
        return name

    async def _take_request(self, client: trio.SocketStream, username: str) -> tuple[Asked, int]:
        """What is asked for, and the code to refuse it with or 0."""
        _, command, _, kind = await _exactly(client, 4)
        if kind == IPV4:
            host = str(IPv4Address(await _exactly(client, 4)))
        elif kind == IPV6:
            host = str(IPv6Address(await _exactly(client, 16)))
        elif kind == NAME:
            host = (await _exactly(client, (await _exactly(client, 1))[0])).decode("ascii")
        else:
            return Asked("", 0, username), NO_SUCH_ADDRESS_TYPE
        port = int.from_bytes(await _exactly(client, 2), "big")
        return Asked(host, port, username), 0 if command == 1 else NO_SUCH_COMMAND


async def _exactly(stream: trio.SocketStream, count: int) -> bytes:
    read = b""
    while len(read) < count:
        piece = await stream.receive_some(count - len(read))
        if not piece:
            raise _Ended
        read += piece
    return read


async def _until_gone(client: trio.SocketStream) -> None:
    while await client.receive_some(PIECE):
        pass
    raise _Ended


async def _lead(client: trio.SocketStream, host: str, port: int) -> None:
    try:
        target = await trio.open_tcp_stream(host, port)
    except OSError:
        await client.send_all(HEAD + bytes((CONNECTION_REFUSED, 0)) + NOWHERE)
        return
    async with target:
        await client.send_all(HEAD + bytes((GRANTED, 0)) + NOWHERE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pump, client, target, nursery.cancel_scope)
            nursery.start_soon(_pump, target, client, nursery.cancel_scope)


async def _pump(source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope) -> None:
    """Carry bytes until the source ends, and say so to the sink; a broken side ends both ways."""
    try:
        while piece := await source.receive_some(PIECE):
            await sink.send_all(piece)
        await sink.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        both.cancel()


async def _run(proxy: SocksProxy) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.serve)
        sys.stdout.write(json.dumps({"event": "listening", "host": proxy.address.host, "port": proxy.port}) + "\n")
        sys.stdout.flush()


def _main(routes: Path, log: Path) -> None:
    table = {name: (host, port) for name, (host, port) in json.loads(routes.read_text("utf-8")).items()}
    with log.open("a", buffering=1, encoding="utf-8") as lines:
        trio.run(_run, SocksProxy(table, told=lambda asked: lines.write(json.dumps(attrs.asdict(asked)) + "\n")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A SOCKS5 proxy on loopback, for tests.")
    parser.add_argument("--routes", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    try:
        _main(options.routes, options.log)
    except KeyboardInterrupt:
        sys.exit(130)
