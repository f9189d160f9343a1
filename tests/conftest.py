"""Where the real data of the tests stands.

`shared` is the folder of public chain data, named by PHASEGATE_VECTORS (default: `../shared` beside the repository).
Where it is absent its tests are skipped, or fail if PHASEGATE_REQUIRE_VECTORS is 1. `capture` is a recording of Dash
Core that lies compressed in this repository; it is unpacked once a run, the binary files of the original rebuilt.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from phasegate.consensus.codec import Reader, u32
from phasegate.consensus.params import REGTEST, Network, network
from phasegate.consensus.x11 import x11_many
from phasegate.engine.phases import blocks, filters

pytest_plugins = ("tests.simulated_world", "tests.faulty_disk")

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")

LOOK_UPS = ("socket.getaddrinfo", "socket.gethostbyname")
LOCAL_NAMES = ("localhost", "", None)
RESERVED = (".example", ".invalid", ".test")
"""Names that nobody has [RFC 2606]."""


def stay_at_home(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: no test ever connects to, or looks up, anything beyond this machine.

    Raises:
        RuntimeError: one is about to.
    """
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event in LOOK_UPS:
        host = arguments[0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if name in LOCAL_NAMES or name.endswith(RESERVED) or any(len(label) > 63 for label in name.split(".")):
        return
    try:
        at_home = ip_address(name).is_loopback or (event in LOOK_UPS and ip_address(name).is_unspecified)
    except ValueError:
        at_home = False
    if not at_home:
        raise RuntimeError(f"a test reaches out: {event} {arguments[1] if event == 'socket.connect' else host}")


sys.addaudithook(stay_at_home)

ROOT = Path(__file__).parent.parent
PACKED = ROOT / "tests" / "data" / "dashcore-regtest"

Conversation = list[tuple[str, str, bytes]]


LONGEST = ("test_kills.py", "test_real_sockets.py", "test_cut_network.py", "test_chain_lengths.py", "test_mutants.py")
"""Files that take long: begun first, so that no process is left alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, all else as it stands."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True)
def _filters_in_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains of tests are short, and their filters come in runs all the same."""
    monkeypatch.setattr(filters, "MANY", 500)
    monkeypatch.setattr(blocks, "MANY", 200)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of public chain data."""
    place = Path(os.environ.get("PHASEGATE_VECTORS", ROOT.parent / "shared"))
    if (place / "vectors").is_dir():
        return place
    reason = f"no real chain data in {place}; set PHASEGATE_VECTORS"
    if os.environ.get("PHASEGATE_REQUIRE_VECTORS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording of a Dash Core node, in the layout that it was made in."""
    place = tmp_path_factory.mktemp("dashcore-regtest")
    for packed in PACKED.glob("*.xz"):
        with lzma.open(packed) as source, (place / packed.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    _rebuild(place, read_conversation(place / "conversation.jsonl"))
    return place


@pytest.fixture(scope="session")
def conversation(capture: Path) -> Callable[[int], Conversation]:
    """The recorded messages of one protocol version, as `(direction, command, payload)`."""

    def read(version: int) -> Conversation:
        name = "conversation.jsonl" if version == 70240 else f"conversation-{version}.jsonl"
        return read_conversation(capture / name)

    return read


@pytest.fixture(scope="session")
def recorded_network() -> Network:
    """Regtest with the activation heights of the recorded node."""
    return network("regtest", {"dip3": 2, "v20": 100, "mn_rr": 100})


def read_conversation(path: Path) -> Conversation:
    """All messages of one recorded conversation, in order."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [(row["dir"], row["command"], bytes.fromhex(row["payload"])) for row in rows]


def _rebuild(place: Path, messages: Conversation) -> None:
    received: dict[str, list[bytes]] = {}
    for direction, command, payload in messages:
        if direction == "<":
            received.setdefault(command, []).append(payload)
    headers = _headers(received["headers"][0])
    files = {
        "headers.bin": headers,
        "hashes.bin": x11_many(REGTEST.genesis + headers),
        "cfhashes.bin": _filter_hashes(received["cfheaders"][0]),
        "cfilters.bin": _prefixed(received["cfilter"]),
        "blocks.bin": _prefixed(received["block"]),
    }
    for name, raw in files.items():
        (place / name).write_bytes(raw)


def _headers(payload: bytes) -> bytes:
    r = Reader(payload)
    return b"".join([r.take(81)[:80] for _ in range(r.compact_size(2000))])


def _filter_hashes(payload: bytes) -> bytes:
    r = Reader(payload)
    r.take(1 + 32 + 32)
    return r.take(32 * r.compact_size(2000))


def _prefixed(payloads: list[bytes]) -> bytes:
    return b"".join([u32(len(payload)) + payload for payload in payloads])
