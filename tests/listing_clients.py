"""Clients that download headers and masternode lists alone, and what is to be true of them."""

from __future__ import annotations

from functools import cache
from typing import Any

from phasegate.consensus.masternodes import MasternodeState
from phasegate.engine.config import Config
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.store import Store
from tests.simulated_world import Run, World

SIGN_OFFSET = 8
"""How far below a block the quorum for its ChainLock is looked up."""


@cache
def chain_to(height: int, seed: int = 7) -> GeneratedChain:
    """A chain with masternodes and quorums that nobody extends."""
    return generate(height, seed)


def listing(world: World, *ports: int, **changes: Any) -> Config:
    """A configuration for headers and masternode lists alone."""
    return world.config(*ports, filters=False, **changes)


def verdicts(store: Store, height: int) -> dict[tuple[int, int | None], tuple[bool | None, str]]:
    """What is known of each quorum active at `height`, by type and begin."""
    found = [store.quorum(*quorum.key) for quorum in store.quorum_set(height) or ()]
    return {(q.commitment.type, q.height): (q.verified, q.reason) for q in found if q}


def assert_all_verified(run: Run, chain: GeneratedChain) -> None:
    """Every quorum of the tip and of where its ChainLock's quorum is looked up: proven, all of them."""
    store = run.client.store
    assert run.client.status.marks.quorums_unjudged == 0
    for height in (chain.height, chain.height - SIGN_OFFSET):
        found = verdicts(store, height)
        assert len(found) == len(chain.masternodes_at(height).quorums)
        assert set(found.values()) == {(True, "")}
    raw = store.masternode_state(chain.height)
    assert raw is not None
    state, truth = MasternodeState.from_bytes(raw), chain.masternodes_at(chain.height)
    assert (state.entries, state.quorums) == (truth.entries, truth.quorums)
    assert state.chainlock == chain.embedded_signature(chain.height)


def blamed(run: Run) -> list[str]:
    """The faults that peers were banned for."""
    return [code for code in run.warnings if code.startswith(("bad-", "unfitting-", "malformed-"))]
