"""A store that lives through a list of batches, and what may be found in its file when a fault ended that."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

import attrs

from phasegate.consensus.params import SIMNET
from phasegate.store import (
    AddWatch,
    AppendJournal,
    Change,
    MarkMatched,
    PeerRow,
    PutPeers,
    SetMasternodes,
    Store,
    StoreFailed,
    Watermarks,
)
from phasegate.verification.disk import Fault, SimulatedDisk
from tests.store.conftest import FakeChain

Batch = list[Change]
NOTE = AppendJournal(1.0, "a", "b", "advance", "", "{}")
"""In every batch, so that the journal counts the commits that a file holds."""


@attrs.frozen
class State:
    """All that a store says."""

    marks: Watermarks
    digest: str
    peers: tuple[PeerRow, ...]

    @classmethod
    def of(cls, store: Store) -> State:
        """Read from its file, which must not be damaged, and agree with what is in memory."""
        assert store.check() == ()
        assert store.marks == store.read_marks()
        return cls(store.marks, store.digest(), tuple(store.peers()))


@attrs.frozen
class Life:
    """Batches, and the states of a store after none of them, after the first, and so on."""

    batches: Sequence[Batch]
    states: Sequence[State]

    @classmethod
    def undisturbed(cls, place: Path, batches: Sequence[Batch]) -> Life:
        """The states of a store that nothing happens to."""
        with closing(Store.open(place, SIMNET)) as store:
            return cls(batches, [State.of(store), *(State.of(store) for batch in batches if store.commit(batch))])

    def live(self, place: Path, disk: SimulatedDisk, known: int = 0, *, rests: int = 3) -> tuple[int, int]:
        """Commit what is missing, closing the store after each `rests` batches, until a fault ends it.

        Args:
            place: the directory.
            disk: below the store.
            known: how many batches are known to stand.
            rests: commits between two closings.

        Returns:
            How many batches are said to stand, and how many may: one more, when that one was refused.
        """
        stands = may_stand = known
        with suppress(StoreFailed):
            while stands < len(self.batches):
                with closing(Store.open(place, SIMNET, vfs=disk.vfs)) as store:
                    assert store.journal_end() == stands
                    for batch in self.batches[stands : stands + rests]:
                        may_stand = stands + 1
                        store.commit(batch)
                        stands += 1
        return stands, may_stand

    def found(self, place: Path, disk: SimulatedDisk) -> int:
        """How many batches the file holds; it has to hold all of them and nothing of the others."""
        with closing(Store.open(place, SIMNET, vfs=disk.vfs)) as store:
            count = store.journal_end()
            assert State.of(store) == self.states[count]
            return count


def some_batches(chain: FakeChain) -> list[Batch]:
    """A sync in small: it seals, matches, rolls back and goes on; one batch is larger than the others."""
    return [
        [NOTE, chain.append(1, 300), AddWatch(((b"a", "label"),))],
        [NOTE, chain.append_filter_headers(0, 200), chain.put_filters(range(150))],
        [NOTE, MarkMatched((b"a",), 0, 100, (5, 7)), SetMasternodes(250, chain.hash_at(250), bytes(30_000))],
        [NOTE, chain.append(301, 1800)],
        [NOTE, chain.roll_back(220), AddWatch(((b"b", ""),))],
        [NOTE, chain.append(221, 10), PutPeers((PeerRow("192.0.2.1", 1, "dns", 1, 1.0, 0.0, 0.0, 0, in_tried=False),))],
        [NOTE, chain.put_filters(range(150, 200)), MarkMatched((b"a",), 101, 199, (150,))],
    ]


def random_batches(chain: FakeChain, rng: random.Random, count: int) -> list[Batch]:
    """`count` batches of changes that fit each other."""
    return [[NOTE, *changes] for changes, _ in zip(_changes(chain, rng), range(count), strict=False)]


def _changes(chain: FakeChain, rng: random.Random) -> Iterator[Batch]:
    """Headers that come and go, filter headers and filters behind them, lists of any size, and watch items."""
    tip, headers = 0, -1
    while True:
        choice = rng.randrange(5)
        if choice <= 1 and tip < 5000:
            more = rng.choice((1, 30, 600))
            yield [chain.append(tip + 1, more)]
            tip += more
        elif choice == 2 and headers < tip:
            more = rng.randint(1, tip - headers)
            added = range(headers + 1, headers + 1 + more)
            yield [chain.append_filter_headers(headers + 1, more), chain.put_filters(added)]
            headers += more
        elif choice == 3 and tip > 10:
            tip = max(tip - rng.choice((1, 5, 400)), 0)
            headers = min(headers, tip)
            yield [chain.roll_back(tip)]
        else:
            state = bytes(rng.choice((10, 9000, 200_000)))
            yield [SetMasternodes(tip, chain.hash_at(tip), state), AddWatch(((b"%d" % rng.randrange(9), ""),))]


DEADLY = (Fault.KILL, Fault.POWER_CUT)
