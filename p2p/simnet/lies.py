"""How a node lies: one thing wrong, at one height, each time it is asked; everything else stays as honest as before.

A lie is what an attacker can afford: a header with a broken link or another difficulty is mined anew, a wrong filter is
a well-formed one that hides the block's payments. A lie twists the finished answer, so that the honest chain behind it
is never touched. Some lies about filters are told throughout: all that depends on the false filter fits it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from phasegate.p2p.messages import BlockMessage, CFCheckpt, CFHeaders, CFilter, Message
from phasegate.p2p.simnet import CannotServe, false_filters, lying_headers, twists
from phasegate.p2p.simnet.answers import CHECKPOINT_INTERVAL, Answer
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.false_filters import FalseFilters, Falsifier
from phasegate.p2p.simnet.twists import Asked, Twists, diff_twist, header_twists

ANY = object
UNASKED = "unasked-messages"
"""The one lie that is told with every answer: what nobody asked for."""


class UnknownLie(CannotServe):
    """No such kind of lie, or a height it cannot be told at."""


def kind_of(text: str) -> str:
    """The KIND of `KIND[@HEIGHT]`.

    Raises:
        UnknownLie: naming the kinds there are.
    """
    kind = text.partition("@")[0]
    if kind not in KINDS:
        raise UnknownLie(f"unknown lie {kind!r}: choose one of {', '.join(KINDS)}")
    return kind


@attrs.frozen
class Lie:
    """A kind of lie and the height it is told at."""

    kind: str
    height: int
    _filters: FalseFilters | None = attrs.field(default=None, eq=False, repr=False)

    @classmethod
    def parse(cls, text: str, chain: SimulatedChain) -> Lie:
        """From `KIND[@HEIGHT]`; without a height the lie sits in the middle of what it is about.

        Raises:
            UnknownLie: naming what is wrong, and the kinds there are.
        """
        kind, height = kind_of(text), text.partition("@")[2]
        if height and not (height.isascii() and height.isdecimal() and 0 < int(height) <= chain.height):
            raise UnknownLie(f"{height!r} is no height of a chain of {chain.height} blocks")
        if kind == "wrong-cfcheckpt" and chain.height < CHECKPOINT_INTERVAL:
            raise UnknownLie(f"a chain of {chain.height} blocks has no filter checkpoint to lie about")
        if kind in FALSE_FILTERS:
            return cls._about_filters(kind, [int(height)] if height else _outwards(chain), chain)
        return cls(kind, int(height) if height else _middle(kind, chain))

    @classmethod
    def _about_filters(cls, kind: str, heights: Iterable[int], chain: SimulatedChain) -> Lie:
        """At the first of `heights` where this lie can be told."""
        falsify = FALSE_FILTERS[kind]
        at = next((h for h in heights if kind in THROUGHOUT or falsify(chain, h) is not None), None)
        if at is None:
            raise UnknownLie(f"the block has nothing that {kind} could be told of")
        return cls(kind, at, FalseFilters(falsify, at, kind in THROUGHOUT))

    def tell(self, chain: SimulatedChain, answer: Answer, version: int) -> Answer:
        """The answer with the lie in it, if it is about the lie's height at all."""
        throughout = bool(answer.covers) and (self.kind == UNASKED or self._filters is not None)
        if self.height not in answer.covers and not throughout:
            return answer
        asked = Asked(chain, self.height, answer, version, self._filters)
        return attrs.evolve(answer, messages=self._twisted(asked))

    def _twisted(self, asked: Asked) -> Iterator[Message]:
        kinds = KINDS[self.kind]
        yield from twists.unasked(asked) if self.kind == UNASKED else ()
        for message in asked.answer.messages:
            twist = kinds.get(type(message)) or kinds.get(ANY)
            yield twist(message, asked) if twist else message


def _middle(kind: str, chain: SimulatedChain) -> int:
    if kind in _ABOUT_BLOCKS and chain.watched_heights:
        return chain.watched_heights[len(chain.watched_heights) // 2]
    middle = max(1, chain.height // 2)
    if kind == "wrong-cfcheckpt" and chain.height >= CHECKPOINT_INTERVAL:
        return max(1, round(middle / CHECKPOINT_INTERVAL)) * CHECKPOINT_INTERVAL
    return middle


def _outwards(chain: SimulatedChain) -> Iterator[int]:
    """Heights from the middle on, then those below it; those that concern watched scripts first."""
    middle = max(1, chain.height // 2)
    watched = sorted(chain.watched_heights, key=lambda height: abs(height - middle))
    yield from (*watched, *range(middle, chain.height + 1), *range(middle - 1, 0, -1))


FALSE_FILTERS: dict[str, Falsifier] = {
    "omitted-output": false_filters.omitted_output,
    "omitted-spend": false_filters.omitted_spend,
    "wrong-filter-count": false_filters.wrong_count,
    "added-element": false_filters.added_element,
    "pre-23-filters": false_filters.without_special,
}
"""Lies that are at one with themselves: filters, filter headers and checkpoints fit each other."""
THROUGHOUT = ("pre-23-filters",)
"""Those told at every height from theirs on."""

_ABOUT_BLOCKS = ("wrong-block-body", "other-block")

KINDS: dict[str, Twists] = {
    "wrong-pow": header_twists(lying_headers.missed),
    "broken-link": header_twists(lying_headers.unlinked),
    "wrong-difficulty": header_twists(lying_headers.too_hard),
    "wrong-merkle-proof": diff_twist(twists.wrong_proof),
    "wrong-masternode-entry": diff_twist(twists.wrong_entry),
    "wrong-quorum": diff_twist(twists.wrong_quorum),
    "wrong-filter": {CFilter: twists.wrong_filter},
    "wrong-filter-header": {CFHeaders: twists.wrong_filter_hash},
    "wrong-cfcheckpt": {CFCheckpt: twists.wrong_checkpoint},
    **dict.fromkeys(FALSE_FILTERS, twists.FALSE_FILTER_TWISTS),
    "wrong-block-body": {BlockMessage: twists.wrong_body},
    "other-block": {BlockMessage: twists.other_block},
    "truncated-message": {ANY: twists.truncated},
    "oversized-message": {ANY: twists.oversized},
    "wrong-checksum": {ANY: twists.wrong_checksum},
    UNASKED: {},
}
"""Every kind of lie, by its name on the command line."""
