"""Where a node listens: one form for people, for the wire and for the address book."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address

import attrs


class BadAddress(ValueError):
    """A text that is no `HOST:PORT`."""


@attrs.frozen
class Address:
    """Where a peer listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, default_port: int) -> Address:
        """From `HOST`, `HOST:PORT` or `[IPV6]:PORT`.

        Raises:
            BadAddress: `text` is none of these, or the port is not in 1..65535.
        """
        host, port = _split(text.strip())
        number = default_port if port is None else int(port) if _PORT.fullmatch(port) else 0
        if not (_is_ipv6(host) if ":" in host else _NAME.fullmatch(host)) or not 0 < number < 65536:
            raise BadAddress(f"{text!r} is not HOST:PORT with a port from 1 to 65535")
        return cls(host, number)


_PORT = re.compile("[0-9]{1,5}")
_LABEL = "[A-Za-z0-9_-]{1,63}"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*\.?")


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except AddressValueError:
        return False
    return True


def _split(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            return "", None
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None
