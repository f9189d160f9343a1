"""The store against a model of plain lists and dicts, through any sequence of changes, reopenings and disk faults.

Segments are made short (20 heights) so that few steps cross many borders. After every step the receipt must be the
model's; now and then everything is compared, also with a second store that was told the same facts in another order
and in one go: their digests must be equal.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.packed import Packed
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import OutPoint
from phasegate.store import (
    AddWatch,
    AppendFilterHeaders,
    Change,
    Corroborate,
    ForgetDisputes,
    JudgeQuorums,
    KeepAnchors,
    MarkMatched,
    PackedFilters,
    PruneFilters,
    PutFilters,
    PutFilterVariants,
    QuorumVerdict,
    RecordBlock,
    RecordChainLock,
    RecordInstantLock,
    RecordRefusedBranch,
    Rematch,
    RemoveWatch,
    RollBack,
    RollBackFilters,
    SetMasternodes,
    SetQuorumSet,
    Store,
    StoredChainLock,
    StoredQuorum,
    StoredTransaction,
    StoreFailed,
    branches,
    broadcasts,
    chainlocks,
    instantlocks,
    masternodes,
    peers,
    quorums,
    reputations,
    segments,
)
from tests.store.remembered_model import CHANGES
from tests.store.retold import each_filter_a_segment, filter_at, has_lost_filters, history, retold
from tests.store.store_model import Model, commitment

if TYPE_CHECKING:
    from tests.faulty_disk import Disk

SCRIPTS = tuple(b"script %d" % i for i in range(4))
COUNTS = st.sampled_from([1, 1, 2, 3, 5, 7, 19, 20, 21, 39, 40, 41, 60, 85])


def sha(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


QUORUMS = tuple((kind, hashlib.sha256(b"quorum %d" % i).digest()) for i in range(5) for kind in (100, 103))


def findings(model: Model, height: int, outputs: Sequence[int], inputs: int) -> BlockFindings:
    """A block's findings: which outputs a search saw varies, what they are does not."""
    txids = [sha("tx", model.ids[height], i) for i in range(3)]
    points = [OutPoint(txids[i % 3], i) for i in outputs]
    created = tuple(Coin(p, 100 + p.index, SCRIPTS[(height + p.index) % 4], height) for p in points)
    unspent = [p for p, coin in model.coins.items() if p not in model.spends and coin.height < height]
    spent = tuple((point, txids[i % 3]) for i, point in enumerate(unspent[:inputs]))
    transactions = tuple(
        FoundTransaction(txid, i, (), 0, 0, (foreign(txid),), mentioned(txid) if i in outputs else ())
        for i, txid in enumerate(txids)
    )
    return BlockFindings(height, transactions, created, spent)


def mentioned(txid: bytes) -> tuple[bytes, ...]:
    """What the payload of a transaction holds of the scripts; of most nothing."""
    return tuple([script for i, script in enumerate(SCRIPTS) if txid[i] < 60])


def foreign(txid: bytes) -> OutPoint:
    """An output that nobody watches, spent by a transaction."""
    return OutPoint(sha("spent by", txid), 1)


class StoreMachine(RuleBasedStateMachine):
    """Drives a store and the model side by side, on a disk that sometimes fails."""

    room: Path
    disk: Disk
    make_model: type[Model]
    birthday: int

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(dir=self.room))
        self.model = self.make_model(self.birthday)
        self.store = Store.open(self.place / "store", SIMNET, vfs=self.disk.vfs, birthday=self.birthday)
        self.lost: list[bytes] = []

    def teardown(self) -> None:
        self.disk.disarm()
        self.everything_agrees()
        self.store.close()
        shutil.rmtree(self.place)

    def commit(self, *batch: Change) -> bool:
        """Commit to the store, and to the model if the store says that it stands."""
        found = {tx.txid: tx for tx in self.store.transactions()}
        try:
            marks = self.store.commit(batch)
        except StoreFailed:
            self.disk.disarm()
            return False
        self.disk.disarm()
        for change in batch:
            self.model.apply(change)
        assert marks == self.store.marks
        if not any(isinstance(change, RemoveWatch) for change in batch):
            self.changed_transactions_have_new_row_ids(found)
        return True

    def changed_transactions_have_new_row_ids(self, before: dict[bytes, StoredTransaction]) -> None:
        highest = max((tx.row_id for tx in before.values()), default=0)
        for tx in self.store.transactions():
            unlocked = {attrs.evolve(t, instantlock=None) for t in (before.get(tx.txid, tx), tx)}
            known = tx.txid in before and len(unlocked) == 1
            assert known or tx.row_id > highest or not before

    @invariant()
    def the_receipt_is_the_models(self) -> None:
        assert self.store.marks == self.model.marks()

    @initialize(count=COUNTS, synced=st.booleans(), share=st.integers(0, 100))
    def begin(self, count: int, synced: bool, share: int) -> None:
        """A few headers; or a sync that came as far as matching, which single steps seldom do."""
        self.commit(self.model.grow(count, 0), AddWatch(((SCRIPTS[0], ""),)))
        if synced:
            self.append_headers(85, 0)
            self.append_filter_headers(self.model.tip + 1)
            self.put_filters(self.model.tip + 1, 0, backwards=False)
            self.mark_matched(1 + self.model.tip * share // 100, [0, 50, 100])

    @rule(operation=st.integers(1, 30), dead=st.booleans())
    def the_disk_will_fail(self, operation: int, dead: bool) -> None:
        self.disk.arm(operation, dead=dead)

    @rule(count=COUNTS, salt=st.integers(0, 2))
    def append_headers(self, count: int, salt: int) -> None:
        self.commit(self.model.grow(count, salt))

    @rule(depth=COUNTS, count=COUNTS, salt=st.integers(0, 2))
    def fork(self, depth: int, count: int, salt: int) -> None:
        to = max(0, self.model.tip - depth)
        lost = self.model.ids[to + 1 :]
        shorter = attrs.evolve(self.model, raw=self.model.raw[: to + 1], ids=self.model.ids[: to + 1])
        if self.commit(RollBack(to, self.model.work(to)), shorter.grow(count, salt)):
            self.lost = lost

    @rule(depth=st.integers(0, 90))
    def roll_back(self, depth: int) -> None:
        to = max(0, self.model.tip - depth)
        self.commit(RollBack(to, self.model.work(to)))

    @rule(depth=COUNTS)
    def roll_filters_back(self, depth: int) -> None:
        self.commit(RollBackFilters(max(-1, len(self.model.filter_headers) - 1 - depth)))

    @rule(share=st.integers(0, 100), anchor=st.booleans())
    def set_masternodes(self, share: int, anchor: bool) -> None:
        height = self.model.tip * share // 100
        self.commit(SetMasternodes(height, self.model.ids[height], sha("list", share), anchor))

    @rule(picks=st.sets(st.integers(0, 3)))
    def keep_anchors(self, picks: set[int]) -> None:
        self.commit(KeepAnchors(tuple(height for i, height in enumerate(sorted(self.model.anchors)) if i in picks)))

    @rule(share=st.integers(0, 100), active=st.sets(st.sampled_from(QUORUMS), max_size=6), walked=st.booleans())
    def set_quorum_set(self, share: int, active: set[tuple[int, bytes]], walked: bool) -> None:
        height = self.model.tip * share // 100
        commitments = tuple(commitment(*key) for key in sorted(active))
        walk = [SetMasternodes(height, self.model.ids[height], sha("walk", share))] if walked else []
        self.commit(*walk, SetQuorumSet(height, self.model.ids[height], commitments))

    @precondition(lambda self: self.model.quorums.known)
    @rule(picks=st.sets(st.integers(0, 9), min_size=1), verified=st.booleans())
    def judge_quorums(self, picks: set[int], verified: bool) -> None:
        known = sorted(self.model.quorums.known)
        keys = {known[pick % len(known)] for pick in picks}
        reason = "" if verified else "signed before V19"
        self.commit(JudgeQuorums(tuple(QuorumVerdict(*key, verified, reason) for key in sorted(keys))))

    @rule(share=st.integers(0, 100), by=st.integers(0, 100), key=st.sampled_from(QUORUMS))
    def record_chainlock(self, share: int, by: int, key: tuple[int, bytes]) -> None:
        height, mined_by = (self.model.tip * part // 100 for part in (share, by))
        block_hash = self.model.ids[height]
        self.commit(RecordChainLock(height, block_hash, block_hash * 3, *key, mined_by))

    @precondition(lambda self: self.model.quorums.known)
    @rule(pick=st.integers(0, 20), number=st.integers(0, 12), kind=st.sampled_from(["own", "against", "other"]))
    def record_instantlock(self, pick: int, number: int, kind: str) -> None:
        keys, found = sorted(self.model.quorums.known), sorted(self.model.positions)
        known = found[pick % len(found)] if found else sha("nobody")
        txid = known if kind == "own" else sha("tx of a lock", number)
        inputs = (foreign(known),) if kind == "against" else (foreign(txid), OutPoint(b"\1" * 32, number))
        self.commit(RecordInstantLock(txid, inputs, b"isdlock" * number, *keys[pick % len(keys)]))

    @rule(changes=st.lists(CHANGES, min_size=1, max_size=4))
    def remember(self, changes: list[Change]) -> None:
        self.commit(*changes)

    @rule(height=st.integers(0, 100))
    def record_refused_branch(self, height: int) -> None:
        self.commit(RecordRefusedBranch(1.5, height, height + 7, sha("refused"), 1 << 200, height + 1, "[::1]:9"))

    @precondition(lambda self: self.model.filter_headers)
    @rule(share=st.integers(0, 100))
    def corroborate(self, share: int) -> None:
        height = (len(self.model.filter_headers) - 1) * share // 100
        self.commit(Corroborate(height, self.model.filter_headers[height]))

    @precondition(lambda self: self.model.filter_headers)
    @rule(shares=st.lists(st.integers(0, 100), max_size=3), number=st.integers(0, 1))
    def put_filter_variants(self, shares: list[int], number: int) -> None:
        heights = [(len(self.model.filter_headers) - 1) * share // 100 for share in shares]
        self.commit(PutFilterVariants(tuple((height, sha("variant", height, number)) for height in heights)))

    @rule(share=st.integers(0, 100))
    def forget_disputes(self, share: int) -> None:
        self.commit(ForgetDisputes(len(self.model.filter_headers) * share // 100))

    @precondition(lambda self: len(self.model.filter_headers) <= self.model.tip)
    @rule(count=COUNTS)
    def append_filter_headers(self, count: int) -> None:
        start = len(self.model.filter_headers)
        heights = range(start, min(start + count, self.model.tip + 1))
        self.commit(AppendFilterHeaders(start, b"".join(sha("filter header", self.model.ids[h]) for h in heights)))

    @precondition(lambda self: self.model.filter_headers)
    @rule(count=COUNTS, skip=st.sampled_from([0, 0, 0, 1, 20, 45]), backwards=st.booleans())
    def put_filters(self, count: int, skip: int, backwards: bool) -> None:
        start = max(self.model.first_filter, self.model.filter_end + 1 - count // 7) + skip
        heights = list(range(start, min(start + count, len(self.model.filter_headers))))
        found = [(h, filter_at(self.model, h)) for h in heights]
        packed = PackedFilters(start, Packed.of([raw for _, raw in found]))
        self.commit(PutFilters(tuple(reversed(found)) if backwards else packed))

    @precondition(lambda self: self.model.filter_end >= self.model.first_filter)
    @rule(share=st.integers(0, 100))
    def prune_filters(self, share: int) -> None:
        first, end = self.model.first_filter, self.model.filter_end
        to = first + (end - first) * share // 100
        if self.commit(PruneFilters(to)):
            self.model.pruned(to, self.store.marks.filters_base)

    @precondition(lambda self: self.model.first_filter > self.model.birthday)
    @rule(below=st.integers(1, 60))
    def what_was_pruned_stays_so(self, below: int) -> None:
        """It cannot be read, put or matched, and what is not stored cannot be pruned: refused, and nothing changes."""
        self.disk.disarm()
        height = max(self.model.birthday, self.model.first_filter - below)
        with pytest.raises(LookupError, match="are not stored"):
            self.store.filters(height, 1)
        for change in (
            PutFilters(((height, filter_at(self.model, height)),)),
            MarkMatched(tuple(self.model.watch) or (SCRIPTS[0],), height, height, ()),
            PruneFilters(self.model.filter_end + 1),
        ):
            with pytest.raises(ValueError, match=r"filter|stored"):
                self.store.commit([change])

    @rule(scripts=st.sets(st.sampled_from(SCRIPTS), min_size=1))
    def add_watch(self, scripts: set[bytes]) -> None:
        self.commit(AddWatch(tuple((script, "") for script in scripts)))

    @rule(share=st.integers(0, 100))
    def rematch(self, share: int) -> None:
        self.commit(Rematch(self.model.tip * share // 100))

    @rule(script=st.sampled_from(SCRIPTS))
    def remove_watch(self, script: bytes) -> None:
        self.commit(RemoveWatch((script,)))

    @precondition(lambda self: self.model.watch and min(self.model.watch.values()) < self.model.filter_end)
    @rule(count=COUNTS, picks=st.lists(st.integers(0, 100), max_size=5))
    def mark_matched(self, count: int, picks: list[int]) -> None:
        lowest = min(self.model.watch.values())
        scripts = tuple(script for script, reached in self.model.watch.items() if reached == lowest)
        end = min(lowest + count, self.model.filter_end)
        heights = tuple(lowest + 1 + (end - lowest - 1) * pick // 100 for pick in picks)
        self.commit(MarkMatched(scripts, lowest + 1, end, heights))

    @precondition(lambda self: self.model.matches)
    @rule(pick=st.integers(0, 9), outputs=st.lists(st.integers(0, 8), max_size=5), inputs=st.integers(0, 3))
    def record_block(self, pick: int, outputs: list[int], inputs: int) -> None:
        waiting = self.store.pending(10) or self.store.matched_heights()
        height = waiting[pick % len(waiting)]
        self.commit(RecordBlock(height, findings(self.model, height, outputs, inputs)))

    @rule()
    def reopen(self) -> None:
        self.disk.disarm()
        digest = self.store.digest()
        self.store.close()
        self.store = Store.open(self.place / "store", SIMNET, vfs=self.disk.vfs)
        assert self.store.digest() == digest

    @rule()
    def everything_agrees(self) -> None:
        self.disk.disarm()
        self.the_chain_agrees()
        self.lists_and_quorums_agree()
        self.locks_and_disputes_agree()
        self.the_wallet_agrees()
        self.model.remembered.agrees(self.store)
        self.a_store_told_the_same_facts_has_the_same_digest()

    def the_chain_agrees(self) -> None:
        model, store = self.model, self.store
        assert store.read_marks() == model.marks()
        assert store.headers(0, model.tip + 1) == b"".join(model.raw)
        assert store.hashes(0, model.tip + 1) == b"".join(model.ids)
        assert store.filter_headers(0, len(model.filter_headers)) == b"".join(model.filter_headers)
        wanted = range(model.first_filter, model.filter_end + 1)
        assert store.filters(model.first_filter, len(wanted)) == [model.filters[h] for h in wanted]
        pieces = list(store.packed_filters(model.first_filter, len(wanted)))
        assert [raw for _, filters in pieces for raw in filters] == [model.filters[h] for h in wanted]
        assert [store.height_of(block_hash) for block_hash in model.ids] == list(range(model.tip + 1))
        assert [store.height_of(h) for h in self.lost if h not in model.ids] == [
            None for h in self.lost if h not in model.ids
        ]
        assert store.masternode_state() == (model.lists[max(model.lists)] if model.lists else None)
        assert store.check() == ()

    def lists_and_quorums_agree(self) -> None:
        model, store = self.model, self.store
        states = {**model.anchors, **model.lists}
        assert store.masternode_heights() == sorted(states)
        assert {height: store.masternode_state(height) for height in states} == states
        assert store.quorum_set_heights(0, model.tip) == sorted(model.quorums.sets)
        for height, (_, keys) in model.quorums.sets.items():
            assert store.quorum_set(height) == tuple(model.quorums.known[key].commitment for key in sorted(keys))
        for key in QUORUMS:
            known = model.quorums.known.get(key)
            expected = known and StoredQuorum(known.commitment, known.verified, known.reason, known.mined_by)
            assert store.quorum(*key) == expected

    def locks_and_disputes_agree(self) -> None:
        model, store = self.model, self.store
        locks = [StoredChainLock(*attrs.astuple(lock)) for _, lock in sorted(model.chainlocks.items())[::-1]]
        assert store.chainlocks(-1) == locks
        assert store.chainlocks(model.tip // 2) == [lock for lock in locks if lock.height > model.tip // 2]
        refused = [RecordRefusedBranch(*attrs.astuple(branch)[1:]) for branch in store.refused_branches()]
        assert refused == model.refused
        variants = [variant for height in range(model.tip + 1) for variant in model.variants if variant[0] == height]
        assert store.filter_variants(0, model.tip + 1) == variants
        for txid in {sha("tx of a lock", number) for number in range(13)} | model.positions.keys():
            lock, found_lock = model.instantlocks.get(txid), store.instantlock(txid)
            assert (found_lock and found_lock.payload) == (lock and lock.told.payload)
        assert {tx.txid: tx.instantlock for tx in store.transactions()} == model.locked()

    def the_wallet_agrees(self) -> None:
        model, store = self.model, self.store
        assert {item.script: item.matched_to for item in store.watch_items()} == model.watch
        assert store.matched_heights() == sorted(model.matches)
        assert store.pending(1000) == sorted(h for h, recorded in model.matches.items() if not recorded)
        unspent = {point: coin for point, coin in model.coins.items() if point not in model.spends}
        assert store.coins() == unspent
        sums = {script: sum(c.value for c in unspent.values() if c.script == script) for script in model.watch}
        assert store.balances() == sums
        found = {t.txid: (t.height, t.position, t.scripts, t.received, t.sent) for t in store.transactions()}
        assert found == model.found()

    def a_store_told_the_same_facts_has_the_same_digest(self) -> None:
        other = Store.open(self.place / "other", SIMNET, birthday=history(self.model).start)
        with each_filter_a_segment() if has_lost_filters(self.model) else nullcontext():
            for batch in retold(self.model):
                other.commit(batch)
        assert other.digest() == self.store.digest()
        other.close()
        shutil.rmtree(self.place / "other")


@pytest.mark.parametrize("birthday", [0, 33])
def test_the_store_is_what_the_model_says(
    tmp_path: Path, disk: Disk, make_model: type[Model], monkeypatch: pytest.MonkeyPatch, birthday: int
) -> None:
    monkeypatch.setattr(segments, "SPAN", 20)
    monkeypatch.setattr(segments, "FILTERS_SPAN", 10)
    monkeypatch.setattr(segments, "TAIL", 40)
    monkeypatch.setattr(segments, "BULK", 30)
    for module, few in ((masternodes, 3), (quorums, 4), (chainlocks, 3), (instantlocks, 5), (branches, 2)):
        monkeypatch.setattr(module, "KEPT", few)
    for module in (peers, reputations, broadcasts):
        monkeypatch.setattr(module, "KEPT", 3)
    monkeypatch.setattr(masternodes, "KEPT_ANCHORS", 4)
    monkeypatch.setattr(quorums, "SETS", 4)
    for name, value in (("room", tmp_path), ("disk", disk), ("make_model", make_model), ("birthday", birthday)):
        monkeypatch.setattr(StoreMachine, name, value, raising=False)
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
