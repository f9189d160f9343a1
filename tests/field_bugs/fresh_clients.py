"""What a client that went through trouble is held against: a new one, with the same peers, that has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phasegate.p2p.simnet.chain import SimulatedChain
from tests.fresh_twins import stored_by_fresh

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World


async def same_as_fresh(world: World, running: Start, run: Run) -> None:
    """What is stored is whole, and what a new client of the same peers stores."""
    assert run.client.store.check() == ()
    digest, _ = await stored_by_fresh(world, running, run)
    assert digest == run.client.store.digest()


def is_complete(run: Run, chain: SimulatedChain) -> None:
    """All of `chain` is stored up to its tip, and every payment and spending in it was found."""
    marks = run.client.status.marks
    assert (marks.tip_hash, marks.tip) == (chain.tip_hash, chain.height)
    assert (marks.filter_headers, marks.filters, marks.pending_blocks) == (chain.height, chain.height, 0)
    assert marks.filter_header == chain.filter_header(chain.height)
    assert [tx.txid[::-1].hex() for tx in run.client.transactions()] == list(chain.expected["transactions"])
    assert {script.hex(): sum_ for script, sum_ in run.client.balances().items()} == chain.expected["balances"]


def nobody_is_blamed(run: Run) -> None:
    """Nobody is banned, and nothing is held against anybody."""
    assert run.client._pool.banned == {}
    assert list(run.client._pool.memory.reputation.records) == []
    assert not [code for code in run.warnings if code.startswith("bad-")]
