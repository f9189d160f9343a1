"""Between what a user writes and the script that is watched: base58 addresses of one network, and script hex."""

from __future__ import annotations

import re

from bitcoin.base58 import Base58Error, CBase58Data
from bitcoin.base58 import encode as base58_encode

from phasegate.consensus.codec import dsha
from phasegate.consensus.params import Network

MAX_SCRIPT = 10_000
_P2PKH = b"\x76\xa9\x14", b"\x88\xac"
_P2SH = b"\xa9\x14", b"\x87"
_ADDRESS_FORM = re.compile(r"[1-9A-HJ-NP-Za-km-z]{25,35}\Z")
_NEITHER = "is neither an address nor script hex, descriptor or extended public key"
_HEX_FORM = re.compile(r"(?:[0-9a-fA-F]{2})+\Z")


def parse_watch_item(text: str, network: Network) -> bytes:
    """The script (or raw filter element) that `text` asks to watch.

    Args:
        text: a P2PKH or P2SH address of `network`, or hex.
        network: whose addresses are meant.

    Raises:
        ValueError: one clear line that says why not; it never repeats what may be a private key.
    """
    text = text.strip()
    if _HEX_FORM.match(text):
        return _from_hex(text)
    if _ADDRESS_FORM.match(text):
        return _from_address(text, network)
    if len(text) > 35:
        raise ValueError(f"a watch item {_NEITHER}")
    raise ValueError(f"{text!r} {_NEITHER}")


def _from_hex(text: str) -> bytes:
    script = bytes.fromhex(text)
    if len(script) > MAX_SCRIPT:
        raise ValueError(f"a script of {len(script)} bytes is longer than {MAX_SCRIPT}")
    if script[0] == 0x6A:
        raise ValueError("a script that begins with OP_RETURN (6a) is in no filter")
    return script


def _from_address(text: str, network: Network) -> bytes:
    try:
        data = CBase58Data(text)
    except Base58Error as error:
        raise ValueError(f"address {text} has a bad checksum") from error
    if len(data) != 20:
        raise ValueError(f"{text!r} {_NEITHER}")
    if data.nVersion == network.pubkey_prefix:
        return bytes(data).join(_P2PKH)
    if data.nVersion == network.script_prefix:
        return bytes(data).join(_P2SH)
    raise ValueError(f"address {text} is of another network, not {network.name}")


def address_of(script: bytes, network: Network) -> str | None:
    """The address of a P2PKH or P2SH `script` on `network`; None for any other script."""
    for prefix, (head, tail) in ((network.pubkey_prefix, _P2PKH), (network.script_prefix, _P2SH)):
        if len(script) == len(head) + 20 + len(tail) and script.startswith(head) and script.endswith(tail):
            return _base58(prefix, script[len(head) : -len(tail)])
    return None


def _base58(prefix: int, data: bytes) -> str:
    payload = bytes((prefix,)) + data
    text: str = base58_encode(payload + dsha(payload)[:4])
    return text
