"""Files that hold one message: its payload, raw or as hex text, alone or behind its header, packed or not."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import TYPE_CHECKING

from phasegate.cli.check_headers import read_file
from phasegate.engine.errors import ConfigError

if TYPE_CHECKING:
    from phasegate.consensus.params import Network

HEADER_SIZE = 24
LARGEST = 16 << 20
"""More than any message, as hex text and with room to spare."""
_XZ = b"\xfd7zXZ\0"
_HEX_DIGITS = frozenset(b"0123456789abcdefABCDEF")


def read_payload(path: Path, chain: Network, command: str) -> bytes:
    """The payload of the `command` message in a file.

    Raises:
        ConfigError: the file cannot be read or unpacked.
        PeerMisbehaved: it is a whole message of another network or kind, or a damaged one.
    """
    raw = _unhexed(_unpacked(path, read_file(path, LARGEST)))
    if len(raw) < HEADER_SIZE or not _is_name(raw[4:16]):
        return raw
    _refuse_others(raw[:4], chain)
    return _unframed(raw, command) if raw[:4] == chain.magic else raw


def _unpacked(path: Path, raw: bytes) -> bytes:
    if not raw.startswith(_XZ):
        return raw
    unpacker = lzma.LZMADecompressor()
    try:
        whole = unpacker.decompress(raw, LARGEST)
    except lzma.LZMAError as error:
        raise ConfigError(f"{path} cannot be unpacked: {error}") from error
    if not unpacker.eof:
        reason = "it is cut off" if unpacker.needs_input else f"it holds more than {LARGEST} bytes"
        raise ConfigError(f"{path} cannot be unpacked: {reason}")
    if unpacker.unused_data:
        raise ConfigError(f"{path} cannot be unpacked: {len(unpacker.unused_data)} bytes follow its end")
    return whole


def _unhexed(raw: bytes) -> bytes:
    text = b"".join(raw.split())
    return bytes.fromhex(text.decode("ascii")) if text and len(text) % 2 == 0 and _HEX_DIGITS.issuperset(text) else raw


def _is_name(field: bytes) -> bool:
    """Whether twelve bytes can be the command of a message."""
    name = field.rstrip(b"\0")
    return name.isascii() and name.isalnum()


def _refuse_others(magic: bytes, chain: Network) -> None:
    from phasegate.consensus.faults import Fault, PeerMisbehaved
    from phasegate.consensus.params import NETWORKS

    whose = [other.name for other in NETWORKS.values() if other.magic == magic != chain.magic]
    if whose:
        raise PeerMisbehaved(Fault.WRONG_NETWORK, f"a message of {whose[0]}, not of {chain.name}")


def _unframed(raw: bytes, command: str) -> bytes:
    from phasegate.consensus.codec import dsha
    from phasegate.consensus.faults import Fault, Malformed, PeerMisbehaved

    name, size, payload = raw[4:16].rstrip(b"\0"), int.from_bytes(raw[16:20], "little"), raw[HEADER_SIZE:]
    if name != command.encode("ascii"):
        raise PeerMisbehaved(Fault.UNFITTING_REPLY, f"a message {name.decode('ascii', 'replace')!r}, not {command!r}")
    if len(payload) != size or dsha(payload)[:4] != raw[20:24]:
        raise Malformed(f"the header of the {command} message does not fit its payload")
    return payload
