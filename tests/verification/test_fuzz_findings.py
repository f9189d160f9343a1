"""What a target found once: each input was a finding before it was repaired."""

from __future__ import annotations

import attrs

from phasegate.consensus.primitives import CoinbasePayload
from phasegate.verification.fuzzing.lists import change_input
from phasegate.verification.fuzzing.samples import sample_chain
from phasegate.verification.fuzzing.targets import TARGETS


def test_a_coinbase_of_a_negative_height() -> None:
    """A difference whose coinbase states a height below 0 is refused; it made a list that could not be stored."""
    diff = sample_chain().mnlistdiff(0, 40)
    assert diff is not None
    stated = attrs.evolve(CoinbasePayload.from_bytes(diff.coinbase.payload), height=-5)
    diff = attrs.evolve(diff, coinbase=attrs.evolve(diff.coinbase, payload=stated.to_bytes()))
    TARGETS["list-changes"].run(change_input(0, (70240, diff.to_bytes(70240)), anchored=False))
