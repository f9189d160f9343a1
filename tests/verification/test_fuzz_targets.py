"""Every target holds over its seeds and some thousand mutations, and none of them overlooks a bug that is planted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from phasegate.consensus import netinfo
from phasegate.consensus.codec import Reader
from phasegate.consensus.masternodes import MasternodeState
from phasegate.consensus.primitives import Transaction
from phasegate.engine import chain_description, chain_file, chain_import
from phasegate.engine.pool import Pool
from phasegate.engine.requests import Ledger
from phasegate.p2p import compressed
from phasegate.p2p.framing import FrameDecoder
from phasegate.p2p.messages import CFHeaders
from phasegate.verification.fuzzing.laws import LawBroken
from phasegate.verification.fuzzing.mutations import mutations
from phasegate.verification.fuzzing.targets import TARGETS
from tests.verification.conftest import Seeds

MUTATIONS = 1500
SLOW = {
    "chain-files": 150,
    "connection-bytes": 250,
    "connection-messages": 250,
    "header-files": 300,
    "rotations": 400,
    "filters": 800,
}
"""Targets of which an input costs a millisecond and more."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_over_its_seeds(name: str, seeds_of: Seeds) -> None:
    """No seed is a finding."""
    assert seeds_of[name]
    for seed in seeds_of[name]:
        TARGETS[name].run(seed.data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_over_mutations(name: str, seeds_of: Seeds) -> None:
    """Nothing that becomes of a seed by a few changes is a finding."""
    target, inputs = TARGETS[name], [seed.data for seed in seeds_of[name]]
    for data in mutations(inputs, SLOW.get(name, MUTATIONS), 1, target.most):
        target.run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_what_is_too_short(name: str) -> None:
    """No bytes at all, and a few zeros, are inputs like any other."""
    for size in range(9):
        TARGETS[name].run(bytes(size))


def _fails(_: Any, *_arguments: Any, **_named: Any) -> Any:
    raise IndexError("planted")


def _longer(of: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    return lambda value: of(value) + b"\0"


def _loses_a_byte(decoder: Any, data: bytes) -> None:
    decoder._buffer += data[:60]


def _run_all(name: str, inputs: Iterable[bytes]) -> None:
    for data in inputs:
        TARGETS[name].run(data)


PLANTED = [
    ("addresses", netinfo, "_skip_entry", _fails, IndexError),
    ("entries", netinfo, "_skip_entry", _fails, IndexError),
    ("special-payloads", netinfo, "_skip_entry", _fails, IndexError),
    ("transactions", netinfo, "_skip_entry", _fails, IndexError),
    ("differences", Reader, "since", _fails, IndexError),
    ("messages", CFHeaders, "to_bytes", _longer(CFHeaders.to_bytes), LawBroken),
    ("blocks", Transaction, "to_bytes", _longer(Transaction.to_bytes), LawBroken),
    ("stored-lists", MasternodeState, "from_bytes", _fails, IndexError),
    ("list-changes", MasternodeState, "merkle_root", _fails, IndexError),
    ("frames", FrameDecoder, "receive_data", _loses_a_byte, LawBroken),
    ("compressed-headers", compressed, "_later", lambda last, _: last[68:72], LawBroken),
    ("chain-files", chain_description, "_height", _fails, IndexError),
    ("chain-files", chain_import, "match_filters", _fails, IndexError),
    ("chain-files", chain_file, "LARGEST", 1 << 40, LawBroken),
    ("connection-bytes", FrameDecoder, "_read_head", _fails, IndexError),
    ("connection-messages", Pool, "_pass_on", _fails, IndexError),
    ("connection-messages", Ledger, "peer_lost", lambda *_, **__: None, LawBroken),
]


@pytest.mark.parametrize(("name", "owner", "attribute", "bug", "error"), PLANTED)
def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch,
    seeds_of: Seeds,
    name: str,
    owner: Any,
    attribute: str,
    bug: Any,
    error: type[Exception],
) -> None:
    """A decoder that fails in a way that nobody promised, or that gives something else back, does not get through."""
    monkeypatch.setattr(owner, attribute, bug)
    inputs = [seed.data for seed in seeds_of[name]]
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the next line says which
        _run_all(name, [*inputs, *mutations(inputs, 500, 1, TARGETS[name].most)])
    assert caught.group_contains(error) if isinstance(caught.value, ExceptionGroup) else caught.type is error
