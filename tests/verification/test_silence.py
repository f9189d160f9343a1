"""What a simulated run holds against silence: headers that end on nobody's word, requests that nobody can answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from phasegate.engine.events import Transition
from phasegate.p2p.framing import encode_frame
from phasegate.p2p.simnet.pipe import pipe
from phasegate.verification.simulation.checks import BOUNDED, OUTSTANDING, SILENCE, Bounds, unheard_tip
from phasegate.verification.simulation.line import Line, Trouble

MAGIC = b"\xaa\xbb\xcc\xdd"
TIP = bytes(range(32))
QUESTION = (70240).to_bytes(4, "little") + b"\x01" + TIP + bytes(32)


def _left(target: str, source: str = "headers") -> Transition:
    return Transition(1, 0.0, source, target, "", "", {"tip_hash": TIP[::-1].hex()})


def _peer(port: int, ready_at: float = 1.0) -> Any:
    return SimpleNamespace(address=SimpleNamespace(port=port), ready_at=ready_at)


@pytest.mark.parametrize(
    ("peers", "heard", "kept"),
    [
        ([_peer(1), _peer(2)], {1: {TIP}, 2: {TIP}}, True),
        ([_peer(1), _peer(2)], {1: {TIP}, 2: {bytes(32)}}, False),
        ([_peer(1), _peer(2, ready_at=9.0)], {1: {TIP}, 2: set()}, True),
        ([_peer(1), _peer(3)], {1: {TIP}, 3: set()}, True),
        ([_peer(3)], {3: {TIP}}, True),
        ([], {1: set(), 2: set()}, False),
    ],
    ids=["all spoke", "one did not", "one came late", "a nuisance did not", "only a nuisance spoke", "nobody spoke"],
)
def test_headers_end_on_the_word_of_every_honest_peer(
    peers: list[Any], heard: dict[int, set[bytes]], kept: bool
) -> None:
    """Who was there when they began has to have answered what follows the stored tip; who came late, or lies, not."""
    broken = list(unheard_tip(_left("mnlist"), 5.0, peers, heard))
    assert [law for law, _ in broken] == ([] if kept else [SILENCE])


@pytest.mark.parametrize("event", [_left("backoff"), _left("degraded"), _left("filters", "cfheaders")])
def test_who_does_not_complete_the_headers_needs_nobodys_word(event: Transition) -> None:
    """A failure, and what happens in other phases, is none of this law's business."""
    assert list(unheard_tip(event, 5.0, [_peer(1)], {})) == []


@attrs.frozen(eq=False)
class _Gone:
    gone: str


def _glanced(*glances: Iterable[Any], remembered: int = 0) -> list[str]:
    bounds, config = Bounds(), SimpleNamespace(peers=("a", "b"))
    for views in glances:
        client: Any = SimpleNamespace(open_requests=list(views), remembered_peers=remembered, config=config)
        bounds.glance(client)
    return [law for law, _ in bounds.broken]


def test_a_request_to_a_peer_that_is_gone_is_forgotten_between_two_glances() -> None:
    """One glance may meet it in the moment of its end; the next one must not."""
    peer = _Gone("lost")
    view, other = (SimpleNamespace(number=n, peer=peer, command="getdata") for n in (1, 2))
    there = SimpleNamespace(number=3, peer=_Gone(""), command="getdata")
    assert _glanced([view], [other], [], [view]) == []
    assert _glanced([there], [there]) == []
    assert _glanced([view], [view]) == [OUTSTANDING]


def test_of_no_more_peers_than_there_are_anything_is_remembered() -> None:
    """What a lost peer still owes goes with it, else it would pile up connection by connection."""
    assert _glanced([], remembered=2) == []
    assert _glanced([], remembered=3) == [BOUNDED]


@pytest.mark.trio
async def test_a_line_notes_which_questions_about_headers_were_answered() -> None:
    """A question counts once an answer has arrived after it, not when it was sent, or something else came."""
    ours, theirs = pipe()
    heard = set[bytes]()
    sent: list[int] = []
    line = Line(ours, Trouble(0.0, Counter()), heard, lambda: sent.append(len(sent)))
    other, answer = encode_frame(MAGIC, "inv", b"\0"), encode_frame(MAGIC, "headers", b"\0")
    await line.send_all(encode_frame(MAGIC, "getheaders", QUESTION))
    await theirs.send_all(other)
    await line.receive_some()
    assert sent == [0]
    assert heard == set()
    await theirs.send_all(answer)
    await line.receive_some()
    assert heard == {TIP}
    await line.aclose()
