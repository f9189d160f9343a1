"""What compiled loops need and numba does not offer: words read most significant byte first, leading zeros, C calls.

Each is one instruction or two, written for LLVM. The address of a C function is a plain number that is told at each
call, so that a compiled loop can be cached on disk and is right in the next process, where it is another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_intrinsic: Callable[[Any], Any] = intrinsic
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


@_intrinsic
def call(typing_context: Any, function: Any, arguments: Any) -> Any:
    """Call the C function at the address `function` with a tuple of addresses and sizes; its result is dropped."""
    del typing_context, function

    def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        values = [builder.extract_value(args[1], i) for i in range(arguments.count)]
        kind = ir.FunctionType(ir.IntType(32), [_64] * arguments.count)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    return types.none(types.uintp, arguments), build
