"""`phasegate check` on masternode lists, rotation data and ChainLocks."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phasegate.consensus.codec import dsha, u32
from phasegate.consensus.params import REGTEST
from tests.cli.conftest import Outcome
from tests.conftest import Conversation

Run = Callable[..., Outcome]
LISTS = [
    ("DML_0_2221605.hex", "mainnet", 70230, 3170, (64, 24)),
    ("mn_list_diff_0_2227096.ipfixed.bin", "mainnet", 70230, 3147, (64, 24)),
    ("mnlistdiff-mainnet-0-2028691-70230.dat", "mainnet", 70230, 3837, (64, 24)),
    ("mnlistdiff-testnet-0-849810-70228-before19.2HF.dat", "testnet", 70228, 494, (0, 109)),
    ("mnlistdiff-testnet-0-850798-70228-after19.2HF.dat", "testnet", 70228, 534, (96, 13)),
    ("mnlistdiff-testnet-0-905762-after20.HF.dat", "testnet", 70230, 515, (104, 5)),
]
OWN_HEIGHTS = ("--activation", "dip3=2", "--activation", "v20=100", "--activation", "mn_rr=100")
REGTEST_WORDS = ("--network", "regtest", "--protocol", "70240", *OWN_HEIGHTS, "--json")


@pytest.mark.parametrize(("name", "network", "protocol", "masternodes", "commitments"), LISTS)
def test_public_lists_are_judged(
    run: Run,
    shared: Path,
    check_line: Run,
    name: str,
    network: str,
    protocol: int,
    masternodes: int,
    commitments: tuple[int, int],
) -> None:
    """Raw, as hex, and as a whole message; without a header the proof is unanchored and says so."""
    path = shared / "vectors" / "mnlist" / name
    outcome = run("check", "mnlistdiff", path, "--network", network, "--protocol", protocol, "--json")
    assert outcome.code == 0
    assert len(outcome.lines) == 1
    told = outcome.summary
    assert (told["masternodes"], told["unanchored"]) == (masternodes, True)
    assert (told["commitments_verified"], told["commitments_legacy"]) == commitments
    assert told["commitments"] == sum(commitments) == told["quorums"]
    check_line(told)


@pytest.mark.parametrize(
    ("name", "network", "rotated"),
    [
        ("qrinfo-testnet-0-905770-70230-after20.HF.dat", "testnet", 32),
        ("qrinfo-mainnet-0-2028764-70230.dat.xz", "mainnet", 64),
    ],
)
def test_public_rotation_data_is_judged(
    run: Run, shared: Path, check_line: Run, name: str, network: str, rotated: int
) -> None:
    """All 32 newest commitments verify."""
    path = shared / "vectors" / "qrinfo" / name
    outcome = run("check", "qrinfo", path, "--network", network, "--protocol", 70230, "--json")
    assert outcome.code == 0
    told = outcome.summary
    assert (told["commitments_verified"], told["commitments"], told["lists"]) == (32, 32, 6)
    assert told["rotated_quorums_verified"] == rotated
    check_line(told)


@pytest.fixture
def recorded(conversation: Callable[[int], Conversation]) -> dict[str, list[bytes]]:
    """The recorded answers of a node, by command."""
    answers: dict[str, list[bytes]] = {}
    for way, command, payload in conversation(70240):
        if way == "<":
            answers.setdefault(command, []).append(payload)
    return answers


def test_recorded_rotation_data_is_judged(run: Run, recorded: dict[str, list[bytes]], tmp_path: Path) -> None:
    """On a private network too, whose heights are its own."""
    path = tmp_path / "qrinfo"
    for payload in recorded["qrinfo"]:
        path.write_bytes(payload)
        outcome = run("check", "qrinfo", path, *REGTEST_WORDS)
        assert (outcome.code, outcome.err) == (0, "")
        assert outcome.summary["commitments_verified"] == outcome.summary["commitments"] == 2


@pytest.fixture
def pair(recorded: dict[str, list[bytes]], tmp_path: Path) -> tuple[Path, Path]:
    """A whole list, and a difference that starts from it."""
    payloads = recorded["mnlistdiff"]
    genesis = payloads[0][2:34]
    for step in payloads:
        for whole in payloads:
            if whole[2:34] == genesis and step[2:34] == whole[34:66]:
                full, difference = tmp_path / "full", tmp_path / "difference"
                full.write_bytes(whole)
                difference.write_bytes(step)
                return full, difference
    pytest.fail("the recording has no such pair")


def _headers(capture: Path) -> dict[bytes, bytes]:
    hashes, headers = (capture / "hashes.bin").read_bytes(), (capture / "headers.bin").read_bytes()
    return {hashes[32 * h : 32 * h + 32]: headers[80 * h - 80 : 80 * h] for h in range(1, 357)}


def test_a_difference_is_judged_upon_its_base_and_its_header(run: Run, pair: tuple[Path, Path], capture: Path) -> None:
    """Without the base it cannot be; with the header it is anchored; another header is refused."""
    full, difference = pair
    alone = run("check", "mnlistdiff", difference, *REGTEST_WORDS)
    assert (alone.code, f"{difference}: no whole list" in alone.err, "--base" in alone.err) == (2, True, True)
    based = run("check", "mnlistdiff", difference, "--base", full, *REGTEST_WORDS)
    assert (based.code, based.summary["unanchored"]) == (0, True)
    headers = _headers(capture)
    header = headers[difference.read_bytes()[34:66]]
    anchored = run("check", "mnlistdiff", difference, "--base", full, "--header", header.hex(), *REGTEST_WORDS)
    assert (anchored.code, anchored.summary["unanchored"]) == (0, False)
    other = headers[full.read_bytes()[34:66]]
    refused = run("check", "mnlistdiff", difference, "--base", full, "--header", other.hex(), *REGTEST_WORDS)
    assert (refused.code, "unfitting-reply" in refused.err) == (4, True)


def test_the_same_message_in_every_wrapping_is_the_same(run: Run, pair: tuple[Path, Path]) -> None:
    """Raw, hex over lines, behind its header, and each of them packed."""
    full, _ = pair
    payload = full.read_bytes()
    head = REGTEST.magic + b"mnlistdiff\0\0" + u32(len(payload)) + dsha(payload)[:4]
    text = payload.hex()
    forms = [payload, "\n".join([text[:100], text[100:]]).encode(), head + payload, (head + payload).hex().encode()]
    told = []
    for raw in [*forms, *[lzma.compress(form) for form in forms]]:
        full.write_bytes(raw)
        outcome = run("check", "mnlistdiff", full, *REGTEST_WORDS)
        assert (outcome.code, outcome.err) == (0, "")
        told.append({**outcome.summary, "time": 0})
    assert all(one == told[0] for one in told)


def _broken(payload: bytes) -> dict[str, tuple[bytes, str]]:
    head = REGTEST.magic + b"mnlistdiff\0\0" + u32(len(payload)) + dsha(payload)[:4]
    return {
        "root": (payload.replace(b"\0\0\0\0", b"\0\0\1\0", 1), ""),
        "cut": (payload[:-1], "malformed-message"),
        "too long": (payload + b"\0", "1 bytes too many"),
        "checksum": (head[:-1] + bytes((head[-1] ^ 1,)) + payload, "header of the mnlistdiff message"),
        "other message": (head.replace(b"mnlistdiff", b"headers\0\0\0") + payload, "a message 'headers'"),
        "version": (b"\2" + payload[1:], "version 2 is unknown"),
    }


@pytest.mark.parametrize("damage", ["root", "cut", "too long", "checksum", "other message", "version"])
def test_a_damaged_list_is_refused_by_name(run: Run, pair: tuple[Path, Path], damage: str) -> None:
    """One line that names the file and the first thing that is wrong; nothing on standard out."""
    full, _ = pair
    raw, reason = _broken(full.read_bytes())[damage]
    full.write_bytes(raw)
    outcome = run("check", "mnlistdiff", full, *REGTEST_WORDS)
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err.startswith(f"phasegate check mnlistdiff: {full}: ")
    assert reason in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\xfd7zXZ\0broken", "Corrupt input data"),
        (lzma.compress(bytes(1 << 25)), "it holds more than 16777216 bytes"),
        (lzma.compress(b"abc")[:-5], "it is cut off"),
        (lzma.compress(b"abc") + b"more", "4 bytes follow its end"),
    ],
)
def test_what_cannot_be_unpacked_is_refused(run: Run, tmp_path: Path, raw: bytes, reason: str) -> None:
    """Damaged, cut off, followed by something, or unpacking to more than any message holds."""
    path = tmp_path / "packed"
    path.write_bytes(raw)
    outcome = run("check", "qrinfo", path, *REGTEST_WORDS)
    assert outcome.code == 2
    assert f"{path} cannot be unpacked: " in outcome.err
    assert reason in outcome.err


@pytest.mark.parametrize(
    "words", [("qrinfo", *REGTEST_WORDS), ("headers", "--network", "regtest", "--start-height", 0)]
)
def test_a_file_without_end_is_read_to_a_bound_only(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: tuple[Any, ...]
) -> None:
    """Whatever its size is said to be."""
    monkeypatch.setattr("phasegate.cli.check_headers.LARGEST", 1 << 20)
    outcome = run("check", words[0], "/dev/zero", *words[1:])
    assert (outcome.code, "/dev/zero is larger than 1" in outcome.err) == (2, True)


def test_data_of_another_network_is_told_as_such(run: Run, shared: Path, pair: tuple[Path, Path]) -> None:
    """By the magic of a whole message, or by the genesis block that a list starts from."""
    whole = shared / "vectors" / "mnlist" / "DML_0_2221605.hex"
    outcome = run("check", "mnlistdiff", whole, "--network", "testnet", "--protocol", 70230)
    assert (outcome.code, "wrong-network: a message of mainnet, not of testnet" in outcome.err) == (4, True)
    outcome = run("check", "mnlistdiff", pair[0], "--network", "testnet", "--protocol", 70240)
    assert outcome.code == 4
    assert "wrong-network: it starts from the genesis block of devnet or regtest, not of testnet" in outcome.err


def test_the_file_that_is_wrong_is_named(run: Run, pair: tuple[Path, Path]) -> None:
    """The base when it is the base that is broken, or no whole list."""
    full, difference = pair
    no_base = run("check", "mnlistdiff", full, "--base", difference, *REGTEST_WORDS)
    assert (no_base.code, f"{difference}: no whole list" in no_base.err) == (2, True)
    full.write_bytes(full.read_bytes()[:-1])
    broken = run("check", "mnlistdiff", difference, "--base", full, *REGTEST_WORDS)
    assert (broken.code, f"{full}: malformed-message" in broken.err) == (4, True)


def test_check_alone_says_in_one_line_what_is_missing(run: Run) -> None:
    outcome = run("check")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "phasegate check: Missing command; phasegate check --help tells more\n"


def test_a_missing_file_and_a_short_header_are_refused(run: Run, pair: tuple[Path, Path], tmp_path: Path) -> None:
    missing = run("check", "mnlistdiff", tmp_path / "none", *REGTEST_WORDS)
    assert (missing.code, "cannot be read" in missing.err) == (2, True)
    for header in ("00" * 79, "xy"):
        short = run("check", "mnlistdiff", pair[0], "--header", header, *REGTEST_WORDS)
        assert (short.code, "80 bytes" in short.err) == (2, True)


def test_a_person_reads_the_same_as_a_table(run: Run, pair: tuple[Path, Path]) -> None:
    told = run("check", "mnlistdiff", pair[0], *REGTEST_WORDS).summary
    outcome = run("check", "mnlistdiff", pair[0], *REGTEST_WORDS[:-1])
    assert outcome.code == 0
    shown = [line.split() for line in outcome.out.splitlines()]
    assert ["masternodes", str(told["masternodes"])] in shown
    assert ["block", "hash", told["block_hash"]] in shown


@pytest.fixture
def lock(shared: Path) -> list[str]:
    """The arguments of a real ChainLock."""
    rows: list[dict[str, Any]] = json.loads((shared / "vectors" / "locks" / "locks.json").read_text())["chainlocks"]
    row = rows[0]
    return [
        "check", "chainlock", "--network", "mainnet", "--height", str(row["height"]),
        "--block-hash", row["block_hash_be"], "--signature", row["sig"], "--quorum-type", str(row["llmq_type"]),
        "--quorum-hash", row["quorum_hash_be"], "--public-key", row["quorum_pubkey"],
    ]  # fmt: skip


def test_a_real_chainlock_is_judged(run: Run, lock: list[str], check_line: Run) -> None:
    outcome = run(*lock, "--json")
    assert (outcome.code, outcome.summary["verified"]) == (0, True)
    assert outcome.summary["sign_hash"].startswith("ed28758d")
    check_line(outcome.summary)
    assert "is locked" in run(*lock).out


@pytest.mark.parametrize(
    ("option", "value", "code", "reason"),
    [
        ("--height", "2221358", 4, "did not sign"),
        ("--block-hash", "00" * 32, 4, "did not sign"),
        ("--signature", "c0" + "00" * 95, 4, "did not sign"),
        ("--public-key", "c0" + "00" * 47, 4, "did not sign"),
        ("--quorum-hash", "11" * 32, 4, "did not sign"),
        ("--quorum-type", "5", 4, "sign no ChainLocks"),
        ("--signature", "00", 2, "96 bytes"),
        ("--public-key", "xy", 2, "48 bytes"),
        ("--block-hash", "00" * 31, 2, "32 bytes"),
        ("--block-hash", "00" * 16 + " " + "00" * 16, 2, "32 bytes"),
        ("--height", str(1 << 31), 2, "less than or equal to 2147483647"),
    ],
)
def test_a_false_chainlock_is_refused(
    run: Run, lock: list[str], option: str, value: str, code: int, reason: str
) -> None:
    """Exit 4 when the lock is wrong, 2 when the argument is none."""
    lock[lock.index(option) + 1] = value
    outcome = run(*lock, "--json")
    assert (outcome.code, outcome.out) == (code, "")
    assert reason in outcome.err
