"""A workbench for the headers phase alone: chains of bare headers, and peers that answer as their script says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio

from phasegate.consensus.codec import u32
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.headers import ChainTip, compact_to_target, expected_bits, extend, genesis_tip
from phasegate.consensus.locks import ChainLock
from phasegate.consensus.params import REGTEST, Network
from phasegate.consensus.x11 import HEADER_SIZE, x11
from phasegate.engine.config import Address, Config
from phasegate.engine.errors import PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.pool import Pool
from phasegate.engine.requests import Desk, Ledger
from phasegate.engine.seams import Writer, inline_seams
from phasegate.engine.work import Live, Work
from phasegate.p2p.compressed import compress
from phasegate.p2p.messages import GetHeaders, GetHeaders2, Headers, Message
from phasegate.p2p.messages_chain import LocatorRequest
from phasegate.p2p.simnet.mining import mine
from phasegate.store import Store

NOW = 1_900_000_000
Answer = Callable[[LocatorRequest], bytes]
"""Raw headers, 80 bytes each, for a question."""


class HeaderChain:
    """Headers without blocks, mined by the rules of their network.

    `spacing` is the number of seconds between two of them, `seed` tells one branch from another.
    """

    def __init__(self, network: Network = REGTEST) -> None:
        self.network = network
        self.raw = [network.genesis]
        self.tips = [genesis_tip(network)]
        self.heights = {self.tips[0].hash: 0}

    @property
    def height(self) -> int:
        return len(self.raw) - 1

    @property
    def tip(self) -> ChainTip:
        return self.tips[-1]

    @property
    def tip_hash(self) -> bytes:
        return self.tip.hash

    def grown(self, count: int, *, seed: int = 0, spacing: int = 150) -> HeaderChain:
        """The same chain, `count` headers longer."""
        longer = self.cut(self.height)
        for _ in range(count):
            longer._mine(seed, spacing)
        return longer

    def cut(self, height: int) -> HeaderChain:
        """The same chain up to `height`."""
        shorter = HeaderChain(self.network)
        shorter.raw, shorter.tips = self.raw[: height + 1], self.tips[: height + 1]
        shorter.heights = {tip.hash: tip.height for tip in shorter.tips}
        return shorter

    def _mine(self, seed: int, spacing: int) -> None:
        time = self.tip.window[-1][0] + spacing
        bits = expected_bits(self.network, self.tip, time)
        root = seed.to_bytes(32, "big")
        prefix = u32(0x20000000) + self.tip.hash + root + u32(time) + u32(bits)
        header, block_hash = mine(prefix, compact_to_target(bits))
        self.raw.append(header)
        self.tips.append(extend(self.network, self.tip, header, NOW, block_hash).tip)
        self.heights[block_hash] = self.height

    def headers(self, start: int, count: int) -> bytes:
        return b"".join(self.raw[start : start + count])

    def hashes(self, start: int, count: int) -> bytes:
        return b"".join([tip.hash for tip in self.tips[start : start + count]])

    def header(self, height: int) -> bytes:
        return self.raw[height]

    def hash_at(self, height: int) -> bytes:
        return self.tips[height].hash

    def height_of(self, block: bytes) -> int | None:
        return self.heights.get(block)


class Serving:
    """Answers as an honest node does that has `chain`, with at most `limit` headers at once; the chain may change."""

    def __init__(self, chain: HeaderChain, limit: int = 2000) -> None:
        self.chain = chain
        self.limit = limit

    def __call__(self, message: LocatorRequest) -> bytes:
        chain, stop = self.chain, self.chain.height_of(message.stop)
        if not message.locator:
            return b"" if stop is None else chain.header(stop)
        known = [height for block in message.locator if (height := chain.height_of(block)) is not None]
        first = known[0] + 1 if known else 1
        return chain.headers(first, self.limit if stop is None else min(self.limit, stop - first + 1))


class FakePeer(Peer):
    """A peer that answers each question for headers as its script says, compressed if it has a limit for that."""

    compressed_limit = 0

    def __init__(self, ledger: Ledger, answer: Answer, port: int = 1, compressed_limit: int = 0) -> None:
        self.address = Address("peer", port)
        self.ledger = ledger
        self.answer = answer
        self.compressed_limit = compressed_limit
        self.gone = ""
        self.answers = 0
        self.info = None
        self.asked: list[LocatorRequest] = []
        self.mute = False
        self.packed: Callable[[bytes], Message] = compress

    def __str__(self) -> str:
        return str(self.address)

    def __repr__(self) -> str:
        return f"<FakePeer {self.address}>"

    def arriving(self, command: str) -> int:
        return 0

    async def send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        assert isinstance(message, LocatorRequest)
        self.asked.append(message)
        raw = self.answer(message)
        if not self.mute:
            self.ledger.deliver(self, Headers(raw) if isinstance(message, GetHeaders) else self.packed(raw))


class FakePool(Pool):
    """The peers of a test, until they are banned or dropped."""

    def __init__(self, peers: Sequence[FakePeer]) -> None:
        self.peers = list(peers)
        self.faults: dict[Peer, PeerMisbehaved] = {}
        self.dropped: dict[Peer, str] = {}

    @property
    def ready(self) -> list[Peer]:
        return [peer for peer in self.peers if peer not in self.faults and peer not in self.dropped]

    @property
    def hopeless(self) -> str:
        return "" if self.ready else "; ".join(map(str, self.faults.values()))

    @property
    def trouble(self) -> str:
        return "; ".join(self.dropped.values())

    async def first_contact(self) -> None:
        await trio.lowlevel.checkpoint()

    async def changed(self) -> None:
        await trio.sleep_forever()  # nobody comes

    def ban(self, peer: Peer, fault: PeerMisbehaved) -> None:
        self.faults[peer] = fault
        peer.gone = str(fault)

    def drop(self, peer: Peer, why: str, *, silent: bool = False) -> None:
        self.dropped[peer] = why
        peer.gone = why


@attrs.define
class FakeBinding:
    """The verdicts of ChainLocks, as a test wishes them; asked about forks are kept."""

    lock: Any = None
    locked: ChainLock | None = None
    forks: list[int] = attrs.field(factory=list)

    async def binding_lock(self, desk: Desk, fork: int) -> Any:
        await trio.lowlevel.checkpoint()
        self.forks.append(fork)
        return self.lock

    async def locked_branch(
        self, desk: Desk, fork: int, hash_at: Callable[[int], bytes | None], top: int
    ) -> ChainLock | None:
        await trio.lowlevel.checkpoint()
        found = self.locked is not None and hash_at(self.locked.height) == self.locked.block_hash
        return self.locked if found else None


@attrs.frozen
class BoundWork(Work):
    """A workbench whose ChainLocks a test decides."""

    fake: FakeBinding = attrs.field(factory=FakeBinding)

    @property
    def binding(self) -> Any:
        return self.fake


@attrs.define
class Bench:
    """A workbench and what happened on it."""

    work: Work
    pool: FakePool
    binding: FakeBinding
    warned: list[str]
    rewound: list[tuple[int, int]]

    @property
    def peers(self) -> list[FakePeer]:
        return self.pool.peers


def bench(store: Store, *answers: Answer, config: Config | None = None, compressed: Sequence[int] = ()) -> Bench:
    """A workbench on `store` with one peer for each of `answers`; `compressed`: their limits of compressed headers."""
    ledger, warned, rewound = Ledger(), list[str](), list[tuple[int, int]]()
    limits = [*compressed, *[0] * len(answers)]
    pool = FakePool([FakePeer(ledger, a, i, limits[i]) for i, a in enumerate(answers)])
    seams, binding = inline_seams(0, now=lambda: float(NOW)), FakeBinding()
    work = BoundWork(
        config or Config(REGTEST),
        seams,
        Writer(store, seams.write),
        pool,
        ledger,
        Live(),
        lambda code, _: warned.append(code),
        lambda old, fork: rewound.append((old, fork)),
        fake=binding,
    )
    return Bench(work, pool, binding, warned, rewound)


def changed(raw: bytes, index: int, at: int, value: bytes) -> bytes:
    """Headers with some bytes of the `index`-th replaced."""
    place = index * HEADER_SIZE + at
    return raw[:place] + value + raw[place + len(value) :]


def remined(header: bytes) -> bytes:
    """The header with a nonce that meets its own target."""
    target = compact_to_target(int.from_bytes(header[72:76], "little"))
    return mine(header[:76], target)[0]


__all__ = [
    "NOW",
    "Answer",
    "Bench",
    "FakeBinding",
    "FakePeer",
    "FakePool",
    "GetHeaders2",
    "HeaderChain",
    "PeerGone",
    "Serving",
    "bench",
    "changed",
    "remined",
    "x11",
]
