"""The keys of an output descriptor [BIP380]: one public key, or as many as a `*` stands for.

`[d34db33f/44'/5'/0']xpub.../0/*` is the whole form: where an extended key comes from, the key, and the steps from it.
What stands in brackets is for signers; here it is checked for its form and left out, so that one key has one name.
"""

from __future__ import annotations

import re
from functools import cached_property

import attrs

from phasegate.consensus.bip32 import HARDENED, ExtendedKey, checked_key
from phasegate.consensus.params import Network

_ORIGIN = re.compile(r"\[[0-9a-fA-F]{8}((?:/[0-9]+['hH]?)*)\]")
_WIF = re.compile(r"[1-9A-HJ-NP-Za-km-z]{51,52}\Z")
_MOST_STEPS = 255
_LONGEST_STEP = 11
"""Characters of a wrong step that is repeated: ten digits and a mark; a longer one may be a private key."""


@attrs.frozen(slots=False)
class Key:
    """A key expression.

    Args:
        root: a public key as bytes, or an extended one.
        steps: from an extended one on.
        ranged: whether a `*` follows, and the expression stands for a key an index.
        mainnet: in which form an extended key is written.
    """

    root: bytes | ExtendedKey
    steps: tuple[int, ...] = ()
    ranged: bool = False
    mainnet: bool = True

    @classmethod
    def parse(cls, text: str, network: Network | None) -> Key:
        """The key that `text` expresses.

        Args:
            text: hex or an extended key, after an origin if there is one.
            network: whose keys are meant; None: any network's.

        Raises:
            ValueError: one clear line that says why not; it never repeats what may be a private key.
        """
        body = _without_origin(text)
        word, *steps = body.split("/")
        if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", word):
            if steps:
                raise ValueError("a key in hex is not extended: nothing is derived from it")
            return cls(checked_key(bytes.fromhex(word)))
        if _WIF.match(word):
            raise ValueError("a private key is refused: phasegate takes public keys only")
        root = ExtendedKey.parse(word, network)
        ranged = steps[-1:] == ["*"]
        numbers = tuple([_step(step) for step in (steps[:-1] if ranged else steps)])
        if root.depth + len(numbers) + ranged > _MOST_STEPS:
            raise ValueError("no key is more than 255 steps below its master key")
        return cls(root, numbers, ranged, word[0] != "t")

    def at(self, index: int) -> bytes:
        """The public key, of that index if there are several; 33 bytes, or 65 uncompressed."""
        if isinstance(self._parent, bytes):
            return self._parent
        return self._parent.child(index).key if self.ranged else self._parent.key

    @cached_property
    def _parent(self) -> bytes | ExtendedKey:
        key = self.root
        for step in self.steps:
            assert isinstance(key, ExtendedKey)  # noqa: S101 - only an extended one has steps
            key = key.child(step)
        return key

    def __str__(self) -> str:
        """The one name of this expression."""
        if isinstance(self.root, bytes):
            return self.root.hex()
        return "/".join([self.root.text(mainnet=self.mainnet), *map(str, self.steps), *["*"] * self.ranged])


def _without_origin(text: str) -> str:
    if text[:1] != "[":
        return text
    found = _ORIGIN.match(text)
    if found is None:
        raise ValueError("a key's origin is not [8 hex digits/path]")
    for step in found[1].split("/")[1:]:
        _number(step.rstrip("'hH"))
    return text[found.end() :]


def _step(text: str) -> int:
    if text in ("*'", "*h", "*H") or re.fullmatch(r"[0-9]{1,10}['hH]", text):
        raise ValueError(f"step {text} of a key is hardened: that takes the private key")
    if text == "*":
        raise ValueError("a * stands only at the end of a key")
    return _number(text)


def _number(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= HARDENED:
        told = f"step {text!r}" if len(text) <= _LONGEST_STEP else "a step"
        raise ValueError(f"{told} of a key is no number below {HARDENED}")
    return int(text)
