"""Thousands of flipped bits in real messages: each is refused, or lies in a field that the table names."""

from __future__ import annotations

import json
import lzma
import random
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import attrs
import pytest

from phasegate.consensus.bls import Claim, verify
from phasegate.consensus.codec import Reader
from phasegate.consensus.commitments import _claims, check_commitments
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.locks import (
    ChainLock,
    InstantLock,
    chainlock_request_id,
    instantlock_index,
    instantlock_request_id,
    sign_hash,
    verify_chainlock,
    verify_instantlock,
)
from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState, apply_unanchored
from phasegate.consensus.params import NETWORKS, Network
from phasegate.consensus.quorums import QuorumCommitment
from phasegate.consensus.rotation_info import (
    RotatedQuorums,
    RotationInfo,
    apparent_heights,
    rotated_quorums,
    states_of,
)
from phasegate.consensus.uncommitted import UNCOMMITTED
from phasegate.p2p.messages import ClSig, IsdLock, QrInfo
from tests.conftest import Conversation
from tests.consensus.bit_flips import FLIPS, Asked, Field, Lean, Marker, changes_a_leaf, flipped, flips
from tests.consensus.conftest import RecordedChain
from tests.consensus.recorded_quorums import active_sets

T = TypeVar("T")
Judge = Callable[[bytes], None]
Signed = frozenset[Claim]

LISTS = [
    ("DML_0_2221605.hex", 70230, "mainnet"),
    ("mn_list_diff_0_2227096.ipfixed.bin", 70230, "mainnet"),
    ("mnlistdiff-mainnet-0-2028691-70230.dat", 70230, "mainnet"),
    ("mnlistdiff-testnet-0-849810-70228-before19.2HF.dat", 70228, "testnet"),
    ("mnlistdiff-testnet-0-850798-70228-after19.2HF.dat", 70228, "testnet"),
    ("mnlistdiff-testnet-0-905762-after20.HF.dat", 70230, "testnet"),
]
ROTATIONS = [
    ("qrinfo-testnet-0-905770-70230-after20.HF.dat", "testnet"),
    ("qrinfo-mainnet-0-2028764-70230.dat.xz", "mainnet"),
]
SAMPLES = 5
"""Flips of a file that are judged both ways, to show that the short one says the same."""


def _payload(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.suffix == ".hex":
        return bytes.fromhex(raw.decode("ascii"))[24:]
    return lzma.decompress(raw) if path.suffix == ".xz" else raw


def _named(message: str) -> set[str]:
    return {row.field for row in UNCOMMITTED if row.message == message and not row.field.startswith("order")}


def _accepted(raw: bytes, fields: Sequence[Field], whole: Judge, lean: Judge) -> set[str]:
    """The fields in which a flip is accepted, of 2,000."""
    cut = Lean.of(raw, fields)
    accepted, samples = set(), {"leaf": SAMPLES, "lean": SAMPLES}
    for field, bit in flips(fields, len(raw)):
        slim = cut.flipped(bit)
        way = "leaf" if changes_a_leaf(raw, field, bit) else "whole" if slim is None else "lean"
        judged = way != "leaf" and _accepts(*((whole, flipped(raw, bit)) if slim is None else (lean, slim)))
        if samples.get(way):
            samples[way] -= 1
            assert _accepts(whole, flipped(raw, bit)) == judged
        accepted |= {field.name} if judged else set()
    assert not any(samples.values())
    return accepted


def _accepts(judge: Judge, raw: bytes) -> bool:
    try:
        judge(raw)
    except PeerMisbehaved:
        return False
    return True


@cache
def _accepted_in_list(path: Path, protocol: int, name: str) -> set[str]:
    raw, network = _payload(path), NETWORKS[name]
    marker = Marker(raw, protocol)
    marker.diff()
    marker.r.end()
    true = MasternodeListDiff.parse(Reader(raw), protocol)
    asked, genesis = Asked.of(true), MasternodeState.empty(network)
    honest = apply_unanchored(network, genesis, true)

    def whole(raw: bytes) -> None:
        judge(_diff(raw, protocol))

    def lean(raw: bytes) -> None:
        diff = _diff(raw, protocol)
        assert not diff.added
        judge(attrs.evolve(diff, added=true.added))

    def judge(diff: MasternodeListDiff) -> None:
        asked.check(diff)
        assert apply_unanchored(network, genesis, diff) == honest

    return _accepted(raw, marker.fields, whole, lean)


def _diff(raw: bytes, protocol: int) -> MasternodeListDiff:
    r = Reader(raw)
    diff = MasternodeListDiff.parse(r, protocol)
    r.end()
    return diff


@pytest.mark.parametrize(("name", "protocol", "network"), LISTS)
def test_every_flip_of_a_list_is_refused_or_named(shared: Path, name: str, protocol: int, network: str) -> None:
    """What is accepted leads to the same list."""
    assert _accepted_in_list(shared / "vectors" / "mnlist" / name, protocol, network) <= _named("mnlistdiff")


def test_every_field_named_of_a_list_is_met(shared: Path) -> None:
    """No row of the table is there in vain."""
    met = [_accepted_in_list(shared / "vectors" / "mnlist" / name, *rest) for name, *rest in LISTS]
    assert set().union(*met) == _named("mnlistdiff")


class RotationMarker(Marker):
    """Marks a whole `qrinfo`; each difference and snapshot is one field and has its own fields inside."""

    def whole(self) -> None:
        for _ in range(3):
            self.snapshot()
        for _ in range(5):
            self.diff()
        assert self.mark("extra share", Reader.u8)
        self.snapshot()
        self.diff()
        self.many("newest commitment", QuorumCommitment.parse)
        self.mark("snapshot count", Reader.u8)
        self.mark("diff count", Reader.u8)
        self.r.end()

    def snapshot(self) -> None:
        self.mark("skip mode", Reader.i32)
        size = self.mark("snapshot size", lambda r: r.compact_size(1 << 16))
        self.mark("snapshot bit", lambda r: r.take((size + 7) // 8))
        self.many("skip", Reader.i32)


@attrs.frozen
class Rotation:
    """A real `qrinfo`, and how a changed one is judged: all of it, or what is left of it without the entries."""

    network: Network
    info: RotationInfo
    states: dict[bytes, MasternodeState]
    asked: list[Asked]
    honest: Signed

    @classmethod
    def read(cls, network: Network, raw: bytes) -> Rotation:
        info = _info(raw)
        states = states_of(network, info, (), partial(apply_unanchored, network), stand_in=True)
        by_hash = {state.block_hash: state for state in states}
        asked = [Asked.of(diff) for diff in _diffs(info)]
        one = cls(network, info, by_hash, asked, frozenset())
        return attrs.evolve(one, honest=_signed(one.quorums(info, by_hash.values())))

    def whole(self, raw: bytes) -> None:
        """Judge a whole message."""
        info = _info(raw)
        self._check_asked(info)
        states = states_of(self.network, info, (), partial(apply_unanchored, self.network), stand_in=True)
        check_commitments(self.network, self.quorums(info, list(states)).pairs)

    def lean(self, raw: bytes) -> None:
        """Judge one without entries; lists that did not change need not be made again, nor signatures checked."""
        bare = _info(raw)
        self._check_asked(bare)
        info = _with_diffs(
            bare, [attrs.evolve(d, added=t.added) for d, t in zip(_diffs(bare), _diffs(self.info), strict=True)]
        )
        for diff, true in zip(_diffs(info), _diffs(self.info), strict=True):
            if diff != true:
                held = attrs.evolve(self.states[self.info.cycle.block_hash], block_hash=self.info.tip.base_hash)
                base = held if true is self.info.tip else MasternodeState.empty(self.network)
                assert apply_unanchored(self.network, base, diff) == self.states[true.block_hash]
        if _signed(self.quorums(info, self.states.values())) != self.honest:
            raise PeerMisbehaved(Fault.BAD_QUORUM_COMMITMENT, "others would have had to sign")

    def quorums(self, info: RotationInfo, states: Iterable[MasternodeState]) -> RotatedQuorums:
        heights = apparent_heights(self.network.quorum_types[5], self.states.values())
        return rotated_quorums(self.network, info, states, heights.get)

    def _check_asked(self, info: RotationInfo) -> None:
        if (info.extra is None) != (self.info.extra is None):
            raise PeerMisbehaved(Fault.UNFITTING_REPLY, "no extra share")
        for asked, diff in zip(self.asked, _diffs(info), strict=False):
            asked.check(diff)


def _diffs(info: RotationInfo) -> list[MasternodeListDiff]:
    """In the order of the message."""
    return [info.tip, info.cycle, *[share.diff for share in info.shares]]


def _with_diffs(info: RotationInfo, diffs: list[MasternodeListDiff]) -> RotationInfo:
    tip, cycle, *rest = diffs
    shares = [attrs.evolve(share, diff=diff) for share, diff in zip(info.shares, rest, strict=True)]
    return attrs.evolve(info, tip=tip, cycle=cycle, earlier=tuple(shares[:3]), extra=shares[3])


def _info(raw: bytes) -> RotationInfo:
    r = Reader(raw)
    message = QrInfo.parse(r, 70230)
    r.end()
    return message.rotation


def _signed(quorums: RotatedQuorums) -> Signed:
    """All that signatures are checked against."""
    return frozenset([claim for commitment, members in quorums.pairs for claim in _claims(commitment, members)])


@cache
def _accepted_in_rotation(path: Path, name: str) -> set[str]:
    raw, network = _payload(path), NETWORKS[name]
    marker = RotationMarker(raw, 70230)
    marker.whole()
    rotation = Rotation.read(network, raw)
    return _accepted(raw, marker.fields, rotation.whole, rotation.lean)


@pytest.mark.parametrize(("name", "network"), ROTATIONS)
def test_every_flip_of_rotation_data_is_refused_or_named(shared: Path, name: str, network: str) -> None:
    """What is accepted leads to the same lists and to the same signers."""
    assert _accepted_in_rotation(shared / "vectors" / "qrinfo" / name, network) <= _named("qrinfo")


def test_every_field_named_of_rotation_data_is_met(shared: Path) -> None:
    """No row of the table is there in vain."""
    met = [_accepted_in_rotation(shared / "vectors" / "qrinfo" / name, network) for name, network in ROTATIONS]
    assert set().union(*met) == _named("qrinfo")


def test_the_order_of_lists_has_no_meaning(shared: Path) -> None:
    """The row that no flip can meet: the same list comes out of entries and quorums in any order."""
    assert [row.field for row in UNCOMMITTED if row.field.startswith("order")] == ["order of the lists"]
    name, protocol, chosen = LISTS[-1]
    network = NETWORKS[chosen]
    true, genesis = _diff(_payload(shared / "vectors" / "mnlist" / name), protocol), MasternodeState.empty(network)
    rnd = random.Random(1)
    mixed = attrs.evolve(true, added=_shuffled(rnd, true.added), new_quorums=_shuffled(rnd, true.new_quorums))
    assert mixed != true
    assert apply_unanchored(network, genesis, mixed) == apply_unanchored(network, genesis, true)


def _shuffled(rnd: random.Random, items: Sequence[T]) -> tuple[T, ...]:
    return tuple(rnd.sample(items, len(items)))


def test_every_flip_of_a_public_chainlock_is_refused(shared: Path) -> None:
    """Of those that have a key: the height, the hash and the signature are all signed for."""
    rows = json.loads((shared / "vectors" / "locks" / "locks.json").read_text())["chainlocks"]
    keyed = [row for row in rows if "quorum_pubkey" in row]
    rnd = random.Random(1)
    for n in range(FLIPS):
        row = keyed[n % len(keyed)]
        block, quorum = bytes.fromhex(row["block_hash_be"])[::-1], bytes.fromhex(row["quorum_hash_be"])[::-1]
        raw = ClSig(row["height"], block, bytes.fromhex(row["sig"])).to_bytes()
        found = ClSig.parse(Reader(flipped(raw, rnd.randrange(8 * len(raw)))), 70230)
        message = sign_hash(row["llmq_type"], quorum, chainlock_request_id(found.height), found.block_hash)
        assert not verify(bytes.fromhex(row["quorum_pubkey"]), message, found.signature)


@pytest.mark.parametrize("command", ["clsig", "isdlock"])
def test_every_flip_of_a_recorded_lock_is_refused(
    chain: RecordedChain, recorded_network: Network, conversation: Callable[[int], Conversation], command: str
) -> None:
    """The cycle of an InstantSend lock has to be a block of the chain, and everything else is signed."""
    payloads = [payload for _, name, payload in conversation(70240) if name == command]
    active = active_sets(chain, recorded_network)
    known = {quorum.key: quorum for quorums in active for quorum in quorums}
    heights = {chain.hash_at(height): height for height in range(357)}

    def judge(raw: bytes) -> None:
        r = Reader(raw)
        if command == "clsig":
            found = ClSig.parse(r, 70240)
            if heights.get(found.block_hash) != found.height:
                raise PeerMisbehaved(Fault.BAD_CHAINLOCK, "no block of the chain")
            lock = ChainLock(found.height, found.block_hash, found.signature)
            verify_chainlock(recorded_network, lock, active[found.height - 8])
        else:
            told = IsdLock.parse(r, 70240)
            r.end()
            if told.cycle_hash not in heights:
                raise PeerMisbehaved(Fault.BAD_INSTANTLOCK, "no cycle of the chain")
            instant = InstantLock(told.inputs, told.txid, told.cycle_hash, told.signature)
            index = instantlock_index(recorded_network, instantlock_request_id(told.inputs))
            quorum = known.get((103, chain.hash_at(heights[told.cycle_hash] + index)))
            if quorum is None:
                raise PeerMisbehaved(Fault.BAD_INSTANTLOCK, "no such quorum")
            verify_instantlock(recorded_network, instant, quorum)

    assert all(_accepts(judge, raw) for raw in payloads)
    rnd = random.Random(1)
    for n in range(FLIPS):
        raw = payloads[n % len(payloads)]
        assert not _accepts(judge, flipped(raw, rnd.randrange(8 * len(raw))))
