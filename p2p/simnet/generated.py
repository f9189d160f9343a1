"""A chain out of a seed: mined for real, with everything a light client checks.

Each block is made of what happens (payments, masternode events, quorums), a coinbase that states the roots of the lists
after this very block and the newest ChainLock its miner knows, a filter, and a header with true difficulty and proof of
work. The same seed gives the same chain, byte for byte; a fork shares its chance with the original up to its height and
has its own from there, and quorums of its own: those that were there before sign nothing of it.

Block times are as if always the same number of hashes a second were spent, a few too little for the limit: so the
difficulty stays near the limit, where a block costs about 64 hashes, yet moves all the time.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import attrs

from phasegate.consensus.addresses import address_of
from phasegate.consensus.codec import u32, var_bytes
from phasegate.consensus.difficulty import context_size
from phasegate.consensus.filters import block_elements, build_filter
from phasegate.consensus.headers import ChainTip, compact_to_target, expected_bits, genesis_tip, work_of
from phasegate.consensus.masternodes import MasternodeEntry, MasternodeListDiff, MasternodeState
from phasegate.consensus.merkle import merkle_root
from phasegate.consensus.params import SIMNET, Network, QuorumType
from phasegate.consensus.primitives import (
    COINBASE,
    Block,
    BlockHeader,
    CoinbasePayload,
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
)
from phasegate.consensus.quorums import QuorumCommitment, QuorumSnapshot
from phasegate.p2p.messages import GetQrInfo, QrInfo
from phasegate.p2p.simnet import CannotServe, masternode_events, payments, wallet
from phasegate.p2p.simnet.announced import announced_chainlock, announced_instantlock
from phasegate.p2p.simnet.chain import Announced, Expected, StoredBlocks
from phasegate.p2p.simnet.dkg import Quorums
from phasegate.p2p.simnet.economy import DASH, PREMINE, PREMINE_COINS, Economy, Spending
from phasegate.p2p.simnet.instant_locks import InstantLocks
from phasegate.p2p.simnet.list_diff import difference
from phasegate.p2p.simnet.locks import ChainLocks
from phasegate.p2p.simnet.mining import mine
from phasegate.p2p.simnet.registry import Registry
from phasegate.p2p.simnet.rotation_answer import rotation_info

REWARD = 5 * DASH
_VERSIONS = (*[0x20000000] * 18, 0x30000000, 0x30001000)
_OFFERED = 100
"""Of how many of the newest locked transactions a node still offers the lock."""


class ImpossibleChain(CannotServe):
    """Heights that make no chain, or a network whose blocks cannot be generated."""


def generate(
    blocks: int,
    seed: int | str,
    *,
    network: Network = SIMNET,
    fork_at: int | None = None,
    fork_seed: int | str | None = None,
    locks: bool = True,
    locked_until: int | None = None,
    pace: float = 1.0,
) -> GeneratedChain:
    """A chain of `blocks` blocks above genesis.

    Args:
        blocks: the height of the tip.
        seed: decides everything.
        network: its rules: simnet, or one whose lists and quorums are in today's form from height 2 on and whose
            difficulty ignores the new time, as a regtest with these activations.
        fork_at: the last height shared with the chain of the same seed without a fork; above it only quorums made on
            the fork sign, and no quorum that both chains have.
        fork_seed: decides what follows `fork_at`; by default derived from `seed`.
        locks: whether quorums lock anything at all.
        locked_until: the last height that quorums lock; chains that share what is below differ in nothing else.
        pace: how long a block takes above `fork_at` (or from the start), compared with its usual time: a chain of more
            work in fewer blocks has a pace below 1, and takes longer to generate.

    Raises:
        ImpossibleChain: heights that make no chain, or a network whose blocks this cannot make.
    """
    _check(blocks, network, fork_at)
    chain = GeneratedChain.begin(network, seed, locked_until=locked_until if locks else 0)
    if fork_at is not None:
        chain.extend(fork_at)
        chain.reseed(f"{seed} forked" if fork_seed is None else fork_seed)
    chain.pace = pace
    chain.extend(blocks - chain.height)
    return chain


def _check(blocks: int, network: Network, fork_at: int | None) -> None:
    if blocks < 0:
        raise ImpossibleChain(f"a chain of {blocks} blocks is impossible")
    if fork_at is not None and not 0 <= fork_at <= blocks:
        raise ImpossibleChain(f"a chain of {blocks} blocks cannot fork at {fork_at}")
    needed = max(network.activations[name] for name in ("dip3", "dip24", "v19", "v20"))
    if needed > 2 or (network.allow_min_difficulty and not network.no_retargeting):
        raise ImpossibleChain(f"blocks of {network.name} cannot be generated")


@attrs.define(slots=False, repr=False, eq=False)
class GeneratedChain(StoredBlocks):
    """A chain that can grow.

    Attributes:
        pace: how long a block takes, compared with its usual time.
        quorums, chainlocks, instantlocks: made by the chain itself, with the masternodes of its registry.
    """

    economy: Economy = attrs.field(kw_only=True)
    registry: Registry = attrs.field(kw_only=True)
    tip: ChainTip = attrs.field(kw_only=True)
    watch: tuple[str, ...] = attrs.field(kw_only=True)
    pace: float = attrs.field(default=1.0, kw_only=True)
    quorums: Quorums = attrs.field(init=False)
    chainlocks: ChainLocks = attrs.field(init=False)
    instantlocks: InstantLocks = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.quorums = Quorums(self, self.registry.operators, random.Random())
        self.chainlocks = ChainLocks(self, self.quorums, random.Random())
        self.instantlocks = InstantLocks(self, self.quorums, random.Random())

    @classmethod
    def begin(cls, network: Network, seed: int | str, *, locked_until: int | None = None) -> Self:
        """Only the genesis block."""
        economy = Economy(random.Random(f"phasegate simnet {seed}"))
        chain = cls(
            network,
            economy=economy,
            registry=Registry(economy),
            tip=genesis_tip(network),
            watch=tuple([str(address_of(script, network)) for script in economy.watched]),
        )
        chain.append_genesis(build_filter(chain.tip.hash, ()))
        chain._reseed_quorums(seed)
        chain.chainlocks.until = chain.instantlocks.until = locked_until
        return chain

    def reseed(self, seed: int | str) -> None:
        """Let other chance decide from here on, as on a private fork: the quorums so far sign nothing of it."""
        self.economy.rng.seed(f"phasegate simnet {seed}")
        self._reseed_quorums(seed)

    def _reseed_quorums(self, seed: int | str) -> None:
        for name, part in (("quorums", self.quorums), ("locks", self.chainlocks), ("instant", self.instantlocks)):
            part.rng.seed(f"phasegate simnet {seed} {name}")
        self.quorums.since = self.chainlocks.since = self.instantlocks.since = self.height

    def branch(self, seed: int | str) -> Self:
        """A copy that goes its own way from here on; this chain stays as it is."""
        copied = copy.deepcopy(self, {id(self.network): self.network})
        copied.reseed(seed)
        return copied

    def extend(self, blocks: int, *, include: Sequence[Transaction] = ()) -> None:
        """Mine `blocks` more; the first of them also holds the transactions to `include`, in this order.

        Raises:
            Unspendable: one of them spends what is no watched coin of this chain; nothing is mined then.
        """
        included = wallet.spendings(self.economy, include)
        for _ in range(blocks):
            self._mine_next(included)
            included = []

    def spend_watched(self) -> Transaction:
        """A transaction that spends a watched coin, for a client to broadcast; see `wallet`.

        Raises:
            Unspendable: no watched coin is free.
        """
        return wallet.spend_watched(self.economy)

    def mineable(self, transactions: Iterable[Transaction]) -> list[Transaction]:
        """Those of `transactions` that the next block can hold; their coins are reserved."""
        return wallet.mineable(self.economy, transactions)

    def lock_transaction(self, tx: Transaction) -> Announced:
        """The InstantSend lock of `tx`, as the quorums of today sign it; mined or not, it keeps this lock.

        Raises:
            ImpossibleChain: no quorum can lock it now.
        """
        lock = self.instantlocks.grant(self.height + 1, tx)
        if lock is None:
            raise ImpossibleChain(f"no quorum can lock {tx.txid[::-1].hex()} at height {self.height}")
        (announced,) = self._offer([announced_instantlock(lock)])
        return announced

    @property
    def expected(self) -> Expected:
        balances = {script.hex(): value for script, value in self.economy.balances().items()}
        return {"transactions": [txid[::-1].hex() for txid in self.economy.touching], "balances": balances}

    @property
    def watched_heights(self) -> tuple[int, ...]:
        return tuple(self.economy.heights)

    def mnlistdiff(self, base: int, height: int) -> MasternodeListDiff | None:
        return difference(self, self.masternodes_at(base), self.masternodes_at(height))

    def masternodes_at(self, height: int) -> MasternodeState:
        """The lists after the block at `height`."""
        entries, commitments = self.entries_at(height), self.quorums.commitments.at(height)
        return MasternodeState(height, self.hash_at(height), entries, commitments)

    def entries_at(self, height: int) -> Mapping[bytes, MasternodeEntry]:
        """The masternodes after the block at `height`."""
        return self.registry.entries.at(height)

    def embedded_signature(self, height: int) -> bytes:
        """The 96 bytes of the ChainLock that the coinbase at `height` carries, zeros for none."""
        return self.chainlocks.embedded_signature(height)

    def qrinfo(self, request: GetQrInfo, version: int) -> QrInfo | None:
        return rotation_info(self, request, version)

    def last_commitments(self, kind: QuorumType, height: int) -> Sequence[QuorumCommitment]:
        """The newest commitment of each index of a rotated type, mined at or below `height`, by index."""
        own = [quorum for quorum in self.quorums.active_at(height) if quorum.type == kind.number]
        return sorted(own, key=lambda quorum: quorum.index or 0)

    def snapshot(self, kind: QuorumType, height: int) -> QuorumSnapshot | None:
        """What the cycle of a rotated type remembers that begins at `height`."""
        return self.quorums.rotations[kind.number].snapshot(height)

    def locks(self) -> tuple[Announced, ...]:
        newest = self.chainlocks.newest(self.height)
        best = [] if newest is None else [announced_chainlock(newest)]
        return self._offer([*best, *map(announced_instantlock, self.instantlocks.newest(_OFFERED))])

    def locks_of(self, height: int) -> tuple[Announced, ...]:
        lock = self.chainlocks.lock(height)
        of_block = [] if lock is None else [announced_chainlock(lock)]
        return self._offer([*map(announced_instantlock, self.instantlocks.at(height)), *of_block])

    def _mine_next(self, included: Sequence[Spending]) -> None:
        height = self.height + 1
        self.registry.confirm(height, self.tip.hash)
        spendings = self.quorums.transactions(height)
        spendings += masternode_events.transactions(self.registry, height)
        spendings += payments.transactions(self.economy, height)
        spendings += included
        spendings.insert(0, self._coinbase(height))
        touching = self.economy.book(height, spendings)
        self.instantlocks.book(height, touching)
        self._seal(spendings)
        self.chainlocks.settle(height)

    def _coinbase(self, height: int) -> Spending:
        economy, first = self.economy, height == 1
        claim = TxIn(OutPoint(bytes(32), 0xFFFFFFFF), var_bytes(u32(height)) + economy.rng.randbytes(4))
        if first:
            outputs = [TxOut(PREMINE // PREMINE_COINS, economy.stranger()) for _ in range(PREMINE_COINS)]
            made = Spending(Transaction(2, 0, (claim,), tuple(outputs)))
            economy.treasury.extend([made.held(i) for i in range(PREMINE_COINS)])
            return made
        payee = self.registry.payee(height)
        outputs = [TxOut(REWARD // 2, economy.stranger()), TxOut(REWARD - REWARD // 2, payee or economy.stranger())]
        made = Spending(Transaction(3, COINBASE, (claim,), tuple(outputs), 0, self._stated(height)))
        economy.keep_stranger(made.held(0))
        return made

    def _stated(self, height: int) -> bytes:
        roots, lock = (self.registry.root(), self.quorums.root()), self.chainlocks.learn(height)
        return CoinbasePayload(3, height, *roots, *lock, self.economy.credit_pool).to_bytes()

    def _seal(self, spendings: list[Spending]) -> None:
        transactions = tuple([s.tx for s in spendings])
        root = merkle_root([tx.txid for tx in transactions])[0]
        bits = expected_bits(self.network, self.tip, self.tip.window[-1][0])
        time = self._next_time(compact_to_target(bits))
        prefix = u32(self.economy.rng.choice(_VERSIONS)) + self.tip.hash + root + u32(time) + u32(bits)
        header, block_hash = mine(prefix, compact_to_target(bits))
        block = Block(BlockHeader.from_bytes(header), transactions)
        scripts = [output.script for s in spendings for output in s.spent]
        raw_filter = build_filter(block_hash, block_elements(block, scripts))
        self.append(block_hash, header, block.to_bytes(), raw_filter)
        window = (*self.tip.window, (time, bits))[-context_size(self.network, self.height) :]
        self.tip = ChainTip(self.height, block_hash, self.tip.work + work_of(bits), window)

    def _next_time(self, target: int) -> int:
        rng, last = self.economy.rng, self.tip.window[-1][0]
        if self.height >= 11 and rng.random() < 0.02:
            return last - rng.randrange(1, 40)
        return last + int(self.pace * (rng.randrange(57, 260) * self.network.pow_limit // target))
