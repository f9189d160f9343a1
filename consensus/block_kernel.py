"""Walking through the bytes of blocks, compiled: numba takes about a second to import, so `raw_blocks` loads this late.

`walk` is as strict as `Block.from_bytes`: it accepts exactly the same bytes, and what it refuses is read again in plain
Python, which says why. `next_touched` looks at bytes that `walk` has accepted. It compares numbers made from scripts
and outpoints with those of what is watched, kept in open-addressing tables whose length is a power of two, at least
twice what they hold; 0 stands for an empty place. Two things may share a number, so what is found is a candidate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.compiled import jit

Bytes = NDArray[np.uint8]
Table = NDArray[np.uint64]
Starts = NDArray[np.int32]

HEADER = 80
MOST_TRANSACTIONS, MOST_INPUTS, MOST_OUTPUTS = 2_000_000 // 10, 2_000_000 // 41, 2_000_000 // 9
MOST_SCRIPT, MOST_PAYLOAD = 2_000_000, 10_000
ALL_MONEY = 21_000_000 * 100_000_000

_0, _1, _8 = np.uint64(0), np.uint64(1), np.uint64(8)
_29, _32 = np.uint64(29), np.uint64(32)
_BASIS, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_ODD = np.uint64(0x9E3779B97F4A7C15)


@jit
def _size(data: Bytes, at: int, most: int) -> Any:
    """The CompactSize at `at`, if it is the shortest form of at most `most`: it, and where it ends; or `(-1, 0)`."""
    if at >= len(data):
        return np.int64(-1), np.int64(0)
    value = np.int64(data[at])
    end = np.int64(at + 1)
    if value >= 0xFD:
        width = 2 if value == 0xFD else 4
        end += width
        if value == 0xFF or end > len(data):
            return np.int64(-1), np.int64(0)
        value = np.int64(0)
        for i in range(width):
            value |= np.int64(data[at + 1 + i]) << (8 * i)
        if value < (0xFD if width == 2 else 0x10000):
            return np.int64(-1), np.int64(0)
    if value > most:
        return np.int64(-1), np.int64(0)
    return value, end


@jit
def _amount(data: Bytes, at: int) -> Any:
    value = np.int64(0)
    for i in range(8):
        value |= np.int64(data[at + i]) << (8 * i)
    return value


@jit
def _after_inputs(data: Bytes, at: int) -> Any:
    """Where the inputs that begin at `at` end; -1 if they are malformed."""
    count, at = _size(data, at, MOST_INPUTS)
    if count < 0 or count * 41 > len(data) - at:
        return np.int64(-1)
    for _ in range(count):
        length, at = _size(data, at + 36, MOST_SCRIPT)
        if length < 0 or at + length + 4 > len(data):
            return np.int64(-1)
        at += length + 4
    return at


@jit
def _after_outputs(data: Bytes, at: int) -> Any:
    """Where the outputs that begin at `at` end, -1 if they are malformed; and whether their amounts can exist."""
    count, at = _size(data, at, MOST_OUTPUTS)
    if count < 0 or count * 9 > len(data) - at:
        return np.int64(-1), False
    total, affordable = np.int64(0), True
    for _ in range(count):
        if at + 8 > len(data):
            return np.int64(-1), False
        amount = _amount(data, at)
        length, at = _size(data, at + 8, MOST_SCRIPT)
        if length < 0 or at + length > len(data):
            return np.int64(-1), False
        at += length
        if affordable:  # else the sum could overflow
            affordable = 0 <= amount <= ALL_MONEY and total + amount <= ALL_MONEY
            total += amount
    return at, affordable


@jit
def _after_transaction(data: Bytes, at: int) -> Any:
    """Where the transaction at `at` ends, -1 if it is malformed; and whether its amounts can exist."""
    if at + 4 > len(data):
        return np.int64(-1), False
    has_payload = (data[at] >= 3 or data[at + 1] > 0) and (data[at + 2] > 0 or data[at + 3] > 0)
    at = _after_inputs(data, at + 4)
    if at < 0:
        return np.int64(-1), False
    at, affordable = _after_outputs(data, at)
    if at < 0 or at + 4 > len(data):
        return np.int64(-1), False
    at += 4
    if has_payload:
        length, at = _size(data, at, MOST_PAYLOAD)
        if length < 0 or at + length > len(data):
            return np.int64(-1), False
        at += length
    return at, affordable


@jit
def walk(data: Bytes) -> Any:
    """Read one block to its end.

    Args:
        data: the block, and nothing behind it.

    Returns:
        Where each transaction begins and where the last ends, int32, empty for a malformed block; and whether all
        amounts can exist.
    """
    none = np.empty(0, np.int32)
    count, at = _size(data, HEADER, MOST_TRANSACTIONS)
    if count < 0 or count * 10 > len(data) - at:
        return none, False
    starts, affordable = np.empty(count + 1, np.int32), True
    for i in range(count):
        starts[i] = at
        at, fits = _after_transaction(data, at)
        if at < 0:
            return none, False
        affordable &= fits
    starts[count] = at
    if at != len(data):
        return none, False
    return starts, affordable


@jit
def _mixed(number: Any) -> Any:
    number = (number ^ (number >> _29)) * _ODD
    number ^= number >> _32
    return number if number != _0 else _1


@jit
def script_number(data: Bytes, start: int, end: int) -> Any:
    """What stands for the script in `data[start:end]`."""
    number = _BASIS ^ np.uint64(end - start)
    for i in range(start, end):
        number = (number ^ np.uint64(data[i])) * _PRIME
    return _mixed(number)


@jit
def outpoint_number(data: Bytes, at: int) -> Any:
    """What stands for the outpoint in the 36 bytes at `at`."""
    number = _0
    for i in range(32, 36):
        number = (number << _8) | np.uint64(data[at + i])
    number *= _ODD
    for i in range(8):
        number ^= np.uint64(data[at + i]) << np.uint64(8 * i)
    return _mixed(number)


@jit
def _place(table: Table, number: Any) -> Any:
    """Where `number` is in `table`, or where it belongs."""
    last = np.uint64(len(table) - 1)
    at = number & last
    while table[at] != _0 and table[at] != number:
        at = (at + _1) & last
    return at


@jit
def put_numbers(table: Table, numbers: Table) -> None:
    """Add `numbers` to a table that has room for them; zeros are passed over."""
    for number in numbers:
        if number != _0:
            table[_place(table, number)] = number


@jit
def _mentions(data: Bytes, at: int) -> Any:
    """Whether the transaction at `at` is of a kind whose payload goes into filters [`special_txs`]."""
    kind, version = data[at + 2], np.int64(data[at]) | np.int64(data[at + 1]) << 8
    return data[at + 3] == 0 and version >= 3 and (1 <= kind <= 4 or kind == 8)


@jit
def next_touched(data: Bytes, starts: Starts, first: int, scripts: Table, coins: Table) -> int:
    """The first transaction from `first` on that pays to one of `scripts` or spends one of `coins`, or may.

    Those that may mention something watched in their payloads are few, and all are among these.

    Args:
        data: a block that `walk` has accepted.
        starts: what `walk` returned.
        first: a position in the block.
        scripts: a table of `script_number`.
        coins: a table of `outpoint_number`.

    Returns:
        The position, or the number of transactions if there is none.
    """
    for position in range(first, len(starts) - 1):
        if _mentions(data, int(starts[position])):
            return position
        count, at = _size(data, int(starts[position]) + 4, MOST_INPUTS)
        for _ in range(count):
            number = outpoint_number(data, at)
            if coins[_place(coins, number)] == number:
                return position
            length, at = _size(data, at + 36, MOST_SCRIPT)
            at += length + 4
        count, at = _size(data, at, MOST_OUTPUTS)
        for _ in range(count):
            length, at = _size(data, at + 8, MOST_SCRIPT)
            number = script_number(data, at, at + length)
            if scripts[_place(scripts, number)] == number:
                return position
            at += length
    return len(starts) - 1
