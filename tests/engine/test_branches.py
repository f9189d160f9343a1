"""Branches in memory: held in full while short, as an outline when long, and the same when fetched again."""

from __future__ import annotations

from functools import cache

import pytest

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.headers import CheckedHeaders, extend
from phasegate.consensus.params import REGTEST
from phasegate.engine import branches
from phasegate.engine.branches import Branch
from phasegate.store import AppendHeaders, RollBack
from tests.scripted_peers import NOW, HeaderChain

FORK = 3


@cache
def long() -> HeaderChain:
    return HeaderChain().grown(5000, seed=1)


def piece(chain: HeaderChain, first: int, last: int) -> CheckedHeaders:
    raw = chain.headers(first, last - first + 1)
    return extend(REGTEST, chain.tips[first - 1], raw, NOW, chain.hashes(first, last - first + 1))


def test_a_short_branch_is_held_in_full() -> None:
    """It becomes one roll back and one append."""
    branch, chain = Branch(long().tips[FORK]), long()
    branch.grow(piece(chain, 4, 10))
    branch.grow(piece(chain, 11, 12))
    assert branch.whole
    assert (branch.tip, branch.hash_at(7)) == (chain.tips[12], chain.hash_at(7))
    assert (branch.hash_at(FORK), branch.hash_at(13)) == (None, None)
    back, append = branch.changes()
    assert back == RollBack(FORK, chain.tips[FORK].work)
    assert append == AppendHeaders(4, chain.headers(4, 9), chain.hashes(4, 9), chain.tips[12].work)


def test_a_branch_takes_only_what_continues_it() -> None:
    """Anything else is a bug of the caller."""
    branch = Branch(long().tips[FORK])
    with pytest.raises(ValueError, match="do not continue"):
        branch.grow(piece(long(), 5, 9))


def long_branch() -> Branch:
    branch = Branch(long().tips[FORK], held=100)
    for first in range(FORK + 1, 5001, 90):
        branch.grow(piece(long(), first, min(first + 89, 5000)))
    return branch


def test_a_long_branch_costs_next_to_nothing_before_its_work_is_proved() -> None:
    """Of 4997 headers one piece and two hashes are kept, and the state at the end."""
    branch = long_branch()
    assert branch.tip == long().tip
    assert not branch.whole
    assert branch.size == 90 * 112 + 2 * 32
    assert branch.missing_from == long().tips[FORK + 90]
    with pytest.raises(ValueError, match="held up to 93 only"):
        branch.changes()


def test_a_long_branch_is_filled_by_the_same_headers() -> None:
    """Fetched a second time, in other pieces, it is whole."""
    branch = long_branch()
    for first in range(FORK + 91, 5001, 1500):
        branch.refill(piece(long(), first, min(first + 1499, 5000)))
    assert branch.whole
    _, append = branch.changes()
    assert append == AppendHeaders(4, long().headers(4, 4997), long().hashes(4, 4997), long().tip.work)


def refill_all(branch: Branch, chain: HeaderChain) -> None:
    for first in range(FORK + 91, 5001, 500):
        branch.refill(piece(chain, first, min(first + 499, 5000)))


@pytest.mark.parametrize("leaves_at", [500, 2100, 4999])
def test_another_branch_in_its_place_is_noticed(leaves_at: int) -> None:
    """At the next hash of the outline at the latest: never more than one stride of unproved headers is held."""
    branch, other = long_branch(), long().cut(leaves_at).grown(5000 - leaves_at, seed=2)
    with pytest.raises(PeerMisbehaved) as caught:
        refill_all(branch, other)
    assert caught.value.fault is Fault.UNFITTING_REPLY
    assert branch.missing_from.height <= leaves_at + branches.STRIDE


def test_more_than_there_was_is_noticed() -> None:
    """A branch ends where it ended the first time."""
    branch = Branch(long().tips[FORK], held=0)
    branch.grow(piece(long(), 4, 10))
    with pytest.raises(PeerMisbehaved):
        branch.refill(piece(long(), 4, 11))


def test_a_branch_far_longer_than_the_chain_is_spam() -> None:
    """More headers than anybody honest could have, with less work."""
    branch = Branch(long().tips[FORK])
    branch.grow(piece(long(), 4, 4000))
    assert not branch.is_spam(0)
    assert branch.is_spam(4000 - branches.MAX_LEAD - 1)
