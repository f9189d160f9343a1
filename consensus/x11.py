"""X11, the hash that names and proves Dash blocks, through the C kernel of the x11-hash package.

The package's own Python entry is broken on CPython 3.10 and later, its kernel `x11_hash(in80, out32)` is not. Called
through ctypes it releases the GIL, so that hashing in worker threads uses every core. The kernel must reproduce the
hash of the mainnet genesis header at import, or nothing of phasegate runs.
"""

from __future__ import annotations

import ctypes

import x11_hash as _package

from phasegate.consensus.compiled import worth_compiling

kernel = ctypes.CDLL(_package.__file__).x11_hash
"""The C function itself, for `x11_kernel`."""
kernel.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
kernel.restype = None

HEADER_SIZE = 80


def x11(header: bytes) -> bytes:
    """X11 of one 80-byte header: 32 bytes in wire order (DIP: none; Core `HashX11`).

    Raises:
        ValueError: `header` is not 80 bytes long.
    """
    if len(header) != HEADER_SIZE:
        raise ValueError(f"a header has {HEADER_SIZE} bytes, not {len(header)}")
    out = ctypes.create_string_buffer(32)
    kernel(header, out)
    return out.raw


def x11_many(headers: bytes) -> bytes:
    """X11 of each of `n` concatenated 80-byte headers: `32 * n` bytes in wire order.

    Many are hashed in one call that releases the GIL once. Threads share nothing.

    Raises:
        ValueError: `headers` is not whole headers.
    """
    count, rest = divmod(len(headers), HEADER_SIZE)
    if rest:
        raise ValueError(f"{len(headers)} bytes are no whole number of {HEADER_SIZE}-byte headers")
    if not worth_compiling(count):
        return x11_each(headers)
    from phasegate.consensus.x11_kernel import hash_many

    return hash_many(headers)


def x11_each(headers: bytes) -> bytes:
    """As `x11_many`, header by header."""
    return b"".join([x11(headers[i : i + HEADER_SIZE]) for i in range(0, len(headers), HEADER_SIZE)])


def _self_test() -> None:
    genesis = bytes.fromhex(
        "01000000" + "00" * 32 + "c762a6567f3cc092f0684bb62b7e00a84890b990f07cc71a6bb58d64b98e02e0"
        "022ddb52f0ff0f1ec23fb901"
    )
    if x11(genesis)[::-1].hex() != "00000ffd590b1485b3caadc19b22e6379c733355108f107a430458cdf3407ab6":
        raise ImportError("the installed x11-hash kernel does not reproduce the Dash genesis hash")


_self_test()
