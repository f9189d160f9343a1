"""phasegate in an asyncio program: Trio runs as a guest in the loop that is there already, in the same thread.

`Guest` is the whole bridge, to be taken as it is. `await guest.start(client.run)` starts a client;
`await guest.call(fn, *args)` awaits any of its asynchronous methods, and `Events` reads its events. What is
synchronous, such as `client.balances()`, is called as always. Cancelling the asyncio task cancels what it awaits
inside; leaving the `async with` ends the client and closes its store.

    phasegate simnet --port 29899 --blocks 500          # in another terminal; its first line has the addresses
    python docs/examples/asyncio_guest.py 127.0.0.1:29899 ADDRESS...
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import trio

from phasegate import Client, Config, Event, Seen, Transition

T = TypeVar("T")


class Guest:
    """A nursery of Trio's inside the running asyncio loop: `async with Guest() as guest`."""

    _nursery: trio.Nursery
    _token: trio.lowlevel.TrioToken

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[Any] = loop.create_future()
        trio.lowlevel.start_guest_run(
            self._stay,
            ready,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=self._ended.set_result,
            host_uses_signal_set_wakeup_fd=True,
        )
        await ready
        return self

    async def _stay(self, ready: asyncio.Future[None]) -> None:
        async with trio.open_nursery() as self._nursery:
            self._token = trio.lowlevel.current_trio_token()
            ready.set_result(None)
            await trio.sleep_forever()

    async def __aexit__(self, *_error: object) -> None:
        if not self._ended.done():
            self._token.run_sync_soon(self._nursery.cancel_scope.cancel)
        outcome = await _in_any_case(self._ended)
        outcome.unwrap()  # if something crashed inside, its error

    async def start(self, run: Callable[..., Awaitable[Any]]) -> Any:
        """Have `run` go on in the background; returns what it is started with, as `nursery.start` does."""
        return await self.call(self._nursery.start, run)

    async def call(self, fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await `fn(*args)`, which is Trio's: its result or its error.

        Whoever is cancelled never gets the result, though it be there already. So read events by `Events`.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        scope = trio.CancelScope()
        self._token.run_sync_soon(self._nursery.start_soon, _settle, done, scope, fn, args)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            self._token.run_sync_soon(scope.cancel)
            await asyncio.wait([done])
            raise


async def _settle(
    done: asyncio.Future[T], scope: trio.CancelScope, fn: Callable[..., Awaitable[T]], args: tuple[Any, ...]
) -> None:
    try:
        with scope:
            done.set_result(await fn(*args))
    except Exception as error:
        done.set_exception(error)
    finally:
        done.cancel()  # it was cancelled inside; what is settled stays


async def _in_any_case(future: asyncio.Future[T]) -> T:
    """The result of `future`, though the asyncio task be cancelled meanwhile: a store is being closed."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return future.result()


class Events:
    """What a client tells, for `async for` in asyncio. A cancelled read loses nothing: the next one has the event.

    `seen` is what has been handed over so far, to be remembered; `after` is what was remembered.
    """

    def __init__(self, guest: Guest, client: Client, after: Seen) -> None:
        self._guest = guest
        self._following = client.events(after=after)
        self._reading: asyncio.Task[Event | None] | None = None
        self.seen = self._following.seen

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        await asyncio.wait([self._reading])  # which goes on when this is cancelled
        read, self._reading = self._reading, None
        event = read.result()
        if event is None:
            raise StopAsyncIteration
        self.seen = self.seen.after(event)
        return event

    async def _read(self) -> Event | None:
        try:
            return await self._guest.call(self._following.__anext__)
        except StopAsyncIteration:
            return None


async def print_path(guest: Guest, client: Client) -> None:
    """An asyncio task like any other: the way to the first sync."""
    async for event in Events(guest, client, Seen()):
        if isinstance(event, Transition):
            print(f"{event.source} -> {event.target}", flush=True)
            if event.target == "synced":
                return


async def main(peer: str, *addresses: str) -> None:
    """Sync, print what was found, and one block."""
    config = Config.create("simnet", peers=(peer,), watch=addresses, datadir="wallet")
    async with Guest() as guest:
        client: Client = await guest.start(Client(config).run)
        printing = asyncio.create_task(print_path(guest, client))
        await guest.call(client.wait_synced)
        for script, duffs in client.balances().items():
            print(f"height {client.status.marks.tip}: {duffs:>15} duffs in {script.hex()}")
        block = await guest.call(client.get_block, client.status.marks.tip)
        print(f"block {block.header.hash[::-1].hex()} has {len(block.transactions)} transactions")
        await printing


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
