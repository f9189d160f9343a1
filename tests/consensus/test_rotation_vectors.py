"""Real `qrinfo` payloads, taken apart with the parts that stand here: each full list in them reaches its roots."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from phasegate.consensus.codec import Reader
from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState
from phasegate.consensus.params import MAINNET, TESTNET, Network
from phasegate.consensus.primitives import CoinbasePayload
from phasegate.consensus.quorums import QuorumCommitment, QuorumSnapshot
from phasegate.consensus.x11 import x11

PROTOCOL = 70230


def _diff(r: Reader) -> MasternodeListDiff:
    return MasternodeListDiff.parse(r, PROTOCOL)


@pytest.mark.parametrize(
    ("name", "network"),
    [("qrinfo-testnet-0-905770-70230-after20.HF.dat", TESTNET), ("qrinfo-mainnet-0-2028764-70230.dat.xz", MAINNET)],
)
def test_the_full_lists_of_a_real_qrinfo_reach_their_roots(shared: Path, name: str, network: Network) -> None:
    path = shared / "vectors" / "qrinfo" / name
    raw = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    r = Reader(raw, "qrinfo")
    snapshots = [QuorumSnapshot.parse(r) for _ in range(3)]
    diffs = [_diff(r) for _ in range(5)]
    assert r.u8() == 1
    snapshots.append(QuorumSnapshot.parse(r))
    diffs.append(_diff(r))
    newest = r.many(64, QuorumCommitment.parse)
    r.many(64, QuorumSnapshot.parse)
    r.many(64, _diff)
    r.end()
    assert len(newest) == 32
    assert [commitment.index for commitment in newest] == list(range(32))
    assert all(snapshot.to_bytes() in raw for snapshot in snapshots)
    for diff in diffs:
        assert diff.to_bytes(PROTOCOL) in raw
    genesis = x11(network.genesis)
    full = [diff for diff in diffs if diff.base_hash == genesis]
    assert len(full) == 5
    for diff in full:
        _assert_roots(diff)


def _assert_roots(diff: MasternodeListDiff) -> None:
    payload = CoinbasePayload.from_bytes(diff.coinbase.payload)
    entries = {entry.pro_tx_hash: entry for entry in diff.added}
    state = MasternodeState(payload.height, diff.block_hash, entries, {q.key: q for q in diff.new_quorums})
    assert (state.merkle_root(), state.quorum_root()) == (payload.masternode_root, payload.quorum_root)
