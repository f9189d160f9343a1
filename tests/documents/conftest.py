"""A reader who has set up a client: a simulated node, and a home whose configuration leads to it, synced once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.documents.shells import bash

BLOCKS, SEED = 120, 7
"""Of the node's chain."""


@attrs.frozen
class Reader:
    """Where a reader of the documents sits.

    Args:
        home: the folder in which everything is typed.
        told: the first line of the node.
        settings: the environment, which has the network, the peer and what is watched.
    """

    home: Path
    told: dict[str, Any]
    settings: dict[str, str]


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """One node and one synced home for all tests of a module; they get copies of the home."""
    home = tmp_path_factory.mktemp("reader")
    options = ["--port", "0", "--blocks", str(BLOCKS), "--seed", str(SEED), "--mine-every", "2"]
    words = [sys.executable, "-m", "phasegate", "simnet", *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        try:
            told = json.loads(node.stdout.readline())
            settings = {
                "PHASEGATE_NETWORK": "simnet",
                "PHASEGATE_PEERS": f"{told['host']}:{told['port']}",
                "PHASEGATE_CONNECT_ONLY": "yes",
                "PHASEGATE_WATCH": ",".join(told["watch"]),
            }
            code, output = bash("phasegate sync --once --json > sync.jsonl", home, **settings)
            assert code == 0, output
            yield Reader(home, told, settings)
        finally:
            node.kill()


@pytest.fixture
def reader(settled: Reader, tmp_path: Path) -> Reader:
    """A home of this test's own."""
    home = tmp_path / "home"
    shutil.copytree(settled.home, home)
    return attrs.evolve(settled, home=home)
