"""Targets of masternode lists: differences, what they make of a list, rotation, and lists as they are stored.

A difference proves itself by a merkle proof and by the roots in its coinbase, which no mutation would ever meet. So
the targets put a true proof and, where the input wishes it, true roots around whatever else was decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import attrs

from phasegate.consensus.codec import Reader
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState, apply_diff, apply_unanchored
from phasegate.consensus.merkle import PartialMerkleTree
from phasegate.consensus.params import REGTEST, SIMNET, Network, network
from phasegate.consensus.primitives import COINBASE, BlockHeader, CoinbasePayload, Transaction
from phasegate.consensus.rotation_info import RotationInfo, apparent_heights, rotated_quorums, states_of
from phasegate.consensus.x11 import x11
from phasegate.p2p.messages import QrInfo
from phasegate.verification.fuzzing.choices import Choices, piece_of
from phasegate.verification.fuzzing.laws import held, same
from phasegate.verification.fuzzing.wire import VERSIONS

NETWORKS = (SIMNET, network("regtest", {"dip3": 2, "v20": 100, "mn_rr": 100}), REGTEST)


def differences(data: bytes) -> None:
    """One `mnlistdiff` in the form of any protocol version, with its proof."""
    choices = Choices(data)
    version, payload = choices.pick(VERSIONS), choices.rest()
    with suppress(PeerMisbehaved):
        r = Reader(payload, "mnlistdiff")
        diff = MasternodeListDiff.parse(r, version)
        r.end()
        same(diff.to_bytes(version), payload, "a difference that was encoded again")
        diff.proof.extract()


def difference_input(version: int, payload: bytes) -> bytes:
    """The bytes that `differences` reads as this difference."""
    return bytes((VERSIONS.index(version),)) + payload


def list_changes(data: bytes) -> None:
    """Differences that are applied to each other's lists, the first to an empty one."""
    choices = Choices(data)
    chosen = choices.pick(NETWORKS)
    state = MasternodeState.empty(chosen)
    with suppress(PeerMisbehaved):
        while choices.left:
            version, roots, anchored, payload = choices.pick(VERSIONS), choices.flag(), choices.flag(), choices.piece()
            diff = _repaired(MasternodeListDiff.parse(Reader(payload), version), state, roots=roots)
            state = _anchored(chosen, state, diff) if anchored else apply_unanchored(chosen, state, diff)
            stored = MasternodeState.from_bytes(state.to_bytes())
            same((stored, stored.chainlock), (state, state.chainlock), "a list that was stored")
            held(stored.valid_count <= stored.count, "more valid masternodes than there are")


def change_input(number: int, *payloads: tuple[int, bytes], anchored: bool = True) -> bytes:
    """The bytes that `list_changes` reads as these differences, each of a version, on the network of that number."""
    steps = [bytes((VERSIONS.index(version), 1, anchored)) + piece_of(payload) for version, payload in payloads]
    return bytes((number,)) + b"".join(steps)


def _anchored(chosen: Network, state: MasternodeState, diff: MasternodeListDiff) -> MasternodeState:
    """As a client does it: against the header of the block, at the height that the coinbase says."""
    header = BlockHeader(4, bytes(32), diff.coinbase.txid, 0, 0x207FFFFF, 0).to_bytes()
    height = CoinbasePayload.from_bytes(diff.coinbase.payload).height
    return apply_diff(chosen, state, attrs.evolve(diff, block_hash=x11(header)), header, abs(height))


def _repaired(diff: MasternodeListDiff, base: MasternodeState, *, roots: bool) -> MasternodeListDiff:
    coinbase = _true_coinbase(diff, base) if roots else diff.coinbase
    proof = PartialMerkleTree.build([coinbase.txid], {0})
    return attrs.evolve(diff, base_hash=base.block_hash, proof=proof, coinbase=coinbase)


def _true_coinbase(diff: MasternodeListDiff, base: MasternodeState) -> Transaction:
    """A coinbase with the roots that follow from the difference, if it can be applied at all."""
    try:
        stated = CoinbasePayload.from_bytes(diff.coinbase.payload)
    except PeerMisbehaved:
        stated = CoinbasePayload(2, base.height + 1, bytes(32), bytes(32))
    entries = {key: entry for key, entry in base.entries.items() if key not in diff.deleted}
    quorums = {key: quorum for key, quorum in base.quorums.items() if key not in diff.deleted_quorums}
    entries |= {entry.pro_tx_hash: entry for entry in diff.added}
    after = MasternodeState(0, bytes(32), entries, quorums | {quorum.key: quorum for quorum in diff.new_quorums})
    root = after.quorum_root() if stated.version >= 2 else b""
    stated = attrs.evolve(stated, masternode_root=after.merkle_root(), quorum_root=root)
    return attrs.evolve(diff.coinbase, version=3, type=COINBASE, payload=stated.to_bytes())


def rotations(data: bytes) -> None:
    """A `qrinfo`, its lists made of nothing, and the members of its rotated quorums."""
    choices = Choices(data)
    chosen, version, roots, payload = choices.pick(NETWORKS), choices.pick(VERSIONS), choices.flag(), choices.rest()
    with suppress(PeerMisbehaved):
        message = QrInfo.parse(Reader(payload, "qrinfo"), version)
        same(message.to_payload(version), payload[: len(message.to_payload(version))], "a qrinfo encoded again")
        info = _with(message.rotation, [_whole(chosen, diff, roots=roots) for diff in _diffs(message.rotation)])
        states = list(states_of(chosen, info, (), partial(apply_unanchored, chosen), stand_in=True))
        kind = chosen.quorum_types[chosen.roles["instantsend"]]
        rotated_quorums(chosen, info, states, apparent_heights(kind, states).get)


def _whole(chosen: Network, diff: MasternodeListDiff, *, roots: bool) -> MasternodeListDiff:
    """A difference that starts from nothing, so that there is nothing to delete."""
    return _repaired(attrs.evolve(diff, deleted=(), deleted_quorums=()), MasternodeState.empty(chosen), roots=roots)


def rotation_input(number: int, version: int, payload: bytes) -> bytes:
    """The bytes that `rotations` reads as this `qrinfo`, on the network of that number."""
    return bytes((number, VERSIONS.index(version), 1)) + payload


def _diffs(info: RotationInfo) -> list[MasternodeListDiff]:
    return [info.tip, info.cycle, *[share.diff for share in info.shares]]


def _with(info: RotationInfo, diffs: Sequence[MasternodeListDiff]) -> RotationInfo:
    tip, cycle, *rest = diffs
    shares = [attrs.evolve(share, diff=diff) for share, diff in zip(info.shares, rest, strict=True)]
    earlier, last = shares[:3], shares[3:]
    extra = None if info.extra is None else last.pop(0)
    return attrs.evolve(info, tip=tip, cycle=cycle, earlier=tuple(earlier), extra=extra, older=tuple(last))


def stored_lists(data: bytes) -> None:
    """A masternode list as the store keeps it, which a damaged disk may give back in any form."""
    with suppress(PeerMisbehaved):
        same(MasternodeState.from_bytes(data).to_bytes(), data, "a stored list that was encoded again")
