"""A bulk node in a process of its own, and a reader that only takes what it sends."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import attrs

from phasegate.p2p.framing import FrameDecoder, encode_frame
from phasegate.p2p.messages import (
    GetCFHeaders,
    GetCFilters,
    GetData,
    GetHeaders2,
    InvItem,
    InvType,
    Message,
    Services,
    Verack,
    Version,
)
from phasegate.p2p.simnet.bulk_answers import bulk_answer
from phasegate.p2p.simnet.bulk_chain import BulkChain
from phasegate.p2p.simnet.bulk_node import AT_ONCE, Slowness
from phasegate.p2p.simnet.bulk_plan import BulkPlan

PROTOCOL = 70240
LAST_GREETING = "ping"
PIECE = 1 << 20
BLOCKS_ASKED = 500
PATIENCE = 60.0


@attrs.frozen
class Peer:
    """Where a bulk node listens."""

    host: str
    port: int
    _lines: tuple[IO[str], IO[str]]

    def cpu(self) -> float:
        """The processor time that its process has used so far, in seconds."""
        asked, told = self._lines
        asked.write("cpu\n")
        asked.flush()
        return float(json.loads(told.readline())["cpu"])


@contextmanager
def peer(plan: BulkPlan, cache: Path, slowness: Slowness = AT_ONCE) -> Iterator[Peer]:
    """A node that serves the chain of `plan`, for the length of a `with`."""
    slow = [f"--{name}={value}" for name, value in attrs.asdict(slowness).items() if value]
    words = [sys.executable, "-m", "phasegate.p2p.simnet.bulk_node", json.dumps(attrs.asdict(plan)), str(cache), *slow]
    node = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ourselves
    with node:
        assert node.stdin is not None and node.stdout is not None  # noqa: S101, PT018 - for the types
        try:
            where: dict[str, Any] = json.loads(node.stdout.readline())
            yield Peer(where["host"], where["port"], (node.stdin, node.stdout))
        finally:
            with suppress(OSError):
                node.stdin.close()
            node.terminate()


def asks_headers(chain: BulkChain) -> Iterator[Message]:
    """For every header, compressed, from genesis on."""
    for height in range(0, chain.height, 8000):
        yield GetHeaders2(PROTOCOL, (chain.hash_at(height),))


def asks_filter_headers(chain: BulkChain) -> Iterator[GetCFHeaders]:
    """For every filter header."""
    for start in range(1, chain.height + 1, 2000):
        yield GetCFHeaders(0, start, chain.hash_at(min(start + 1999, chain.height)))


def asks_filters(chain: BulkChain) -> Iterator[Message]:
    """For every filter there is."""
    for start in range(chain.plan.birthday, chain.height + 1, 1000):
        yield GetCFilters(0, start, chain.hash_at(min(start + 999, chain.height)))


def asks_blocks(chain: BulkChain) -> Iterator[Message]:
    """For every block that pays to a watched script."""
    heights = chain.watched_heights
    for at in range(0, len(heights), BLOCKS_ASKED):
        part = heights[at : at + BLOCKS_ASKED]
        yield GetData(tuple([InvItem(InvType.BLOCK, chain.hash_at(height)) for height in part]))


def drained(node: Peer, chain: BulkChain, requests: Sequence[Message]) -> float:
    """The seconds until the answers to `requests`, all sent at once, have been read; nothing is done with them."""
    answers = [bulk_answer(chain, request, PROTOCOL) for request in requests]
    expected = sum(len(frames) for told in answers if told is not None for frames in told.frames)
    with socket.create_connection((node.host, node.port), PATIENCE) as line:
        _greet(line, chain)
        asked = b"".join([_framed(chain, request) for request in requests])
        start, buffer = time.perf_counter(), bytearray(PIECE)
        line.sendall(asked)
        while expected > 0:
            read = line.recv_into(buffer)
            if not read:
                raise ConnectionError("the node hung up")
            expected -= read
        return time.perf_counter() - start


def _framed(chain: BulkChain, message: Message) -> bytes:
    return encode_frame(chain.network.magic, message.command, message.to_payload(PROTOCOL))


def _greet(line: socket.socket, chain: BulkChain) -> None:
    """Shake hands, and read all that a node says by itself."""
    services = int(Services.NETWORK)
    ours = Version(PROTOCOL, services, int(time.time()), my_services=services, nonce=1, user_agent="/drain/")
    line.sendall(_framed(chain, ours) + _framed(chain, Verack()))
    decoder = FrameDecoder(chain.network.magic)
    while True:
        decoder.receive_data(line.recv(PIECE))
        while (frame := decoder.next_frame()) is not None:
            if frame.command == LAST_GREETING:
                return
