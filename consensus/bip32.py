"""Extended public keys [BIP32]: what they are written as, and the keys that can be derived from them.

Only the public half is here. A private key that somebody gives by mistake is refused, and never repeated in an error.
Dash took Bitcoin's version bytes: `xpub` on mainnet, `tpub` elsewhere (Core chainparams.cpp, as in 23.1). Old releases
of Core and hardware wallets use bytes of their own on mainnet, `drkp` and `drkv`, and disagree which of the two is the
public one. The key that follows tells, so both are taken for what they hold. A key is written in Core's form whatever
form it came in.
"""

from __future__ import annotations

import hmac

import attrs
from bitcoin.base58 import Base58Error
from bitcoin.base58 import decode as base58_decode
from bitcoin.base58 import encode as base58_encode

from phasegate.consensus.codec import dsha
from phasegate.consensus.params import Network
from phasegate.consensus.spent_scripts import hash160

HARDENED = 1 << 31
"""The first index whose key needs the private parent."""
LENGTHS = range(110, 113)
"""Characters that a key may be written with."""
_MAINNET, _OTHERS = bytes.fromhex("0488b21e"), bytes.fromhex("043587cf")
_FOREIGN = bytes.fromhex("02fe52cc"), bytes.fromhex("02fe52f8")
_PRIVATE = bytes.fromhex("0488ade4"), bytes.fromhex("04358394")


@attrs.frozen
class ExtendedKey:
    """An extended public key.

    Args:
        key: the public key, compressed, 33 bytes.
        chain_code: 32 bytes.
        depth: how many steps it is below its master key, 0..255.
        parent: the first 4 bytes of the hash of its parent's key.
        number: its index below its parent; from `HARDENED` on it could not be derived from the parent's public key.
    """

    key: bytes
    chain_code: bytes
    depth: int = 0
    parent: bytes = bytes(4)
    number: int = 0

    @classmethod
    def parse(cls, text: str, network: Network | None = None) -> ExtendedKey:
        """The key that `text` writes.

        Args:
            text: base58 with a checksum.
            network: whose key it has to be; None: of any Dash network.

        Raises:
            ValueError: one clear line that says why not.
        """
        raw = _payload(text)
        version, depth, parent, number = raw[:4], raw[4], raw[5:9], int.from_bytes(raw[9:13], "big")
        if version in _PRIVATE or (version in _FOREIGN and raw[45] == 0):
            raise ValueError("an extended private key is refused: phasegate takes public keys only")
        if version not in (_MAINNET, _OTHERS, *_FOREIGN):
            raise ValueError(f"an extended key of version {version.hex()} is none of Dash's public ones")
        if network is not None and (version == _OTHERS) == (network.name == "mainnet"):
            raise ValueError(f"extended key {_short(text)} is of another network, not {network.name}")
        if depth == 0 and (parent != bytes(4) or number):
            raise ValueError(f"extended key {_short(text)} says that it is a master key and that it has a parent")
        return cls(checked_key(raw[45:]), raw[13:45], depth, parent, number)

    def child(self, index: int) -> ExtendedKey:
        """The key with that index below this one.

        Raises:
            ValueError: `index` is hardened, or the depth or the arithmetic ends here (the latter: never in practice).
        """
        if not 0 <= index < HARDENED:
            raise ValueError(f"key {index} cannot be derived from a public key")
        if self.depth == 255:
            raise ValueError("no key is more than 255 steps below its master key")
        from coincurve import PublicKey

        told = hmac.digest(self.chain_code, self.key + index.to_bytes(4, "big"), "sha512")
        key = PublicKey(self.key).add(told[:32]).format(compressed=True)
        return ExtendedKey(key, told[32:], self.depth + 1, self.fingerprint, index)

    @property
    def fingerprint(self) -> bytes:
        """By which its children name it."""
        return hash160(self.key)[:4]

    def text(self, *, mainnet: bool) -> str:
        """As it is written on mainnet, or on all other networks."""
        place = bytes((self.depth,)) + self.parent + self.number.to_bytes(4, "big")
        raw = (_MAINNET if mainnet else _OTHERS) + place + self.chain_code + self.key
        text: str = base58_encode(raw + dsha(raw)[:4])
        return text


def checked_key(raw: bytes) -> bytes:
    """`raw`, which is a public key on secp256k1: 33 bytes, or 65 uncompressed.

    Raises:
        ValueError: it is none.
    """
    from coincurve import PublicKey

    if (len(raw), raw[:1]) not in ((33, b"\2"), (33, b"\3"), (65, b"\4")):
        raise ValueError(f"{len(raw)} bytes that begin with {raw[:1].hex() or 'nothing'} are no public key")
    try:
        PublicKey(raw)
    except ValueError as error:
        raise ValueError(f"public key {raw.hex()} is no point of the curve") from error
    return raw


def _payload(text: str) -> bytes:
    """The 78 bytes that `text` writes."""
    if len(text) not in LENGTHS:
        raise ValueError(f"an extended key has 111 characters, not {len(text)}")
    try:
        raw: bytes = base58_decode(text)
    except Base58Error as error:
        raise ValueError("an extended key with a character that is not base58") from error
    if len(raw) != 82:
        raise ValueError(f"an extended key has 82 bytes, not {len(raw)}")
    if dsha(raw[:-4])[:4] != raw[-4:]:
        raise ValueError("an extended key has a bad checksum")
    return raw[:-4]


def _short(text: str) -> str:
    return f"{text[:8]}...{text[-4:]}"
