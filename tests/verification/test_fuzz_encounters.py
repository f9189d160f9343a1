"""The harness of whole connections: not kinder than the engine, the same each time, and at an end after any input."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from phasegate.engine.peers import Peer
from phasegate.engine.requests import Ledger
from phasegate.statecharts.law_peer import PEER
from phasegate.verification.fuzzing.conversations import ASKED, answers, composed, questions
from phasegate.verification.fuzzing.encounters import Script, check_bounds, meet
from phasegate.verification.fuzzing.laws import LawBroken
from phasegate.verification.fuzzing.lean_peer import LeanPeer
from tests.verification.conftest import Seeds


def test_a_lean_peer_ends_as_the_chart_does(seeds_of: Seeds) -> None:
    """Executed by its law or by its chart, a peer ends each encounter for the same reason and with the same fault."""
    rng, ends = Random(1), Counter[str]()
    made = [rng.randbytes(rng.randrange(2, 120)) for _ in range(120)]
    for data in [*made, *[seed.data for seed in seeds_of["connection-messages"]]]:
        lean = meet(composed(data))
        assert lean == meet(composed(data), Peer), data.hex()
        ends[lean.fault or lean.why] += 1
    assert len(ends) >= 5, "the scripts are too much alike"


def test_one_script_has_one_end(seeds_of: Seeds) -> None:
    """Nothing of an encounter is left to chance."""
    for seed in seeds_of["connection-messages"][::10]:
        assert meet(composed(seed.data)) == meet(composed(seed.data))


def test_every_question_has_an_honest_answer() -> None:
    """The generated chain answers all that is asked, and every question is asked by some script."""
    assert [number for number, given in answers().items() if given[0][0] == "verack"] == []
    assert {number for asked in ASKED for number in asked} == set(range(len(questions())))


@pytest.mark.parametrize("number", range(8))
def test_an_honest_answer_is_taken(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked and comes as the chain has it reaches whoever asked."""
    taken: list[int] = []
    before = LeanPeer.__setattr__

    def count(peer: LeanPeer, name: str, value: object) -> None:
        before(peer, name, value)
        if name == "answers" and isinstance(value, int):
            taken.append(value)

    monkeypatch.setattr(LeanPeer, "__setattr__", count)
    asked = next(place for place, numbers in enumerate(ASKED) if tuple(numbers) == (number,))
    steps = b"".join([bytes((0, 0, place)) for place in range(len(answers()[number]))])
    meet(composed(bytes((asked, 0, 0, 0, 0)) + steps))
    assert taken == [0, 1]


def test_an_offered_lock_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that is announced is asked for on an errand, and what comes answers it."""
    ledgers: list[Ledger] = []
    before = Ledger.__init__

    def keep(ledger: Ledger) -> None:
        before(ledger)
        ledgers.append(ledger)

    monkeypatch.setattr(Ledger, "__init__", keep)
    offer, pause, lock = bytes((3, 1, 0, 0)), bytes((5, 0)), bytes((4, 0, 0))
    ended = meet(composed(bytes((0, 1, 0, 0, 1)) + offer + pause + lock))
    assert (ended.fault, ended.was_ready) == ("", True)
    assert (ledgers[0].errand_tally.sent, ledgers[0].errand_tally.answered) == (1, 1)


def test_queues_beyond_their_bounds_are_noticed() -> None:
    """A connection that holds more than it may is a broken law."""

    class Swollen(LeanPeer):
        waiting = (65, 10)

        def __init__(self) -> None:
            self.gone = ""

    with pytest.raises(LawBroken, match="65 messages"):
        check_bounds(Swollen())


def test_every_state_but_the_last_has_an_activity() -> None:
    """The lean interpreter can go through all states of the law."""
    from phasegate.verification.fuzzing import lean_peer

    assert set(lean_peer._ACTIVITIES) == PEER.leaves - PEER.ends


def test_silence_ends_like_a_lost_connection() -> None:
    """A peer that says nothing and hangs up was never ready, and the reason says so."""
    ended = meet(Script([]))
    assert not ended.was_ready
    assert "closed the connection" in ended.why
