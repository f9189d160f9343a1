"""A Trio run that stands still between calls: for tests that are not async and want to look after each thing they do.

The run lives in a thread of its own on a clock that only moves when it is told to. A call is carried out inside it and
returns when every task waits for something; so there is never more than one thread that does anything, and the same
calls in the same order have the same effect.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio
import trio.testing

T = TypeVar("T")


class Stage:
    """Use as a context manager.

    Attributes:
        nursery: for tasks that live until the end.
        clock: that of the run.
    """

    nursery: trio.Nursery

    def __init__(self) -> None:
        self.clock = trio.testing.MockClock()
        self._token: trio.lowlevel.TrioToken
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stage", daemon=True)

    def begin(self) -> None:
        """Start the run."""
        self._thread.start()
        self._ready.wait()

    def end(self) -> None:
        """Cancel what still runs, give it all the time it takes to clean up, and wait for the end."""

        def cancel() -> None:
            self.clock.autojump_threshold = 0
            self.nursery.cancel_scope.cancel()

        trio.from_thread.run_sync(cancel, trio_token=self._token)
        self._thread.join()

    def do(self, call: Callable[[], Awaitable[T]]) -> T:
        """Carry out a call; it returns when all is still again."""

        async def carried_out() -> T:
            done = await call()
            await trio.testing.wait_all_tasks_blocked()
            return done

        return trio.from_thread.run(carried_out, trio_token=self._token)

    def wait(self, seconds: float) -> None:
        """Let so much virtual time pass, and everything happen that was due by then."""

        async def pass_time() -> None:
            self.clock.jump(seconds)

        self.do(pass_time)

    def _run(self) -> None:
        trio.run(self._main, clock=self.clock)

    async def _main(self) -> None:
        async with trio.open_nursery() as self.nursery:
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set()
            await trio.sleep_forever()
