"""The same internets over real TCP, with the nodes in other processes, and the command line as the client."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

BLOCKS, PARTS = 600, 2
PHASEGATE = (sys.executable, "-m", "phasegate")
MEASURED = str(Path(__file__).with_name("measured_client.py"))
MOST_MEMORY = 250 * 1024
"""KiB that the client may have in memory at its peak."""


@attrs.define
class Internet:
    """The processes, the first line of one of them, and what they tell at their ends."""

    processes: list[subprocess.Popen[str]]
    first: dict[str, Any]

    def end(self) -> dict[str, int]:
        """End all; how many false answers each liar has sent."""
        told: dict[str, int] = {}
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=30)
            told |= json.loads(out.splitlines()[-1])["told_lies"]
        return told


@contextmanager
def internet(seed: int) -> Iterator[Internet]:
    """All members of the internet of `seed`, in several processes, on a port of their own."""
    words = [
        *PHASEGATE,
        "simnet",
        "--internet",
        "--blocks",
        str(BLOCKS),
        "--seed",
        str(seed),
        "--port",
        str(31000 + seed),
    ]
    with ExitStack() as stack:
        processes = []
        for part in range(1, PARTS + 1):
            process = subprocess.Popen([*words, "--part", f"{part}/{PARTS}"], stdout=subprocess.PIPE, text=True)
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)
        firsts = []
        for process in processes:
            assert process.stdout is not None
            firsts.append(json.loads(process.stdout.readline()))
        yield Internet(processes, firsts[0])


def run_measured(words: list[str], out: Path) -> tuple[int, int]:
    """Run the command line to its end; its exit code, and its peak of resident memory in KiB."""
    peak = out.with_suffix(".peak")
    with out.open("wb") as file:
        done = subprocess.run([sys.executable, MEASURED, str(peak), *words], stdout=file, check=False)
    return done.returncode, int(peak.read_text("ascii"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on its loopback")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, *[pytest.param(seed, marks=pytest.mark.soak) for seed in (2, 3)]])
def test_it_finds_its_way_over_real_sockets(tmp_path: Path, seed: int) -> None:
    """From two seed addresses alone: synced, everything found, liars banned and nobody else, in little memory."""
    place, out = tmp_path / "data", tmp_path / "out"
    with internet(seed) as world:
        named = [word for address in world.first["seeds"] for word in ("--dns-seed", address)]
        watched = [word for item in world.first["watch"] for word in ("--watch", item)]
        words = ["sync", "--network", "simnet", "--datadir", str(place), *named, *watched]
        code, memory = run_measured([*words, "--once", "--json", "--give-up", "200"], out)
        told_lies = world.end()
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    summary, expected = lines[-1], world.first["expected"]
    assert code == 0, summary
    assert (summary["state"], summary["height"], summary["filters"]) == ("synced", BLOCKS, BLOCKS + 1)
    assert sorted(found["txid"] for found in summary["transactions"]) == sorted(expected["transactions"])
    assert summary["balances"] == expected["balances"]
    listed = subprocess.run([*PHASEGATE, "peers", "--datadir", str(place), "--json"], capture_output=True, check=True)
    records = [json.loads(line) for line in listed.stdout.splitlines()]
    banned = {line["address"] for line in records if line["event"] == "reputation" and line["banned_until"]}
    roles = {member["address"]: member["role"] for member in world.first["members"]}
    assert {roles[address] for address in banned} <= {"lying", "flooding"}
    assert {address for address, lies in told_lies.items() if lies} <= banned
    assert memory < MOST_MEMORY
