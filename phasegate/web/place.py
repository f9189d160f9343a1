"""Where the live view listens, and who may look: told by the command line, held in one object, and bound at once.

On the loopback everybody on this machine may look. Anywhere else a token is needed, and one is made up if none is
given. The socket is bound before anything else begins, so that a port in use is refused before a store is touched.
"""

from __future__ import annotations

import re
import secrets
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

import attrs

from phasegate.engine.errors import ConfigError

DEFAULT = "127.0.0.1:8777"
"""Where `--web` alone listens."""
BACKLOG = 64
TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,200}")
"""A token that fits a header, a cookie and an address, and that nobody guesses."""


@attrs.frozen
class Place:
    """Where the view is served.

    Args:
        host: the name or address that was given.
        address: the one that it is bound to.
        port: the port that it is bound to.
        token: what a visitor has to show; "" when nothing.
        generated: whether the token was made up here, so that its user has to be told.
        socket: bound, and listening.
    """

    host: str
    address: IPv4Address | IPv6Address
    port: int
    token: str = attrs.field(repr=False)
    generated: bool
    socket: socket.socket = attrs.field(repr=False, eq=False)

    @property
    def url(self) -> str:
        """What to open in a browser on this machine; with the token only if it was made up here."""
        reached = self.address
        if reached.is_unspecified:
            reached = ip_address("127.0.0.1" if reached.version == 4 else "::1")
        host = f"[{reached}]" if reached.version == 6 else str(reached)
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.generated else "")


def listen(where: str, token: str = "") -> Place:
    """Bind what `--web` names.

    Args:
        where: HOST:PORT; port 0 takes a free one.
        token: what a visitor has to show; "" to have none on the loopback and a made-up one elsewhere.

    Raises:
        ConfigError: `where` is no such place or cannot be listened on, or the token is too weak.
    """
    if token and not TOKEN.fullmatch(token):
        raise ConfigError("the token of --web is not 16 to 200 letters, digits and any of . _ ~ -")
    host, port = _parsed(where)
    bound, address = _bound(where, host, port)
    generated = not token and not address.is_loopback
    return Place(
        host.lower(), address, bound.getsockname()[1], token or (secrets.token_urlsafe(24) if generated else ""),
        generated, bound,
    )  # fmt: skip


def _parsed(where: str) -> tuple[str, int]:
    host, colon, port = where.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not (colon and host and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 1 << 16):
        raise ConfigError(f"--web {where!r} is not HOST:PORT")
    return host, int(port)


def _bound(where: str, host: str, port: int) -> tuple[socket.socket, IPv4Address | IPv6Address]:
    made: socket.socket | None = None
    try:
        family, kind, number, _, at = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, number)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(at)
        made.listen(BACKLOG)
        made.setblocking(False)
    except (OSError, UnicodeError) as error:
        if made is not None:
            made.close()
        why = error.strerror if isinstance(error, OSError) else "no name of a machine"
        raise ConfigError(f"--web cannot listen on {where}: {why}") from error
    return made, ip_address(str(at[0]).partition("%")[0])
