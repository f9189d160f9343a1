"""Making the files of a bulk chain: arrays of fixed size by height, and messages as they go on the wire.

A chain is made in a folder beside its final place and moved there whole, so that a folder that is there is complete,
whoever was interrupted. What a node sends most stands in the files as it is sent, heads and checksums included: it is
made once, and sending it costs a look into a table.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import attrs
import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.filters import block_elements, build_filter, filter_hash, filter_header
from phasegate.consensus.primitives import Block, BlockHeader
from phasegate.p2p.framing import encode_frame
from phasegate.p2p.messages_filters import BASIC, CFilter
from phasegate.p2p.simnet.bulk_filters import ordinary_filters, splitmix
from phasegate.p2p.simnet.bulk_headers import mined, steady_records
from phasegate.p2p.simnet.bulk_plan import BulkPlan, bulk_network

CHUNK = 1000
Report = Callable[[str], None]


def made(plan: BulkPlan, cache: Path, say: Report = lambda _: None) -> Path:
    """The folder of the chain of `plan`, made if it is not in `cache` yet; `say` is told what takes its time.

    Raises:
        OSError: the cache cannot be written.
    """
    final = cache / plan.name
    if final.is_dir():
        return final
    cache.mkdir(parents=True, exist_ok=True)
    with _folder_beside(final) as folder:
        say(f"making a chain of {plan.headers:,} headers, {plan.filters:,} filters, {plan.matched:,} matched blocks")
        _Making(plan, folder).run()
    return final


@contextmanager
def _folder_beside(final: Path) -> Iterator[Path]:
    """A new folder that becomes `final`, unless another process was faster."""
    folder = Path(tempfile.mkdtemp(prefix=".making-", dir=final.parent))
    try:
        yield folder
        _settle(folder)
        if not final.is_dir():
            folder.rename(final)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settle(folder: Path) -> None:
    """Have all files on the disk, so that whoever is measured next does not share it with them."""
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())


@attrs.define
class _Making:
    """One chain being made in one folder."""

    plan: BulkPlan
    folder: Path

    def run(self) -> None:
        """Write everything, each file when those that it needs are there."""
        self._write_headers()
        headers = np.memmap(self.folder / "headers", np.uint8, "r").reshape(-1, 80)
        records, offsets = steady_records(headers)
        (self.folder / "records").write_bytes(records)
        self._array("records-at", offsets)
        keys = np.memmap(self.folder / "hashes", "<u8", "r").reshape(-1, 4)[:, 0]
        order = np.argsort(keys, kind="stable")
        self._array("keys", keys[order])
        self._array("order", order.astype(np.uint32))
        self._write_blocks()
        self._write_filters()

    def _array(self, name: str, values: NDArray[np.generic]) -> None:
        np.ascontiguousarray(values).tofile(self.folder / name)

    def _write_headers(self) -> None:
        with ExitStack() as files:
            headers, hashes = (files.enter_context((self.folder / name).open("wb")) for name in ("headers", "hashes"))
            for header, name in mined(self.plan):
                headers.write(header)
                hashes.write(name)

    def _write_blocks(self) -> None:
        """The matched blocks, as they go on the wire."""
        headers, offsets = (self.folder / "headers").read_bytes(), [0]
        with (self.folder / "blocks").open("wb") as file:
            for height, number in self.plan.matched_heights.items():
                header = BlockHeader.from_bytes(headers[80 * height : 80 * height + 80])
                block = Block(header, self.plan.paying(height, number).transactions)
                offsets.append(offsets[-1] + file.write(_framed("block", block.to_bytes())))
        self._array("blocks-at", np.array(offsets, np.int64))

    def _write_filters(self) -> None:
        """All filter hashes and headers; of the newest blocks the filters, as they go on the wire."""
        hashes, before, sizes = (self.folder / "hashes").read_bytes(), bytes(32), [0]
        with ExitStack() as files:
            names, chain, frames = (
                files.enter_context((self.folder / name).open("wb"))
                for name in ("filter-hashes", "filter-headers", "filters")
            )
            for height, raw in self._filters(hashes):
                block = hashes[32 * height : 32 * height + 32]
                named = block if raw is None else filter_hash(raw)
                before = filter_header(named, before)
                names.write(named)
                chain.write(before)
                if raw is not None:
                    sizes.append(_put(frames, CFilter(BASIC, block, raw)))
        self._array("filters-at", np.cumsum(sizes, dtype=np.int64))

    def _filters(self, hashes: bytes) -> Iterator[tuple[int, bytes | None]]:
        """Each height from 0 on with its filter, None where it is only named, by the hash of its block."""
        plan, start = self.plan, splitmix(self.plan.seed)
        yield from ((height, None) for height in range(plan.birthday))
        for first in range(plan.birthday, plan.headers + 1, CHUNK):
            count = min(CHUNK, plan.headers + 1 - first)
            for height, raw in enumerate(ordinary_filters(start, first, count, plan.elements), first):
                number = plan.matched_heights.get(height)
                yield height, raw if number is None else self._true(height, number, hashes[32 * height :][:32])

    def _true(self, height: int, number: int, block_hash: bytes) -> bytes:
        """The filter of a matched block."""
        paying = self.plan.paying(height, number)
        header = BlockHeader.from_bytes(bulk_network().genesis)  # no part of the elements
        return build_filter(block_hash, block_elements(Block(header, paying.transactions), paying.spent_scripts))


def _put(file: BinaryIO, message: CFilter) -> int:
    return file.write(_framed("cfilter", message.to_bytes()))


def _framed(command: str, payload: bytes) -> bytes:
    return encode_frame(bulk_network().magic, command, payload)
