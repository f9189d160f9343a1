"""One run of a client under the eyes of a person or a program: start, show, end, sum up.

Three tasks stand beside the client. One waits for a signal, one for the judge's verdict; whichever comes first stops
the client. The third hands every event to the display, in a worker thread, because a terminal or pipe that takes
nothing must not hold up the sync; it ends by itself when the client has ended and everything was shown. Last the store
is opened again and read, so that the summary says what the next run will find.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Protocol

import trio

from phasegate.cli.ending import Ending, Judge, Terms
from phasegate.cli.logs import Logged, Manner, logged
from phasegate.cli.refusal import Code, forget_stdout, say_error
from phasegate.cli.summary import Summary, sum_up
from phasegate.cli.web import View
from phasegate.engine.client import Client, ClientEnded, ClientFailed
from phasegate.engine.config import Config
from phasegate.engine.errors import leaves
from phasegate.engine.events import Event, Subscription
from phasegate.store import StoreError

__all__ = ["Display", "Terms", "attend", "display_for", "run"]

BUFFERED = 65536
"""Events that may wait for a slow display before any is dropped."""


class Display(Protocol):
    """Where events and the summary are shown; called from one thread at a time."""

    def show(self, event: Event) -> None:
        """Show one event."""

    def close(self) -> None:
        """No event follows."""

    def sum_up(self, summary: Summary) -> None:
        """Show the summary, after `close`."""


class Verdict(Protocol):
    """Decides when a run is over."""

    async def verdict(self) -> Ending:
        """Wait for the end."""


def run(
    config: Config,
    terms: Terms,
    as_json: bool,
    view: View = nullcontext,
    manner: Manner = Manner(),  # noqa: B008 - it is frozen
) -> int:
    """Run a client until it is synced, stopped or at its end, with `view` beside it, and return the exit code.

    Raises:
        ConfigError: the log cannot be written.
        StoreError: the store could not be opened.
        OSError: standard out takes nothing more.
    """
    began = time.monotonic()
    with logged(config.network.file_name, manner) as book:
        client, display = Client(config), display_for(config, as_json=as_json, manner=manner)
        return _run(client, terms, display if book is None else Logged(display, book), view, began)


def _run(client: Client, terms: Terms, display: Display, view: View, began: float) -> int:
    try:
        ending = attend(client, Judge(client, terms), display, view)
        summary = sum_up(client, ending, time.monotonic() - began)
        display.sum_up(summary)
    except BrokenPipeError:
        forget_stdout()
        return Code.INTERRUPTED
    ending = summary.ending
    if ending.code not in (Code.SYNCED, Code.INTERRUPTED):
        say_error("sync", f"{ending.state}: {ending.reason}")
    return ending.code


def display_for(config: Config, *, as_json: bool, manner: Manner = Manner()) -> Display:  # noqa: B008 - it is frozen
    """JSON lines, bars on a terminal, or lines; of these few, or more, if that is wished."""
    if as_json:
        from phasegate.cli.output import JsonLines

        return JsonLines(config.network.name, config.strategy)
    from phasegate.cli.live import Bars, EveryLine, FewLines, Lines

    if manner.silent or manner.quiet:
        return FewLines(warnings=not manner.silent)
    if manner.verbose:
        return EveryLine()
    return Bars(config) if sys.stdout.isatty() else Lines()


def attend(client: Client, judge: Verdict, display: Display, view: View = nullcontext) -> Ending:
    """Run a client until `judge` ends it, shown on `display`, which is closed then; a signal stops it as well.

    Raises:
        OSError: standard out takes nothing more.
    """
    endings: list[Ending] = []
    lost: list[BaseException] = []
    try:
        endings.append(trio.run(_live, client, judge, display, view))
    except* KeyboardInterrupt:  # a second Ctrl-C
        endings = [Ending(client.state, "interrupted", Code.INTERRUPTED)]
    except* OSError as group:  # standard out takes nothing more
        lost += leaves(group)
    finally:
        display.close()
    if lost:
        raise lost[0]
    return endings[0]


async def _live(client: Client, judge: Verdict, display: Display, view: View) -> Ending:
    async with trio.open_nursery() as nursery, view(client):
        nursery.start_soon(_show_all, client.events(BUFFERED), display)
        return await _until_the_end(client, judge)


async def _show_all(events: Subscription, display: Display) -> None:
    async for event in events:
        await trio.to_thread.run_sync(display.show, event, abandon_on_cancel=True)


async def _until_the_end(client: Client, judge: Verdict) -> Ending:
    endings: list[Ending] = []
    try:
        async with _signalled() as interrupted, trio.open_nursery() as nursery:
            await nursery.start(client.run)
            endings.append(await _first_of(client, judge, interrupted))
            with suppress(ClientEnded):  # it has ended by itself meanwhile
                await client.stop()
    except* (ClientFailed, StoreError) as group:
        endings = [_failure(group)]
    return endings[0]


@asynccontextmanager
async def _signalled() -> AsyncIterator[trio.Event]:
    """An event that the first SIGINT or SIGTERM sets; after it the system's own handling is back."""
    event = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(_await_signal, event)
        yield event
        nursery.cancel_scope.cancel()


async def _await_signal(event: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            event.set()
            return


async def _first_of(client: Client, judge: Verdict, interrupted: trio.Event) -> Ending:
    first: list[Ending] = []
    async with trio.open_nursery() as nursery:

        async def until_signal() -> None:
            await interrupted.wait()
            first.append(Ending(client.state, "interrupted", Code.INTERRUPTED))
            nursery.cancel_scope.cancel()

        async def until_verdict() -> None:
            first.append(await judge.verdict())
            nursery.cancel_scope.cancel()

        nursery.start_soon(until_signal)
        nursery.start_soon(until_verdict)
    return first[0]


def _failure(group: BaseExceptionGroup[ClientFailed | StoreError]) -> Ending:
    errors = leaves(group)
    # the client knows what was repaired; that it has ended is only what others saw of it
    told = [one for one in errors if isinstance(one, ClientFailed) and not isinstance(one, ClientEnded)]
    error = [*told, *errors][0]
    causes = [error, *([] if error.__cause__ is None else leaves(error.__cause__))]
    of_store = any(isinstance(cause, StoreError) for cause in causes)
    return Ending("failed", str(error), Code.STORE if of_store else Code.FAILED)
