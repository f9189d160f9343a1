"""The pages about embedding and configuration say nothing that is not so: their blocks run as they are printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from phasegate import Client, Config
from phasegate.engine.setting_places import OTHERS, settings
from phasegate.p2p.simnet.generated import generate
from tests.documents.printed import Block, printed, some
from tests.test_examples import simnet

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

ROOT = Path(__file__).resolve().parent.parent
EMBEDDING = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
FIRST, SECOND, THIRD = some("docs/embedding.md", "python")


def run_block(code: str, node: dict[str, Any], tmp_path: Path) -> str:
    """What a block prints when its settings come from the environment."""
    told = {
        "PHASEGATE_CONFIG": os.devnull,
        "PHASEGATE_NETWORK": "simnet",
        "PHASEGATE_PEERS": f"{node['host']}:{node['port']}",
        "PHASEGATE_WATCH": ",".join(node["watch"]),
        "PHASEGATE_DATADIR": str(tmp_path / "store"),
    }
    file = tmp_path / "block.py"
    file.write_text(code, encoding="utf-8")
    words = [sys.executable, "-W", "error", str(file)]
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **told}, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def locked_height() -> int:
    """A height at which the tip of the simulated node's chain is ChainLocked."""
    chain = generate(60, 7)
    while chain.chainlocks.lock(chain.height) is None:
        chain.extend(1)
    return chain.height


@printed((FIRST,))
def test_the_first_block_prints_a_locked_tip(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    """A client in the nursery of its user, which waits until the tip is ChainLocked."""
    height = locked_height()
    with simnet(height) as node:
        out = run_block(blocks[0].text, node, tmp_path)
    assert re.fullmatch(rf"{height} [0-9a-f]{{64}} True\n", out)


@printed((THIRD,))
def test_the_asyncio_block_prints_the_balances(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    """With the bridge of the example."""
    with simnet(60) as node:
        out = run_block(blocks[0].text, node, tmp_path)
    assert all(str(duffs) in out for duffs in node["expected"]["balances"].values())


@pytest.mark.trio
@printed((SECOND,))
async def test_payments_are_booked_once_over_restarts(
    blocks: tuple[Block, ...],
    world: World,
    running: Start,
    autojump_clock: MockClock,
    tmp_path: Path,
) -> None:
    """The second block, cut off again and again, in runs with reorganisations: it ends with the truth."""
    names: dict[str, Any] = {}
    exec(blocks[0].text, names)  # noqa: S102 - it is what the page tells people to write
    chain, better = generate(290, 2, locks=False), generate(295, 2, fork_at=280, fork_seed=3, locks=False)
    last = generate(310, 2, fork_at=285, fork_seed=4, locks=False)
    node, file = world.add(chain, 1), tmp_path / "book.json"
    config = world.config(1, watch=chain.watch, limits={"batch": {"blocks": 1}})

    async def book(client: Client, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await names["book_payments"](client, file)

    for there, stays_away in ((chain, False), (better, True), (last, False)):
        node.chain = there
        async with running(config) as run:
            for _ in range(0 if stays_away else 8):
                await book(run.client, 0.05)
            await run.until("synced")
            if not stays_away:
                await book(run.client, 1)
                held = {tx.txid[::-1].hex(): tx.received - tx.sent for tx in run.client.transactions()}
                assert json.loads(file.read_text())["book"] == held
            lost = run.client.lost_transactions()
    assert [record for record in lost if record.returned is None]


@printed(*[(block,) for block in some("docs/configuration.md", "toml")])
def test_each_file_of_the_page_may_be_used(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    text = blocks[0].text
    (tmp_path / "phasegate.toml").write_text(text, encoding="utf-8")
    assert Config.load(tmp_path / "phasegate.toml", {}).network.name == tomllib.loads(text)["network"]


def test_each_variable_of_the_page_is_one() -> None:
    """And those in its table say what they seem to say."""
    known = {setting.variable: setting for setting in settings().values()}
    told = dict(re.findall(r"`(PHASEGATE_[A-Z_]+)=([^`]*)`", CONFIGURATION))
    assert len(told) > 4
    Config.load(os.devnull, {"PHASEGATE_NETWORK": "testnet", **told})
    for name in re.findall(r"PHASEGATE_[A-Z_]+", CONFIGURATION):
        assert name in known or name in OTHERS or name in ("PHASEGATE_", "PHASEGATE_PEER")


@printed(some("docs/configuration.md", "python"))
def test_the_python_of_the_page_runs(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    """As it is printed, but with the usual file out of the way."""
    (code,) = (block.text for block in blocks)
    told = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-W", "error", "-c", code], env={**os.environ, **told}, timeout=60, check=True)


def test_the_page_names_what_there_is() -> None:
    """Each `client.NAME` is a public attribute."""
    public = {name for name in dir(Client) if not name.startswith("_")}
    shown = set(re.findall(r"client\.(\w+)", EMBEDDING))
    assert shown - public == set()
