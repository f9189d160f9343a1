"""A chain out of a seed: mined for real, with everything a light client checks.

Each block is made of what happens (payments, masternode events, quorums), a coinbase that states the roots of the lists
after this very block, a filter, and a header with true difficulty and proof of work. The same seed gives the same
chain, byte for byte; a fork shares its chance with the original up to its height and has its own from there.

Block times are as if always the same number of hashes a second were spent, a few too little for the limit: so the
difficulty stays near the limit, where a block costs about 64 hashes, yet moves all the time.
"""

from __future__ import annotations

import random
from typing import Self

import attrs

from phasegate.consensus.addresses import address_of
from phasegate.consensus.codec import u32, var_bytes
from phasegate.consensus.filters import block_elements, build_filter
from phasegate.consensus.headers import ChainTip, compact_to_target, expected_bits, genesis_tip, work_of
from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState
from phasegate.consensus.merkle import merkle_root
from phasegate.consensus.params import SIMNET, Network
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
from phasegate.p2p.messages import GetQrInfo, QrInfo
from phasegate.p2p.simnet import CannotServe, masternode_events, payments
from phasegate.p2p.simnet.chain import Announced, Expected, StoredBlocks
from phasegate.p2p.simnet.dkg import Quorums
from phasegate.p2p.simnet.economy import DASH, PREMINE, PREMINE_COINS, Economy, Spending
from phasegate.p2p.simnet.list_diff import NULL_SIGNATURE, difference
from phasegate.p2p.simnet.mining import mine
from phasegate.p2p.simnet.registry import Registry

REWARD = 5 * DASH
_VERSIONS = (*[0x20000000] * 18, 0x30000000, 0x30001000)
_WINDOW = 24


class ImpossibleChain(CannotServe):
    """Heights that make no chain, or a network whose blocks cannot be generated."""


def generate(
    blocks: int,
    seed: int | str,
    *,
    network: Network = SIMNET,
    fork_at: int | None = None,
    fork_seed: int | str | None = None,
) -> GeneratedChain:
    """A chain of `blocks` blocks above genesis.

    Args:
        blocks: the height of the tip.
        seed: decides everything.
        network: its rules: simnet, or one whose lists begin at height 2 and whose difficulty ignores the new time.
        fork_at: the last height shared with the chain of the same seed without a fork.
        fork_seed: decides what follows `fork_at`; by default derived from `seed`.

    Raises:
        ImpossibleChain: heights that make no chain, or a network whose blocks this cannot make.
    """
    _check(blocks, network, fork_at)
    chain = GeneratedChain.begin(network, seed)
    chain.extend(blocks if fork_at is None else fork_at)
    if fork_at is not None:
        chain.reseed(f"{seed} forked" if fork_seed is None else fork_seed)
        chain.extend(blocks - fork_at)
    return chain


def _check(blocks: int, network: Network, fork_at: int | None) -> None:
    if blocks < 0:
        raise ImpossibleChain(f"a chain of {blocks} blocks is impossible")
    if fork_at is not None and not 0 <= fork_at <= blocks:
        raise ImpossibleChain(f"a chain of {blocks} blocks cannot fork at {fork_at}")
    if max(network.dip3, network.v20) > 2 or network.min_difficulty_blocks:
        raise ImpossibleChain(f"blocks of {network.name} cannot be generated")


@attrs.define(slots=False, repr=False)
class GeneratedChain(StoredBlocks):
    """A chain that can grow."""

    economy: Economy = attrs.field(kw_only=True)
    registry: Registry = attrs.field(kw_only=True)
    quorums: Quorums = attrs.field(kw_only=True)
    tip: ChainTip = attrs.field(kw_only=True)
    watch: tuple[str, ...] = attrs.field(kw_only=True)

    @classmethod
    def begin(cls, network: Network, seed: int | str) -> Self:
        """Only the genesis block."""
        rng = random.Random(f"phasegate simnet {seed}")
        economy = Economy(rng)
        chain = cls(
            network,
            economy=economy,
            registry=Registry(economy),
            quorums=Quorums(network, rng),
            tip=genesis_tip(network),
            watch=tuple([str(address_of(script, network)) for script in economy.watched]),
        )
        chain.append_genesis(build_filter(chain.tip.hash, ()))
        return chain

    def reseed(self, seed: int | str) -> None:
        """Let other chance decide from here on."""
        self.economy.rng.seed(f"phasegate simnet {seed}")

    def extend(self, blocks: int) -> None:
        """Mine `blocks` more."""
        for _ in range(blocks):
            self._mine_next()

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
        entries, commitments = self.registry.entries.at(height), self.quorums.commitments.at(height)
        return MasternodeState(height, self.hash_at(height), entries, commitments)

    def qrinfo(self, request: GetQrInfo, version: int) -> QrInfo | None:  # noqa: ARG002 - its quorums have no members
        return None

    def locks(self) -> tuple[Announced, ...]:
        return ()

    def _mine_next(self) -> None:
        height = self.height + 1
        self.registry.confirm(height, self.tip.hash)
        spendings = self.quorums.transactions(height, self.hash_at)
        spendings += masternode_events.transactions(self.registry, height)
        spendings += payments.transactions(self.economy, height)
        spendings.insert(0, self._coinbase(height))
        self.economy.book(height, spendings)
        self._seal(spendings)

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
        roots = self.registry.root(), self.quorums.root()
        return CoinbasePayload(3, height, *roots, 0, NULL_SIGNATURE, self.economy.credit_pool).to_bytes()

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
        window = (*self.tip.window[1 - _WINDOW :], (time, bits))
        self.tip = ChainTip(self.height, block_hash, self.tip.work + work_of(bits), window)

    def _next_time(self, target: int) -> int:
        rng, last = self.economy.rng, self.tip.window[-1][0]
        if self.height >= 11 and rng.random() < 0.02:
            return last - rng.randrange(1, 40)
        return last + rng.randrange(57, 260) * self.network.pow_limit // target
