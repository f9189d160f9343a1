"""A stretch of a real chain's headers, served like a whole chain by a node that has nothing else.

What is below the first header is unknown to it, as any unknown hash is to dashd: asked for that one header it is
silent. Only where dashd would begin again at height 1, because it knows no hash of the locator, this node has nothing
to send, and says so with an empty message.
"""

from __future__ import annotations

import attrs

from phasegate.consensus.masternodes import MasternodeListDiff
from phasegate.consensus.params import Network
from phasegate.consensus.x11 import HEADER_SIZE, x11
from phasegate.p2p.messages import GetQrInfo, QrInfo, Services
from phasegate.p2p.simnet import CannotServe
from phasegate.p2p.simnet.chain import Announced, Expected
from phasegate.p2p.simnet.greeting import Identity

HEADERS_ONLY = Identity(services=Services.NETWORK | Services.NETWORK_LIMITED | Services.HEADERS_COMPRESSED)
"""What such a node has to say of itself: asked for filters it ends the connection."""


@attrs.define(repr=False, eq=False)
class HeaderRange:
    """Headers from a height on.

    Args:
        network: theirs.
        start: the height of the first.
        raw: 80 bytes each, in chain order.
    """

    network: Network
    start: int
    _raw: bytes
    watch: tuple[str, ...] = attrs.field(default=(), init=False)
    watched_heights: tuple[int, ...] = attrs.field(default=(), init=False)
    _hashes: list[bytes] = attrs.field(init=False)
    _heights: dict[bytes, int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        if not self._raw or len(self._raw) % HEADER_SIZE:
            raise CannotServe(f"{len(self._raw)} bytes are no headers")
        self._hashes = [x11(self._raw[at : at + HEADER_SIZE]) for at in range(0, len(self._raw), HEADER_SIZE)]
        self._heights = {block_hash: self.start + place for place, block_hash in enumerate(self._hashes)}

    @property
    def height(self) -> int:
        return self.start + len(self._hashes) - 1

    @property
    def tip_hash(self) -> bytes:
        return self._hashes[-1]

    @property
    def expected(self) -> Expected:
        return Expected(transactions=[], balances={})

    def header(self, height: int) -> bytes:
        return self.headers(height, 1)

    def headers(self, start: int, count: int) -> bytes:
        first = (start - self.start) * HEADER_SIZE
        return b"" if first < 0 else self._raw[first : first + count * HEADER_SIZE]

    def hash_at(self, height: int) -> bytes:
        return self._hashes[self._place(height)]

    def height_of(self, block_hash: bytes) -> int | None:
        return self._heights.get(block_hash)

    def block(self, height: int) -> bytes | None:  # noqa: ARG002 - it has none
        return None

    def filter(self, height: int) -> bytes:
        raise CannotServe(f"no filter is known at height {height}")

    def filter_hash(self, height: int) -> bytes:
        raise CannotServe(f"no filter is known at height {height}")

    def filter_header(self, height: int) -> bytes:
        raise CannotServe(f"no filter is known at height {height}")

    def mnlistdiff(self, base: int, height: int) -> MasternodeListDiff | None:  # noqa: ARG002 - it has none
        return None

    def qrinfo(self, request: GetQrInfo, version: int) -> QrInfo | None:  # noqa: ARG002 - it has none
        return None

    def locks(self) -> tuple[Announced, ...]:
        return ()

    def locks_of(self, height: int) -> tuple[Announced, ...]:  # noqa: ARG002 - it has none
        return ()

    def lock(self, inv_type: int, inventory_hash: bytes) -> Announced | None:  # noqa: ARG002 - it has none
        return None

    def _place(self, height: int) -> int:
        if not self.start <= height <= self.height:
            raise CannotServe(f"no header is known at height {height}")
        return height - self.start
