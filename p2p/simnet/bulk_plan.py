"""Bulk chains: as long as mainnet's, yet made in a minute; what is in their blocks.

A generated chain (`generated.py`) is alive: masternodes, quorums, payments. That costs milliseconds a block, and a
benchmark needs millions. A bulk chain is dead weight that keeps every rule a client can check: links, proof of work,
DarkGravityWave at each height, times, merkle roots, the chain of filter headers. Its network is simnet with the
easiest limit that still has one leading bit to find, so that a header takes two hashes.

Every block exists. Most have only a coinbase, made from their height, whose one output is data; the filters of these
hold numbers that no script is known for, as many as a mainnet block has scripts. A light client cannot tell: what a
block spends it never sees. In `matched` blocks, evenly spread over the heights with filters, watched scripts are paid
and spent, and their filters are true to the block.

Everything follows from the plan: the same plan is the same chain, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from functools import cached_property

import attrs

from phasegate.consensus.codec import dsha, u32, u64, var_bytes
from phasegate.consensus.merkle import merkle_root
from phasegate.consensus.params import SIMNET, Network
from phasegate.consensus.primitives import COINBASE, CoinbasePayload, OutPoint, Transaction, TxIn, TxOut
from phasegate.p2p.simnet.mining import mine

FORMAT = 1
"""Of the files of a chain; part of its name, so that old files are not taken for new ones."""
LIMIT = (1 << 255) - 1
BITS = 0x207FFFFF
BEGIN = 1231006505
"""Of the genesis block: early enough for the newest block of the longest chain to be in the past."""
VERSION = 0x20000000
WATCHED = 10
FEE, AMOUNT = 1_000, 100_000
_MARK = 0x5A5AA5A5
_NOWHERE = OutPoint(bytes(32), 0xFFFFFFFF)


def _genesis() -> bytes:
    return mine(u32(VERSION) + bytes(64) + u32(BEGIN) + u32(BITS), LIMIT)[0]


@attrs.frozen
class Paying:
    """The transactions of one matched block, its coinbase first, and the scripts of all outputs that they spend."""

    transactions: tuple[Transaction, ...]
    spent_scripts: tuple[bytes, ...]

    @property
    def root(self) -> bytes:
        """The merkle root, 32 bytes in wire order."""
        return merkle_root([tx.txid for tx in self.transactions])[0]


@attrs.frozen(slots=False)
class BulkPlan:
    """What a bulk chain is made from.

    Args:
        headers: the height of its tip.
        filters: how many of its newest blocks have a filter; of older ones only the filter's hash is told.
        matched: how many of these pay to watched scripts.
        elements: how many a filter has, on average.
        transactions: how many a matched block has, its coinbase included; at least two.
        known_every: the distance of the blocks that `network` names as known; 0: none.
        fork: how many of the newest blocks are others than those of the same plan without.
        seed: where all chance comes from.
    """

    headers: int
    filters: int = 0
    matched: int = 0
    elements: int = 100
    transactions: int = 10
    known_every: int = 0
    fork: int = 0
    seed: int = 1

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.matched <= self.filters <= self.headers or self.transactions < 2:
            raise ValueError(f"no chain can be {self}")

    @property
    def name(self) -> str:
        """A short name that no other plan has; `known_every` changes nothing of the chain itself."""
        what = json.dumps([FORMAT, attrs.asdict(attrs.evolve(self, known_every=0))], sort_keys=True)
        return f"{self.headers}-{hashlib.sha256(what.encode()).hexdigest()[:12]}"

    @property
    def birthday(self) -> int:
        """The first height with a filter, at least 1."""
        return self.headers - self.filters + 1

    @property
    def fork_at(self) -> int:
        """The newest height shared with the plan without fork."""
        return self.headers - self.fork

    @cached_property
    def matched_heights(self) -> Mapping[int, int]:
        """The heights of the matched blocks, ascending, each with its number, counted from 0."""
        return {self.birthday + i * (self.filters // self.matched): i for i in range(self.matched)}

    @cached_property
    def watched(self) -> tuple[bytes, ...]:
        """The scripts a client is told to watch."""
        return self.scripts("watched", WATCHED)

    def scripts(self, what: str, count: int) -> tuple[bytes, ...]:
        """`count` P2PKH scripts, the same for the same word `what`."""
        rnd = random.Random(f"phasegate bulk {self.seed} {what}")
        return tuple([b"\x76\xa9\x14" + rnd.randbytes(20) + b"\x88\xac" for _ in range(count)])

    def salt(self, height: int) -> bytes:
        """Eight bytes that tell the blocks of this chain from those of others, at this height."""
        return u32(self.seed) + u32(self.fork if height > self.fork_at else 0)

    @cached_property
    def _pieces(self) -> Mapping[bytes, list[bytes]]:
        """A coinbase cut where its height stands, by the salt in it."""
        return {salt: _coinbase(salt).split(u32(_MARK)) for salt in (self.salt(0), self.salt(self.headers))}

    def coinbase(self, height: int) -> bytes:
        """The coinbase at `height`, serialised."""
        return u32(height).join(self._pieces[self.salt(height)])

    def root(self, height: int) -> bytes:
        """The merkle root at `height`, wire order."""
        number = self.matched_heights.get(height)
        return dsha(self.coinbase(height)) if number is None else self.paying(height, number).root

    def paying(self, height: int, number: int) -> Paying:
        """What is in the matched block of this number; it spends the coin that came `WATCHED` blocks before."""
        rnd = random.Random(f"phasegate bulk {self.seed} {self.salt(height).hex()} block {number}")
        first = self._payment(number, self._paid)
        spent = [self.watched[number % WATCHED]] if number >= WATCHED else [_stranger(rnd)]
        made = [first]
        for _ in range(self.transactions - 2):
            outputs = tuple([TxOut(AMOUNT, _stranger(rnd)) for _ in range(2)])
            made.append(Transaction(2, 0, (_signed(rnd, OutPoint(rnd.randbytes(32), 0)),), outputs))
            spent.append(_stranger(rnd))
        return Paying((Transaction.from_bytes(self.coinbase(height)), *made), tuple(spent))

    def _payment(self, number: int, paid: Sequence[bytes]) -> Transaction:
        """What pays a watched script in the matched block of this number; `paid` are the txids of those before."""
        before = OutPoint(paid[number - WATCHED], 0) if number >= WATCHED else OutPoint(dsha(u64(number)), 7)
        rnd = random.Random(f"phasegate bulk {self.seed} payment {number}")
        outputs = TxOut(AMOUNT + number, self.watched[number % WATCHED]), TxOut(FEE, _stranger(rnd))
        return Transaction(2, 0, (_signed(rnd, before),), outputs)

    @cached_property
    def _paid(self) -> Sequence[bytes]:
        """The txid of each payment; all but the first ones spend an earlier one."""
        txids: list[bytes] = []
        for number in range(self.matched):
            txids.append(self._payment(number, txids).txid)
        return txids

    @property
    def balances(self) -> Mapping[bytes, int]:
        """What a client that watches `watched` finds in the end: duffs by script."""
        last = {self.watched[i % WATCHED]: AMOUNT + i for i in range(self.matched)}
        return {script: last.get(script, 0) for script in self.watched}


def bulk_network(known: Mapping[int, bytes] | None = None) -> Network:
    """The network of bulk chains, with the blocks that are `known` beforehand."""
    return attrs.evolve(SIMNET, genesis=_GENESIS, pow_limit=LIMIT, known_blocks=known or {})


def _coinbase(salt: bytes) -> bytes:
    claim = TxIn(_NOWHERE, var_bytes(u32(_MARK)) + salt)
    payload = CoinbasePayload(3, _MARK, bytes(32), bytes(32), 0, bytes(96), 0).to_bytes()
    return Transaction(3, COINBASE, (claim,), (TxOut(0, b"\x6a"),), 0, payload).to_bytes()


def _stranger(rnd: random.Random) -> bytes:
    return b"\x76\xa9\x14" + rnd.randbytes(20) + b"\x88\xac"


def _signed(rnd: random.Random, spent: OutPoint) -> TxIn:
    """An input with as much signature and key as there usually is."""
    return TxIn(spent, b"\x47" + rnd.randbytes(71) + b"\x21" + rnd.randbytes(33))


_GENESIS = _genesis()
