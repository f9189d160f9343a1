"""Random trees of blocks: chains that share what comes before their forks, each with its payments, spends and filters.

A branch is named by its path: up to which height, and by which seed, for each piece. Equal beginnings of paths give
equal blocks, so that two chains share exactly what their paths share.
"""

from __future__ import annotations

import random
from functools import cache

from phasegate.consensus.codec import u32, var_bytes
from phasegate.consensus.devnet import first_block, first_coinbase
from phasegate.consensus.filters import block_elements, build_filter
from phasegate.consensus.headers import compact_to_target, expected_bits, extend, genesis_tip, work_of
from phasegate.consensus.masternodes import MasternodeListDiff
from phasegate.consensus.merkle import merkle_root
from phasegate.consensus.params import SIMNET, Network, network
from phasegate.consensus.primitives import Block, BlockHeader, OutPoint, Transaction, TxIn, TxOut
from phasegate.consensus.x11 import x11
from phasegate.p2p.messages import GetQrInfo, QrInfo
from phasegate.p2p.simnet.chain import Announced, Expected, SimulatedChain, StoredBlocks
from phasegate.p2p.simnet.generated import GeneratedChain
from phasegate.p2p.simnet.mining import mine

Path = tuple[tuple[int, int], ...]
"""`(height, seed)` of each piece: blocks up to `height` are decided by `seed`."""

LISTLESS = network("regtest", {"dip3": 1_000_000, "v20": 1_000_000, "mn_rr": 1_000_000})
"""Regtest without masternode lists: its blocks cost two hashes."""
WATCHED = bytes.fromhex("76a914") + bytes(range(20)) + bytes.fromhex("88ac")


def forked(path: Path, at: int, length: int, seed: int) -> Path:
    """The path of a chain that leaves the one of `path` above height `at` and goes on for `length` blocks."""
    kept = [(min(height, at), piece) for height, piece in path]
    shared = [piece for i, piece in enumerate(kept) if i == 0 or kept[i - 1][0] < piece[0]]
    return (*[piece for piece in shared if piece[0] > 0], (at + length, seed))


class ListlessChain(StoredBlocks):
    """A chain of payments to one watched script and spends of them, on a network without masternode lists.

    Args:
        path: its blocks.
        network: whose blocks are cheap.
        spacing: the seconds between two of them.
    """

    watch: tuple[str, ...] = (WATCHED.hex(),)
    watched_heights: tuple[int, ...] = ()

    def __init__(self, path: Path, network: Network = LISTLESS, spacing: int = 150) -> None:
        super().__init__(network)
        self.append_genesis(build_filter(x11(network.genesis), ()))
        self.tip = genesis_tip(network)
        self.spacing = spacing
        self._coins: list[OutPoint] = []
        for height, seed in path:
            self.grow(height - self.height, seed)

    @property
    def work(self) -> int:
        """Of the whole chain, genesis included."""
        return self.tip.work

    @property
    def expected(self) -> Expected:
        return Expected(transactions=[], balances={})

    def mnlistdiff(self, base: int, height: int) -> MasternodeListDiff | None:
        return None

    def qrinfo(self, request: GetQrInfo, version: int) -> QrInfo | None:
        return None

    def locks(self) -> tuple[Announced, ...]:
        return ()

    def grow(self, count: int, seed: int) -> None:
        """Mine `count` blocks more; only a chain that nobody else holds may grow."""
        chance = random.Random(f"piece {seed} from {self.height}")
        for _ in range(count):
            self._mine(chance)

    def _mine(self, chance: random.Random) -> None:
        height = self.height + 1
        if height == 1 and self.network.name == "devnet":
            made = (first_coinbase(self.network.file_name),)
            self._append(first_block(self.network.genesis, self.network.file_name), made, [])
            return
        claim = TxIn(OutPoint(bytes(32), 0xFFFFFFFF), var_bytes(u32(height)) + chance.randbytes(8))
        paid = WATCHED if chance.random() < 0.4 else b"\x51" + chance.randbytes(4)
        transactions = [Transaction(2, 0, (claim,), (TxOut(5_000 + height, paid),))]
        spent = []
        if self._coins and chance.random() < 0.3:
            spent.append(self._coins.pop(chance.randrange(len(self._coins))))
            output = TxOut(1_000, b"\x52" + chance.randbytes(4))
            transactions.append(Transaction(2, 0, (TxIn(spent[0], b""),), (output,)))
        self._append(self._sealed(transactions), tuple(transactions), [WATCHED] * len(spent))
        if paid == WATCHED:
            self._coins.append(OutPoint(transactions[0].txid, 0))

    def _sealed(self, transactions: list[Transaction]) -> bytes:
        """The next header, above these transactions."""
        time = self.tip.window[-1][0] + self.spacing
        bits = expected_bits(self.network, self.tip, time)
        root = merkle_root([tx.txid for tx in transactions])[0]
        prefix = u32(0x20000000) + self.tip_hash + root + u32(time) + u32(bits)
        return mine(prefix, compact_to_target(bits))[0]

    def _append(self, header: bytes, transactions: tuple[Transaction, ...], spent: list[bytes]) -> None:
        block = Block(BlockHeader.from_bytes(header), transactions)
        self.tip = extend(self.network, self.tip, header, block.header.time).tip
        raw_filter = build_filter(self.tip.hash, block_elements(block, spent))
        self.append(self.tip.hash, header, block.to_bytes(), raw_filter)


@cache
def listless(path: Path) -> ListlessChain:
    """The regtest chain of `path`."""
    return ListlessChain(path)


@cache
def generated(path: Path) -> GeneratedChain:
    """The simnet chain of `path`, with all that simnet has."""
    chain = GeneratedChain.begin(SIMNET, "tree", locked_until=0)
    for height, seed in path:
        chain.reseed(seed)
        chain.extend(height - chain.height)
    return chain


def work(chain: SimulatedChain) -> int:
    """The chainwork of a whole chain, genesis included."""
    bits = [BlockHeader.from_bytes(chain.header(height)).bits for height in range(chain.height + 1)]
    return sum(map(work_of, bits))
