"""Real `qrinfo` messages: every list in them reaches its roots, and every quorum that they explain verifies."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from phasegate.consensus.codec import Reader
from phasegate.consensus.faults import Fault, Malformed, PeerMisbehaved
from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState, apply_diff, apply_unanchored
from phasegate.consensus.params import MAINNET, TESTNET, Network
from phasegate.consensus.primitives import CoinbasePayload
from phasegate.consensus.quorums import BitSet, QuorumCommitment
from phasegate.consensus.rotation_info import (
    RotationInfo,
    RotationShare,
    apparent_heights,
    check_rotation,
    states_of,
)
from phasegate.p2p.messages import QrInfo
from tests.conftest import Conversation
from tests.consensus.conftest import RecordedChain

FILES = [
    ("qrinfo-testnet-0-905770-70230-after20.HF.dat", TESTNET, 32),
    ("qrinfo-mainnet-0-2028764-70230.dat.xz", MAINNET, 64),
]
RECORDINGS = [(version, extra) for version in (70228, 70230, 70235, 70240) for extra in (False, True)]


def _file(shared: Path, name: str) -> QrInfo:
    path = shared / "vectors" / "qrinfo" / name
    raw = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    r = Reader(raw, "qrinfo")
    message = QrInfo.parse(r, 70230)
    r.end()
    assert message.to_payload(70230) == raw
    return message


def _states(network: Network, info: RotationInfo) -> list[MasternodeState]:
    return list(states_of(network, info, (), partial(apply_unanchored, network), stand_in=True))


@pytest.mark.parametrize(("name", "network", "verified"), FILES)
def test_public_rotation_data_verifies(shared: Path, name: str, network: Network, verified: int) -> None:
    """32 of 32 newest commitments; the mainnet one also explains the 32 that came after."""
    info = _file(shared, name).rotation
    states = _states(network, info)
    assert len(states) == 6
    heights = apparent_heights(network.quorum_types[5], states)
    quorums = check_rotation(network, info, states, heights.get)
    judged = {commitment.key for commitment, _ in quorums.pairs}
    assert len(info.last_commitments) == 32
    assert judged >= {commitment.key for commitment in info.last_commitments}
    assert len(quorums.pairs) == verified
    assert not judged & {commitment.key for commitment in quorums.beyond}


@attrs.frozen
class Recorded:
    """A recorded `qrinfo` with what judging it takes."""

    chain: RecordedChain
    network: Network
    info: RotationInfo

    def states(self) -> list[MasternodeState]:
        def apply(base: MasternodeState, diff: MasternodeListDiff) -> MasternodeState:
            height = self.chain.height_of(diff.block_hash)
            return apply_diff(self.network, base, diff, self.chain.header(height), height)

        return list(states_of(self.network, self.info, (), apply))

    def check(self, **changes: Any) -> tuple[int, int]:
        """How many rotated quorums verify, and how many it says nothing about."""
        info = attrs.evolve(self.info, **changes)
        heights = {self.chain.hash_at(height): height for height in range(357)}
        quorums = check_rotation(self.network, info, self.states(), heights.get)
        return len(quorums.pairs), len(quorums.beyond)


@pytest.fixture(scope="session")
def recorded(
    chain: RecordedChain, recorded_network: Network, conversation: Callable[[int], Conversation]
) -> Callable[[int, bool], Recorded]:
    """The answer of one protocol version, with or without an extra share."""

    def read(version: int, extra: bool) -> Recorded:
        payloads = [payload for way, command, payload in conversation(version) if (way, command) == ("<", "qrinfo")]
        messages = [QrInfo.parse(Reader(payload), version) for payload in payloads]
        (message,) = [message for message in messages if (message.extra is not None) == extra]
        return Recorded(chain, recorded_network, message.rotation)

    return read


@pytest.mark.parametrize(("version", "extra"), RECORDINGS)
def test_recorded_rotation_data_verifies(recorded: Callable[[int, bool], Recorded], version: int, extra: bool) -> None:
    """In its old form, where every list starts from genesis, and in the new one, where each starts from the last."""
    one = recorded(version, extra)
    verified, _ = one.check()
    assert verified >= 2
    assert len(one.states()) == 5 + extra
    steps = {diff.base_hash for diff in one.info.in_order}
    assert len(steps) == (len(one.states()) if version >= 70236 else 1)


def test_lists_without_headers_come_to_the_same(recorded: Callable[[int, bool], Recorded]) -> None:
    """The proof is unanchored then; heights are taken from the lists, right where commitments are mined early."""
    one = recorded(70240, True)
    states = _states(one.network, one.info)
    assert states == one.states()
    heights = apparent_heights(one.network.quorum_types[103], states)
    assert heights
    assert all(one.chain.hash_at(height) == name for name, height in heights.items())


def test_a_list_from_an_unknown_base_is_refused(recorded: Callable[[int, bool], Recorded]) -> None:
    """Where nobody may stand in."""
    one = recorded(70240, False)
    cut = attrs.evolve(one.info, cycle=attrs.evolve(one.info.cycle, base_hash=b"\7" * 32))
    with pytest.raises(PeerMisbehaved) as caught:
        list(states_of(one.network, cut, (), partial(apply_unanchored, one.network)))
    assert caught.value.fault is Fault.UNFITTING_REPLY


def _flipped(share: RotationShare, bit: int) -> RotationShare:
    bits = share.snapshot.active_members
    flags = [bits[i] != (i == bit) for i in range(bits.size)]
    return attrs.evolve(share, snapshot=attrs.evolve(share.snapshot, active_members=BitSet.of(flags)))


@pytest.mark.parametrize(("place", "bit"), [(0, 0), (1, 0), (2, 3)])
def test_a_false_snapshot_is_refused(recorded: Callable[[int, bool], Recorded], place: int, bit: int) -> None:
    """It leads to members who did not sign, or is not the one that follows from the quarters before."""
    one = recorded(70240, True)
    shares = list(one.info.earlier)
    shares[place] = _flipped(shares[place], bit)
    with pytest.raises(PeerMisbehaved) as caught:
        one.check(earlier=tuple(shares))
    assert caught.value.fault in (Fault.BAD_QUORUM_SNAPSHOT, Fault.BAD_QUORUM_COMMITMENT)


def test_shares_of_other_cycles_are_refused(recorded: Callable[[int, bool], Recorded]) -> None:
    one = recorded(70240, True)
    first, second, third = one.info.earlier
    for earlier in ((second, first, third), (first, second, second)):
        with pytest.raises(PeerMisbehaved) as caught:
            one.check(earlier=earlier)
        assert caught.value.fault is Fault.UNFITTING_REPLY


def test_a_newest_commitment_must_stand_in_a_list(recorded: Callable[[int, bool], Recorded]) -> None:
    """Where a root covers it."""
    one = recorded(70240, True)
    false: QuorumCommitment = attrs.evolve(one.info.last_commitments[0], vvec_hash=b"\7" * 32)
    with pytest.raises(PeerMisbehaved) as caught:
        one.check(last_commitments=(false,))
    assert caught.value.fault is Fault.BAD_QUORUM_COMMITMENT


def test_a_false_chainlock_signature_of_a_work_block_is_refused(recorded: Callable[[int, bool], Recorded]) -> None:
    """Members are drawn by it: where the coinbase of the work block is at hand, both must agree."""
    one = recorded(70240, True)
    for diff in one.info.in_order:
        for place, (signature, indexes) in enumerate(diff.cl_signatures):
            if any(diff.new_quorums[i].type == 103 for i in indexes) and any(signature):
                false = list(diff.cl_signatures)
                false[place] = (b"\x80" + signature[1:-1] + b"\7", indexes)
                if diff is one.info.tip:
                    with pytest.raises(PeerMisbehaved) as caught:
                        one.check(tip=attrs.evolve(diff, cl_signatures=tuple(false)))
                    assert caught.value.fault is Fault.BAD_MASTERNODE_DIFF
                    return
    pytest.fail("the recording has no such signature")


def test_snapshots_of_older_cycles_come_with_their_lists(shared: Path) -> None:
    message = _file(shared, FILES[0][0])
    alone = attrs.evolve(message, snapshots=(message.earlier[0].snapshot,))
    with pytest.raises(Malformed):
        _ = alone.rotation


def test_the_differences_are_ordered_by_height(recorded: Callable[[int, bool], Recorded]) -> None:
    heights = [CoinbasePayload.from_bytes(d.coinbase.payload).height for d in recorded(70240, True).info.in_order]
    assert heights == [232, 256, 280, 304, 328, 356]
