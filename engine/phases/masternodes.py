"""The masternode-list phase: the list of the tip, and proof of every quorum that is active there.

First come the lists whose quorums are wanted: that of the tip, that of the block in which the quorum for the tip's
ChainLock is looked up, and those that queued locks wait for. What their quorums take to be judged is planned, and the
lists for it are brought in ascending order, those that quorums in the making will take among them. Verdicts are stored
as they fall, so that a client that is killed goes on where it was. What completes the phase is stored last, together
with all that was brought by the way.

A quorum that is active at the tip must be judged. One that is active no more is judged if peers tell what it takes,
and is covered by the quorum root and its own signature if they do not.
"""

from __future__ import annotations

from itertools import groupby

import attrs

from phasegate.consensus.locks import SIGN_OFFSET
from phasegate.consensus.masternodes import MasternodeState
from phasegate.consensus.quorums import QuorumCommitment
from phasegate.engine.phases.masternode_lists import Lists
from phasegate.engine.phases.quorum_verdicts import excuse, judge_draws
from phasegate.engine.phases.rotations import RotationJudge
from phasegate.engine.quorum_plan import Plan, coming, plan
from phasegate.engine.quorums import missing_sets
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work
from phasegate.store import Change, JudgeQuorums, KeepAnchors, QuorumVerdict, SetMasternodes, SetQuorumSet

AT_ONCE = 8
"""Lists that are brought between two commits."""

QuorumKey = tuple[int, bytes]


async def download_masternodes(work: Work) -> None:
    """The activity of the state `mnlist`."""
    await work.locks.noted()
    errands = _Errands.of(work)
    if not errands.any:
        return
    work.live.lists_open = True
    try:
        with work.desk("mnlist") as desk:
            await _Walk(work, desk, errands).run()
    finally:
        work.live.lists_open = False


@attrs.frozen
class _Errands:
    """What is to be done at the stored tip.

    Args:
        tip: its list or quorum set is not stored.
        unjudged: quorums that have no verdict yet.
        wanted: heights whose quorums a lock waits for.
        sets: heights below the tip whose quorum set is to be had, ascending.
        anchors: lists to have for the quorums in the making, ascending.
        kept: those that are needed for them, stored ones too.
    """

    tip: bool = False
    unjudged: bool = False
    wanted: frozenset[int] = frozenset()
    sets: tuple[int, ...] = ()
    anchors: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()

    @property
    def any(self) -> bool:
        return self.tip or self.unjudged or bool(self.sets or self.anchors)

    @classmethod
    def of(cls, work: Work) -> _Errands:
        marks, store, first = work.writer.marks, work.store, max(work.network.dip3, work.writer.marks.base)
        if marks.tip < first:
            return cls()

        def absent(heights: set[int], stored: set[int]) -> tuple[int, ...]:
            left = [height for height in heights - stored if first <= height <= marks.tip]
            return tuple(sorted([height for height in left if store.hash_at(height) not in work.live.unserved]))

        sets = set(store.quorum_set_heights(first, marks.tip))
        kept = {height for height in coming(work.network, marks.tip) if height >= first}
        return cls(
            tip=marks.masternodes != marks.tip or marks.tip not in sets,
            unjudged=bool(store.unjudged_quorums()),
            wanted=frozenset(work.live.wanted_sets),
            sets=absent({marks.tip - SIGN_OFFSET, *_wanted(work)}, sets),
            anchors=absent(kept, set(store.masternode_heights())),
            kept=tuple(sorted(kept)),
        )


def _wanted(work: Work) -> list[int]:
    """The heights below the tip whose quorums a lock waits for."""
    return missing_sets(work, [height for height in work.live.wanted_sets if 0 <= height < work.writer.marks.tip])


class _Walk:
    """One stay that has something to do."""

    def __init__(self, work: Work, desk: Desk, errands: _Errands) -> None:
        self._work = work
        self._errands = errands
        self._tip = work.writer.marks.tip
        self._lists = Lists(work, desk)
        self._rotations = RotationJudge(work, desk, self._lists)
        self._fresh: MasternodeState | None = None
        self._sets: dict[int, MasternodeState] = {}
        self._active_at: dict[QuorumKey, int] = {}
        self._verdicts: list[QuorumVerdict] = []
        self._stored = set(work.store.masternode_heights())
        self._left = 0

    async def run(self) -> None:
        """Do all errands."""
        await self._bring_sets()
        await self._lists.bring([self._tip])
        state = await self._lists.at(self._tip)
        self._fresh = state if self._errands.tip else None
        unjudged = self._unjudged(state)
        needed = self._plan([quorum for key, quorum in unjudged.items() if key in state.quorums])
        others = self._plan([quorum for key, quorum in unjudged.items() if key not in state.quorums])
        self._verdicts += await excuse(self._work, self._lists, [*needed.excused, *others.excused])
        self._left = sum(len(part.commitments) for part in needed.parts)
        if self._left:
            await self._commit([*self._take_sets(), *await self._take_tip()])
        await self._judge_needed(needed, others)
        await self._judge_others(others)
        await self._finish()

    async def _bring_sets(self) -> None:
        """Bring the lists below the tip whose quorums are wanted."""
        for height in self._errands.sets:
            if not await self._lists.bring_if_served(height):
                return  # others may be as unlikely to be had, and each costs patience
            self._sets[height] = await self._lists.at(height)

    def _unjudged(self, tip: MasternodeState) -> dict[QuorumKey, QuorumCommitment]:
        """All quorums that have no verdict: stored ones, those of the sets just brought and those active at the tip."""
        found = {}
        for quorum in self._work.store.unjudged_quorums():
            found[quorum.commitment.key] = quorum.commitment
            self._active_at[quorum.commitment.key] = quorum.mined_by
        for height, state in (*self._sets.items(), (self._tip, tip)):
            for key, commitment in state.quorums.items():
                stored = self._work.store.quorum(*key)
                if stored is None or stored.verified is None:
                    found[key] = commitment
                    self._active_at[key] = height
        return found

    def _plan(self, quorums: list[QuorumCommitment]) -> Plan:
        return plan(self._work.network, self._work.writer.marks.base, quorums, self._work.store.height_of)

    async def _judge_needed(self, needed: Plan, others: Plan) -> None:
        must = set(needed.heights)
        useful = [height for height in {*others.heights, *self._errands.anchors} if not self._lists.has(height)]
        for is_needed, run in groupby(sorted({*must, *useful}), key=must.__contains__):
            heights = list(run)
            for first in range(0, len(heights), AT_ONCE):
                await self._bring(heights[first : first + AT_ONCE], needed if is_needed else None)
        for rotation in needed.rotations:
            active_at = max(self._active_at[commitment.key] for commitment in rotation.commitments)
            self._judged(await self._rotations.judge(rotation, active_at, needed=True))

    async def _bring(self, heights: list[int], needed: Plan | None) -> None:
        """Bring some lists, and judge what can be judged by them."""
        if needed is None:
            for height in heights:
                await self._lists.bring_if_served(height)
            return
        await self._lists.bring(heights)
        draws = [draw for draw in needed.draws if draw.list_height in heights]
        self._judged(await judge_draws(self._work, self._lists, draws))
        if self._left:
            kept = {*self._errands.kept, *(height for rotation in needed.rotations for height in rotation.heights)}
            await self._commit([*await self._anchors(kept.intersection(heights)), *self._take_verdicts()])

    def _judged(self, verdicts: list[QuorumVerdict]) -> None:
        self._verdicts += verdicts
        self._left -= len(verdicts)

    async def _judge_others(self, others: Plan) -> None:
        """Judge what is active no more, as far as that can be."""
        draws = [draw for draw in others.draws if self._lists.has(draw.list_height)]
        self._verdicts += await judge_draws(self._work, self._lists, draws)
        for rotation in others.rotations:
            if all(map(self._lists.has, rotation.heights)):
                active_at = max(self._active_at[commitment.key] for commitment in rotation.commitments)
                self._verdicts += await self._rotations.judge(rotation, active_at, needed=False)
        judged = {(verdict.type, verdict.quorum_hash) for verdict in self._verdicts}
        left = [quorum for part in others.parts for quorum in part.commitments if quorum.key not in judged]
        untold = [(quorum, "no peer has the lists that it takes") for quorum in left]
        self._verdicts += await excuse(self._work, self._lists, untold)

    def _take_sets(self) -> list[Change]:
        """The quorum sets that were brought."""
        taken, self._sets = self._sets, {}
        return [_quorum_set(taken[height]) for height in sorted(taken)]

    async def _take_tip(self) -> list[Change]:
        """The tip's list and quorums, if they are not stored."""
        state, self._fresh = self._fresh, None
        if state is None:
            return []
        raw = await self._work.seams.compute(state.to_bytes)
        anchor = await self._anchors({self._tip}.intersection(self._errands.kept))
        return [SetMasternodes(state.height, state.block_hash, raw), _quorum_set(state), *anchor]

    async def _finish(self) -> None:
        """Store the rest in one transaction, and forget what is not needed any more."""
        anchors = await self._anchors(set(self._errands.kept))
        known = [*self._take_sets(), *await self._take_tip(), *self._take_verdicts()]
        await self._commit([*known, KeepAnchors(self._errands.kept), *anchors])
        self._work.live.wanted_sets.difference_update(self._errands.wanted)
        self._work.locks.look_again()

    async def _anchors(self, heights: set[int]) -> list[Change]:
        """The lists at hand to be kept for quorums that will be made."""
        changes: list[Change] = []
        for height in sorted(heights - self._stored):
            if height >= self._work.network.dip3 and self._lists.has(height):
                state = await self._lists.at(height)
                raw = await self._work.seams.compute(state.to_bytes)
                changes.append(SetMasternodes(height, state.block_hash, raw, anchor=True))
                self._stored.add(height)
        return changes

    def _take_verdicts(self) -> list[Change]:
        taken, self._verdicts = tuple(self._verdicts), []
        return [JudgeQuorums(taken)] if taken else []

    async def _commit(self, changes: list[Change]) -> None:
        if changes:
            await self._work.writer.commit(changes)


def _quorum_set(state: MasternodeState) -> SetQuorumSet:
    return SetQuorumSet(state.height, state.block_hash, tuple(state.quorums.values()))
