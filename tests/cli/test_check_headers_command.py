"""`phasegate check headers` ends with 0 only for files in which every rule is kept, and says what is wrong where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Outcome

Run = Callable[..., "Outcome"]
TESTNET_255 = "0000080b600e06f4c07880673f027210f9314575f5f875fafe51971e268b886a"


def test_every_real_file_is_kept_with_one_json_line(run: Run, shared: Path, check_line: Run) -> None:
    """The devnet's held difficulty is read off the file; the last hash may be given."""
    rows = json.loads((shared / "vectors" / "headers" / "index.json").read_text())
    for row in (row for row in rows if row["file"].endswith(".bin")):
        words = [shared / "vectors" / row["file"], "--network", row["network"], "--start-height", row["start_height"]]
        done = run("check", "headers", *words, "--end-hash", row["last_hash"], "--json")
        assert (done.code, done.err, len(done.lines)) == (0, "", 1)
        assert done.summary["checked"] == "headers"
        check_line(done.summary)
        assert done.summary["count"] == row["count"]
        assert done.summary["last_hash"] == row["last_hash"]
        assert done.summary["end_height"] == row["end_height"]
        skipped = 24 if row["start_height"] else 1
        assert done.summary["difficulty_from"] == row["start_height"] + skipped
        assert done.summary["difficulty_checked"] == row["count"] - skipped
        assert done.summary["min_difficulty_blocks"] == (4032 if row["network"] == "devnet" else 0)


@pytest.fixture
def first(shared: Path) -> Path:
    """The first 256 headers of testnet."""
    return shared / "vectors" / "headers" / "testnet_0_255.bin"


def test_for_a_person_the_same_stands_in_lines(run: Run, first: Path) -> None:
    done = run("check", "headers", first, "--network", "testnet", "--start-height", "0")
    assert done.code == 0
    assert done.out.splitlines() == [
        "256 headers of testnet, 0 to 255, keep all rules",
        f"last hash      {TESTNET_255}",
        "chainwork      10000fa6",
        "difficulty     255 judged, none wrong, from height 1",
        "checkpoints    1 met",
    ]


def changed(first: Path, place: Path, at: int) -> Path:
    """A copy with one bit of the byte number `at` turned."""
    raw = bytearray(first.read_bytes())
    raw[at] ^= 1
    place.write_bytes(raw)
    return place


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (0, "wrong-network: height 0: not the genesis block of testnet"),
        (80 * 100 + 10, "broken-header-link: height 100: does not continue the header before it"),
        (80 * 100 + 40, "bad-proof-of-work: height 100: its hash misses its own target"),
        (80 * 100 + 75, "bad-difficulty: height 100: bits 1f0ffff0 are easier than the limit"),
    ],
)
def test_the_first_broken_rule_is_named_with_its_height(
    run: Run, first: Path, tmp_path: Path, at: int, reason: str
) -> None:
    file = changed(first, tmp_path / "h", at)
    done = run("check", "headers", file, "--network", "testnet", "--start-height", "0", "--json")
    assert (done.code, done.out) == (4, "")
    assert done.err == f"phasegate check headers: {file}: {reason}\n"


def test_another_end_is_named(run: Run, first: Path) -> None:
    words = ("check", "headers", first, "--network", "testnet", "--start-height", "0", "--end-hash")
    assert run(*words, TESTNET_255).code == 0
    done = run(*words, "0" * 64)
    assert done.code == 4
    assert f"height 255: its hash {TESTNET_255} is not the end {'0' * 64}" in done.err


def test_half_a_header_at_the_end_is_named(run: Run, first: Path, tmp_path: Path) -> None:
    (tmp_path / "h").write_bytes(first.read_bytes()[:-1])
    done = run("check", "headers", tmp_path / "h", "--network", "testnet", "--start-height", "0")
    assert done.code == 4
    assert "malformed-message: 20479 bytes are 255 headers and 79 bytes" in done.err


def test_a_devnet_says_how_long_its_difficulty_was_held(run: Run, shared: Path) -> None:
    file = shared / "vectors" / "headers" / "devnet_3900_5100.bin"
    words = ("check", "headers", file, "--network", "devnet", "--start-height", "3900", "--min-difficulty-blocks")
    assert "at the limit   to height 4032" in run(*words, "4032").out
    done = run(*words, "0")
    assert done.code == 4
    assert "bad-difficulty: height 4001: bits 207fffff instead of 1f123401" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("--network", "testnet"),
        ("--start-height", "0"),
        ("--network", "dogenet", "--start-height", "0"),
        ("--network", "testnet", "--start-height", "-1"),
        ("--network", "testnet", "--start-height", "2147483648"),
        ("--network", "testnet", "--start-height", "0", "--end-hash", "12"),
        ("--network", "testnet", "--start-height", "0", "--devnet-name", "foo"),
        ("--network", "mainnet", "--start-height", "0", "--activation", "v20=1"),
    ],
)
def test_wrong_words_are_the_callers_fault(run: Run, first: Path, words: tuple[str, ...]) -> None:
    done = run("check", "headers", first, *words)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)


def test_a_file_that_cannot_be_read_is_named(run: Run, tmp_path: Path) -> None:
    done = run("check", "headers", tmp_path / "none", "--network", "testnet", "--start-height", "0")
    assert (done.code, "none cannot be read: No such file" in done.err) == (2, True)
