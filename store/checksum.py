"""One CRC-32 for a row of several fields."""

from __future__ import annotations

import zlib

from phasegate.store.database import Value


def checksum(*fields: Value) -> int:
    """CRC-32 over `fields` with their lengths, so that no byte can pass from one to its neighbour."""
    raws = [field if isinstance(field, bytes) else str(field).encode() for field in fields]
    return zlib.crc32(b"".join([b"%d:%b" % (len(raw), raw) for raw in raws]))
