"""Connections through a SOCKS5 proxy [RFC 1928], as Tor offers one.

The proxy is given the target as it is written, a name as a name: nothing about it is looked up on this machine, for a
DNS query would tell the world what the proxy is there to hide. Each connection has a user name and password of its own,
made up: Tor then uses a circuit of its own for it (IsolateSOCKSAuth), so that no exit sees that several connections
come from one client [RFC 1929]. A proxy that asks for no password is content with none.

A proxy that is given by name is itself looked up locally, for somebody has to.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Awaitable
from random import Random
from typing import Protocol

import trio
from python_socks import ProxyConnectionError, ProxyError, ProxyType
from python_socks.async_.trio import Proxy

from phasegate.p2p.addresses import Address

_REFUSALS = {
    1: "it failed for a reason that the proxy does not tell",
    2: "the proxy's rules do not allow it",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "it took too long",
    7: "the proxy does not connect to anything",
    8: "the proxy does not know such addresses",
}
"""What the reply codes of RFC 1928 say about the target."""


class ProxyFailed(OSError):
    """The proxy itself is not reached or does not do its part: no fault of the target."""


class OpenStream(Protocol):
    """Opens a byte stream to a host and port; raises OSError when that cannot be had."""

    def __call__(self, host: str, port: int, /) -> Awaitable[trio.abc.Stream]: ...


def through_proxy(proxy: Address, *, random: Random, isolate: bool = True) -> OpenStream:
    """An opener of streams that all go through `proxy`; how long it may take is for its caller to say.

    It raises `ProxyFailed` when the proxy is to blame, and a plain OSError with the proxy's own reason when it cannot
    reach the target. Cancelled, it leaves no socket behind.

    Args:
        proxy: where the SOCKS5 proxy listens.
        random: what user names and passwords are made up from.
        isolate: whether each connection has its own.
    """

    async def open_stream(host: str, port: int, /) -> trio.abc.Stream:
        name, password = (random.randbytes(8).hex(), random.randbytes(8).hex()) if isolate else (None, None)
        dialer = Proxy(ProxyType.SOCKS5, proxy.host, proxy.port, name, password, rdns=True)
        try:
            return trio.SocketStream(await dialer.connect(host, port, timeout=math.inf))
        except (ProxyError, OSError, UnicodeError) as failed:
            raise _told(proxy, Address(host, port), failed) from failed

    return open_stream


def _told(proxy: Address, target: Address, failed: Exception) -> OSError:
    """What failed, in words that name the proxy and, where it was reached, the target."""
    if isinstance(failed, ProxyConnectionError):
        return ProxyFailed(f"proxy {proxy}: {_reason(failed.__cause__)}")
    if isinstance(failed, UnicodeError):
        return OSError(f"proxy {proxy}: {target}: this is no name")
    if isinstance(failed, ProxyError) and failed.error_code is not None:
        return OSError(f"proxy {proxy}: {target}: {_REFUSALS.get(failed.error_code, str(failed))}")
    return ProxyFailed(f"proxy {proxy}: {_reason(failed)}")


def _reason(error: BaseException | None) -> str:
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
