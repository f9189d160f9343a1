"""The recorded Dash Core chain, parsed once, and a miner for chains of our own."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import attrs
import pytest

from phasegate.consensus.codec import Reader
from phasegate.consensus.headers import ChainTip, compact_to_target, context_size, expected_bits, extend, work_of
from phasegate.consensus.params import Network, network
from phasegate.consensus.primitives import Block, BlockHeader, OutPoint, Transaction, TxIn, TxOut
from phasegate.consensus.x11 import x11_many


@attrs.frozen
class RecordedChain:
    """The chain of the recording: everything indexed by height, where `blocks[0]` is None."""

    headers: bytes
    hashes: bytes
    blocks: tuple[Block | None, ...]
    filters: tuple[bytes, ...]
    filter_hashes: bytes

    def header(self, height: int) -> bytes:
        return self.headers[80 * (height - 1) : 80 * height]

    def hash_at(self, height: int) -> bytes:
        return self.hashes[32 * height : 32 * height + 32]

    def height_of(self, block_hash: bytes) -> int:
        return next(h for h in range(len(self.hashes) // 32) if self.hash_at(h) == block_hash)

    def block(self, height: int) -> Block:
        block = self.blocks[height]
        assert block is not None
        return block

    def spent_scripts(self) -> Callable[[Block], list[bytes]]:
        """A function that names the scripts a block spends."""
        txs = [tx for block in self.blocks if block is not None for tx in block.transactions]
        outputs = {OutPoint(tx.txid, i): out.script for tx in txs for i, out in enumerate(tx.outputs)}

        def scripts(block: Block) -> list[bytes]:
            inputs = [txin for tx in block.transactions if not tx.is_coinbase for txin in tx.inputs]
            return [outputs[txin.prevout] for txin in inputs]

        return scripts


def _pieces(raw: bytes) -> list[bytes]:
    r, pieces = Reader(raw), []
    while r.left:
        pieces.append(r.take(r.u32()))
    return pieces


@pytest.fixture(scope="session")
def chain(capture: Path) -> RecordedChain:
    """The recorded chain of 356 blocks."""
    read = {path.name: path.read_bytes() for path in capture.glob("*.bin")}
    blocks = (None, *[Block.from_bytes(raw) for raw in _pieces(read["blocks.bin"])])
    filters = [Reader(raw[33:]).var_bytes(1 << 20) for raw in _pieces(read["cfilters.bin"])]
    return RecordedChain(read["headers.bin"], read["hashes.bin"], blocks, tuple(filters), read["cfhashes.bin"])


Miner = Callable[..., bytes]


@pytest.fixture(scope="session")
def mine() -> Miner:
    """Mines one header on a tip; what a rule is to be broken in can be given."""

    def one(network: Network, tip: ChainTip, **chosen: int | bytes) -> bytes:
        time = chosen.get("time", tip.window[-1][0] + 150)
        assert isinstance(time, int)
        fields = {"version": 4, "prev": tip.hash, "merkle_root": bytes(32), "time": time, **chosen}
        if "bits" not in fields:
            fields["bits"] = expected_bits(network, tip, time)
        return _solve(BlockHeader(**fields, nonce=0))  # type: ignore[arg-type]

    return one


def _solve(header: BlockHeader) -> bytes:
    target = compact_to_target(header.bits)
    while int.from_bytes(header.hash, "little") > target:
        header = attrs.evolve(header, nonce=header.nonce + 1)
    return header.to_bytes()


@pytest.fixture(scope="session")
def grow(mine: Miner) -> Callable[[Network, ChainTip, int, int], ChainTip]:
    """Mines a number of headers with spacings from a seed."""

    def many(network: Network, tip: ChainTip, count: int, seed: int) -> ChainTip:
        rnd = random.Random(seed)
        for _ in range(count):
            raw = mine(network, tip, time=tip.window[-1][0] + rnd.randrange(1, 400))
            tip = extend(network, tip, raw, 1 << 31).tip
        return tip

    return many


@pytest.fixture
def payment() -> Callable[..., Transaction]:
    """Builds a plain transaction from outpoints and `(value, script)` pairs."""

    def build(inputs: list[OutPoint], outputs: list[tuple[int, bytes]]) -> Transaction:
        return Transaction(2, 0, tuple(TxIn(o, b"") for o in inputs), tuple(TxOut(v, s) for v, s in outputs))

    return build


@attrs.frozen
class HeaderFile:
    """A file of real headers: what the index says about it, and every tip along it."""

    name: str
    network: Network
    start: int
    raw: bytes
    hashes: bytes
    last_hash: str
    first_work: int
    last_work: int
    window: tuple[tuple[int, int], ...]
    works: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.raw) // 80

    @property
    def end_height(self) -> int:
        return self.start + self.count - 1

    def tip_at(self, at: int) -> ChainTip:
        """The tip that is the header number `at`, by what stands in the file up to there."""
        height = self.start + at
        first = max(0, at + 1 - context_size(self.network, height))
        window = self.window[first : at + 1]
        return ChainTip(height, self.hashes[32 * at : 32 * at + 32], self.works[at], window)


def _header_file(place: Path, row: dict[str, str]) -> HeaderFile:
    raw = (place / row["file"]).read_bytes()
    held = 4032 if row["network"] == "devnet" else 0
    first, last = (int(row[key] or "0", 16) for key in ("chainwork_first", "chainwork_last"))
    window = tuple((time, bits) for *_, time, bits, _ in struct.iter_unpack("<i32s32sIII", raw))
    works = tuple(accumulate((work_of(bits) for _, bits in window[1:]), initial=first))
    chosen, start = network(row["network"], min_difficulty_blocks=held), int(row["start_height"])
    return HeaderFile(row["file"], chosen, start, raw, x11_many(raw), row["last_hash"], first, last, window, works)


@pytest.fixture(scope="session")
def header_files(shared: Path) -> list[HeaderFile]:
    """Every file of real headers."""
    rows = json.loads((shared / "vectors" / "headers" / "index.json").read_text())
    return [_header_file(shared / "vectors", row) for row in rows if row["file"].endswith(".bin")]


@pytest.fixture(scope="session")
def capture_watch(capture: Path) -> list[bytes]:
    """The scripts of the 12 watched addresses of the recording."""
    record = json.loads((capture / "record.json").read_text())
    return [bytes.fromhex(row["spk"]) for row in record["watch"].values()]
