"""The examples beside the documents run, and hold what they promise."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from phasegate import Client, Config, Event, Following, Seen, Transition
from phasegate.engine.opening import open_store

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"


@pytest.fixture(scope="module")
def guest_mode() -> Any:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("asyncio_guest", EXAMPLES / "asyncio_guest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def simnet(blocks: int) -> Iterator[dict[str, Any]]:
    """A simulated node as its own process; what its first line tells."""
    words = [sys.executable, "-m", "phasegate", "simnet", "--port", "0", "--blocks", str(blocks), "--seed", "7"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        try:
            yield json.loads(node.stdout.readline())
        finally:
            node.terminate()


def test_a_client_runs_in_an_asyncio_program(tmp_path: Path) -> None:
    """As printed: it syncs, tells its path, and prints the true balances and the newest block."""
    with simnet(60) as node:
        words = [sys.executable, "-W", "error", str(EXAMPLES / "asyncio_guest.py"), f"{node['host']}:{node['port']}"]
        done = subprocess.run([*words, *node["watch"]], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    found = re.findall(r"height 60: +(\d+) duffs in ([0-9a-f]+)", done.stdout)
    assert {script: int(duffs) for duffs, script in found} == node["expected"]["balances"]
    assert re.search(r"^block [0-9a-f]{64} has \d+ transactions$", done.stdout, re.MULTILINE)
    assert "blocks -> synced" in done.stdout


def test_cancelling_in_asyncio_cancels_inside(guest_mode: Any) -> None:
    """And waits until it is over; what is not cancelled goes on, and an error comes out as it is."""
    told: list[str] = []

    async def sleeps() -> None:
        try:
            await trio.sleep_forever()
        finally:
            told.append("inside is over")

    async def fails() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("what was raised")

    async def main() -> None:
        async with guest_mode.Guest() as guest:
            sleeping = asyncio.create_task(guest.call(sleeps))
            await asyncio.sleep(0)
            await guest.call(trio.lowlevel.checkpoint)
            sleeping.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sleeping
            told.append("outside is over")
            with pytest.raises(KeyError, match="what was raised"):
                await guest.call(fails)

    asyncio.run(main())
    assert told == ["inside is over", "outside is over"]


def test_a_cancelled_read_of_events_loses_none(guest_mode: Any) -> None:
    """At whatever step of the loop it is cancelled, before, while and after its event comes; `seen` is what was got."""
    following = Following(ROWS, Seen(), _nothing)
    client = SimpleNamespace(events=lambda after: following if after == Seen() else None)
    got: list[int] = []

    async def main() -> None:
        async with guest_mode.Guest() as guest:
            events = guest_mode.Events(guest, client, Seen())
            for row in range(1, ROWS + 1):
                await _cancelled_after(events, 0, got)  # so that a read is under way in which the event arrives
                following.put_nowait(Transition(row, 0.0, "a", "b", "go", "", {}))
                await _cancelled_after(events, row % 40, got)
                assert events.seen.transition == (got[-1] if got else 0)
            while len(got) < ROWS:
                got.append((await asyncio.wait_for(anext(events), 10)).row_id)
            following.end()
            assert [event async for event in events] == []

    asyncio.run(main())
    assert got == list(range(1, ROWS + 1))


ROWS = 200


async def _nothing(_seen: Seen) -> list[Event]:
    await trio.lowlevel.checkpoint()
    return []


async def _cancelled_after(events: Any, steps: int, got: list[int]) -> None:
    """Read, and cancel the read after so many steps of the loop."""
    reading = asyncio.ensure_future(anext(events))
    for _ in range(steps):
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    if not reading.cancelled():
        got.append(reading.result().row_id)


def test_leaving_ends_the_client(guest_mode: Any, tmp_path: Path) -> None:
    """By an error or a cancellation of the program as well: its store is closed and can be opened again."""
    config = Config.create("simnet", peers=("127.0.0.1:1",), connect_only=True, datadir=tmp_path)

    async def runs(started: asyncio.Event, ending: BaseException | None) -> None:
        async with guest_mode.Guest() as guest:
            await guest.start(Client(config).run)
            started.set()
            if ending is not None:
                raise ending
            await asyncio.sleep(3600)

    async def main(ending: BaseException | None) -> None:
        started = asyncio.Event()
        task = asyncio.create_task(runs(started, ending))
        await started.wait()
        if ending is None:
            task.cancel()
        await task

    for ending, expected in ((ValueError("of the program"), ValueError), (None, asyncio.CancelledError)):
        with pytest.raises(expected):
            asyncio.run(main(ending))
        open_store(config.datadir, config.network)[0].close()


def test_a_crash_inside_comes_out(guest_mode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that fails ends the stay with its error."""
    config = Config.create("simnet", peers=("127.0.0.1:1",), connect_only=True, datadir=tmp_path)

    async def main() -> None:
        async with guest_mode.Guest() as guest:
            await guest.start(Client(config).run)
            with pytest.raises(asyncio.CancelledError):
                await guest.call(trio.sleep_forever)

    monkeypatch.setattr("phasegate.engine.vigil.Vigil.run", _broken)
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main())
    assert caught.group_contains(RuntimeError, match="broken for the test")


async def _broken(_self: object) -> None:
    await trio.sleep(0.05)
    raise RuntimeError("broken for the test")
