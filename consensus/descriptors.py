"""Output descriptors [BIP380, 381, 383, 384, 385], as far as they make sense on Dash, which has no segregated witness.

A descriptor says which scripts somebody wants to see: `pkh(KEY)`, `sh(multi(2,KEY,KEY))`, `addr(ADDRESS)`. With a `*`
at the end of a key it stands for a script an index, or, if it is a `combo`, for two. Everything that Dash has not is
refused by name. Two texts that mean the same scripts by the same keys are one: the canonical text has no origins, no
checksum, and numbers and hex in one form.

`KEY/<0;1>/*` [BIP389] is short for two descriptors; `parse_descriptors` gives both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import attrs

from phasegate.consensus.addresses import address_of, parse_watch_item
from phasegate.consensus.codec import var_bytes
from phasegate.consensus.descriptor_checksums import without_checksum
from phasegate.consensus.descriptor_keys import Key
from phasegate.consensus.params import Network
from phasegate.consensus.spent_scripts import hash160

LONGEST = 4000
"""Characters of a descriptor; with twenty extended keys and their origins it has fewer."""
_BARE_KEYS, _SHARED_KEYS, _LONGEST_REDEEM = 3, 16, 520
_MOST_SPREAD = 16
_LONGEST_NAME = 20
"""Characters of an unknown name that is repeated; a longer one may be a key."""
_NOT_ON_DASH = ("wpkh", "wsh", "tr", "rawtr", "musig", "multi_a", "sortedmulti_a", "sp", "rawnode")
_KNOWN = ("pk", "pkh", "combo", "multi", "sortedmulti", "sh", "addr", "raw")
_CALL = re.compile(r"([a-z0-9_]+)\((.*)\)\Z", re.DOTALL)
_SPREAD = re.compile(r"/<([0-9]+(?:;[0-9]+)+)>")


class Expression(Protocol):
    """A script expression: what stands between two parentheses, and before the first."""

    @property
    def keys(self) -> Sequence[Key]:
        """The keys in it."""

    def scripts(self, index: int) -> tuple[bytes, ...]:
        """The scripts that it stands for, those of an index if there is a `*`."""


@attrs.frozen
class Descriptor:
    """A descriptor that was understood.

    Args:
        expression: what it says.
    """

    expression: Expression

    @property
    def ranged(self) -> bool:
        """Whether it stands for scripts at every index."""
        return any(key.ranged for key in self.expression.keys)

    def scripts(self, index: int = 0) -> tuple[bytes, ...]:
        """The scriptPubKeys at `index`; those of a descriptor without a `*` are the same at each."""
        return self.expression.scripts(index)

    def __str__(self) -> str:
        """The canonical text, without a checksum."""
        return str(self.expression)


def parse_descriptors(text: str, network: Network | None) -> tuple[Descriptor, ...]:
    """What `text` describes: one descriptor, or several if steps are spread (`<0;1>`).

    Args:
        text: with its checksum or without.
        network: whose keys and addresses are meant; None: any network's keys, and no scripts without keys.

    Raises:
        ValueError: one clear line that says why not; it never repeats what may be a private key.
    """
    if len(text) > LONGEST:
        raise ValueError(f"a descriptor of {len(text)} characters is longer than {LONGEST}")
    body = without_checksum(text)
    return tuple([Descriptor(_expression(one, network, "")) for one in _spread(body)])


def _spread(text: str) -> list[str]:
    choices = [part.split(";") for part in _SPREAD.findall(text)]
    if not choices:
        return [text]
    counts = {len(choice) for choice in choices}
    if len(counts) > 1 or len(choices[0]) > _MOST_SPREAD or any(len(set(c)) < len(c) for c in choices):
        raise ValueError("<...;...> in a descriptor takes two or more different steps, in every key as many")
    return [_chosen(text, at) for at in range(len(choices[0]))]


def _chosen(text: str, at: int) -> str:
    """`text` with the step at that place of each choice."""

    def step(found: re.Match[str]) -> str:
        return f"/{found[1].split(';')[at]}"

    return _SPREAD.sub(step, text)


def _expression(text: str, network: Network | None, inside: str) -> Expression:
    """The expression `text` that stands `inside` another, "" for none."""
    found = _CALL.match(text)
    if found is None:
        raise ValueError("a descriptor is not of the form NAME(...)")
    name, inner = found.groups()
    if name in _NOT_ON_DASH:
        raise ValueError(f"{name}() is refused: Dash has no segregated witness and no taproot")
    if name not in _KNOWN:
        told = f"{name}()" if len(name) <= _LONGEST_NAME else "what stands before a parenthesis"
        raise ValueError(f"{told} is no descriptor; known are {', '.join(_KNOWN)}")
    if inside and name in ("combo", "sh", "addr", "raw"):
        raise ValueError(f"{name}() cannot stand inside {inside}()")
    if name in ("addr", "raw"):
        return _fixed(name, inner, network)
    if name == "sh":
        return _Shared(_expression(inner, network, "sh"))
    if name in ("multi", "sortedmulti"):
        return _several(name, inner, network, inside)
    return _Single(name, Key.parse(inner, network))


def _fixed(name: str, inner: str, network: Network | None) -> Expression:
    is_hex = re.fullmatch(r"(?:[0-9a-fA-F]{2})+", inner) is not None
    if is_hex != (name == "raw"):
        raise ValueError(f"{name}() takes {'script hex' if name == 'raw' else 'an address'}")
    if network is None:
        raise ValueError(f"{name}() needs a network")
    script = parse_watch_item(inner, network)
    return _Fixed(name, script, script.hex() if is_hex else address_of(script, network) or inner)


def _several(name: str, inner: str, network: Network | None, inside: str) -> Expression:
    number, *texts = inner.split(",")
    keys = tuple([Key.parse(text, network) for text in texts])
    most = _SHARED_KEYS if inside else _BARE_KEYS
    if not 1 <= len(keys) <= most:
        raise ValueError(f"{name}() has {len(keys)} keys and may have 1 to {most}{' inside sh()' if inside else ''}")
    if not re.fullmatch(r"[0-9]{1,2}", number) or not 1 <= int(number) <= len(keys):
        told = f"{number!r} signatures" if len(number) <= 2 else "no number of signatures"
        raise ValueError(f"{name}() asks for {told} of {len(keys)} keys")
    made = _Several(name, int(number), keys)
    if inside and len(made.scripts(0)[0]) > _LONGEST_REDEEM:
        raise ValueError(f"{name}() inside sh() is longer than {_LONGEST_REDEEM} bytes: nobody could spend it")
    return made


@attrs.frozen
class _Fixed:
    name: str
    script: bytes
    text: str
    keys: tuple[Key, ...] = ()

    def scripts(self, index: int) -> tuple[bytes, ...]:  # noqa: ARG002 - the same at each
        return (self.script,)

    def __str__(self) -> str:
        return f"{self.name}({self.text})"


@attrs.frozen
class _Single:
    name: str
    key: Key

    @property
    def keys(self) -> tuple[Key, ...]:
        return (self.key,)

    def scripts(self, index: int) -> tuple[bytes, ...]:
        key = self.key.at(index)
        to_key, to_hash = var_bytes(key) + b"\xac", b"\x76\xa9\x14" + hash160(key) + b"\x88\xac"
        return {"pk": (to_key,), "pkh": (to_hash,), "combo": (to_key, to_hash)}[self.name]

    def __str__(self) -> str:
        return f"{self.name}({self.key})"


@attrs.frozen
class _Several:
    name: str
    needed: int
    keys: tuple[Key, ...]

    def scripts(self, index: int) -> tuple[bytes, ...]:
        keys = [key.at(index) for key in self.keys]
        if self.name == "sortedmulti":
            keys.sort()
        pushed = b"".join([var_bytes(key) for key in keys])
        return (bytes((0x50 + self.needed,)) + pushed + bytes((0x50 + len(keys), 0xAE)),)

    def __str__(self) -> str:
        return f"{self.name}({','.join([str(self.needed), *map(str, self.keys)])})"


@attrs.frozen
class _Shared:
    inner: Expression

    @property
    def keys(self) -> Sequence[Key]:
        return self.inner.keys

    def scripts(self, index: int) -> tuple[bytes, ...]:
        return tuple([b"\xa9\x14" + hash160(redeem) + b"\x87" for redeem in self.inner.scripts(index)])

    def __str__(self) -> str:
        return f"sh({self.inner})"
