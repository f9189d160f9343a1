"""A bulk chain read from its files, which are mapped into memory: what is never asked for is never read.

It is a `SimulatedChain` like others, so that the simulated node could serve it; `bulk_answers` gives the same answers
without making a message of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.addresses import address_of
from phasegate.consensus.codec import compact_size
from phasegate.consensus.masternodes import MasternodeListDiff
from phasegate.consensus.params import Network
from phasegate.p2p.framing import HEAD_SIZE, encode_frame
from phasegate.p2p.messages import GetQrInfo, QrInfo
from phasegate.p2p.simnet.bulk_plan import BulkPlan, bulk_network
from phasegate.p2p.simnet.chain import Announced, Expected

_FILTER_AT = HEAD_SIZE + 1 + 32
_FILES: Mapping[str, Any] = {
    **dict.fromkeys(("headers", "hashes", "filter_hashes", "filter_headers"), np.uint8),
    **dict.fromkeys(("records", "filters", "blocks"), np.uint8),
    **dict.fromkeys(("records_at", "filters_at", "blocks_at"), np.int64),
    "keys": "<u8",
    "order": np.uint32,
}


def _mapped(path: Path, kind: Any) -> NDArray[Any]:
    """The file as an array; an empty one cannot be mapped."""
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)


@attrs.frozen(eq=False)
class BulkChain:
    """The chain of `plan`; heights count from genesis at 0, hashes are 32 bytes in wire order."""

    plan: BulkPlan
    network: Network
    _headers: NDArray[Any]
    _hashes: NDArray[Any]
    _filter_hashes: NDArray[Any]
    _filter_headers: NDArray[Any]
    _records: NDArray[Any]
    _records_at: NDArray[Any]
    _filters: NDArray[Any]
    _filters_at: NDArray[Any]
    _blocks: NDArray[Any]
    _blocks_at: NDArray[Any]
    _keys: NDArray[Any]
    _order: NDArray[Any]

    @classmethod
    def open(cls, plan: BulkPlan, folder: Path) -> BulkChain:
        """The chain in a folder that `bulk_files.made` has given.

        Raises:
            OSError: it is not there.
        """
        files = {name: _mapped(folder / name.replace("_", "-"), kind) for name, kind in _FILES.items()}
        return cls(plan, bulk_network(known_blocks(plan, files["hashes"])), **files)

    @property
    def height(self) -> int:
        return len(self._hashes) // 32 - 1

    @property
    def tip_hash(self) -> bytes:
        return self.hash_at(self.height)

    @property
    def watch(self) -> tuple[str, ...]:
        return tuple([str(address_of(script, self.network)) for script in self.plan.watched])

    @property
    def expected(self) -> Expected:
        heights = self.plan.matched_heights.items()
        txids = [self.plan.paying(height, number).transactions[1].txid for height, number in heights]
        balances = {script.hex(): value for script, value in self.plan.balances.items()}
        return {"transactions": [txid[::-1].hex() for txid in txids], "balances": balances}

    @property
    def watched_heights(self) -> tuple[int, ...]:
        return tuple(self.plan.matched_heights)

    def header(self, height: int) -> bytes:
        return self.headers(height, 1)

    def headers(self, start: int, count: int) -> bytes:
        return self._headers[80 * start : 80 * (start + count)].tobytes()

    def header_array(self, start: int, count: int) -> NDArray[np.uint8]:
        """As `headers`, as rows of 80 bytes."""
        return self._headers[80 * start : 80 * (start + count)].reshape(-1, 80)

    def hash_at(self, height: int) -> bytes:
        return self.hashes(height, 1)

    def hashes(self, start: int, count: int) -> bytes:
        """The hashes of `count` blocks from `start` on, fewer at the tip."""
        return self._hashes[32 * start : 32 * (start + count)].tobytes()

    def height_of(self, block_hash: bytes) -> int | None:
        if len(block_hash) != 32:
            return None
        key = np.frombuffer(block_hash[:8], "<u8")[0]
        at = int(np.searchsorted(self._keys, key))
        while at < len(self._keys) and self._keys[at] == key:
            if self.hash_at(height := int(self._order[at])) == block_hash:
                return height
            at += 1
        return None

    def block(self, height: int) -> bytes | None:
        return self.block_frame(height)[HEAD_SIZE:] if height else None

    def block_frame(self, height: int) -> bytes:
        """The `block` message of a height above 0, as it goes on the wire."""
        number = self.plan.matched_heights.get(height)
        if number is not None:
            return self._blocks[self._blocks_at[number] : self._blocks_at[number + 1]].tobytes()
        block = self.header(height) + compact_size(1) + self.plan.coinbase(height)
        return encode_frame(self.network.magic, "block", block)

    def filter(self, height: int) -> bytes:
        """The basic filter, at a height from the plan's birthday on.

        Raises:
            LookupError: the filter below it is only named.
        """
        if height < self.plan.birthday:
            raise LookupError(f"there is no filter at height {height}: they begin at {self.plan.birthday}")
        frame = bytes(self.filter_frames(height, 1))[_FILTER_AT:]
        return frame[{0xFD: 3, 0xFE: 5}.get(frame[0], 1) :]

    def filter_frames(self, start: int, count: int) -> memoryview:
        """The `cfilter` messages of heights that have one, as they go on the wire."""
        first = start - self.plan.birthday
        return self._filters[self._filters_at[first] : self._filters_at[first + count]].data

    def filter_hash(self, height: int) -> bytes:
        return self.filter_hashes(height, 1)

    def filter_hashes(self, start: int, count: int) -> bytes:
        """Those of `count` blocks from `start` on."""
        return self._filter_hashes[32 * start : 32 * (start + count)].tobytes()

    def filter_header(self, height: int) -> bytes:
        return self._filter_headers[32 * height : 32 * height + 32].tobytes() if height >= 0 else bytes(32)

    def records(self, start: int, count: int) -> bytes:
        """What compressed headers from `start` on are in the middle of a message."""
        end = min(start + count, self.height + 1)
        return self._records[self._records_at[start] : self._records_at[end]].tobytes() if start < end else b""

    def mnlistdiff(self, base: int, height: int) -> MasternodeListDiff | None:  # noqa: ARG002 - there are no lists
        return None

    def qrinfo(self, request: GetQrInfo, version: int) -> QrInfo | None:  # noqa: ARG002 - there are no quorums
        return None

    def locks(self) -> tuple[Announced, ...]:
        return ()

    def locks_of(self, height: int) -> tuple[Announced, ...]:  # noqa: ARG002 - there are no locks
        return ()

    def lock(self, inv_type: int, inventory_hash: bytes) -> Announced | None:  # noqa: ARG002 - there are no locks
        return None


def known_blocks(plan: BulkPlan, hashes: NDArray[Any]) -> Mapping[int, bytes]:
    """The blocks that the network of `plan` knows beforehand, ascending."""
    every = plan.known_every
    heights = range(every, plan.headers + 1, every) if every else range(0)
    return {height: hashes[32 * height : 32 * height + 32].tobytes() for height in heights}
