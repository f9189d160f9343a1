"""Whatever cannot be is refused before anything starts: one line on standard error, and an exit code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phasegate.consensus.params import SIMNET
from phasegate.store import Store

Run = Callable[..., Any]
PEER = ("--peer", "127.0.0.1:1")
WIF = "5KYZdUEo39z3FPrtuX2QbbwGnNP5zTd7yyr2SC1j299sBCnWjss"
MAINNET_ADDRESS = "XqMkVUZnqe3w4xvgdZRtZoe7gMitDudGs4"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--network", "simnet"), "no peer to sync from"),
        (PEER, "--network"),
        (("--network", "atlantis", *PEER), "unknown network 'atlantis'"),
        (("--network", "mainnet", *PEER, "--activation", "v20=5"), "activation heights of mainnet are fixed"),
        (("--network", "testnet", *PEER, "--devnet-name", "foo"), "testnet"),
        (("--network", "devnet", *PEER, "--llmq", "size=5"), "llmq 'size=5' is not NAME=VALUE"),
        (("--network", "mainnet", *PEER, "--checkpoint", "soon"), "checkpoint 'soon' is neither a height nor"),
        (("--network", "regtest", *PEER, "--checkpoint", "latest"), "regtest has no built-in checkpoint"),
        (("--network", "mainnet", *PEER, "--trusted-header", "5:00"), "a trusted header is HEIGHT:HEADER:CHAINWORK"),
        (("--network", "mainnet", *PEER, "--birthday", "yesterday"), "birthday 'yesterday' is neither a height nor"),
        (("--network", "mainnet", *PEER, "--min-chainwork", "xyz"), "min-chainwork 'xyz'"),
        (("--network", "mainnet", *PEER, "--max-tip-age", "nan"), "--max-tip-age"),
        (
            ("--network", "mainnet", *PEER, "--memory-limit", "100"),
            "memory-limit 100 MB is not enough: the least",
        ),
        (("--network", "mainnet", *PEER, "--memory-limit", "0"), "--memory-limit"),
        (("--network", "simnet", "--peer", "here:99999"), "peer 'here:99999'"),
        (("--network", "simnet", "--peer", ""), "peer ''"),
        (("--network", "simnet", *PEER, "--watch", "nonsense!"), "neither an address nor script hex"),
        (("--network", "simnet", *PEER, "--watch", MAINNET_ADDRESS), "of another network"),
        (("--network", "simnet", *PEER, "--watch-file", "/nowhere/at/all"), "/nowhere/at/all cannot be read"),
        (("--network", "simnet", *PEER, "--activation", "v20"), "activation 'v20' is not NAME=HEIGHT"),
        (("--network", "simnet", *PEER, "--activation", "v20=-1"), "activation 'v20=-1' is not NAME=HEIGHT"),
        (("--network", "simnet", *PEER, "--activation", "v99=1"), "unknown activation 'v99'"),
        (("--network", "simnet", *PEER, "--give-up", "soon"), "--give-up"),
        (("--network", "simnet", *PEER, "--give-up", "-1"), "--give-up"),
        (("--network", "simnet", *PEER, "--nonsense"), "--nonsense"),
        (("--network", "simnet", *PEER, "nonsense"), "nonsense"),
    ],
)
def test_sync_refuses_what_cannot_be(run: Run, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """A usage error is exit 2 with one line, and nothing is created."""
    outcome = run("sync", "--datadir", tmp_path / "store", "--json", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "store").exists()


def test_a_line_of_a_watch_file_is_named(run: Run, tmp_path: Path) -> None:
    """The message says which line is wrong."""
    listed = tmp_path / "watched.txt"
    listed.write_text("# one\n00\n\nnonsense!\n", encoding="utf-8")
    outcome = run("sync", "--network", "simnet", *PEER, "--watch-file", listed, "--datadir", tmp_path)
    assert outcome.code == 2
    assert f"{listed}:4: 'nonsense!' is neither" in outcome.err


def test_a_watch_file_that_is_no_text_is_refused(run: Run, tmp_path: Path) -> None:
    """Binary files get a line, not a traceback."""
    listed = tmp_path / "watched.bin"
    listed.write_bytes(b"\xff\xfe\x00")
    outcome = run("sync", "--network", "simnet", *PEER, "--watch-file", listed, "--datadir", tmp_path)
    assert (outcome.code, outcome.err) == (2, f"phasegate sync: {listed} is not a text file\n")


@pytest.mark.parametrize("command", ["sync", "status", "history"])
def test_a_store_in_use_is_exit_5(run: Run, tmp_path: Path, command: str) -> None:
    """Only one process may have a store; the other is told which."""
    store = Store.open(tmp_path, SIMNET)
    try:
        outcome = run(command, "--network", "simnet", "--datadir", tmp_path, *(PEER if command == "sync" else ()))
    finally:
        store.close()
    assert (outcome.code, outcome.out) == (5, "")
    assert "in use" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_directory_that_is_none_is_exit_5(run: Run, tmp_path: Path) -> None:
    """A file where the directory should be is the disk's refusal."""
    (tmp_path / "file").write_text("")
    outcome = run("sync", "--network", "simnet", *PEER, "--datadir", tmp_path / "file")
    assert outcome.code == 5
    assert len(outcome.err.splitlines()) == 1


def test_another_activation_height_is_exit_5(run: Run, tmp_path: Path) -> None:
    """A store made with other rules is not opened."""
    Store.open(tmp_path, SIMNET).close()
    outcome = run("status", "--network", "simnet", "--datadir", tmp_path, "--activation", "v20=100")
    assert outcome.code == 5
    assert "v20" in outcome.err


@pytest.mark.parametrize(
    "words",
    [
        ("sync", "--network", "simnet", WIF),
        ("sync", "--network", "simnet", "--peer", f"{WIF}:99999"),
        ("sync", "--network", "simnet", *PEER, "--watch", WIF),
        ("transactions", "--network", WIF),
        (WIF,),
        ("config", "--set", WIF),
        ("broadcast", WIF, "--network", "simnet", *PEER),
    ],
)
def test_a_private_key_is_not_repeated_wherever_it_stands(run: Run, words: tuple[str, ...]) -> None:
    """Standard error of services goes into logs."""
    outcome = run(*words)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert WIF[:12] not in outcome.err


def test_an_unknown_command_is_one_line(run: Run) -> None:
    """So is a command that does not exist."""
    outcome = run("dance")
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1


def test_the_version_can_be_asked(run: Run) -> None:
    """`phasegate --version` is exit 0."""
    outcome = run("--version")
    assert outcome.code == 0
    assert outcome.out.startswith("phasegate 0.")
