"""What a scriptSig tells of the script that it spends.

A block does not hold the scripts of the outputs that it spends, yet most can be read off: whoever spends P2PKH pushes
a signature and the key whose hash stands in the script; whoever spends P2SH pushes, last, the redeem script whose hash
does. P2PK and bare multisig push signatures only and tell nothing. A key of 33 bytes may as well be a redeem script
that somebody made to look like one, so either script counts then.

What is read off is right for every standard transaction, and only those are relayed; a miner can make one of another
kind that looks like one of these, so a script that cannot be read off beyond such doubt counts as unknown: signatures
and keys must have their exact form, and a redeem script must be a script that checks a signature.
"""

from __future__ import annotations

import hashlib

from bitcoin.core.serialize import Hash160

_SIGNATURE = range(9, 74)
_COMPRESSED, _UNCOMPRESSED = (2, 3), (4, 6, 7)
_CHECKS_A_SIGNATURE = frozenset({0xAC, 0xAD, 0xAE, 0xAF})
_PUSH_WIDTHS = {0x4C: 1, 0x4D: 2, 0x4E: 4}
_SMALL_NUMBERS = range(0x51, 0x61)


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256: 20 bytes."""
    try:
        return hashlib.new("ripemd160", hashlib.sha256(data).digest()).digest()
    except ValueError:  # an OpenSSL without its legacy provider
        return bytes(Hash160(data))


def spent_script(script_sig: bytes) -> bytes | None:
    """The P2PKH or P2SH script that `script_sig` unlocks; None when it does not tell."""
    pushes = _pushes(script_sig)
    if not pushes:
        return None
    last = pushes[-1]
    if len(pushes) == 2 and _is_signature(pushes[0]) and _is_key(last):
        return b"\x76\xa9\x14" + hash160(last) + b"\x88\xac"
    if not _is_signature(last) and not _is_key(last) and _is_redeem_script(last):
        return b"\xa9\x14" + hash160(last) + b"\x87"
    return None


def script_hash_instead(script_sig: bytes) -> bytes:
    """The P2SH script that `script_sig` may unlock although it looks like P2PKH; empty when it does not."""
    script = spent_script(script_sig)
    if script is None or script[:1] != b"\x76":
        return b""
    return b"\xa9\x14" + script[3:23] + b"\x87"


def _pushes(script: bytes) -> list[bytes] | None:
    """What `script` pushes, if it does nothing else; small numbers count as empty pushes."""
    steps = _steps(script)
    if steps is None or any(opcode > 0x4E and opcode not in _SMALL_NUMBERS for opcode, _ in steps):
        return None
    return [data for _, data in steps]


def _steps(script: bytes) -> list[tuple[int, bytes]] | None:
    """Opcodes with what they push; None when the script ends within a push."""
    steps, at = [], 0
    while at < len(script):
        opcode, width = script[at], _PUSH_WIDTHS.get(script[at], 0)
        size = int.from_bytes(script[at + 1 : at + 1 + width], "little") if width else opcode if opcode < 0x4C else 0
        data = script[at + 1 + width : at + 1 + width + size]
        if at + 1 + width > len(script) or len(data) < size:
            return None
        steps.append((opcode, data))
        at += 1 + width + size
    return steps


def _is_signature(data: bytes) -> bool:
    """Whether this is a DER signature with its hash type."""
    return len(data) in _SIGNATURE and data[0] == 0x30 and data[1] == len(data) - 3


def _is_key(data: bytes) -> bool:
    """Whether this is a public key."""
    return (len(data) == 33 and data[0] in _COMPRESSED) or (len(data) == 65 and data[0] in _UNCOMPRESSED)


def _is_redeem_script(data: bytes) -> bool:
    return any(opcode in _CHECKS_A_SIGNATURE for opcode, _ in _steps(data) or ())
