"""What a block proves of its filter, on the recorded chain, on Core's vectors and on scripts of every kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from phasegate.consensus.codec import var_bytes
from phasegate.consensus.filter_proofs import Provable, filter_lies, is_pre_23
from phasegate.consensus.filters import block_elements, build_filter
from phasegate.consensus.primitives import Block, OutPoint, Transaction, TxIn, TxOut
from phasegate.consensus.spent_scripts import hash160, spent_script

if TYPE_CHECKING:
    from tests.consensus.conftest import RecordedChain

SIGNATURE = b"\x30\x45" + bytes(69) + b"\x01"
KEY = b"\x02" + b"\x11" * 32
LONG_KEY = b"\x04" + b"\x22" * 64
MULTISIG = b"\x51\x21" + KEY + b"\x51\xae"
PAID_KEY = b"\x76\xa9\x14" + hash160(KEY) + b"\x88\xac"
HEADER = Block.from_bytes(bytes(80) + b"\0").header


def pushes(*items: bytes) -> bytes:
    return b"".join([var_bytes(item) for item in items])


@pytest.mark.parametrize(
    ("script_sig", "script"),
    [
        (pushes(SIGNATURE, KEY), PAID_KEY),
        (pushes(SIGNATURE, LONG_KEY), b"\x76\xa9\x14" + hash160(LONG_KEY) + b"\x88\xac"),
        (pushes(b"", SIGNATURE, MULTISIG), b"\xa9\x14" + hash160(MULTISIG) + b"\x87"),
        (pushes(b"") + pushes(SIGNATURE) * 2 + b"\x4c" + pushes(MULTISIG), b"\xa9\x14" + hash160(MULTISIG) + b"\x87"),
        (b"\x51" + pushes(MULTISIG), b"\xa9\x14" + hash160(MULTISIG) + b"\x87"),
        (pushes(SIGNATURE), None),
        (pushes(b"", SIGNATURE, SIGNATURE), None),
        (pushes(SIGNATURE, KEY, KEY), None),
        (pushes(SIGNATURE, KEY[:-1]), None),
        (pushes(SIGNATURE[:-1], KEY), None),
        (pushes(bytes(32)), None),
        (pushes(b"\x21" + KEY[:20] + b"\xac"), None),
        (pushes(SIGNATURE, KEY) + b"\x75", None),
        (pushes(SIGNATURE, KEY)[:-1], None),
        (b"\x4d\xff", None),
        (b"", None),
    ],
)
def test_a_script_sig_tells_p2pkh_and_p2sh_and_nothing_else(script_sig: bytes, script: bytes | None) -> None:
    """Signatures alone, other pushes, other opcodes and what is cut off tell nothing."""
    assert spent_script(script_sig) == script


def test_every_recorded_filter_stands_up_to_its_block(chain: RecordedChain) -> None:
    """No honest filter of the recording is called a lie, nor one of a node before 23.0."""
    for height in range(1, 357):
        block = chain.block(height)
        assert filter_lies(block, chain.filters[height]) is None, height
        assert not is_pre_23(block, chain.filters[height])


def test_what_the_recording_spends_is_read_off_as_it_was_paid(chain: RecordedChain) -> None:
    """Each script told by a scriptSig is that of the output spent."""
    spent = chain.spent_scripts()
    told = 0
    for height in range(1, 357):
        block = chain.block(height)
        shown = Provable.of(block)
        assert shown.spent.keys() <= set(spent(block)), height
        told += len(shown.spent)
    assert told > 10


def test_the_vectors_of_core_stand_up_to_their_blocks(shared: Path) -> None:
    """Also those of blocks whose filters hold odd scripts."""
    rows = json.loads((shared / "vectors" / "filters" / "blockfilters.json").read_text())[1:]
    for _height, _hash, raw, _prevouts, _prev, expected, *_ in rows:
        assert filter_lies(Block.from_bytes(bytes.fromhex(raw)), bytes.fromhex(expected)) is None


def test_each_element_that_a_recorded_block_shows_is_missed(chain: RecordedChain) -> None:
    """A filter without any single one of them is a lie, and the proof names it; one element too many is one, too."""
    spent = chain.spent_scripts()
    for height in range(100, 130):
        block = chain.block(height)
        elements, shown = block_elements(block, spent(block)), Provable.of(block)
        for element in shown.outputs | shown.special | shown.spent.keys():
            assert element.hex() in str(filter_lies(block, build_filter(block.hash, elements - {element})))
        junk = {bytes((i,)) for i in range((shown.most or 0) - len(elements) + 1)}
        assert "the block allows" in str(filter_lies(block, build_filter(block.hash, elements | junk)))


def test_an_element_instead_of_an_unknown_one_cannot_be_proved(chain: RecordedChain) -> None:
    """An input that tells nothing leaves room for anything."""
    tx = Transaction(2, 0, (TxIn(OutPoint(KEY[1:], 0), pushes(SIGNATURE)),), (TxOut(1, PAID_KEY),))
    block = Block(HEADER, (tx,))
    assert filter_lies(block, build_filter(block.hash, [PAID_KEY, b"anything"])) is None
    assert filter_lies(block, build_filter(block.hash, [PAID_KEY])) is None
    assert filter_lies(block, build_filter(block.hash, [PAID_KEY, b"anything", b"else"])) is not None


def test_a_redeem_script_that_looks_like_a_key_does_not_frame_an_honest_filter() -> None:
    """Who spends with a signature and 33 bytes may have spent P2PKH or P2SH: one of both must be there."""
    tx = Transaction(2, 0, (TxIn(OutPoint(KEY[1:], 0), pushes(SIGNATURE, KEY)),), (TxOut(1, b"\x51"),))
    block = Block(HEADER, (tx,))
    paid_to_script = b"\xa9\x14" + hash160(KEY) + b"\x87"
    for script in (PAID_KEY, paid_to_script):
        assert filter_lies(block, build_filter(block.hash, [b"\x51", script])) is None
    assert "lacks the spent script" in (filter_lies(block, build_filter(block.hash, [b"\x51", b"other"])) or "")


def test_filters_by_the_old_rules_are_recognised_as_such(chain: RecordedChain) -> None:
    """In all recorded blocks whose special transactions add something; one field less than that is a lie again."""
    spent = chain.spent_scripts()
    old = 0
    for height in range(1, 357):
        block = chain.block(height)
        shown = Provable.of(block)
        added = shown.special - shown.outputs - set(spent(block))
        plain = block_elements(block, spent(block)) - added
        assert is_pre_23(block, build_filter(block.hash, plain)) == bool(added), height
        if added:
            old += 1
            assert filter_lies(block, build_filter(block.hash, plain)) is not None
            assert not is_pre_23(block, build_filter(block.hash, plain - {min(shown.outputs)}))
            assert len(added) == 1 or not is_pre_23(block, build_filter(block.hash, plain | {min(added)}))
    assert old == 8


@pytest.mark.parametrize(("kind", "payload"), [(10, b"?"), (4, b"short")])
def test_what_is_not_understood_sets_no_bound(kind: int, payload: bytes) -> None:
    """A transaction of a later type or version may add elements: only what is known must be there."""
    block = Block(HEADER, (Transaction(3, kind, (), (TxOut(1, PAID_KEY),), 0, payload),))
    assert filter_lies(block, build_filter(block.hash, [PAID_KEY, *[bytes((i,)) for i in range(50)]])) is None
    assert filter_lies(block, build_filter(block.hash, [b"other"])) is not None


def test_what_is_made_and_spent_in_one_block_is_known() -> None:
    """The input's script is that of the output, whatever the scriptSig says."""
    first = Transaction(2, 0, (TxIn(OutPoint(KEY[1:], 0), pushes(SIGNATURE)),), (TxOut(1, b"\x51"),))
    second = Transaction(2, 0, (TxIn(OutPoint(first.txid, 0), pushes(SIGNATURE, KEY)),), (TxOut(1, PAID_KEY),))
    shown = Provable.of(Block(HEADER, (first, second)))
    assert (set(shown.outputs), set(shown.spent), shown.most) == ({b"\x51", PAID_KEY}, set(), 3)
