"""What a block alone proves of its filter [BIP157, BIP158; Core blockfilter.cpp, evo/specialtx_filter.cpp].

A filter holds the scripts of all outputs of its block, of all outputs that it spends, and fields of its special
transactions. A light client knows all but some of the spent ones: those of outputs made in the same block, and those
that the scriptSig tells (`spent_scripts`), are known. So a filter that lacks something is proved wrong, and so is one
with more elements than the block can have: what is known, plus one for each input whose script is not. What cannot be
proved is an element that is there instead of an unknown one.

Nodes before 23.0 leave out what special transactions add. That is another rule, not a lie, and recognised as such.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from phasegate.consensus.faults import Malformed
from phasegate.consensus.filters import decode_filter, hashed_values
from phasegate.consensus.primitives import Block, Transaction
from phasegate.consensus.special_txs import filter_data
from phasegate.consensus.spent_scripts import script_hash_instead, spent_script

LAST_KNOWN_TYPE = 9
"""Transactions of later types may add to a filter what is not known here."""


@attrs.frozen
class Provable:
    """What a block shows of its filter.

    Args:
        outputs: scripts of its outputs, and of those that it makes and spends.
        special: what its special transactions add.
        spent: scripts that its inputs unlock, each with the one that it may be instead, or an empty one.
        most: how many distinct elements its filter can have; None when a transaction of an unknown kind is in it.
    """

    outputs: frozenset[bytes]
    special: frozenset[bytes]
    spent: Mapping[bytes, bytes]
    most: int | None

    @classmethod
    def of(cls, block: Block) -> Provable:
        """By reading `block`, which must have been checked against its header."""
        made = {(tx.txid, i): out.script for tx in block.transactions for i, out in enumerate(tx.outputs)}
        inputs = [txin for tx in block.transactions if not tx.is_coinbase for txin in tx.inputs]
        scripts = [made.get((i.prevout.txid, i.prevout.index), spent_script(i.script_sig)) for i in inputs]
        outputs = _wanted(script for script in made.values() if script[:1] != b"\x6a")
        told = _wanted(script for script in scripts if script is not None) - outputs
        special, complete = _special(block.transactions)
        most = len(outputs | told | special) + scripts.count(None)
        instead = {spent_script(i.script_sig): script_hash_instead(i.script_sig) for i in inputs}
        return cls(outputs, special, {script: instead.get(script, b"") for script in told}, most if complete else None)


def _wanted(scripts: Iterable[bytes]) -> frozenset[bytes]:
    return frozenset(script for script in scripts if script)


def _special(transactions: Iterable[Transaction]) -> tuple[frozenset[bytes], bool]:
    """What special transactions add, and whether all were understood."""
    found: set[bytes] = set()
    complete = True
    for tx in transactions:
        try:
            found.update(filter_data(tx))
        except Malformed:  # a payload of a later version: whoever mined it, it is no fault of the sender
            complete = False
        complete &= tx.type <= LAST_KNOWN_TYPE
    return _wanted(found), complete


def filter_lies(block: Block, raw_filter: bytes) -> str | None:
    """The proof that `raw_filter` is not the filter of `block`, in words; None if the block does not show one.

    Args:
        block: checked against its header.
        raw_filter: the whole filter, its count included.

    Raises:
        PeerMisbehaved: BAD_FILTER, when it cannot be read.
    """
    shown = Provable.of(block)
    missing = _Missing(block.hash, raw_filter)
    for what, lacking in (
        ("the output script", missing.of(shown.outputs)),
        ("the special transaction field", missing.of(shown.special)),
        ("the spent script", missing.of_spent(shown.spent)),
    ):
        if lacking:
            return f"lacks {what} {lacking[0].hex()} of the block"
    if shown.most is not None and missing.count > shown.most:
        return f"has {missing.count} elements, and the block allows {shown.most}"
    return None


def is_pre_23(block: Block, raw_filter: bytes) -> bool:
    """Whether `raw_filter` is what a node before 23.0 makes of `block`: it lacks what special transactions add, alone.

    Raises:
        PeerMisbehaved: BAD_FILTER, when it cannot be read.
    """
    shown = Provable.of(block)
    missing = _Missing(block.hash, raw_filter)
    added = shown.special - shown.outputs - shown.spent.keys()
    whole = not missing.of(shown.outputs) and not missing.of_spent(shown.spent)
    fits = shown.most is None or missing.count <= shown.most - len(added)
    return bool(added) and whole and fits and len(missing.of(added)) == len(added)


class _Missing:
    """Tells what a filter lacks."""

    def __init__(self, block_hash: bytes, raw_filter: bytes) -> None:
        self._block_hash = block_hash
        values = decode_filter(raw_filter, block_hash)
        self._values, self.count = frozenset(values), len(values)

    def of(self, elements: Iterable[bytes]) -> list[bytes]:
        """Those of `elements` that are not in the filter, sorted."""
        ordered = sorted(elements)
        values = hashed_values(self._block_hash, ordered, self.count)
        return [element for element, value in zip(ordered, values, strict=True) if value not in self._values]

    def of_spent(self, scripts: Mapping[bytes, bytes]) -> list[bytes]:
        """Those of `scripts` that are not in the filter, nor what they may be instead, sorted."""
        return [script for script in self.of(scripts) if not scripts[script] or self.of([scripts[script]])]
