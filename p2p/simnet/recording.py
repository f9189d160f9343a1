"""A recorded Dash Core chain, served again.

The recording holds a few dozen masternode list differences, but a client may ask for any two heights. So the lists
themselves are rebuilt from the recorded differences, each checked as a client checks it, and laid at every height where
the roots that the coinbase states are the roots of a recorded list. Where none fits, the true list is not known, and
nothing is served: a real node that cannot answer is silent too. Likewise rotation: what was recorded is told as it was
recorded, everything else is built from the lists, from which all cycles can be replayed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import attrs

from phasegate.consensus.addresses import parse_watch_item
from phasegate.consensus.codec import Reader, dsha
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.masternodes import MasternodeEntry, MasternodeListDiff, MasternodeState, apply_diff
from phasegate.consensus.params import Network, QuorumType, network
from phasegate.consensus.primitives import COINBASE, Block, CoinbasePayload, OutPoint, Transaction, header_at
from phasegate.consensus.quorums import QuorumCommitment, QuorumSnapshot
from phasegate.consensus.special_txs import mentioned
from phasegate.p2p.messages import CFilter, GetQrInfo, InvType, KnownMessage, MnListDiff, QrInfo
from phasegate.p2p.simnet import CannotServe
from phasegate.p2p.simnet.chain import Announced, Expected, StoredBlocks
from phasegate.p2p.simnet.list_diff import difference
from phasegate.p2p.simnet.locks import NULL_SIGNATURE
from phasegate.p2p.simnet.rotation import Rotation
from phasegate.p2p.simnet.rotation_answer import PROTOCOL_INCREMENTAL, rotation_info

ACTIVATIONS: Mapping[str, int] = {"dip3": 2, "v20": 100, "mn_rr": 100}
"""The options that the recorded node ran with."""

PROTOCOL = 70240
INCREMENTAL_QRINFO, BEFORE = PROTOCOL_INCREMENTAL, 70235
_LOCK_TYPES = {"clsig": InvType.CHAINLOCK, "isdlock": InvType.INSTANTSEND_LOCK}
Roots = tuple[bytes, bytes]
M = TypeVar("M", bound=KnownMessage)


class RecordingUnreadable(CannotServe):
    """The directory holds no recording, or one that contradicts itself."""


def load_recording(directory: Path) -> RecordedChain:
    """The chain recorded in `directory`, in the layout of the Dash Core regtest captures.

    Raises:
        RecordingUnreadable: a file is missing, or the files do not fit each other.
    """
    try:
        return RecordedChain.read(directory, network("regtest", ACTIVATIONS))
    except (OSError, KeyError, ValueError, PeerMisbehaved) as error:
        raise RecordingUnreadable(f"no recording in {directory}: {error}") from error


@attrs.define(slots=False, repr=False)
class RecordedChain(StoredBlocks):
    """A chain that does not grow."""

    watch: tuple[str, ...] = ()
    watched_heights: tuple[int, ...] = ()
    expected: Expected = attrs.field(factory=lambda: Expected(transactions=[], balances={}))
    _states: dict[int, MasternodeState] = attrs.field(factory=dict)
    _diffs: dict[tuple[int, int], MasternodeListDiff] = attrs.field(factory=dict)
    _rotations: dict[tuple[bool, GetQrInfo], QrInfo] = attrs.field(factory=dict)
    _locks: tuple[Announced, ...] = ()
    _cycles: Rotation = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._cycles = Rotation(self, self.network.quorum_types[self.network.roles["instantsend"]])

    @classmethod
    def read(cls, directory: Path, recorded: Network) -> Self:
        chain = cls(recorded)
        chain._read_blocks(directory)
        chain._read_conversation(_messages(directory / "conversation.jsonl"))
        older = _messages(directory / f"conversation-{BEFORE}.jsonl")
        chain._read_rotations([m for m in older if "qrinfo" in m[1]], incremental=False)
        chain._fill_states()
        record = json.loads((directory / "record.json").read_text())
        chain.watch = tuple(record["watch"])
        chain._watch_scripts([parse_watch_item(address, recorded) for address in chain.watch])
        return chain

    def mnlistdiff(self, base: int, height: int) -> MasternodeListDiff | None:
        if (base, height) in self._diffs:
            return self._diffs[base, height]
        before, after = self._states.get(base), self._states.get(height)
        return None if before is None or after is None else difference(self, before, after)

    def qrinfo(self, request: GetQrInfo, version: int) -> QrInfo | None:
        return self._rotations.get((version >= INCREMENTAL_QRINFO, request)) or rotation_info(self, request, version)

    def last_commitments(self, kind: QuorumType, height: int) -> Sequence[QuorumCommitment] | None:
        """The newest commitment of each index of a rotated type, by index; None where the lists are not known."""
        state = self._states.get(height)
        own = [] if state is None else [quorum for quorum in state.quorums.values() if quorum.type == kind.number]
        return None if state is None else sorted(own, key=lambda quorum: quorum.index or 0)

    def snapshot(self, kind: QuorumType, height: int) -> QuorumSnapshot | None:  # noqa: ARG002 - one type rotates
        """What the cycle that begins at `height` remembers."""
        return self._cycles.snapshot(height)

    def entries_at(self, height: int) -> Mapping[bytes, MasternodeEntry]:
        """The masternodes after the block at `height`, where they are known: at least at every work block."""
        return self._states[height].entries

    def embedded_signature(self, height: int) -> bytes:
        """The 96 bytes of the ChainLock that the coinbase at `height` carries, zeros for none."""
        payload = self._stated(height)
        return (payload.best_cl_signature if payload else b"") or NULL_SIGNATURE

    def locks(self) -> tuple[Announced, ...]:
        return self._locks

    def state_at(self, height: int) -> MasternodeState | None:
        """The lists after the block at `height`, where they are known."""
        return self._states.get(height)

    def _read_blocks(self, directory: Path) -> None:
        headers, hashes = (directory / "headers.bin").read_bytes(), (directory / "hashes.bin").read_bytes()
        filters = [_parsed(CFilter, raw) for raw in _pieces(directory / "cfilters.bin")]
        bodies = [b"", *_pieces(directory / "blocks.bin")]
        if not len(headers) // 80 + 1 == len(hashes) // 32 == len(filters) == len(bodies):
            raise RecordingUnreadable(f"the files in {directory} are of different chains")
        headers = self.network.genesis + headers
        for height, (body, message) in enumerate(zip(bodies, filters, strict=True)):
            self.append(message.block_hash, header_at(headers, height), body, message.filter)

    def _read_conversation(self, messages: list[tuple[str, str, bytes]]) -> None:
        self._states[0] = MasternodeState.empty(self.network)
        locks = []
        for _, command, payload in messages:
            if command == "mnlistdiff":
                self._learn(_parsed(MnListDiff, payload).diff)
            elif command in _LOCK_TYPES:
                locks.append(Announced(_LOCK_TYPES[command], dsha(payload), command, payload))
        self._locks = self._offer(locks)
        self._read_rotations([m for m in messages if "qrinfo" in m[1]], incremental=True)

    def _learn(self, diff: MasternodeListDiff) -> None:
        base, height = self._heights[diff.base_hash], self._heights[diff.block_hash]
        self._diffs[base, height] = diff
        self._states[height] = apply_diff(self.network, self._states[base], diff, self.header(height), height)

    def _read_rotations(self, messages: list[tuple[str, str, bytes]], *, incremental: bool) -> None:
        version = PROTOCOL if incremental else BEFORE
        for asked, told in zip(messages[::2], messages[1::2], strict=True):
            request = _parsed(GetQrInfo, asked[2], version)
            self._rotations[incremental, request] = _parsed(QrInfo, told[2], version)

    def _fill_states(self) -> None:
        known = {(s.merkle_root(), s.quorum_root()): s for _, s in sorted(self._states.items())}
        for height in range(self.network.dip3, self.height + 1):
            state = known.get(self._stated_roots(height))
            if state is not None and height not in self._states:
                self._states[height] = attrs.evolve(state, height=height, block_hash=self.hash_at(height))

    def _stated_roots(self, height: int) -> Roots:
        payload = self._stated(height)
        return (payload.masternode_root, payload.quorum_root) if payload else (b"", b"")

    def _stated(self, height: int) -> CoinbasePayload | None:
        coinbase = self._transactions(height)[0]
        return CoinbasePayload.from_bytes(coinbase.payload) if coinbase.type == COINBASE else None

    def _transactions(self, height: int) -> tuple[Transaction, ...]:
        return Block.from_bytes(self._blocks[height]).transactions

    def _watch_scripts(self, scripts: list[bytes]) -> None:
        balances, coins = dict.fromkeys(scripts, 0), dict[OutPoint, tuple[bytes, int]]()
        found: list[str] = []
        heights = []
        for height in range(1, self.height + 1):
            touching = [tx for tx in self._transactions(height) if _settle(tx, balances, coins)]
            found += [tx.txid[::-1].hex() for tx in touching]
            heights += [height] if touching else []
        self.watched_heights = tuple(heights)
        self.expected = {"transactions": found, "balances": {s.hex(): value for s, value in balances.items()}}


def _settle(tx: Transaction, balances: dict[bytes, int], coins: dict[OutPoint, tuple[bytes, int]]) -> bool:
    """Enter a transaction into the balances of watched scripts; whether it concerns any."""
    touched = False
    for tx_in in tx.inputs:
        if coin := coins.pop(tx_in.prevout, None):
            balances[coin[0]] -= coin[1]
            touched = True
    for index, output in enumerate(tx.outputs):
        if output.script in balances:
            balances[output.script] += output.value
            coins[OutPoint(tx.txid, index)] = output.script, output.value
            touched = True
    return touched or not mentioned(tx).isdisjoint(balances)


def _parsed(kind: type[M], payload: bytes, version: int = PROTOCOL) -> M:
    r = Reader(payload, kind.command)
    message = kind.parse(r, version)
    r.end()
    return message


def _messages(path: Path) -> list[tuple[str, str, bytes]]:
    lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["dir"], line["command"], bytes.fromhex(line["payload"])) for line in lines]


def _pieces(path: Path) -> Iterator[bytes]:
    r = Reader(path.read_bytes(), path.name)
    while r.left:
        yield r.take(r.u32())
