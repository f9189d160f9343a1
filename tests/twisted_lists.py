"""Chains whose masternode data is told falsely, in part or not at all, and a record of what a client asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from phasegate.consensus.masternodes import MasternodeListDiff
from phasegate.consensus.quorums import QuorumSnapshot
from phasegate.engine.requests import Desk
from phasegate.p2p.messages import GetMnListDiff, GetQrInfo, QrInfo
from phasegate.p2p.simnet.generated import GeneratedChain

Hop = tuple[int, int]
LYING_SIGNATURE = b"\x8a" + bytes(95)


class Twisted:
    """A chain like another one, but for what a test changes.

    Args:
        chain: the honest one.
        diff: makes of an honest list difference what is told; None is silence.
        rotation: the same for a `qrinfo`.
    """

    def __init__(
        self,
        chain: GeneratedChain,
        *,
        diff: Callable[[int, int, MasternodeListDiff], MasternodeListDiff | None] = lambda _base, _height, diff: diff,
        rotation: Callable[[QrInfo], QrInfo | None] = lambda told: told,
    ) -> None:
        self._chain = chain
        self._diff = diff
        self._rotation = rotation

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def mnlistdiff(self, base: int, height: int) -> MasternodeListDiff | None:
        honest = self._chain.mnlistdiff(base, height)
        return honest and self._diff(base, height, honest)

    def qrinfo(self, request: GetQrInfo, version: int) -> QrInfo | None:
        honest = self._chain.qrinfo(request, version)
        return honest and self._rotation(honest)


def without_lists(*heights: int) -> Callable[[int, int, MasternodeListDiff], MasternodeListDiff | None]:
    """Silence about the lists at `heights`."""
    return lambda _base, height, diff: None if height in heights else diff


def with_false_chainlocks(_base: int, _height: int, diff: MasternodeListDiff) -> MasternodeListDiff:
    """Another ChainLock for the work blocks of all new quorums: nothing in the message commits to it."""
    signatures = tuple([(LYING_SIGNATURE, places) for _, places in diff.cl_signatures])
    return attrs.evolve(diff, cl_signatures=signatures)


def with_a_false_key(_base: int, _height: int, diff: MasternodeListDiff) -> MasternodeListDiff:
    """A masternode with another voting key."""
    if not diff.added:
        return diff
    first = attrs.evolve(diff.added[0], voting_key=bytes(20))
    return attrs.evolve(diff, added=(first, *diff.added[1:]))


def with_false_snapshots(told: QrInfo) -> QrInfo:
    """Every snapshot says that nobody was in use and nobody was passed over."""
    return attrs.evolve(
        told,
        earlier=tuple([attrs.evolve(point, snapshot=_nobody(point.snapshot)) for point in told.earlier]),
        extra=told.extra and attrs.evolve(told.extra, snapshot=_nobody(told.extra.snapshot)),
        snapshots=tuple(map(_nobody, told.snapshots)),
    )


def _nobody(snapshot: QuorumSnapshot) -> QuorumSnapshot:
    members = attrs.evolve(snapshot.active_members, raw=bytes(len(snapshot.active_members.raw)))
    return QuorumSnapshot(0, members, ())


def without_snapshots(told: QrInfo) -> QrInfo:
    """The lists, but of no cycle what is remembered of it: all point at the newest one."""
    return attrs.evolve(
        told,
        earlier=tuple([attrs.evolve(point, diff=told.cycle) for point in told.earlier]),
        extra=None,
        snapshots=(),
        diffs=(),
    )


@attrs.define
class Asked:
    """What clients asked about masternodes, heights in place of hashes, in order."""

    hops: list[Hop] = attrs.field(factory=list)
    rotations: list[tuple[tuple[int, ...], int, bool]] = attrs.field(factory=list)

    def clear(self) -> None:
        """Begin anew."""
        self.hops.clear()
        self.rotations.clear()


def record_requests(monkeypatch: pytest.MonkeyPatch, chain: GeneratedChain) -> Asked:
    """Note every request about masternodes from now on."""
    asked, real = Asked(), Desk.ask_many

    def height(block_hash: bytes) -> int:
        found = chain.height_of(block_hash)
        return -1 if found is None else found

    async def ask_many(desk: Desk, peer: Any, message: Any, *rest: Any) -> Any:
        if isinstance(message, GetMnListDiff):
            asked.hops.append((height(message.base), height(message.block)))
        if isinstance(message, GetQrInfo):
            bases = tuple(map(height, message.bases))
            asked.rotations.append((bases, height(message.block), message.extra_share))
        return await real(desk, peer, message, *rest)

    monkeypatch.setattr(Desk, "ask_many", ask_many)
    return asked
