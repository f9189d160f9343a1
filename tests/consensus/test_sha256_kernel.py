"""Double SHA-256 in compiled loops, OpenSSL's and our own, against hashlib."""

from __future__ import annotations

import _hashlib
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus import filter_chain_kernel, sha256_kernel
from phasegate.consensus.codec import dsha
from phasegate.consensus.filter_chain_kernel import chain, lead_on
from phasegate.consensus.filters import chain_headers, chain_slowly, filter_hash
from phasegate.consensus.packed import Packed
from phasegate.consensus.sha256_kernel import Addresses, dsha_into, linked, own, scratch, sha256

Find = Callable[[], Addresses]

pytestmark = pytest.mark.timeout(300)  # the first run compiles

BOTH = pytest.mark.parametrize("find", [sha256, own])


@BOTH
@settings(deadline=None)
@given(data=st.binary(max_size=300), before=st.integers(0, 3), at=st.integers(0, 3))
def test_it_hashes_as_hashlib_does(find: Find, data: bytes, before: int, at: int) -> None:
    source = np.frombuffer(bytes(before) + data + b"\xee", np.uint8)
    out = np.zeros(40, np.uint8)
    dsha_into(find(), scratch(), source, before, before + len(data), out, at)
    assert out.tobytes() == bytes(at) + dsha(data) + bytes(8 - at)


@BOTH
@settings(deadline=None, max_examples=30)
@given(prev=st.binary(min_size=32, max_size=32), count=st.integers(0, 20), rnd=st.randoms(use_true_random=False))
def test_a_chain_of_headers_is_the_slow_one(find: Find, prev: bytes, count: int, rnd: Random) -> None:
    hashes = rnd.randbytes(32 * count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filter_chain_kernel, "sha256", find)
        assert chain(prev, hashes) == chain_headers(prev, hashes) == chain_slowly(prev, hashes)


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(0, 90), min_size=1, max_size=8),
    came=st.integers(1, 9),
    gone=st.sets(st.integers(0, 7)),
    foreign=st.integers(0, 9),
    wrong=st.integers(0, 9),
)
def test_filters_are_taken_up_to_the_first_that_is_wrong_or_not_wanted(
    sizes: list[int], came: int, gone: set[int], foreign: int, wrong: int
) -> None:
    """Against the same said in plain Python, one filter at a time."""
    filters = [bytes((i,)) * size for i, size in enumerate(sizes)]
    names = [bytes((i,)) * 32 for i in range(len(sizes))]
    headers = bytes(32) + chain_slowly(bytes(32), b"".join(map(filter_hash, filters)))
    told = [bytes(32) if i == foreign else name for i, name in enumerate(names)][:came]
    sent = [raw + b"x" if i == wrong else raw for i, raw in enumerate(filters)][:came]
    wanted = bytearray(i not in gone for i in range(len(sizes)))
    taken, fault, left = 0, False, bytearray(wanted)
    while taken < len(told) and not fault and wanted[taken] and told[taken] == names[taken]:
        left[taken], fault, taken = 0, taken == wrong, taken + 1
    assert lead_on(b"".join(told), Packed.of(sent), b"".join(names), headers, wanted) == (taken, fault)
    assert wanted == left


def test_a_python_whose_openssl_is_hidden_uses_the_compiled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sha256_kernel, "_NAMES", ("no_such_function",) * 3)
    assert linked() is None


def test_a_library_that_cannot_be_loaded_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hashlib, "__file__", "/no/such/library")
    assert linked() is None


def test_what_does_not_hash_as_sha_256_does_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions of another hash, or of a library that keeps them under the same names for something else."""
    monkeypatch.setattr(sha256_kernel, "_NAMES", ("SHA224_Init", "SHA224_Update", "SHA224_Final"))
    assert linked() is None
