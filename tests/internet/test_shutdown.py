"""A client that is stopped is gone within two seconds, whatever its peers do, and what it had stored is stored."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.params import SIMNET
from phasegate.p2p.simnet.generated import generate
from phasegate.store import Store
from tests.simulated_world import Start, World, small_chain

MOST = 2.0
PHASEGATE = (sys.executable, "-m", "phasegate")


class Clinging(trio.abc.Stream):
    """A stream that takes nothing any more and does not let itself be closed, unless it is forced to."""

    def __init__(self, inner: trio.abc.Stream, clings: Callable[[], bool]) -> None:
        self._inner = inner
        self._clings = clings

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._clings():
            await trio.sleep_forever()
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._inner.receive_some(max_bytes))

    async def aclose(self) -> None:
        try:
            if self._clings():
                await trio.sleep_forever()
        finally:
            await trio.aclose_forcefully(self._inner)


@pytest.mark.trio
@pytest.mark.parametrize("state", ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"])
async def test_it_is_gone_within_two_seconds(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """In every phase, with peers that cling to their connections; the next run goes on from what was stored."""
    clinging, opens = False, world.open_stream

    async def open_clinging(host: str, port: int, /) -> trio.abc.Stream:
        return Clinging(await opens(host, port), lambda: clinging)

    monkeypatch.setattr(world, "open_stream", open_clinging)
    for port in (1, 2, 3):
        world.add(small_chain(), port, delay=0.05)
    config = world.config(
        1, 2, 3, watch=small_chain().watch, limits={"batch": {"cfheaders": 1000, "filters": 20, "blocks": 1}}
    )
    async with running(config) as run:
        with trio.fail_after(300):
            while state not in run.path:
                await trio.sleep(0.001)
        clinging, began = True, trio.current_time()
        marks = run.client.status.marks
        await run.client.stop()
        with trio.fail_after(MOST):
            while not run.client._ended:
                await trio.sleep(0.01)
            store = Store.open(config.datadir, SIMNET)  # it has given its directory back
        assert trio.current_time() - began <= MOST
        try:
            assert store.check() == ()
            assert store.marks.tip >= marks.tip
            assert store.marks.filters >= marks.filters
        finally:
            store.close()
    clinging = False
    async with running(config) as run:
        await run.until("synced")


@pytest.mark.soak
@pytest.mark.parametrize("state", ["headers", "mnlist", "cfheaders", "filters", "synced"])
def test_a_process_ends_within_two_seconds(tmp_path: Path, state: str) -> None:
    """SIGTERM to a real one, by the clock on the wall."""
    words = [*PHASEGATE, "simnet", "--port", "0", "--blocks", "2000", "--seed", "3", "--delay", "0.2"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        told: dict[str, Any] = json.loads(node.stdout.readline())
        peer = f"{told['host']}:{told['port']}"
        sync = [*PHASEGATE, "sync", "--network", "simnet", "--peer", peer, "--datadir", str(tmp_path), "--json"]
        with subprocess.Popen(sync, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if json.loads(line).get("to") == state:
                    break
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            code = process.wait()
        node.terminate()
    assert (code, time.monotonic() - began < MOST) == (130, True)
    chain, store = generate(2000, 3), Store.open(tmp_path, SIMNET)
    try:
        assert store.check() == ()
        assert store.hash_at(store.marks.tip) == chain.hash_at(store.marks.tip)
    finally:
        store.close()
