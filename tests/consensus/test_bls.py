"""BLS against a second implementation: points of the curve as pairs of integers, added by the textbook."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pyblst
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus import bls
from phasegate.consensus.bls import ORDER, Claim, basic_key, is_null, secure_aggregate, secure_terms, verify, verify_all
from phasegate.consensus.point_sums import odd_multiples, weighted_sum

FIELD = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
Point = tuple[int, int] | None
GENERATOR: Point = (
    0x17F1D3A73197D7942695638C4FA9AC0FC3688C4F9774B905A14E3A3F171BAC586C55E83FF97A1AEFFB3AF00ADB22C6BB,
    0x08B3F481E3AAA0F1A09E30ED741D8AE4FCF5E095D5D00AF600DB18CB2C04B3EDD03CC744A2888AE40CAA232946C5E7E1,
)


def _add(left: Point, right: Point) -> Point:
    if left is None or right is None:
        return left or right
    (x1, y1), (x2, y2) = left, right
    if x1 == x2 and (y1 + y2) % FIELD == 0:
        return None
    slope = 3 * x1 * x1 * pow(2 * y1, -1, FIELD) if left == right else (y2 - y1) * pow(x2 - x1, -1, FIELD)
    x = (slope * slope - x1 - x2) % FIELD
    return x, (slope * (x1 - x) - y1) % FIELD


def _times(factor: int, point: Point) -> Point:
    total: Point = None
    for bit in bin(factor)[2:]:
        total = _add(total, total)
        total = _add(total, point) if bit == "1" else total
    return total


def _packed(point: Point) -> bytes:
    if point is None:
        return b"\xc0" + bytes(47)
    sign = 0x20 if 2 * point[1] > FIELD else 0
    raw = point[0].to_bytes(48, "big")
    return bytes((raw[0] | 0x80 | sign,)) + raw[1:]


def _unpacked(raw: bytes) -> Point:
    x = int.from_bytes(bytes((raw[0] & 0x1F,)) + raw[1:], "big")
    y = pow(x**3 + 4, (FIELD + 1) // 4, FIELD)
    return x, y if (2 * y > FIELD) == bool(raw[0] & 0x20) else FIELD - y


def secret(n: int) -> int:
    return int.from_bytes(hashlib.sha512(b"%d" % n).digest(), "big") % ORDER


def key(n: int) -> bytes:
    return _packed(_times(secret(n), GENERATOR))


def sign(factor: int, message: bytes) -> bytes:
    return bytes(pyblst.BlstP2Element.hash_to_group(message, bls.SUITE).scalar_mul(factor).compress())


MESSAGE, OTHER = b"m" * 32, b"o" * 32
KEYS = [key(n) for n in range(5)]


@settings(max_examples=20)
@given(st.lists(st.integers(0, (1 << 255) - 1), min_size=1, max_size=5))
def test_a_weighted_sum_is_the_sum_of_the_textbook(factors: list[int]) -> None:
    """For any factors of 255 bits, zero among them."""
    points = [pyblst.BlstP1Element().uncompress(raw) for raw in KEYS[: len(factors)]]
    total: Point = None
    for raw, factor in zip(KEYS, factors, strict=False):
        total = _add(total, _times(factor, _unpacked(raw)))
    assert bytes(weighted_sum([odd_multiples(point) for point in points], factors).compress()) == _packed(total)


def test_a_sum_of_nothing_is_an_error() -> None:
    for points in ([], [pyblst.BlstP1Element()]):
        with pytest.raises(ValueError, match="points"):
            weighted_sum([odd_multiples(point) for point in points], [])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_secure_aggregate_is_that_of_the_textbook(count: int) -> None:
    """Keys sorted by bytes, each times the hash of its place and of all keys; the order they come in is no matter."""
    keys = sorted(KEYS[:count])
    seed = hashlib.sha256(b"".join(keys)).digest()
    total: Point = None
    for i, raw in enumerate(keys):
        factor = int.from_bytes(hashlib.sha256(i.to_bytes(4, "big") + seed).digest(), "big") % ORDER
        total = _add(total, _times(factor, _unpacked(raw)))
    assert secure_aggregate(KEYS[:count]) == secure_aggregate(KEYS[:count][::-1]) == _packed(total)


@pytest.mark.parametrize("keys", [[], [bytes(48)], [KEYS[0], b"\xc0" + bytes(47)], [b"\xff" * 48], [KEYS[0][:-1]]])
def test_null_and_foreign_keys_have_no_aggregate(keys: Sequence[bytes]) -> None:
    with pytest.raises(ValueError, match=r"aggregate|null|blst"):
        secure_aggregate(keys)


def test_a_signature_verifies_with_its_key_and_message_alone() -> None:
    signature = sign(secret(0), MESSAGE)
    assert verify(KEYS[0], MESSAGE, signature)
    assert not verify(KEYS[1], MESSAGE, signature)
    assert not verify(KEYS[0], OTHER, signature)
    assert not verify(KEYS[0], MESSAGE, sign(secret(0), OTHER))


INFINITE_KEY, INFINITE = b"\xc0" + bytes(47), b"\xc0" + bytes(95)


@pytest.mark.parametrize(
    ("public_key", "signature"),
    [
        (INFINITE_KEY, INFINITE),
        (bytes(48), bytes(96)),
        (INFINITE_KEY, sign(1, MESSAGE)),
        (KEYS[0], INFINITE),
        (KEYS[0], bytes(96)),
        (KEYS[0][:47], sign(secret(0), MESSAGE)),
        (KEYS[0] + b"\0", sign(secret(0), MESSAGE)),
        (KEYS[0], sign(secret(0), MESSAGE)[:95]),
        (b"\xff" * 48, b"\xff" * 96),
        (b"", b""),
    ],
)
def test_null_infinite_and_broken_points_never_verify(public_key: bytes, signature: bytes) -> None:
    """An infinite key and signature would otherwise verify for every message."""
    assert not verify(public_key, MESSAGE, signature)


def _outside_the_subgroup() -> bytes:
    """A point of the curve that the generator does not reach."""
    for x in range(1, 100):
        y = pow(x**3 + 4, (FIELD + 1) // 4, FIELD)
        if (y * y - x**3 - 4) % FIELD == 0 and _times(ORDER, (x, y)) is not None:
            return _packed((x, y))
    raise AssertionError


def test_a_key_outside_the_subgroup_never_verifies() -> None:
    raw = _outside_the_subgroup()
    assert not verify(raw, MESSAGE, sign(secret(0), MESSAGE))
    with pytest.raises(ValueError, match="blst"):
        secure_aggregate([raw])


def test_a_batch_holds_only_if_every_claim_does() -> None:
    """Two claims over one message among them; errors that cancel in a plain sum are found as well."""
    claims = [Claim(m, ((KEYS[n], 1),), sign(secret(n), m)) for n, m in enumerate((MESSAGE, MESSAGE, OTHER))]
    factors = [factor for _, factor in sorted(secure_terms(KEYS))]
    secrets = dict(zip(KEYS, [secret(n) for n in range(5)], strict=True))
    whole = sum(secrets[raw] * factor for raw, factor in zip(sorted(KEYS), factors, strict=True)) % ORDER
    claims.append(Claim(MESSAGE, secure_terms(KEYS), sign(whole, MESSAGE)))
    assert verify_all(claims)
    assert verify_all([])
    for i in range(len(claims)):
        wrong = Claim(claims[i].message, claims[i].terms, sign(7, claims[i].message))
        assert not verify_all([*claims[:i], wrong, *claims[i + 1 :]])
    off = [sign((secret(0) + 1) % ORDER, MESSAGE), sign((secret(1) - 1) % ORDER, MESSAGE)]
    cancelling = [Claim(MESSAGE, ((KEYS[n], 1),), off[n]) for n in (0, 1)]
    assert not verify_all(cancelling)


def test_points_that_say_nothing_are_null() -> None:
    assert all(is_null(point) for point in (b"", bytes(48), bytes(96), INFINITE_KEY, INFINITE))
    assert not any(is_null(point) for point in (KEYS[0], b"\xc0" + bytes(46) + b"\1", b"\x80" + bytes(47)))


def test_a_legacy_key_keeps_its_sign_in_the_first_bit() -> None:
    """Everything else stays; null keys stay null; basic keys are what they are."""
    raws = [key(n) for n in range(5, 12)]
    assert {raw[0] & 0x20 for raw in raws} == {0, 0x20}
    for raw in raws:
        legacy = bytes((raw[0] & 0x1F | (0x80 if raw[0] & 0x20 else 0),)) + raw[1:]
        assert basic_key(legacy, legacy=True) == raw == basic_key(raw, legacy=False)
    assert basic_key(bytes(48), legacy=True) == bytes(48)
