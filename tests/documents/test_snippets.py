"""The pieces of Python on the pages run as they are printed, with the names that their pages take for granted."""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

import phasegate
from phasegate.verification import SYNC, ChartTests
from tests.documents.printed import Block, printed, some
from tests.documents.snippets import execute
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.usefixtures("signatures_judged_once")


@pytest.mark.trio
@printed(some("docs/wallet.md", "python"))
async def test_items_are_watched_and_labelled(
    blocks: tuple[Block, ...], world: World, running: Start, autojump_clock: Any
) -> None:
    """The address goes again, the script keeps its new label."""
    script = bytes.fromhex("76a914" + "00" * 20 + "88ac")
    world.add(small_chain(), 1)
    async with running(world.config(1)) as run:
        await execute(blocks[0], client=run.client, script=script)
        assert run.client.labels() == {script: "rent 2026"}


@pytest.mark.trio
@printed(some("docs/broadcast.md", "python"))
async def test_a_transaction_is_sent(
    blocks: tuple[Block, ...], world: World, running: Start, autojump_clock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A peer fetches it, and that is printed."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        left = await execute(blocks[0], client=run.client, raw=chain.spend_watched().to_bytes(), phasegate=phasegate)
    assert left["status"].stage is phasegate.Stage.FETCHED
    assert capsys.readouterr().out.splitlines() == ["Stage.FETCHED 1 1 0"]


@printed(some("docs/verification.md", "python"))
def test_the_tests_of_a_chart_pass(blocks: tuple[Block, ...]) -> None:
    """With the sync chart for one's own: its law is kept, and the engine runs it, here for a few examples."""
    names: dict[str, Any] = {"MyChart": phasegate.SyncChart, "MY_LAW": SYNC}
    exec(compile(blocks[0].text, str(blocks[0]), "exec"), names)  # noqa: S102 - what the page tells people to write
    assert issubclass(names["TestMyChart"], ChartTests)
    names["TestMyChart"]().test_the_chart_keeps_its_law()
    names["TestMyEngine"].settings = settings(max_examples=3, stateful_step_count=10, deadline=None)
    outcome = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(names["TestMyEngine"]).run(outcome)
    assert (outcome.testsRun, outcome.errors, outcome.failures) == (1, [], [])
