"""Texts that hold a private key by mistake are shown without it: errors end up in logs, and logs with others.

What looks like one is enough, also when a letter of it is missing or wrong: an extended private key is base58 behind
`xprv`, `tprv`, another `prv` or `drkv`, the wallet import format is 51 or 52 letters of it.
"""

from __future__ import annotations

import re

_ALPHABET = "1-9A-HJ-NP-Za-km-z"
_EXTENDED = rf"(?<![{_ALPHABET}])(?:[{_ALPHABET}]prv|drkv)[{_ALPHABET}]{{8,}}"
_WIF = rf"(?<![{_ALPHABET}])(?=[1-9A-Fa-f]*[G-Zg-z])[{_ALPHABET}]{{50,53}}(?![{_ALPHABET}])"
"""Script hex may be as long: a letter that is none of hex has to be in it."""
_KEY = re.compile(rf"{_EXTENDED}|{_WIF}")
HUSHED = "(a private key)"


def hushed(text: str) -> str:
    """`text` with each part of it replaced that may be a private key."""
    return _KEY.sub(HUSHED, text)
