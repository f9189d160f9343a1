"""What a store means, in plain lists and dicts: every change is a few lines here."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import attrs

from phasegate.consensus.blocks import BlockFindings, Coin
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import OutPoint
from phasegate.consensus.quorums import BitSet, QuorumCommitment
from phasegate.consensus.x11 import x11
from phasegate.store import (
    Anchor,
    Change,
    Watermarks,
    branches,
    chainlocks,
    instantlocks,
    masternodes,
    quorums,
    segments,
)
from phasegate.store import changes as c
from phasegate.store import watch_changes as w
from tests.store.remembered_model import Remembered

Key = tuple[int, bytes]


def commitment(kind: int, quorum_hash: bytes, vvec_hash: bytes = b"\7" * 32) -> QuorumCommitment:
    """A commitment that says who it is of, and nothing that would hold."""
    bits = BitSet.of([True, True, False])
    return QuorumCommitment(3, kind, quorum_hash, bits, bits, b"\5" * 48, vvec_hash, b"\6" * 96, b"\7" * 96)


@attrs.define
class Quorum:
    """A known quorum and its place in the order in which quorums became known."""

    number: int
    commitment: QuorumCommitment
    mined_by: int
    verified: bool | None = None
    reason: str = ""


@attrs.frozen
class InstantLock:
    """An InstantSend lock, its place in the order of telling, and since when its quorum was active."""

    number: int
    mined_by: int
    told: c.RecordInstantLock


@attrs.define
class Quorums:
    """The known quorums, and which were active when."""

    known: dict[Key, Quorum] = attrs.field(factory=dict)
    sets: dict[int, tuple[int, set[Key]]] = attrs.field(factory=dict)

    def set_at(self, height: int, active: Sequence[QuorumCommitment]) -> None:
        """The quorums active after one block."""
        keys = {found.key for found in active}
        for found in active:
            number = 1 + max((quorum.number for quorum in self.known.values()), default=0)
            stored = self.known.setdefault(found.key, Quorum(number, found, height))
            stored.mined_by = min(stored.mined_by, height)
        for kind in {kind for kind, _ in keys}:
            self._forget(kind, keys)
        number = 1 + max((n for n, _ in self.sets.values()), default=0)
        self.sets[height] = number, keys
        self.sets = {h: (n, stored) for h, (n, stored) in self.sets.items() if n > number - quorums.SETS}

    def _forget(self, kind: int, active: set[Key]) -> None:
        newest_first = sorted((q.number, key) for key, q in self.known.items() if key[0] == kind)[::-1]
        for _, key in newest_first[quorums.KEPT :]:
            if key not in active:
                del self.known[key]
        self.sets = {h: (n, keys) for h, (n, keys) in self.sets.items() if keys <= self.known.keys()}

    def judge(self, verdicts: Sequence[c.QuorumVerdict]) -> None:
        """What checking them gave."""
        for verdict in verdicts:
            quorum = self.known[(verdict.type, verdict.quorum_hash)]
            quorum.verified, quorum.reason = verdict.verified, verdict.reason

    def active_at(self, height: int | None) -> set[Key]:
        """Those active at `height`, as far as that was told."""
        return self.sets.get(-1 if height is None else height, (0, set[Key]()))[1]

    def roll_back(self, to: int) -> None:
        """Only what is known to be there at `to` stays."""
        self.sets = {height: stored for height, stored in self.sets.items() if height <= to}
        self.known = {key: quorum for key, quorum in self.known.items() if quorum.mined_by <= to}


@attrs.define
class Model:
    """What a store means, with a list index for a height.

    Attributes:
        birthday: from where filters are wanted.
        first_filter: from where they are kept; above the birthday if some were pruned.
    """

    birthday: int = 0
    first_filter: int = attrs.field(default=attrs.Factory(lambda model: model.birthday, takes_self=True))
    raw: list[bytes] = attrs.field(factory=lambda: [SIMNET.genesis])
    ids: list[bytes] = attrs.field(factory=lambda: [x11(SIMNET.genesis)])
    filter_headers: list[bytes] = attrs.field(factory=list)
    filters: dict[int, bytes] = attrs.field(factory=dict)
    lists: dict[int, bytes] = attrs.field(factory=dict)
    anchors: dict[int, bytes] = attrs.field(factory=dict)
    quorums: Quorums = attrs.field(factory=Quorums)
    chainlocks: dict[int, c.RecordChainLock] = attrs.field(factory=dict)
    instantlocks: dict[bytes, InstantLock] = attrs.field(factory=dict)
    refused: list[c.RecordRefusedBranch] = attrs.field(factory=list)
    corroborated: int = -1
    variants: list[tuple[int, bytes]] = attrs.field(factory=list)
    watch: dict[bytes, int] = attrs.field(factory=dict)
    matches: dict[int, bool] = attrs.field(factory=dict)
    coins: dict[OutPoint, Coin] = attrs.field(factory=dict)
    spends: dict[OutPoint, tuple[bytes, int]] = attrs.field(factory=dict)
    positions: dict[bytes, tuple[int, int]] = attrs.field(factory=dict)
    inputs: dict[bytes, set[OutPoint]] = attrs.field(factory=dict)
    mentions: dict[bytes, set[bytes]] = attrs.field(factory=dict)
    remembered: Remembered = attrs.field(factory=Remembered)

    @property
    def tip(self) -> int:
        return len(self.raw) - 1

    @property
    def filter_end(self) -> int:
        return next(h for h in range(self.first_filter - 1, 1 << 31) if h + 1 not in self.filters)

    def work(self, height: int) -> int:
        return Anchor.genesis(SIMNET).work + height

    def grow(self, count: int, salt: int) -> c.AppendHeaders:
        """`count` linked headers on the tip, other ones for another salt; not yet part of the model."""
        raw, ids = [], [self.ids[-1]]
        for height in range(self.tip + 1, self.tip + 1 + count):
            root = hashlib.sha256(b"%d %d" % (salt, height)).digest()
            raw.append(b"\0\0\0\0" + ids[-1] + root + bytes(12))
            ids.append(hashlib.sha256(raw[-1]).digest())
        return c.AppendHeaders(self.tip + 1, b"".join(raw), b"".join(ids[1:]), self.work(self.tip + count))

    def marks(self) -> Watermarks:
        newest = max(self.lists, default=None)
        end = self.filter_end
        return Watermarks(
            base=0,
            tip=self.tip,
            tip_hash=self.ids[-1],
            work=self.work(self.tip),
            masternodes=newest,
            masternodes_hash=b"" if newest is None else self.ids[newest],
            filter_headers=len(self.filter_headers) - 1,
            filter_header=self.filter_headers[-1] if self.filter_headers else bytes(32),
            filters=end,
            matched=min(self.watch.values(), default=end),
            watch_items=len(self.watch),
            pending_blocks=sum(not recorded for recorded in self.matches.values()),
            matched_blocks=len(self.matches),
            filters_base=self.first_filter,
            birthday=self.birthday,
            chainlock=max(self.chainlocks, default=None),
            chainlock_hash=self.chainlocks[max(self.chainlocks)].block_hash if self.chainlocks else b"",
            quorums=len(self.quorums.active_at(newest)),
            quorums_unjudged=sum(self.quorums.known[key].verified is None for key in self.quorums.active_at(newest)),
            corroborated=self.corroborated,
            disputed=min((height for height, _ in self.variants), default=None),
        )

    def pruned(self, to: int, base: int) -> None:
        """Filters below `base` are gone: whole segments, and all of them that hold nothing above `searched_to`."""
        whole = base // segments.FILTERS_SPAN * segments.FILTERS_SPAN
        assert base == self.first_filter or base == whole <= self.searched_to(to) + 1
        assert base + segments.FILTERS_SPAN > min(self.searched_to(to), self.filter_end - segments.TAIL) + 1
        self.first_filter = base
        self.filters = {height: raw for height, raw in self.filters.items() if height >= base}

    def searched_to(self, to: int) -> int:
        """The last height, at most `to`, that everything watched was matched to."""
        return min((to, *self.watch.values()))

    def _want_what_was_pruned(self) -> None:
        """Whoever is to be matched from further down needs all filters again, and no other is kept meanwhile."""
        if any(reached + 1 < self.first_filter for reached in self.watch.values()):
            self.first_filter, self.filters = self.birthday, {}

    def locked(self) -> dict[bytes, bool | None]:
        """Every found transaction, and what the InstantSend locks say about it."""
        return {txid: True if txid in self.instantlocks else self._contradicted(txid) for txid in self.found()}

    def _contradicted(self, txid: bytes) -> bool | None:
        spent = self.inputs.get(txid, set())
        others = (set(lock.told.inputs) for other, lock in self.instantlocks.items() if other != txid)
        return False if any(spent & inputs for inputs in others) else None

    def found(self) -> dict[bytes, tuple[int, int, tuple[bytes, ...], int, int]]:
        """txid -> height, position, scripts, received, sent."""
        views = {}
        for txid, (height, position) in self.positions.items():
            made = [coin for point, coin in self.coins.items() if point.txid == txid]
            used = [self.coins[point] for point, (spender, _) in self.spends.items() if spender == txid]
            scripts = tuple(sorted({coin.script for coin in (*made, *used)} | self.mentions.get(txid, set())))
            if scripts:
                views[txid] = (height, position, scripts, sum(m.value for m in made), sum(u.value for u in used))
        return views

    def apply(self, change: Change) -> None:
        """What each change means."""
        match change:
            case c.AppendHeaders(_, raw, hashes, _):
                self.raw += [raw[i : i + 80] for i in range(0, len(raw), 80)]
                self.ids += [hashes[i : i + 32] for i in range(0, len(hashes), 32)]
            case c.RollBack(to, _):
                self._roll_back(to)
            case c.RollBackFilters(to):
                self._roll_filters_back(to)
            case c.SetMasternodes(height, _, state, anchor):
                kept = {**(self.anchors if anchor else self.lists), height: state}
                name, count = ("anchors", masternodes.KEPT_ANCHORS) if anchor else ("lists", masternodes.KEPT)
                setattr(self, name, dict(sorted(kept.items())[-count:]))
            case c.KeepAnchors(heights):
                self.anchors = {height: state for height, state in self.anchors.items() if height in heights}
            case c.SetQuorumSet(height, _, active):
                self.quorums.set_at(height, active)
            case c.JudgeQuorums(verdicts):
                self.quorums.judge(verdicts)
            case c.RecordChainLock(height):
                kept_locks = {**self.chainlocks, height: change}
                self.chainlocks = dict(sorted(kept_locks.items())[-chainlocks.KEPT :])
            case c.RecordInstantLock():
                self._record_instantlock(change)
            case c.RecordRefusedBranch():
                self.refused = [*self.refused, change][-branches.KEPT :]
            case c.Corroborate(height):
                self.corroborated = max(self.corroborated, height)
            case c.PutFilterVariants(filters):
                self._put_variants(filters)
            case c.ForgetDisputes(start):
                self.variants = [(height, raw) for height, raw in self.variants if height < start]
            case c.AppendFilterHeaders(_, headers):
                self.filter_headers += [headers[i : i + 32] for i in range(0, len(headers), 32)]
            case c.PutFilters(filters):
                self.filters = {**dict(filters), **self.filters}
            case c.MarkMatched(scripts, _, end, heights):
                self.watch |= dict.fromkeys(scripts, end)
                self.matches |= dict.fromkeys(heights, False)
            case c.Rematch(start):
                below = max(start, self.birthday) - 1
                self.watch = {script: min(reached, below) for script, reached in self.watch.items()}
                self._want_what_was_pruned()
            case c.RecordBlock(height, findings):
                self._record(height, findings)
            case c.PruneFilters():
                pass  # how much goes depends on where segments end: `pruned` is told
            case w.AddWatch(items):
                self.watch = {**{script: self.birthday - 1 for script, _ in items}, **self.watch}
                self._want_what_was_pruned()
            case w.RemoveWatch(scripts):
                self._forget(set(scripts))
            case _:
                assert self.remembered.apply(change), change

    def _record_instantlock(self, told: c.RecordInstantLock) -> None:
        if told.txid in self.instantlocks:
            return
        number = 1 + max((lock.number for lock in self.instantlocks.values()), default=0)
        mined_by = self.quorums.known[(told.quorum_type, told.quorum_hash)].mined_by
        self.instantlocks[told.txid] = InstantLock(number, mined_by, told)
        spent = set[OutPoint]().union(*self.inputs.values())
        self.instantlocks = {
            txid: lock
            for txid, lock in self.instantlocks.items()
            if lock.number > number - instantlocks.KEPT
            or txid in self.positions
            or spent.intersection(lock.told.inputs)
        }

    def _put_variants(self, filters: Sequence[tuple[int, bytes]]) -> None:
        for height, raw in filters:
            if (height, raw) not in self.variants:
                self.variants.append((height, raw))
                if height >= self.birthday:
                    self.watch = {script: min(reached, height - 1) for script, reached in self.watch.items()}
        self._want_what_was_pruned()

    def _roll_back(self, to: int) -> None:
        del self.raw[to + 1 :], self.ids[to + 1 :]
        self.lists = {height: state for height, state in self.lists.items() if height <= to}
        self.anchors = {height: state for height, state in self.anchors.items() if height <= to}
        self.quorums.roll_back(to)
        self.chainlocks = {h: lock for h, lock in self.chainlocks.items() if h <= to and lock.mined_by <= to}
        self.instantlocks = {txid: lock for txid, lock in self.instantlocks.items() if lock.mined_by <= to}
        self._roll_filters_back(to)

    def _roll_filters_back(self, to: int) -> None:
        del self.filter_headers[to + 1 :]
        self.corroborated = min(self.corroborated, to)
        self.variants = [(height, raw) for height, raw in self.variants if height <= to]
        self.filters = {height: raw for height, raw in self.filters.items() if height <= to}
        self.matches = {height: recorded for height, recorded in self.matches.items() if height <= to}
        low = max(to, self.birthday - 1)
        self.watch = {script: min(reached, low) for script, reached in self.watch.items()}
        self.coins = {point: coin for point, coin in self.coins.items() if coin.height <= to}
        self.spends = {p: (by, at) for p, (by, at) in self.spends.items() if at <= to and p in self.coins}
        self.positions = {txid: place for txid, place in self.positions.items() if place[0] <= to}
        self._drop_inputs()
        self._want_what_was_pruned()

    def _record(self, height: int, findings: BlockFindings) -> None:
        for coin in findings.created:
            if coin.script in self.watch:
                self.coins.setdefault(coin.outpoint, coin)
        self.spends |= {point: (txid, height) for point, txid in findings.spent if point in self.coins}
        for tx in findings.transactions:
            self.positions.setdefault(tx.txid, (height, tx.position))
            self.inputs.setdefault(tx.txid, set()).update(tx.inputs)
            self.mentions.setdefault(tx.txid, set()).update(self.watch.keys() & tx.mentions)
        self._drop_coinless()
        if height in self.matches:
            self.matches[height] = True

    def _forget(self, scripts: set[bytes]) -> None:
        self.watch = {script: reached for script, reached in self.watch.items() if script not in scripts}
        self.coins = {point: coin for point, coin in self.coins.items() if coin.script not in scripts}
        self.spends = {point: spend for point, spend in self.spends.items() if point in self.coins}
        self.mentions = {txid: named - scripts for txid, named in self.mentions.items()}
        self._drop_coinless()
        if not self.watch:
            self.matches = {}

    def _drop_coinless(self) -> None:
        known = self.found()
        self.positions = {txid: place for txid, place in self.positions.items() if txid in known}
        self._drop_inputs()

    def _drop_inputs(self) -> None:
        self.inputs = {txid: spent for txid, spent in self.inputs.items() if txid in self.positions}
        self.mentions = {txid: named for txid, named in self.mentions.items() if txid in self.positions}
