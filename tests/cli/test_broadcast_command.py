"""`phasegate broadcast` against simulated nodes in processes of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import Transaction
from phasegate.p2p.simnet.generated import generate
from phasegate.store import Store

Run = Callable[..., Any]
COMMAND = (sys.executable, "-m", "phasegate", "broadcast", "--network", "simnet")


@pytest.fixture(scope="module")
def tx() -> Transaction:
    """What the wallet of the node `--blocks 120 --seed 11` would sign."""
    return generate(120, 11).spend_watched()


@pytest.fixture
def broadcast(run: Run, tmp_path: Path) -> Run:
    """Runs the command in a directory of the test."""

    def call(*arguments: object) -> Any:
        return run("broadcast", "--network", "simnet", "--connect-only", "--datadir", tmp_path, *arguments)

    return call


def kept(place: Path) -> list[bytes]:
    """The txids that are still to be broadcast."""
    store = Store.open(place, SIMNET)
    try:
        return [row.txid for row in store.broadcasts()]
    finally:
        store.close()


def test_a_peer_fetches_it(broadcast: Run, start_node: Run, tx: Transaction, tmp_path: Path, check_line: Run) -> None:
    """Exit 0; each step is a line of the schema, the summary says what became of it, and later syncs go on."""
    node = start_node("--blocks", "120", "--seed", "11")
    outcome = broadcast(tx.to_bytes().hex(), "--peer", node.address, "--until", "fetched", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    for line in outcome.lines:
        check_line(line)
    name = tx.txid[::-1].hex()
    assert [(line["stage"], line["txid"]) for line in outcome.events("broadcast")] == [
        ("waiting", name),
        ("announced", name),
        ("fetched", name),
    ]
    assert outcome.summary["reason"] == f"transaction {name} is fetched"
    assert kept(tmp_path) == [tx.txid]


def test_it_is_mined_and_a_later_sync_lets_it_go(
    broadcast: Run, sync: Run, start_node: Run, tx: Transaction, tmp_path: Path
) -> None:
    """From a file, in lines for a person; the height is told, and once it is deep nothing is left to be broadcast."""
    node, file = start_node("--blocks", "120", "--seed", "11", "--mine-every", "1"), tmp_path / "tx"
    file.write_text("\n".join(tx.to_bytes().hex(" ", -40).split()) + "\n", encoding="ascii")
    outcome = broadcast(f"@{file}", "--peer", node.address, "--until", "mined", "--timeout", "60")
    assert (outcome.code, outcome.err) == (0, "")
    told = re.search(rf"Transaction {tx.txid[::-1].hex()} is mined at (\d+)\b", outcome.out)
    assert told is not None
    with closing(Store.open(tmp_path, SIMNET)) as store:
        assert 120 < int(told[1]) <= store.marks.tip
    for _ in range(20):
        sync("--peer", node.address, "--connect-only", "--linger", "0")
        if not kept(tmp_path):
            break
    assert kept(tmp_path) == []


def test_not_in_time_is_said_with_what_is_known(
    broadcast: Run, start_node: Run, tx: Transaction, tmp_path: Path
) -> None:
    """Exit 3: one peer cannot be the echo. The line says who knows of it, and that it is kept."""
    node = start_node("--blocks", "120", "--seed", "11", "--refuse-txs")
    outcome = broadcast(tx.to_bytes().hex(), "--peer", node.address, "--timeout", "5")
    assert outcome.code == 3
    assert outcome.err == (
        f"phasegate broadcast: transaction {tx.txid[::-1].hex()} is fetched "
        "(announced to 1, fetched by 1, echoed by 0); "
        "with one peer nobody can be the echo, --until fetched is all there is; "
        "it is kept, and every later sync announces it until it is mined\n"
    )
    assert kept(tmp_path) == [tx.txid]


def test_without_a_peer_it_waits(broadcast: Run, tx: Transaction, tmp_path: Path) -> None:
    """Exit 3, the peer's trouble is told, and the transaction is stored for later."""
    outcome = broadcast(tx.to_bytes().hex(), "--peer", "127.0.0.1:1", "--timeout", "2")
    assert outcome.code == 3
    (line,) = outcome.err.splitlines()
    assert "is waiting, as no peer was found" in line
    assert "Connection refused" in line
    assert line.endswith("it is kept, and every later sync announces it until it is mined")
    assert kept(tmp_path) == [tx.txid]


def test_when_every_peer_is_banned_it_does_not_wait(broadcast: Run, run: Run, tx: Transaction, tmp_path: Path) -> None:
    """Nobody can come before the ban ends, so it says so at once; the transaction is kept."""
    Store.open(tmp_path, SIMNET).close()
    assert run("peers", "ban", "127.0.0.1:7", "--datadir", tmp_path).code == 0
    outcome = broadcast(tx.to_bytes().hex(), "--peer", "127.0.0.1:7", "--timeout", "600")
    assert outcome.code == 3
    assert "the transaction is kept, but there is nobody to announce it to: 127.0.0.1:7: by-hand" in outcome.err
    assert kept(tmp_path) == [tx.txid]


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("", "this is no transaction"),
        ("zz", "the transaction is not hex"),
        ("0", "the transaction is not hex"),
        ("é", "the transaction is not hex"),
        ("00", "this is no transaction"),
        ("00" * 20_000, "this is no transaction"),
        ("@/nonexistent", "/nonexistent cannot be read: No such file or directory"),
        ("@", "cannot be read: Is a directory"),
        ("@/dev/zero", "the transaction is not hex"),
        ("@/dev/null", "this is no transaction"),
    ],
)
def test_what_is_no_transaction_is_one_line(broadcast: Run, argument: str, why: str, tmp_path: Path) -> None:
    """Exit 2, and no store is made."""
    outcome = broadcast(argument, "--peer", "127.0.0.1:1")
    assert (outcome.code, outcome.out) == (2, "")
    (line,) = outcome.err.splitlines()
    assert line.startswith("phasegate broadcast: ")
    assert why in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--until", "echo"), "--until 'echo' is none of fetched, echoed, locked, mined"),
        (("--timeout", "nan"), "Invalid value for '--timeout'"),
        (("--timeout", "inf"), "--timeout inf is no number of seconds"),
        (("--timeout", "-1"), "Invalid value for '--timeout'"),
        (("--peer", "a:b"), "peer 'a:b' is not HOST:PORT"),
        (("--activation", "x"), "activation 'x' is not NAME=HEIGHT"),
    ],
)
def test_wrong_options_are_one_line(
    broadcast: Run, tx: Transaction, options: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    """Exit 2, and nothing is stored."""
    outcome = broadcast(tx.to_bytes().hex(), "--peer", "127.0.0.1:1", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert why in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_without_any_source_of_peers_it_says_what_to_give(run: Run, tx: Transaction, tmp_path: Path) -> None:
    """As `sync` does."""
    outcome = run("broadcast", tx.to_bytes().hex(), "--network", "simnet", "--datadir", tmp_path)
    assert outcome.code == 2
    assert "give --peer HOST:PORT" in outcome.err


def test_a_directory_in_use_is_refused(broadcast: Run, tx: Transaction, tmp_path: Path) -> None:
    """Exit 5: a running sync holds it."""
    store = Store.open(tmp_path, SIMNET)
    try:
        outcome = broadcast(tx.to_bytes().hex(), "--peer", "127.0.0.1:1")
    finally:
        store.close()
    assert outcome.code == 5
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize("redirection", ["<&-", "< /dev/null"])
def test_standard_in_that_gives_nothing_is_no_transaction(tmp_path: Path, redirection: str) -> None:
    """Closed or empty, it is one line."""
    line = f"{' '.join(COMMAND)} - --peer 127.0.0.1:1 --datadir {tmp_path} {redirection}"
    outcome = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("phasegate broadcast: this is no transaction")
    assert len(outcome.stderr.splitlines()) == 1


def test_it_can_be_piped_in_and_interrupted(start_node: Run, tx: Transaction, tmp_path: Path) -> None:
    """`... | phasegate broadcast -`; Ctrl-C ends it with 130, and the transaction is kept."""
    node = start_node("--blocks", "120", "--seed", "11")
    words = [*COMMAND, "-", "--peer", node.address, "--connect-only", "--datadir", str(tmp_path), "--json"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(tx.to_bytes().hex())
        process.stdin.close()
        assert any('"fetched"' in line for line in iter(process.stdout.readline, ""))
        process.terminate()
        rest = process.stdout.read()
        assert (process.wait(20), process.stderr.read()) == (130, "")
    assert '"reason": "interrupted"' in rest.splitlines()[-1]
    assert kept(tmp_path) == [tx.txid]
