"""Whenever it is killed, a sync goes on where its last commit left it, and ends as if nothing had happened."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import pytest

from tests.soak.attempts import node
from tests.soak.campaign import Campaign, Quota, undisturbed

ANSWER_DELAY = 0.02
"""Seconds that the node waits before each answer, so that the shortest phase is long enough to be hit."""


def killed(place: Path, blocks: int, quota: Quota) -> str:
    """Run a campaign against a chain of `blocks` and return its table."""
    seed = int(os.environ.get("PHASEGATE_SEED", "1"))
    began = time.monotonic()
    with node(place, blocks, seed, ANSWER_DELAY) as server:
        campaign = Campaign(server, place, quota, random.Random(seed), undisturbed(server, place))
        findings = campaign.run()
    seconds = time.monotonic() - began
    return f"\n{blocks} blocks, seed {seed}, {seconds:.0f} s\n\n{campaign.table(findings)}\n"


@pytest.mark.timeout(300)
def test_a_sync_survives_kills_in_every_phase(tmp_path: Path) -> None:
    """12 kills of syncs of 4,000 blocks, one at least in each phase, 2 inside a transaction."""
    sys.stdout.write(killed(tmp_path, 4000, Quota(kills=12, each_phase=1, inside=2)))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_sync_survives_200_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """200 kills of syncs of 20,000 blocks, 10 at least in each phase, 10 inside a transaction; the counts are shown."""
    table = killed(tmp_path, 20_000, Quota(kills=200, each_phase=10, inside=10))
    with capsys.disabled():
        sys.stdout.write(table)
