"""CRC-32 of long pieces: the compiled one against zlib's."""

from __future__ import annotations

import subprocess
import sys
import zlib
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phasegate.consensus import crc, crc_kernel
from phasegate.consensus.crc import LONG, crc32, load_crc

pytestmark = pytest.mark.timeout(300)  # the first run compiles

VALUES = st.integers(0, (1 << 32) - 1)
usable = pytest.mark.skipif(not crc_kernel.is_usable(), reason="this machine has no carry-less multiplication")


@usable
@settings(deadline=None)
@example(data=bytes(crc_kernel.STEP), value=0)
@example(data=b"\xff" * 5 * crc_kernel.STEP, value=(1 << 32) - 1)
@given(data=st.binary(min_size=crc_kernel.STEP, max_size=6 * crc_kernel.STEP), value=VALUES)
def test_the_compiled_one_is_zlibs(data: bytes, value: int) -> None:
    assert crc_kernel.crc32(data, value) == zlib.crc32(data, value)


@pytest.mark.parametrize("size", [LONG - 1, LONG, LONG + 1, LONG + crc_kernel.STEP, 3 * LONG + 17])
def test_long_pieces_have_the_same_crc_loaded_or_not(size: int) -> None:
    data = Random(size).randbytes(size)
    before = crc32(data, size)
    load_crc()
    assert crc32(data, size) == before == zlib.crc32(data, size)


@pytest.mark.parametrize("reason", ["usable", "wrong"])
def test_a_machine_that_cannot_or_is_wrong_has_zlib(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    monkeypatch.setattr(crc, "_loaded", False)
    monkeypatch.setattr(crc, "_of_long", zlib.crc32)
    monkeypatch.setattr(crc_kernel, "is_usable", lambda: reason != "usable")
    monkeypatch.setattr(crc_kernel, "crc32", lambda *_: 1)
    load_crc()
    assert crc32(bytes(LONG)) == zlib.crc32(bytes(LONG))


def test_numba_is_not_loaded_by_a_long_piece() -> None:
    code = f"import sys; from phasegate.consensus.crc import crc32; crc32(bytes({LONG})); print('numba' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "False"
