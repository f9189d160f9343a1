"""Which transactions are worth being broadcast: real ones are, impossible ones are refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.primitives import MAX_MONEY, OutPoint, Transaction, TxIn, TxOut
from phasegate.consensus.transactions import MAX_STANDARD, MIN_STANDARD, RefusedTransaction, relayable

if TYPE_CHECKING:
    from tests.consensus.conftest import RecordedChain

KEY = b"\x76\xa9\x14" + bytes(20) + b"\x88\xac"
GOOD = Transaction(
    2, 0, (TxIn(OutPoint(b"\1" * 32, 0), bytes(9)), TxIn(OutPoint(b"\1" * 32, 1), b"")), (TxOut(5, KEY),)
)
NOWHERE = TxIn(OutPoint(bytes(32), 0xFFFFFFFF), bytes(40))


def test_every_recorded_transaction_was_relayable_or_only_a_block_brings_it(chain: RecordedChain) -> None:
    """What nodes relayed is taken and comes back as it was; coinbases and quorum commitments are refused as such."""
    taken = 0
    for height in range(1, 357):
        for tx in chain.block(height).transactions:
            if tx.is_coinbase or tx.type == 6:
                with pytest.raises(RefusedTransaction, match="only blocks bring"):
                    relayable(tx.to_bytes())
            else:
                assert relayable(tx.to_bytes()) == tx
                taken += 1
    assert taken > 20


def test_the_valid_transactions_of_core_are_refused_for_a_reason_only(shared: Path) -> None:
    """Those that Core calls valid are relayable, but for coinbases and those too small."""
    vectors = json.loads((shared / "vectors" / "dash-core" / "tx_valid.json").read_text())
    raws = [bytes.fromhex(row[1]) for row in vectors if len(row) == 3]
    refused = []
    for raw in raws:
        try:
            assert relayable(raw).to_bytes() == raw
        except RefusedTransaction as error:
            refused.append(str(error))
    assert len(raws) - len(refused) > 35
    assert all("only blocks bring" in reason or "nodes relay none under" in reason for reason in refused)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"inputs": ()}, "it spends nothing"),
        ({"outputs": ()}, "it pays nothing"),
        ({"inputs": GOOD.inputs[:1] * 2}, "it spends a coin twice"),
        ({"inputs": (*GOOD.inputs, NOWHERE)}, "it spends the null outpoint"),
        ({"inputs": (NOWHERE,)}, "only blocks bring"),
        ({"version": 3, "type": 5}, "only blocks bring"),
        ({"version": 3, "type": 6}, "only blocks bring"),
        ({"outputs": (TxOut(-1, KEY),)}, "impossible amount"),
        ({"outputs": (TxOut(MAX_MONEY, KEY), TxOut(1, KEY))}, "impossible amount"),
        ({"outputs": (TxOut((1 << 63) - 1, KEY),) * 2}, "impossible amount"),
        ({"outputs": (TxOut(5, bytes(MAX_STANDARD)),)}, "nodes relay at most 100000"),
        ({"inputs": GOOD.inputs[1:], "outputs": (TxOut(5, b""),)}, "nodes relay none under 83"),
    ],
)
def test_what_no_node_would_take_is_refused(change: dict[str, Any], why: str) -> None:
    """One flaw each, named in the refusal, in a transaction that is relayable else."""
    assert relayable(GOOD.to_bytes()) == GOOD
    raw = attrs.evolve(GOOD, payload=bytes(80) if "type" in change else b"", **change).to_bytes()
    with pytest.raises(RefusedTransaction, match=why):
        relayable(raw)


@pytest.mark.parametrize("kind", [7, 9])
def test_special_transactions_may_spend_nothing(kind: int) -> None:
    """Hard fork signals and withdrawals from the credit pool have no inputs."""
    outputs = () if kind == 7 else GOOD.outputs
    tx = Transaction(3, kind, (), outputs, payload=bytes(100))
    assert relayable(tx.to_bytes()) == tx


def test_the_bounds_are_those_that_nodes_keep() -> None:
    """A transaction of exactly the least or the largest size is taken."""
    for size in (MIN_STANDARD, MAX_STANDARD):
        tx = attrs.evolve(GOOD, inputs=GOOD.inputs[1:], outputs=(TxOut(5, b""),))
        script = size - len(tx.to_bytes()) - (2 if size > 300 else 0) - (2 if size > 70_000 else 0)
        tx = attrs.evolve(tx, outputs=(TxOut(5, b"\x51" * script),))
        assert len(tx.to_bytes()) == size
        assert relayable(tx.to_bytes()) == tx


@settings(max_examples=400)
@given(st.one_of(st.binary(max_size=400), st.tuples(st.integers(0, 250), st.integers(0, 255)), st.integers(0, 200)))
def test_nothing_else_is_ever_raised(noise: bytes | tuple[int, int] | int) -> None:
    """Noise, flipped bytes and cuts are taken as the whole transaction they are, or refused."""
    raw = bytearray(GOOD.to_bytes())
    if isinstance(noise, bytes):
        raw = bytearray(noise)
    elif isinstance(noise, tuple):
        raw[noise[0] % len(raw)] = noise[1]
    else:
        raw = raw[:noise]
    try:
        taken = relayable(bytes(raw)).to_bytes()
    except RefusedTransaction as refused:
        reason = str(refused)
    else:
        reason = "" if taken == raw else "it was changed"
    assert reason != "it was changed"
    assert reason == "" or reason.startswith(("this is no transaction: ", "no node would take", "the transaction has "))
