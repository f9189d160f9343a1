"""Whether a transaction is one that a node could relay, as far as that can be told without the coins it spends.

Pure and incomplete: scripts, signatures, fees and whether the coins exist are not judged, a light client does not have
what that takes. What is refused here no node would ever take [Core consensus/tx_check.cpp, policy/policy.cpp].
"""

from __future__ import annotations

from phasegate.consensus.faults import Malformed
from phasegate.consensus.primitives import COINBASE, MAX_MONEY, Transaction

MAX_STANDARD, MIN_STANDARD = 100_000, 83
"""Bytes of a transaction that nodes relay, at most and at least [Core policy.h, *_STANDARD_TX_SIZE]."""
COMMITMENT, MNHF, ASSET_UNLOCK = 6, 7, 9
_WITHOUT_INPUTS = (COMMITMENT, MNHF, ASSET_UNLOCK)
_WITHOUT_OUTPUTS = (COMMITMENT, MNHF)


class RefusedTransaction(ValueError):
    """A transaction that no node would relay; the text says why."""


def relayable(raw: bytes) -> Transaction:
    """The transaction in `raw`, its whole serialisation [DIP2].

    Raises:
        RefusedTransaction: it does not parse to the last byte, or could not be relayed.
    """
    if len(raw) > MAX_STANDARD:
        raise RefusedTransaction(f"the transaction has {len(raw)} bytes, nodes relay at most {MAX_STANDARD}")
    try:
        tx = Transaction.from_bytes(raw)
    except Malformed as error:
        raise RefusedTransaction(f"this is no transaction: {error.detail}") from error
    if fault := _fault(tx):
        raise RefusedTransaction(f"no node would take the transaction: {fault}")
    if len(raw) < MIN_STANDARD:
        raise RefusedTransaction(f"the transaction has {len(raw)} bytes, nodes relay none under {MIN_STANDARD}")
    return tx


def _fault(tx: Transaction) -> str:
    spent = [txin.prevout for txin in tx.inputs]
    if tx.is_coinbase or tx.type in (COINBASE, COMMITMENT):
        return "only blocks bring coinbases and quorum commitments"
    if not tx.inputs and tx.type not in _WITHOUT_INPUTS:
        return "it spends nothing"
    if not tx.outputs and tx.type not in _WITHOUT_OUTPUTS:
        return "it pays nothing"
    if len(set(spent)) != len(spent):
        return "it spends a coin twice"
    if any(point.is_null for point in spent):
        return "it spends the null outpoint"
    if any(out.value < 0 for out in tx.outputs) or sum(out.value for out in tx.outputs) > MAX_MONEY:
        return "it pays an impossible amount"
    return ""
