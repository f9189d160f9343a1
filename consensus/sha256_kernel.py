"""Double SHA-256 for compiled loops, without the GIL and without an object for each hash.

Python's own hashlib spends most of the time of a short hash on its objects. The machine's instructions for SHA-256 are
in the OpenSSL that hashlib is linked with, so that one is asked directly, by the addresses of its three functions. Not
every Python lets them be found; and what is found is first tried on known hashes. Where there is none, a compiled
SHA-256 stands in [FIPS 180-4], some four times slower. `codec.dsha` is the oracle of both.
"""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.compiled import jit
from phasegate.consensus.machine_words import call

Bytes = NDArray[np.uint8]
Addresses = NDArray[np.uintp]

_NAMES = ("SHA256_Init", "SHA256_Update", "SHA256_Final")
_CONTEXT = 256
"""Bytes for OpenSSL's context, which takes 112."""
SCRATCH = _CONTEXT + 32
"""Bytes that a thread lends for its hashes."""

_SQUARE_ROOTS = tuple(
    int.from_bytes(bytes.fromhex("6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19")[i : i + 4], "big")
    for i in range(0, 32, 4)
)
_START = np.array(_SQUARE_ROOTS, np.uint32)


def _cube_roots() -> NDArray[np.uint32]:
    """The first 32 bits of the fractional parts of the cube roots of the first 64 primes."""
    primes = [n for n in range(2, 312) if all(n % d for d in range(2, n))]
    return np.array([_cube_root(prime << 96) & 0xFFFFFFFF for prime in primes[:64]], np.uint32)


def _cube_root(number: int) -> int:
    low, high = 0, 1 << 40
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number else (low, middle - 1)
    return low


_ROUNDS = _cube_roots()
_array_at: Any = vars(numba)["carray"]
"""The bytes at an address as an array."""


@jit
def _turn(x: Any, by: int) -> Any:
    return np.uint32((x >> np.uint32(by)) | (x << np.uint32(32 - by)))


@jit
def _compress(state: NDArray[np.uint32], block: Bytes, at: int, w: NDArray[np.uint32]) -> None:
    """Take the 64 bytes of `block` from `at` on into `state`; `w` is room for 64 words."""
    for i in range(16):
        p = at + 4 * i
        w[i] = np.uint32(block[p]) << np.uint32(24) | np.uint32(block[p + 1]) << np.uint32(16)
        w[i] |= np.uint32(block[p + 2]) << np.uint32(8) | np.uint32(block[p + 3])
    for i in range(16, 64):
        s0 = _turn(w[i - 15], 7) ^ _turn(w[i - 15], 18) ^ (w[i - 15] >> np.uint32(3))
        s1 = _turn(w[i - 2], 17) ^ _turn(w[i - 2], 19) ^ (w[i - 2] >> np.uint32(10))
        w[i] = np.uint32(w[i - 16] + s0 + w[i - 7] + s1)
    a, b, c, d, e, f, g, h = state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7]
    for i in range(64):
        s1 = _turn(e, 6) ^ _turn(e, 11) ^ _turn(e, 25)
        t1 = np.uint32(h + s1 + ((e & f) ^ (~e & g)) + _ROUNDS[i] + w[i])
        s0 = _turn(a, 2) ^ _turn(a, 13) ^ _turn(a, 22)
        t2 = np.uint32(s0 + ((a & b) ^ (a & c) ^ (b & c)))
        h, g, f, e, d, c, b, a = g, f, e, np.uint32(d + t1), c, b, a, np.uint32(t1 + t2)
    state[0] += a
    state[1] += b
    state[2] += c
    state[3] += d
    state[4] += e
    state[5] += f
    state[6] += g
    state[7] += h


@jit
def _plain(data: Bytes, start: int, end: int, out: Bytes, at: int) -> None:
    """SHA-256 of `data[start:end]` into `out` from `at` on."""
    state, w, last = _START.copy(), np.empty(64, np.uint32), np.zeros(128, np.uint8)
    place = start
    while place + 64 <= end:
        _compress(state, data, place, w)
        place += 64
    rest = end - place
    last[:rest] = data[place:end]
    last[rest] = 0x80
    size = 64 if rest < 56 else 128
    bits = np.uint64(end - start) * np.uint64(8)
    for i in range(8):
        last[size - 1 - i] = np.uint8((bits >> np.uint64(8 * i)) & np.uint64(0xFF))
    _compress(state, last, 0, w)
    if size == 128:
        _compress(state, last, 64, w)
    for i in range(32):
        out[at + i] = np.uint8((state[i >> 2] >> np.uint32(24 - 8 * (i & 3))) & np.uint32(0xFF))


def _whole(data: Any, size: Any, out: Any) -> None:
    """Double SHA-256 of the `size` bytes at `data` into the 32 at `out`."""
    digest = np.empty(32, np.uint8)
    _plain(_array_at(data, size), 0, size, digest, 0)
    _plain(digest, 0, 32, _array_at(out, 32), 0)


@jit
def dsha_into(sha: Addresses, scratch: Bytes, data: Bytes, start: Any, end: Any, out: Bytes, at: int) -> None:
    """Double SHA-256 of `data[start:end]` into the 32 bytes of `out` from `at` on.

    Args:
        sha: what hashes: from `linked` or `own`.
        scratch: `SCRATCH` bytes that nobody else uses meanwhile, kept alive by the caller.
        data: what is hashed, in part; it may be `out`.
        start: where that begins.
        end: where it ends, exclusive.
        out: written.
        at: where.
    """
    source, size = np.uintp(data.ctypes.data + start), np.uintp(end - start)
    target = np.uintp(out.ctypes.data + at)
    if sha[3] != 0:
        call(sha[3], (source, size, target))
        return
    context = np.uintp(scratch.ctypes.data)
    middle = np.uintp(context + np.uintp(_CONTEXT))
    call(sha[0], (context,))
    call(sha[1], (context, source, size))
    call(sha[2], (middle, context))
    call(sha[0], (context,))
    call(sha[1], (context, middle, np.uintp(32)))
    call(sha[2], (target, context))


def scratch() -> Bytes:
    """Room for one thread's hashes."""
    return np.empty(SCRATCH, np.uint8)


def linked() -> Addresses | None:
    """Where OpenSSL's functions are, found and tried; None when they are not to be had."""
    try:
        import _hashlib

        library = ctypes.CDLL(_hashlib.__file__)
        found = [ctypes.cast(getattr(library, name), ctypes.c_void_p).value for name in _NAMES]
    except (ImportError, AttributeError, OSError):
        return None
    sha = np.array([*[address or 0 for address in found], 0], np.uintp)
    return sha if sha[:3].all() and _is_sha256(sha) else None


@cache
def own() -> Addresses:
    """Where the compiled SHA-256 is; compiled when it is first asked for."""
    form = "void(CPointer(uint8), intp, CPointer(uint8))"
    try:
        compiled: Any = numba.cfunc(form, cache=True)(_whole)
    except RuntimeError:  # no place for a cache, as in `compiled.jit`
        compiled = numba.cfunc(form)(_whole)
    _KEPT.append(compiled)
    return np.array([0, 0, 0, compiled.address], np.uintp)


_KEPT: list[Any] = []
"""What `own` compiled lives as long as its address is used."""


def _is_sha256(sha: Addresses) -> bool:
    data, out = np.arange(200, dtype=np.uint8), np.empty(32, np.uint8)
    for size in (0, 55, 64, 200):
        dsha_into(sha, scratch(), data, 0, size, out, 0)
        if out.tobytes() != hashlib.sha256(hashlib.sha256(data[:size].tobytes()).digest()).digest():
            return False
    return True


@cache
def sha256() -> Addresses:
    """What this process hashes with: OpenSSL, or else the compiled one."""
    found = linked()
    return own() if found is None else found
