"""What becomes of one lock, by what is known of the quorum that signed it: the three answers, without a client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from phasegate.consensus.quorums import BASIC_INDEXED, LEGACY, LEGACY_INDEXED, QuorumCommitment
from phasegate.engine.lock_checks import Examination, NotYet
from phasegate.engine.lock_queue import Entry
from phasegate.engine.seams import Writer, compute_inline, inline_seams
from phasegate.p2p.simnet.generated import GeneratedChain
from phasegate.store import (
    AppendHeaders,
    JudgeQuorums,
    QuorumVerdict,
    RecordChainLock,
    RecordInstantLock,
    SetQuorumSet,
    Store,
)
from tests.lock_tampering import Lock, chainlocks, instantlocks, message
from tests.simulated_world import small_chain

pytestmark = pytest.mark.trio

RECORDS = {"chainlock": RecordChainLock, "instantlock": RecordInstantLock}


class Bench:
    """The little of a workbench that looking at locks takes."""

    def __init__(self, store: Store, chain: GeneratedChain) -> None:
        self.store, self.network = store, chain.network
        self.writer, self.seams = Writer(store, compute_inline), inline_seams(1)

    def tell(self, chain: GeneratedChain, *, legacy: bool = False) -> None:
        """Store the quorums that the locks of the chain need, without a verdict."""
        for height in range(chain.height - 60, chain.height + 1):
            quorums = chain.masternodes_at(height).quorums.values()
            told = tuple(map(outdated, quorums)) if legacy else tuple(quorums)
            self.store.commit([SetQuorumSet(height, chain.hash_at(height), told)])

    def judge(self, *, verified: bool) -> None:
        """Give every stored quorum this verdict."""
        keys = [quorum.commitment.key for quorum in self.store.unjudged_quorums()]
        self.store.commit(
            [JudgeQuorums(tuple([QuorumVerdict(*key, verified, "" if verified else "-") for key in keys]))]
        )

    async def answer(self, lock: Lock) -> object:
        """What becomes of `lock`."""
        examination = Examination(self)  # type: ignore[arg-type]
        return await examination.answer(Entry(bytes(32), lock, message(lock).to_payload(70240)))


def outdated(quorum: QuorumCommitment) -> QuorumCommitment:
    """The same quorum, signed as before V19."""
    return attrs.evolve(quorum, version=LEGACY_INDEXED if quorum.version == BASIC_INDEXED else LEGACY)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A store with the headers of the small chain and nothing else."""
    chain = small_chain()
    store = Store.open(tmp_path, chain.network)
    hashes = b"".join([chain.hash_at(height) for height in range(1, chain.height + 1)])
    store.commit([AppendHeaders(1, chain.headers(1, chain.height), hashes, 1 << 20)])
    yield Bench(store, chain)
    store.close()


def lock_of(kind: str) -> Lock:
    """The newest of that kind on the small chain."""
    return (chainlocks if kind == "chainlock" else instantlocks)(small_chain())[-1]


@pytest.mark.parametrize("kind", RECORDS)
async def test_a_lock_is_believed_when_its_quorum_has_its_verdict_and_not_before(bench: Bench, kind: str) -> None:
    """The signature is good all the time; a quorum that nobody has proven may be anybody's."""
    lock = lock_of(kind)
    assert isinstance(await bench.answer(lock), NotYet)
    bench.tell(small_chain())
    assert await bench.answer(lock) == NotYet("its quorum is not proven yet")
    bench.judge(verified=True)
    assert isinstance(await bench.answer(lock), RECORDS[kind])


@pytest.mark.parametrize("kind", RECORDS)
async def test_a_quorum_whose_members_could_not_be_told_signs_locks_too(bench: Bench, kind: str) -> None:
    """Its own signature over its key was checked before it got that verdict."""
    bench.tell(small_chain())
    bench.judge(verified=False)
    assert isinstance(await bench.answer(lock_of(kind)), RECORDS[kind])


@pytest.mark.parametrize("kind", RECORDS)
async def test_a_quorum_of_before_v19_proves_no_lock(bench: Bench, kind: str) -> None:
    """Nothing that it signed could be checked, so anybody may have its key; and who sends the lock is not blamed."""
    bench.tell(small_chain(), legacy=True)
    bench.judge(verified=False)
    assert await bench.answer(lock_of(kind)) == NotYet("its quorum is not proven yet")
