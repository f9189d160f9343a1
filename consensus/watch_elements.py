"""What a watch item is as bytes: one element of the filters, a script or what masternodes are known by.

Beside the scripts of a block its filter holds what its special transactions name (`special_txs`): the ids of a
masternode's owner and voting keys, 20 bytes each; the proTxHash, 32 bytes in wire order, in all but the registration
that gives it; the outpoint of a collateral that was there before, 36 bytes as serialized. They are watched like
scripts, and found by the same filters. The operator's BLS key and the node's address are in no filter.

A script of 20, 32 or 36 bytes is of no form that pays anybody, so a watched item of such a length is written as what
it is about a masternode.
"""

from __future__ import annotations

import re

from phasegate.consensus.addresses import address_of, parse_watch_item
from phasegate.consensus.params import Network
from phasegate.consensus.primitives import OutPoint

KEY_ID, PRO_TX_HASH, COLLATERAL = 20, 32, 36
"""Bytes of each."""
_P2PKH_SIZE = 25
_OPERATOR_KEY = re.compile(r"[0-9a-fA-F]{96}\Z")
_HASH = re.compile(r"[0-9a-fA-F]{64}\Z")
_KEY_ID = re.compile(r"[0-9a-fA-F]{40}\Z")
_FORM = re.compile(r"(protx|mnkey|collateral):(.*)\Z", re.DOTALL)


def parse_outpoint(text: str) -> OutPoint:
    """The output that `text`, `TXID:N`, names; txids are written in reversed hex.

    Raises:
        ValueError: it names none.
    """
    txid, _, index = text.partition(":")
    if not _HASH.match(txid) or not re.fullmatch(r"[0-9]{1,10}", index) or int(index) >= 1 << 32:
        raise ValueError(f"{text[:80]!r} is no outpoint, TXID:N")
    return OutPoint(bytes.fromhex(txid)[::-1], int(index))


def parse_element(text: str, network: Network) -> bytes:
    """The filter element that `text` asks to watch.

    Args:
        text: an address of `network` or script hex; `protx:HASH`, a proTxHash in reversed hex, as people write it;
            `mnkey:ADDRESS` or `mnkey:HEX`, an owner or voting key as its P2PKH address or its 20-byte id; or
            `collateral:TXID:N`.
        network: whose addresses are meant.

    Raises:
        ValueError: one clear line that says why not; it never repeats what may be a private key.
    """
    text = text.strip()
    found = _FORM.match(text)
    if found is None:
        return parse_watch_item(text, network)
    kind, told = found[1], found[2].strip()
    if kind == "mnkey":
        return _key_id(told, network)
    return _pro_tx_hash(told) if kind == "protx" else _collateral(told)


def _collateral(told: str) -> bytes:
    try:
        return parse_outpoint(told).to_bytes()
    except ValueError as error:
        raise ValueError("a collateral is an outpoint, its txid in hex: give collateral:TXID:N") from error


def _pro_tx_hash(told: str) -> bytes:
    if not _HASH.match(told):
        raise ValueError("a proTxHash is 64 hex characters, the txid of the registration: give protx:HASH")
    return bytes.fromhex(told)[::-1]


def _key_id(told: str, network: Network) -> bytes:
    if _OPERATOR_KEY.match(told):
        raise ValueError(
            "an operator key (BLS, 96 hex characters) is in no filter: watch the masternode by protx:HASH, or by its "
            "owner or voting key"
        )
    if _KEY_ID.match(told):
        return bytes.fromhex(told)
    script = b"" if re.fullmatch(r"[0-9a-fA-F]*", told) else parse_watch_item(told, network)
    if len(script) != _P2PKH_SIZE:
        what = "P2SH, of a script" if script else "neither an address nor 40 hex characters"
        raise ValueError(f"a masternode key is given as its P2PKH address or its 20-byte id, and this is {what}")
    return script[3:23]


def element_text(element: bytes, network: Network) -> str:
    """How people write `element`: its address or item, or else its hex."""
    if len(element) == KEY_ID:
        return f"mnkey:{address_of(bytes.fromhex('76a914') + element + bytes.fromhex('88ac'), network)}"
    if len(element) == PRO_TX_HASH:
        return f"protx:{element[::-1].hex()}"
    if len(element) == COLLATERAL:
        return f"collateral:{element[31::-1].hex()}:{int.from_bytes(element[32:], 'little')}"
    return address_of(element, network) or element.hex()


def is_of_masternode(element: bytes) -> bool:
    """Whether `element` is, by its length, about a masternode and no script."""
    return len(element) in (KEY_ID, PRO_TX_HASH, COLLATERAL)
