"""A small mutator, for tests that need no fuzzer: the same seed gives the same inputs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

MOST_CHANGES = 4
_ODD_NUMBERS = (b"\0", b"\1", b"\x7f", b"\x80", b"\xfc", b"\xfd", b"\xfe", b"\xff", b"\xff" * 4, b"\xff" * 8, bytes(4))


def mutations(inputs: Sequence[bytes], count: int, seed: int, most: int) -> Iterator[bytes]:
    """So many changed copies of `inputs`, each of at most `most` bytes."""
    rng = random.Random(seed)
    for _ in range(count):
        data = bytearray(rng.choice(inputs))
        for _ in range(rng.randint(1, MOST_CHANGES)):
            _change(rng, data, inputs)
        yield bytes(data[:most])


def _change(rng: random.Random, data: bytearray, inputs: Sequence[bytes]) -> None:
    at, kind = rng.randrange(len(data) + 1), rng.randrange(6)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        odd = rng.choice(_ODD_NUMBERS)
        data[at : at + len(odd)] = odd
    elif kind == 2:
        del data[at : at + rng.randrange(1, 40)]
    elif kind == 3:
        data[at:at] = rng.randbytes(rng.randrange(1, 40))
    elif kind == 4:
        other = rng.choice(inputs)
        data[at:] = other[rng.randrange(len(other) + 1) :]
    else:
        data[at:at] = data[at : at + rng.randrange(1, 200)]
