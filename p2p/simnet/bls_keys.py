"""Secret BLS keys, which only a simulated network has: its masternodes' and its quorums' [Core bls/].

A secret is a number. Whoever knows the secrets of all members signs for the aggregate of their keys with one number:
the sum of their secrets, each times the factor that its key has in the aggregate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyblst

from phasegate.consensus.bls import ORDER, SUITE, basic_key, secure_terms

_GENERATOR = pyblst.BlstP1Element().uncompress(
    bytes.fromhex("97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb")
)


def secret_key(chance: bytes) -> int:
    """The secret that some random bytes (48, so that none is likelier than another) stand for."""
    return int.from_bytes(chance, "big") % (ORDER - 1) + 1


def public_key(secret: int) -> bytes:
    """The 48-byte key, basic encoding."""
    return bytes(_GENERATOR.scalar_mul(secret).compress())


def legacy_form(key: bytes) -> bytes:
    """A basic 48-byte key in the encoding before V19, which keeps its sign in the first bit."""
    return bytes((key[0] & 0x1F | (0x80 if key[0] & 0x20 else 0),)) + key[1:]


def sign(message: bytes, *secrets: int) -> tuple[bytes, ...]:
    """What each of `secrets` signs under 32 bytes: 96 bytes each."""
    point = pyblst.BlstP2Element.hash_to_group(message, SUITE)
    return tuple([bytes(point.scalar_mul(secret).compress()) for secret in secrets])


def aggregate_secret(keys: Sequence[bytes], secrets: Mapping[bytes, int]) -> int:
    """The one secret behind the secure aggregate of 48-byte basic `keys`."""
    return sum(secrets[key] * factor for key, factor in secure_terms(keys)) % ORDER


def operator_key(raw: bytes, version: int) -> bytes:
    """The basic form of the key in a masternode entry of `version`."""
    return basic_key(raw, legacy=version == 1)
