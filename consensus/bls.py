"""BLS signatures as Dash makes them since V19: keys in G1, signatures in G2, the IETF draft's basic scheme [Core bls/].

Many signatures are judged as one product of pairings: every claim is weighed with a coefficient that is drawn from all
the claims by hash, claims over one message share one pairing, and the whole product is closed by one final
exponentiation. A product that holds proves every claim in it, except with a chance of 2^-128.

A point at infinity would verify for every message, and a null point stands for "nothing here": both are refused before
any pairing. `uncompress` of pyblst checks that a point lies in its prime-order subgroup. pyblst holds the interpreter
lock while it computes, so threads do not make it faster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import attrs
import pyblst

from phasegate.consensus.codec import u32
from phasegate.consensus.point_sums import PLAIN, odd_multiples, weighted_sum

KEY_SIZE, SIGNATURE_SIZE = 48, 96
ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""The number of points in the groups."""
SUITE = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_"
_GENERATOR = pyblst.BlstP1Element().uncompress(
    bytes.fromhex("97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb")
)
_COEFFICIENT_SIZE = 16
_KEPT_KEYS = 4096
"""Keys of which the multiples are kept (2.7 KB each): those of all masternodes, who are members again and again."""


@attrs.frozen
class Claim:
    """That `signature` over `message` was made with the sum of the keys of `terms`, each times its factor."""

    message: bytes
    terms: tuple[tuple[bytes, int], ...]
    signature: bytes


def is_null(point: bytes) -> bool:
    """Whether a compressed point says "nothing": all zero, or infinity (c0 00 ...), or no bytes at all."""
    return point[:1] in (b"", b"\0", b"\xc0") and not any(point[1:])


def basic_key(raw: bytes, *, legacy: bool) -> bytes:
    """A public key in the basic encoding: 48 bytes; a `legacy` one keeps its sign in the first bit alone."""
    if not legacy or is_null(raw):
        return raw
    sign = 0x20 if raw[0] & 0x80 else 0
    return bytes((raw[0] & 0x1F | 0x80 | sign,)) + raw[1:]


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` (96 bytes) over `message` (32 bytes) was made with `public_key` (48 bytes, basic).

    Null points, infinity and bytes that are no point are False.
    """
    return verify_all([Claim(message, ((public_key, 1),), signature)])


def secure_terms(keys: Sequence[bytes]) -> tuple[tuple[bytes, int], ...]:
    """The factor of each key in the aggregate that no rogue key can break [dashbls, AggregateSecure]."""
    seed = hashlib.sha256(b"".join(ordered := sorted(keys))).digest()
    digests = [hashlib.sha256(i.to_bytes(4, "big") + seed).digest() for i in range(len(ordered))]
    return tuple([(key, int.from_bytes(d, "big") % ORDER) for key, d in zip(ordered, digests, strict=True)])


def secure_aggregate(keys: Sequence[bytes]) -> bytes:
    """The secure aggregate of 48-byte basic keys.

    Raises:
        ValueError: a key is null or no point, or there are none.
    """
    terms = secure_terms(keys)
    if not terms:
        raise ValueError("the aggregate of no keys")
    return bytes(_signer(terms).compress())


def verify_all(claims: Sequence[Claim]) -> bool:
    """Whether all `claims` hold; which one does not is found by asking again with fewer."""
    try:
        return not claims or _product_holds(claims)
    except ValueError:
        return False


def _product_holds(claims: Sequence[Claim]) -> bool:
    weights = _coefficients(claims)
    by_message: dict[bytes, list[tuple[bytes, int]]] = {}
    for claim, weight in zip(claims, weights, strict=True):
        by_message.setdefault(claim.message, []).extend([(key, weight * f % ORDER) for key, f in claim.terms])
    product = _pairing_of_signatures([claim.signature for claim in claims], weights)
    expected = None
    for message, terms in by_message.items():
        pairing = pyblst.miller_loop(_signer(terms), pyblst.BlstP2Element.hash_to_group(message, SUITE))
        expected = pairing if expected is None else expected * pairing
    return bool(pyblst.final_verify(product, expected))


def _pairing_of_signatures(signatures: Sequence[bytes], weights: Sequence[int]) -> Any:
    points = [_signature(raw) for raw in signatures]
    total = points[0] if len(points) == 1 else weighted_sum([odd_multiples(point) for point in points], weights)
    return pyblst.miller_loop(_GENERATOR, total)


def _signer(terms: Sequence[tuple[bytes, int]]) -> Any:
    """The sum of each key times its factor."""
    if len(terms) == 1 and terms[0][1] == 1:
        return _key_multiples(terms[0][0])[PLAIN]
    return weighted_sum([_key_multiples(key) for key, _ in terms], [factor for _, factor in terms])


def _coefficients(claims: Sequence[Claim]) -> list[int]:
    """A weight for each claim that whoever made the claims could not choose; a claim alone needs none."""
    if len(claims) == 1:
        return [1]
    seed = hashlib.sha256()
    for claim in claims:
        seed.update(claim.message + claim.signature + u32(len(claim.terms)))
        seed.update(b"".join([key + factor.to_bytes(32, "little") for key, factor in claim.terms]))
    root = seed.digest()
    digests = [hashlib.sha256(root + u32(i)).digest() for i in range(len(claims))]
    return [int.from_bytes(digest[:_COEFFICIENT_SIZE], "little") for digest in digests]


def forget_keys() -> None:
    """Keep nothing of the keys that were used so far."""
    _key_multiples.cache_clear()


@lru_cache(_KEPT_KEYS)
def _key_multiples(raw: bytes) -> tuple[Any, ...]:
    if len(raw) != KEY_SIZE or is_null(raw):
        raise ValueError("a null or short public key")
    return odd_multiples(pyblst.BlstP1Element().uncompress(raw))


def _signature(raw: bytes) -> Any:
    if len(raw) != SIGNATURE_SIZE or is_null(raw):
        raise ValueError("a null or short signature")
    return pyblst.BlstP2Element().uncompress(raw)
