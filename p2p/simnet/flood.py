"""Junk without end, from a peer that is a nuisance: well-formed messages that say nothing to anybody.

Over TCP it comes as fast as the socket takes it. A stream in memory takes everything at once, while a virtual clock
stands still: there the junk comes at a rate.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import attrs

from phasegate.p2p.messages import Addr, AddressV1, Inv, InvItem, InvType, Message, Ping, Unknown
from phasegate.p2p.simnet import CannotServe

ALL = "all"
BIG = 100_000
MEMORY_RATE = 250_000.0
"""Bytes a second over a stream that is no socket, unless another rate is given."""


class UnknownFlood(CannotServe):
    """No such kind of junk."""


@attrs.frozen
class Flood:
    """Kinds of junk, and how many bytes of it come a second; None: as many as the socket takes."""

    kinds: tuple[str, ...]
    rate: float | None = None

    @classmethod
    def parse(cls, text: str, rate: float | None = None) -> Flood:
        """From `KIND[,KIND...]` or `all`.

        Raises:
            UnknownFlood: naming the kinds there are.
        """
        kinds = tuple(KINDS) if text == ALL else tuple(text.split(","))
        if unknown := [kind for kind in kinds if kind not in KINDS]:
            raise UnknownFlood(f"unknown junk {unknown[0]!r}: choose of {', '.join(KINDS)}, or {ALL}")
        return cls(kinds, rate)

    def messages(self, rng: random.Random) -> Iterator[Message]:
        """The junk, in an order that chance decides."""
        while True:
            yield KINDS[rng.choice(self.kinds)](rng)


def _unknown_transactions(rng: random.Random) -> Message:
    return Inv(tuple([InvItem(InvType.TX, rng.randbytes(32)) for _ in range(rng.randrange(1, 500))]))


def _addresses_of_nobody(rng: random.Random) -> Message:
    """All of them in 127.0.0.0/8: whoever believes them and tries stays on this machine."""
    count, port = rng.randrange(1, 500), rng.randrange(1, 1 << 16)
    loopback = bytes(10) + b"\xff\xff\x7f"
    nobody = [AddressV1(rng.getrandbits(31), 1, loopback + rng.randbytes(3), port) for _ in range(count)]
    return Addr(tuple(nobody))


def _ping(rng: random.Random) -> Message:
    return Ping(rng.getrandbits(64))


def _unknown_command(rng: random.Random) -> Message:
    name = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randrange(4, 10)))
    return Unknown(f"x{name}", rng.randbytes(rng.randrange(200)))


def _big_frame(rng: random.Random) -> Message:
    return Unknown("xbig", rng.randbytes(rng.randrange(BIG // 2, BIG + 1)))


KINDS: dict[str, Callable[[random.Random], Message]] = {
    "inv": _unknown_transactions,
    "addr": _addresses_of_nobody,
    "ping": _ping,
    "unknown": _unknown_command,
    "big": _big_frame,
}
"""Every kind of junk, by its name on the command line."""
