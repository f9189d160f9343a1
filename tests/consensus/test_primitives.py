"""Transactions and blocks of Core's vectors and of the recording, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from phasegate.consensus.codec import Reader
from phasegate.consensus.faults import Malformed
from phasegate.consensus.primitives import Block, BlockHeader, CoinbasePayload, OutPoint, Transaction, header_at

if TYPE_CHECKING:
    from tests.consensus.conftest import RecordedChain


def _hex_transactions(value: object) -> Iterator[str]:
    if isinstance(value, str) and len(value) > 100 and set(value) <= set("0123456789abcdef"):
        yield value
    elif isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _hex_transactions(item)


@pytest.mark.parametrize(("name", "at_least"), [("trivially_valid.json", 10), ("tx_valid.json", 80)])
def test_the_transactions_of_core_re_encode(shared: Path, name: str, at_least: int) -> None:
    vectors = json.loads((shared / "vectors" / "dash-core" / name).read_text())
    raws = [bytes.fromhex(text) for text in _hex_transactions(vectors)]
    assert len(raws) >= at_least
    assert [Transaction.from_bytes(raw).to_bytes() for raw in raws] == raws


def test_recorded_blocks_re_encode_and_state_their_height(chain: RecordedChain) -> None:
    """The first block has a plain coinbase; version 3 of the payload begins at V20, here 100."""
    for height in range(2, 357):
        block = chain.block(height)
        payload = CoinbasePayload.from_bytes(block.transactions[0].payload)
        assert payload.to_bytes() == block.transactions[0].payload
        assert (payload.height, payload.version) == (height, 3 if height >= 100 else 2)
        assert Block.from_bytes(block.to_bytes()) == block
        assert block.hash == chain.hash_at(height)
        assert block.header.to_bytes() == header_at(chain.headers, height - 1)


def test_only_coinbases_come_first(chain: RecordedChain) -> None:
    for height in range(1, 357):
        kinds = [tx.is_coinbase for tx in chain.block(height).transactions]
        assert kinds == [True] + [False] * (len(kinds) - 1)


def test_a_cut_or_extended_block_is_malformed(chain: RecordedChain) -> None:
    raw = chain.block(238).to_bytes()
    for wrong in (raw[:-1], raw + b"\0", raw[:79], bytes(2_000_001)):
        with pytest.raises(Malformed):
            Block.from_bytes(wrong)


def test_a_header_has_eighty_bytes(chain: RecordedChain) -> None:
    raw = chain.header(5)
    assert BlockHeader.from_bytes(raw).to_bytes() == raw
    assert BlockHeader.from_bytes(raw).hash == chain.hash_at(5)
    for wrong in (raw[:-1], raw + b"\0"):
        with pytest.raises(Malformed):
            BlockHeader.from_bytes(wrong)


@pytest.mark.parametrize("raw", [b"\0\0" + bytes(36), b"\4\0" + bytes(36), b"\1\0" + bytes(37), b""])
def test_a_coinbase_payload_of_another_version_or_length_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        CoinbasePayload.from_bytes(raw)


def test_the_null_outpoint_is_that_of_a_coinbase() -> None:
    assert OutPoint(bytes(32), 0xFFFFFFFF).is_null
    assert not OutPoint(bytes(32), 0).is_null
    assert OutPoint.parse(Reader(OutPoint(b"\1" * 32, 7).to_bytes())) == OutPoint(b"\1" * 32, 7)
