"""Building, decoding and chaining filters, on Core's vectors and on the recorded chain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus.faults import Fault, Malformed, PeerMisbehaved
from phasegate.consensus.filters import (
    M,
    block_elements,
    build_filter,
    chain_headers,
    decode_filter,
    filter_hash,
    filter_header,
    hashed_values,
    siphash,
)
from phasegate.consensus.primitives import Block, OutPoint, Transaction, TxOut

if TYPE_CHECKING:
    from tests.consensus.conftest import RecordedChain

KEY = bytes(range(32))
Elements = st.sets(st.binary(min_size=1, max_size=40), max_size=30)


@pytest.mark.parametrize(
    ("size", "expected"), [(0, 0x726FDB47DD0E0E31), (1, 0x74F839C593DC67FD), (15, 0xA129CA6149BE45E5)]
)
def test_siphash_is_that_of_its_paper(size: int, expected: int) -> None:
    """Key 00..0f, message 00.. of the given size: the official vectors."""
    k0, k1 = (int.from_bytes(bytes(range(i, i + 8)), "little") for i in (0, 8))
    assert siphash(k0, k1, bytes(range(size))) == expected


def test_the_vectors_of_core_are_rebuilt(shared: Path) -> None:
    rows = json.loads((shared / "vectors" / "filters" / "blockfilters.json").read_text())[1:]
    for _height, block_hash, raw, prevouts, prev, expected, header, *_ in rows:
        block = Block.from_bytes(bytes.fromhex(raw))
        built = build_filter(block.hash, block_elements(block, [bytes.fromhex(script) for script in prevouts]))
        assert block.hash[::-1].hex() == block_hash
        assert built.hex() == expected
        assert filter_header(filter_hash(built), bytes.fromhex(prev)[::-1])[::-1].hex() == header
    assert len(rows) == 7


def test_every_recorded_filter_is_rebuilt_byte_for_byte(chain: RecordedChain) -> None:
    spent = chain.spent_scripts()
    for height in range(1, 357):
        block = chain.block(height)
        assert build_filter(block.hash, block_elements(block, spent(block))) == chain.filters[height], height


def test_special_transactions_matter_in_eight_recorded_filters(chain: RecordedChain) -> None:
    spent = chain.spent_scripts()
    differing = 0
    for height in range(1, 357):
        block = chain.block(height)
        outputs = {out.script for tx in block.transactions for out in tx.outputs if out.script[:1] != b"\x6a"}
        plain = build_filter(block.hash, (outputs | set(spent(block))) - {b""})
        differing += plain != chain.filters[height]
    assert differing == 8


def test_the_recorded_filter_headers_chain_to_the_known_tip(chain: RecordedChain) -> None:
    assert b"".join([filter_hash(raw) for raw in chain.filters]) == chain.filter_hashes
    headers = chain_headers(bytes(32), chain.filter_hashes)
    assert headers[-32:][::-1].hex() == "8472c35faf45db6d390f7200c87a17d0bb8ae0e1617128bad08113054892ff5d"
    assert headers == chain_headers(bytes(32), chain.filter_hashes[:320]) + chain_headers(
        headers[288:320], chain.filter_hashes[320:]
    )


def test_a_filter_over_nothing_is_one_zero_byte() -> None:
    assert build_filter(KEY, []) == b"\0"
    assert decode_filter(b"\0", KEY) == []


@given(Elements)
def test_a_filter_decodes_to_the_numbers_of_its_elements(elements: set[bytes]) -> None:
    raw = build_filter(KEY, elements)
    assert decode_filter(raw, KEY) == sorted(hashed_values(KEY, elements, len(elements)))
    assert build_filter(KEY, [*elements, *elements]) == raw


def test_the_numbers_stay_below_n_times_m() -> None:
    values = hashed_values(KEY, [bytes((i,)) for i in range(100)], 100)
    assert max(values) < 100 * M


RAW = build_filter(KEY, [b"a", b"b", b"c"])


TOO_MANY = [b"\3", b"\1\xff\xff\xff\xff", b"\xff" + bytes(12)]
WRONG_FORM = [b"", RAW[:-1], RAW + b"\0", b"\0\0", b"\xfd\3\0" + RAW[1:], b"\1" + RAW[1:]]


@pytest.mark.parametrize("raw", TOO_MANY + WRONG_FORM)
def test_a_filter_cut_extended_or_miscounted_is_refused(raw: bytes) -> None:
    with pytest.raises(PeerMisbehaved) as caught:
        decode_filter(raw, KEY)
    assert caught.value.fault is Fault.BAD_FILTER


def _block(*txs: Transaction) -> Block:
    header = Block.from_bytes(bytes(80) + b"\0").header
    return Block(header, txs)


def _special(kind: int, payload: bytes, version: int = 3) -> Transaction:
    return Transaction(version, kind, (), (TxOut(1, b"\x6a\1"), TxOut(1, b"")), 0, payload)


SCRIPT = b"\x19" + b"\x76" * 25
HASH, OWNER, VOTING, OPERATOR = b"\1" * 32, b"\2" * 20, b"\3" * 20, b"\4" * 48
COLLATERAL = OutPoint(b"\5" * 32, 1).to_bytes()
LONG = b"\1\1\0\1\1\1\4\1\2\3\4\x27\x0f"


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        (
            1,
            b"\2\0" + bytes(4) + COLLATERAL + bytes(18) + OWNER + OPERATOR + VOTING + b"\0\0" + SCRIPT + bytes(33),
            {COLLATERAL, OWNER, VOTING, SCRIPT[1:]},
        ),
        (
            1,
            b"\3\0" + bytes(4) + COLLATERAL + LONG + OWNER + OPERATOR + VOTING + b"\0\0" + SCRIPT + bytes(33),
            {COLLATERAL, OWNER, VOTING, SCRIPT[1:]},
        ),
        (2, b"\1\0" + HASH + bytes(18) + SCRIPT + bytes(128), {HASH, SCRIPT[1:]}),
        (2, b"\2\0\0\0" + HASH + bytes(18) + b"\0" + bytes(128), {HASH}),
        (3, b"\2\0" + HASH + bytes(2) + OPERATOR + VOTING + SCRIPT + bytes(33), {HASH, VOTING, SCRIPT[1:]}),
        (4, b"\2\0" + HASH + bytes(2 + 128), {HASH}),
        (8, b"\1\3" + bytes(8) + SCRIPT + bytes(8) + b"\1\x6a" + bytes(8) + b"\0", {SCRIPT[1:]}),
        (5, b"anything", set()),
        (6, b"anything", set()),
    ],
)
def test_special_transactions_add_what_core_adds(kind: int, payload: bytes, expected: set[bytes]) -> None:
    assert block_elements(_block(_special(kind, payload)), []) == expected


def test_a_type_counts_only_from_transaction_version_3_on() -> None:
    assert block_elements(_block(_special(4, b"", version=2)), []) == set()


def test_a_special_payload_that_ends_too_early_is_malformed() -> None:
    with pytest.raises(Malformed):
        block_elements(_block(_special(4, b"\2\0" + HASH[1:])), [])


def test_spent_scripts_are_elements_and_empty_ones_are_not() -> None:
    assert block_elements(_block(), [b"\x51", b"", b"\x51"]) == {b"\x51"}
