"""CRC-32 of long pieces, folded by the machine's carry-less multiplication, without the GIL.

zlib goes through a piece with tables, some three bytes in a nanosecond, which is a tenth of what it takes to match the
filters in that piece for a few scripts. A CRC is the remainder of a polynomial, and two multiplications move 16 bytes
along by any distance [Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel
2009]. So all but the last bytes are folded into 16, which have the same remainder, and zlib, which is the oracle, does
the rest. The constants are powers of x modulo the polynomial, bit-reflected.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from phasegate.consensus.compiled import jit

LANES = 4
"""Of 16 bytes, which are folded side by side: as many multiplications are under way at once."""
STEP = 16 * LANES
"""Bytes that are folded at once."""
_FAR = 0x154442BD4, 0x1C6E41596
"""Move a lane on by four lanes: what its lower and its upper half are multiplied with."""
_NEAR = 0x1751997D0, 0x0CCAA009E
"""Move a lane on by one."""
_ONES = 0xFFFFFFFF
_intrinsic: Callable[[Any], Any] = intrinsic
_tools: Any = cgutils
_64, _LANE = ir.IntType(64), ir.VectorType(ir.IntType(64), 2)
_LOWER, _UPPER = ir.IntType(8)(0x00), ir.IntType(8)(0x11)


def is_usable() -> bool:
    """Whether this machine has the instruction, and numba compiles for this machine and no other."""
    config = vars(numba)["config"]
    mine = not (config.DISABLE_JIT or config.CPU_NAME or config.CPU_FEATURES)
    return mine and bool(dict(binding.get_host_cpu_features()).get("pclmul"))


def _lane(builder: Any, address: Any, ahead: int) -> Any:
    """The 16 bytes that are `ahead` lanes behind `address`."""
    place = builder.add(address, _64(16 * ahead))
    found = builder.load(builder.inttoptr(place, _LANE.as_pointer()))
    found.align = 1
    return found


def _moved(builder: Any, lane: Any, by: tuple[int, int]) -> Any:
    """A lane multiplied by powers of x: `by` are those for its halves."""
    kind = ir.FunctionType(_LANE, [_LANE, _LANE, ir.IntType(8)])
    multiply = _tools.get_or_insert_function(builder.module, kind, "llvm.x86.pclmulqdq")
    return builder.xor(*[builder.call(multiply, [lane, ir.Constant(_LANE, by), half]) for half in (_LOWER, _UPPER)])


@_intrinsic
def _fold(typing_context: Any, address: Any, steps: Any, start: Any, out: Any) -> Any:
    """Fold `steps` times 64 bytes at `address`, the first four of them with `start` added, into 16 bytes at `out`."""
    del typing_context, address, steps, start, out

    def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        at, count, begin, target = args
        begun = builder.insert_element(ir.Constant(_LANE, (0, 0)), begin, ir.IntType(32)(0))
        first = [builder.xor(_lane(builder, at, 0), begun), *[_lane(builder, at, i) for i in range(1, LANES)]]
        lanes = [_tools.alloca_once_value(builder, lane) for lane in first]
        with _tools.for_range(builder, builder.sub(count, _64(1))) as loop:
            place = builder.add(at, builder.mul(builder.add(loop.index, _64(1)), _64(STEP)))
            for i, lane in enumerate(lanes):
                moved = _moved(builder, builder.load(lane), _FAR)
                builder.store(builder.xor(moved, _lane(builder, place, i)), lane)
        folded = builder.load(lanes[0])
        for lane in lanes[1:]:
            folded = builder.xor(_moved(builder, folded, _NEAR), builder.load(lane))
        builder.store(folded, builder.inttoptr(target, _LANE.as_pointer())).align = 1
        return context.get_dummy_value()

    return types.none(types.uintp, types.int64, types.uint64, types.uintp), build


@jit
def _folded(data: NDArray[np.uint8], start: np.uint64, out: NDArray[np.uint8]) -> None:
    _fold(np.uintp(data.ctypes.data), np.int64(len(data) // STEP), start, np.uintp(out.ctypes.data))


def crc32(data: bytes, value: int) -> int:
    """What `zlib.crc32` says, of at least `STEP` bytes."""
    out = np.empty(16, np.uint8)
    _folded(np.frombuffer(data, np.uint8), np.uint64(value ^ _ONES), out)
    rest = memoryview(data)[len(data) // STEP * STEP :]
    return zlib.crc32(rest, zlib.crc32(out.tobytes(), _ONES))
