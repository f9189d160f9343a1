"""A node that serves a bulk chain over TCP, as cheaply as it can: `python -m phasegate.p2p.simnet.bulk_node --help`.

It is made to run in a process of its own, beside what is measured: one thread a connection, blocking sockets, one
answer after the other in the order of the requests, as dashd gives them. Its first line on standard out tells where it
listens; each line that it reads is answered by the processor time it has used so far; it ends when there are no more.

It may be slowed down: `delay` seconds before each answer, one after the other, or `loop` seconds before whatever has
been asked by then is answered, as Core's message loop does; and so many `filters` and `blocks` a second, as a Core node
gives them at best.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from phasegate.consensus.faults import Malformed, PeerMisbehaved
from phasegate.p2p.framing import FrameDecoder, encode_frame
from phasegate.p2p.messages import GetCFilters, GetData, Message, Ping, decode
from phasegate.p2p.simnet.answers import Punished
from phasegate.p2p.simnet.bulk_answers import bulk_answer
from phasegate.p2p.simnet.bulk_chain import BulkChain
from phasegate.p2p.simnet.bulk_files import made
from phasegate.p2p.simnet.bulk_plan import BulkPlan
from phasegate.p2p.simnet.greeting import Greeting

PIECE = 1 << 16
CAUGHT_UP = 0.1
"""Seconds of its rate that a slow node makes up for when the machine kept it waiting."""
SECONDS = "seconds before answers"


@attrs.frozen
class Slowness:
    """How a node is slower than its files: seconds before answers, and the most filters and blocks a second."""

    delay: float = 0.0
    loop: float = 0.0
    filters: float = 0.0
    blocks: float = 0.0


AT_ONCE = Slowness()
"""As fast as the files are read."""


@attrs.define(eq=False)
class Talk:
    """One connection of a bulk node; `run` returns when it has ended."""

    chain: BulkChain
    slowness: Slowness
    line: socket.socket
    _greeting: Greeting = attrs.field(init=False)
    _decoder: FrameDecoder = attrs.field(init=False)
    _free: dict[type[Message], float] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._greeting = Greeting(self.chain.network, self.chain.height, rng=random.Random(self.chain.plan.seed))
        self._decoder = FrameDecoder(self.chain.network.magic)

    def run(self) -> None:
        """Answer until either side ends it."""
        with self.line, suppress(OSError, Punished, PeerMisbehaved):
            while piece := self.line.recv(PIECE):
                self._decoder.receive_data(piece + self._later())
                while (frame := self._decoder.next_frame()) is not None:
                    with suppress(Malformed):
                        self._take(decode(frame.command, frame.payload, self._greeting.version))

    def _later(self) -> bytes:
        """What is asked while the loop of a slow node is busy with something else."""
        if not self.slowness.loop or not self._greeting.complete:
            return b""
        time.sleep(self.slowness.loop)
        with suppress(BlockingIOError):
            return self.line.recv(PIECE, socket.MSG_DONTWAIT)
        return b""

    def _take(self, message: Message) -> None:
        greeting = self._greeting
        if greeting.complete and not greeting.concerns(message):
            self._answer(message)
            return
        was_complete, replies = greeting.complete, greeting.receive(message)
        self._say(replies)
        if greeting.complete and not was_complete:
            self._say(greeting.welcome())

    def _say(self, messages: Sequence[Message]) -> None:
        for message in messages:
            payload = message.to_payload(self._greeting.version)
            self.line.sendall(encode_frame(self.chain.network.magic, message.command, payload))

    def _answer(self, request: Message) -> None:
        told = bulk_answer(self.chain, request, self._greeting.version)
        if told is None:
            return
        if not isinstance(request, Ping):
            time.sleep(self.slowness.delay)
        self._pace(request, told.items)
        for frames in told.frames:
            self.line.sendall(frames)

    def _pace(self, request: Message, items: int) -> None:
        """Wait as long as a slower node needs for so many."""
        rate = {GetCFilters: self.slowness.filters, GetData: self.slowness.blocks}.get(type(request), 0.0)
        if rate:
            now = time.monotonic()
            due = max(now - CAUGHT_UP, self._free.get(type(request), now)) + items / rate
            self._free[type(request)] = due
            time.sleep(max(0.0, due - now))


def serve(chain: BulkChain, slowness: Slowness, listener: socket.socket) -> None:
    """Take connections until the listener is closed, each in a thread that ends with the process."""
    with suppress(OSError):
        while True:
            line, _ = listener.accept()
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=Talk(chain, slowness, line).run, daemon=True).start()


def main(words: Sequence[str] | None = None) -> None:
    """Serve the chain whose plan is given as JSON, until standard in ends."""
    parser = argparse.ArgumentParser(description="Serve a bulk chain over TCP.")
    parser.add_argument("plan", type=json.loads, help="the plan of the chain, as JSON")
    parser.add_argument("cache", type=Path, help="the folder in which chains are kept")
    for name, what in (("delay", SECONDS), ("loop", SECONDS), ("filters", "a second"), ("blocks", "a second")):
        parser.add_argument(f"--{name}", type=float, default=0.0, help=what)
    given = parser.parse_args(words)
    _serve_process(given.plan, given.cache, Slowness(given.delay, given.loop, given.filters, given.blocks))


def _serve_process(plan_fields: Mapping[str, int], cache: Path, slowness: Slowness) -> None:
    plan = BulkPlan(**plan_fields)
    chain = BulkChain.open(plan, made(plan, cache))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(chain, slowness, listener), daemon=True).start()
        _say({"host": "127.0.0.1", "port": listener.getsockname()[1]})
        for _ in sys.stdin:
            _say({"cpu": time.process_time()})


def _say(fields: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
