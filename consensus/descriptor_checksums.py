"""The checksum of an output descriptor [BIP380]: eight characters after a `#`.

It is a BCH code over 5-bit symbols. Characters come in three groups of 32, so that case errors and the digits of hex
stay within a symbol; of each character the place in its group is one symbol, and the groups of three characters
together are one more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

CHARACTERS = "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "
"""What a descriptor may be written with, in the groups that the checksum is computed over."""
SYMBOLS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
"""What a checksum is written with."""
_GENERATOR = 0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD


def checksum(text: str) -> str:
    """The eight characters that belong to the descriptor `text`, which has none yet.

    Raises:
        ValueError: a character that no descriptor has.
    """
    state = 1
    for symbol in (*_symbols(text), *[0] * 8):
        state = _next(state, symbol)
    state ^= 1
    return "".join([SYMBOLS[state >> 5 * place & 31] for place in range(7, -1, -1)])


def without_checksum(text: str) -> str:
    """`text` without its checksum, if it has one, which is then the right one.

    Raises:
        ValueError: it is not, or is not of eight characters.
    """
    body, mark, told = text.partition("#")
    if not mark:
        checksum(body)  # refuses odd characters
        return body
    if len(told) != 8 or "#" in told:
        raise ValueError(f"a descriptor's checksum has 8 characters, not {len(told)}")
    if told != (right := checksum(body)):
        raise ValueError(f"the descriptor's checksum is {told} and should be {right}")
    return body


def _symbols(text: str) -> Iterator[int]:
    groups: list[int] = []
    for character in text:
        place = CHARACTERS.find(character)
        if place < 0:
            raise ValueError(f"a descriptor has no character {character!r}")
        yield place & 31
        groups.append(place >> 5)
        if len(groups) == 3:
            yield _joined(groups)
            groups = []
    if groups:
        yield _joined(groups)


def _joined(groups: Iterable[int]) -> int:
    number = 0
    for group in groups:
        number = 3 * number + group
    return number


def _next(state: int, symbol: int) -> int:
    top = state >> 35
    state = (state & 0x7FFFFFFFF) << 5 ^ symbol
    for bit, part in enumerate(_GENERATOR):
        if top >> bit & 1:
            state ^= part
    return state
