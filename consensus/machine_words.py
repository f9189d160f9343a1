"""What compiled loops need and numba does not offer: words read most significant byte first, and leading zeros.

Each is one instruction or two, written for LLVM.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_intrinsic: Any = intrinsic
_64 = ir.IntType(64)


@_intrinsic
def load_big_endian(typing_context: Any, address: Any) -> Any:
    """The 8 bytes at `address` as a number, the first one the most significant."""
    del typing_context, address

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        word = builder.load(builder.inttoptr(args[0], _64.as_pointer()))
        word.align = 1
        return builder.bswap(word)

    return types.uint64(types.uintp), build


@_intrinsic
def leading_zeros(typing_context: Any, word: Any) -> Any:
    """How many of the 64 bits before the first one that is set; 64 for 0."""
    del typing_context, word

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.IntType(1)(0))

    return types.uint64(types.uint64), build
