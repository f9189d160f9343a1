"""Bringing all peers to one opinion about the filter headers, or finding that it cannot be done [BIP157].

Filter headers are a hash chain that nothing else in the protocol proves, so peers are made to commit first. Where their
claims differ, the first range in which they do is asked of one peer of each opinion, then the filters of the heights
whose hashes differ, and each filter is held against the block (`filter_evidence`). Only proven liars are banned; who is
silent is dropped. What is stored has no privilege: peers that all contradict it are heard, and it is rolled back.

If more than one opinion stands up to all that (an element too many cannot be disproved), further peers are asked, and
then nobody is banned: the chain that most peers state, of equals the stored one, then the first, is gone on with, and
at every height where the others' hashes differ their filters are kept beside it and matched as well. Whoever is right,
no payment is hidden. At most `MOST_VARIANTS` heights are taken at once: beyond that the headers are stored only up to
the height reached, and the settlement begins again from there, so that memory stays bounded and nothing is skipped.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

import attrs
import trio

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.filter_proofs import filter_lies
from phasegate.consensus.filters import filter_hash
from phasegate.engine.errors import Failure, FailureKind, PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.phases.filter_claims import (
    INTERVAL,
    Claim,
    differing_spans,
    doubtful_span,
    take_claim,
    take_continuation,
)
from phasegate.engine.phases.filter_evidence import Evidence, Hashes
from phasegate.engine.phases.filter_spans import Span
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work, unwrapped
from phasegate.store import RollBackFilters

MOST_VARIANTS = 500
"""Disputed heights that are judged and held in memory before what is known of them is stored."""

Take = Callable[[Work, Desk, Peer], Awaitable[Claim]]


@attrs.frozen
class Opinion:
    """A claim and all who make it."""

    claim: Claim
    peers: list[Peer]


@attrs.define
class Dispute:
    """What came of holding another opinion against the main one.

    Args:
        reach: how far every difference has been judged.
        variants: the others' filters that stand, as (height, raw).
        examined: the filter headers at the ends of the ranges judged to their end, by the height of that.
        differing: whether a height was met at which the filter hashes differ.
        agreed: the last height before the first difference, and the filter header there, unless that is long known.
    """

    reach: int
    variants: list[tuple[int, bytes]] = attrs.field(factory=list)
    examined: dict[int, tuple[bytes, bytes]] = attrs.field(factory=dict)
    differing: bool = False
    agreed: tuple[int, bytes] | None = None

    def until(self, height: int) -> Dispute:
        """What of it can be stored when no filter header above `height` is; the rest is judged again in its turn."""
        return attrs.evolve(
            self,
            variants=[item for item in self.variants if item[0] <= height],
            examined={end: ends for end, ends in self.examined.items() if end <= height},
            agreed=None if self.agreed is None or self.agreed[0] > height else self.agreed,
        )


@attrs.frozen
class Settled:
    """What is to be stored: the main opinion up to `reach`, and beside it what could not be decided."""

    main: Opinion
    rivals: list[Opinion]
    disputes: list[Dispute]
    reach: int


class Settlement:
    """One attempt to settle."""

    def __init__(self, work: Work, desk: Desk, evidence: Evidence) -> None:
        self._work = work
        self._desk = desk
        self._evidence = evidence
        self._claims: dict[Peer, Claim] = {}
        self._further: list[Peer] | None = None
        self.asked: set[Peer] = set()

    async def settle(self) -> Settled | None:
        """What is to be stored; None when nobody says anything and nothing is missing.

        Raises:
            Failure: nobody is left who could be asked, or a lone peer contradicts what two others stated.
        """
        if (continued := await self._continued()) is not None:
            return Settled(continued, [], [], self._work.writer.marks.tip)
        await self._collect(self._work.filter_peers(), take_claim)
        while opinions := self._opinions():
            main, *rivals = opinions
            disputes = await self._hold_against(main, rivals)
            if disputes is None or (rivals and await self._ask_further()):
                continue
            if await self._stored_fits(main, rivals):
                marks = self._work.writer.marks
                reach = min([marks.tip, *[dispute.reach for dispute in disputes]])
                stored = max(reach, marks.filter_headers)
                return Settled(main, rivals, [dispute.until(stored) for dispute in disputes], reach)
        if self._work.writer.marks.filter_headers < self._work.writer.marks.tip:
            raise self._work.no_peer()
        return None

    # -- claims --------------------------------------------------------------------------------------------------

    async def _continued(self) -> Opinion | None:
        """The one opinion of all peers, if all just continue what is stored; else None."""
        marks, opinions = self._work.writer.marks, self._work.live.opinions
        if marks.filter_headers < marks.base or marks.tip - marks.filter_headers > INTERVAL or opinions.dissenting:
            return None
        await self._collect(self._work.filter_peers(), take_continuation)
        claims = {peer: claim for peer, claim in self._claims.items() if not peer.gone}
        self._claims.clear()
        one = next(iter(claims.values()), None)
        if one is None or any(claim != one for claim in claims.values()):
            return None
        return Opinion(one, list(claims)) if one.told(marks.filter_headers) == marks.filter_header else None

    async def _collect(self, peers: Sequence[Peer], take: Take) -> None:
        async def ask(peer: Peer) -> None:
            try:
                with self._work.blame(peer):
                    self._claims[peer] = await take(self._work, self._desk, peer)
            except (PeerGone, PeerMisbehaved):
                return  # dropped or banned, with the reason, by `blame`

        self.asked.update(peers)
        with unwrapped():
            async with trio.open_nursery() as nursery:
                for peer in peers:
                    nursery.start_soon(ask, peer)

    def _opinions(self) -> list[Opinion]:
        """The opinions of those who are there, the one to go on with first."""
        found: dict[bytes, Opinion] = {}
        base = self._work.writer.marks.base
        for peer in sorted([peer for peer in self._claims if not peer.gone], key=self._work.pool.rank):
            claim = self._claims[peer]
            found.setdefault(claim.opinion(base), Opinion(claim, [])).peers.append(peer)
        return sorted(found.values(), key=lambda opinion: (-len(opinion.peers), not self._is_stored(opinion)))

    def _is_stored(self, opinion: Opinion) -> bool:
        marks = self._work.writer.marks
        return marks.filter_headers >= marks.base and doubtful_span(self._work, opinion.claim) is None

    async def _ask_further(self) -> bool:
        """Ask peers beyond those that are asked normally, once; whether any of them said something."""
        if self._further is not None:
            return False
        self._further = [peer for peer in self._work.pool.further if self._work.serves_filters(peer)]
        await self._collect(self._further, take_claim)
        return any(peer in self._claims for peer in self._further)

    # -- proofs --------------------------------------------------------------------------------------------------

    async def _hold_against(self, main: Opinion, rivals: list[Opinion]) -> list[Dispute] | None:
        """Every other opinion against the main one; None when somebody was found out, or is gone."""
        disputes = []
        for rival in rivals:
            dispute = await self._contest(main, rival)
            if dispute is None:
                return None
            disputes.append(dispute)
        return disputes

    async def _contest(self, main: Opinion, rival: Opinion) -> Dispute | None:
        marks = self._work.writer.marks
        dispute = Dispute(marks.tip)
        for span in differing_spans(marks, main.claim, rival.claim):
            ends = main.claim.at(span.end), rival.claim.at(span.end)
            if ends in self._work.live.opinions.examined:
                dispute.differing = True
                continue
            ours, theirs = [await self._evidence.hashes(o.peers[0], o.claim, span) for o in (main, rival)]
            if ours is None or theirs is None or not await self._judge(main, rival, span, ours, theirs, dispute):
                return None
            if dispute.reach < marks.tip:
                break
            dispute.examined[span.end] = ends
        return dispute

    async def _judge(
        self, main: Opinion, rival: Opinion, span: Span, ours: Hashes, theirs: Hashes, dispute: Dispute
    ) -> bool:
        """Judge each difference in `span`; False when somebody was found out, or is gone."""
        stored = self._admit_stored(span)
        for place in _unequal(ours, theirs):
            height = span.start + place
            names = ours.at(place), theirs.at(place)
            if not dispute.differing:
                dispute.differing, dispute.agreed = True, (height - 1, ours.header(place - 1))
            elif height < self._work.writer.marks.birthday:
                continue  # no filter below the birthday is ever looked at, but a liar is found out by the first one
            if (height, names[1]) in stored and self._evidence.stands(height, names[0]):
                continue
            if len(dispute.variants) == MOST_VARIANTS:
                dispute.reach = height - 1
                return True
            filters = [
                await self._evidence.filter(opinion.peers[0], height, name)
                for opinion, name in zip((main, rival), names, strict=True)
            ]
            if filters[0] is None or filters[1] is None:
                return False
            dispute.variants.append((height, filters[1]))
        return True

    def _admit_stored(self, span: Span) -> set[tuple[int, bytes]]:
        """The stored variants of `span`, by height and hash; they were judged, and so was what they stand beside."""
        store, marks = self._work.store, self._work.writer.marks
        known = store.filter_variants(span.start, span.count)
        for height, raw in known:
            self._evidence.admit(height, raw)
            if marks.filters_base <= height <= marks.filters:
                self._evidence.admit(height, store.filters(height, 1)[0])
        return {(height, filter_hash(raw)) for height, raw in known}

    # -- what is stored ------------------------------------------------------------------------------------------

    async def _stored_fits(self, main: Opinion, rivals: list[Opinion]) -> bool:
        """Whether the main opinion continues what is stored; if not that is rolled back, or somebody is found out."""
        span = doubtful_span(self._work, main.claim)
        if span is None:
            return True
        told = await self._evidence.hashes(main.peers[0], main.claim, span)
        if told is None:
            return False
        place = self._departure(span, told)
        if place is None:
            return True
        height = span.start + place
        if await self._evidence.filter(main.peers[0], height, told.at(place)) is None:
            return False
        if len(main.peers) == 1 and not rivals and await self._stored_stands(height):
            detail = f"filter headers disputed at {height}: {main.peers[0]} alone contradicts what two peers stated"
            raise Failure(FailureKind.DISPUTED, detail)
        await self._drop_stored(height - 1)
        await self._collect([peer for peer in self._claims if not peer.gone], take_claim)
        return False

    def _departure(self, span: Span, told: Hashes) -> int | None:
        """The first place in `span` at which the stored filter header is not the one told."""
        end = min(span.end, self._work.writer.marks.filter_headers)
        stored = self._work.store.filter_headers(span.start, end - span.start + 1)
        places = range(len(stored) // 32)
        return next((i for i in places if stored[32 * i : 32 * i + 32] != told.header(i)), None)

    async def _stored_stands(self, height: int) -> bool:
        """Whether two peers stated the stored filter header of `height`, and the block does not disprove its filter."""
        marks = self._work.writer.marks
        if height > marks.corroborated or not marks.filters_base <= height <= marks.filters:
            return False
        raw, block = self._work.store.filters(height, 1)[0], await self._evidence.block(height)
        return block is None or await self._work.seams.compute(filter_lies, block, raw) is None

    async def _drop_stored(self, height: int) -> None:
        """Peers make another claim than the stored chain: go back to where it is the same."""
        await self._work.writer.commit([RollBackFilters(height)])
        self._work.warn("filter-headers-dropped", f"stored filter headers above {height} are not those of the peers")
        self._work.live.opinions.forget_stored()


def _unequal(one: Hashes, other: Hashes) -> Iterator[int]:
    return (i for i in range(len(one.raw) // 32) if one.at(i) != other.at(i))
