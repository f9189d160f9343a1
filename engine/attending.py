"""How a user attends to a client: its events, from now on or from a known row on, and the wait until it is synced."""

from __future__ import annotations

from typing import overload

from phasegate.engine.arguments import whole
from phasegate.engine.errors import ClientEnded, ClientFailed, ConfigError
from phasegate.engine.events import Broadcast, ChainLocked, Event, Lagged, Subscription, Transition
from phasegate.engine.following import Following, Seen, missed
from phasegate.engine.lookups import Lookups

__all__ = ["Attending", "ClientEnded", "ClientFailed"]


class Attending(Lookups):
    """The part of a client that tells what happens."""

    _events: Broadcast
    _began: Seen
    _run_name: str

    @overload
    def events(self, capacity: int = 1024) -> Subscription: ...

    @overload
    def events(self, capacity: int = 1024, *, after: Seen) -> Following: ...

    def events(self, capacity: int = 1024, *, after: Seen | None = None) -> Subscription:
        """A subscription to everything that happens from now on, or has happened since a known row.

        Args:
            capacity: events that may wait to be read; the oldest progress goes first, then `Lagged` counts.
            after: the row ids that were seen last. The transitions, losses and transactions above these are read from
                the database first, then it goes on live, without a gap and no row twice; the subscription's
                `seen` is what to remember, and belongs to this store.

        Raises:
            ConfigError: a capacity below 1, or `after` is no `Seen` of whole numbers.
            StoreError: with `after`, here or from the subscription: the store cannot be read, or the client has ended.
        """
        if whole("capacity", capacity) < 1:
            raise ConfigError(f"capacity {capacity} has no room for an event")
        if after is None:
            return self._events.subscribe(capacity)
        following = Following(capacity, self._as_stored(_checked(after)), self._missed)
        self._events.attach(following)
        return following

    def _as_stored(self, seen: Seen) -> Seen:
        """`seen` as far as the store has it: a power cut may have taken the last rows, whose ids come again then.

        What was seen in another run can be no more than the store had when this one began.
        """
        now = self._seen_by_now()
        return seen.within(now if seen.run in ("", now.run) else self._began)

    def _seen_by_now(self) -> Seen:
        """What who has missed nothing has seen."""
        store = self._store
        return Seen(self._bindings.journal.end, store.transactions_end(), store.lost_end(), self._run_name)

    async def _missed(self, seen: Seen) -> list[Event]:
        waiting = self._bindings.journal.unstored
        return await missed(self._store, self._seams.compute, waiting, seen, self._seams.now())

    async def wait_synced(self, *, confirmed: bool = False) -> None:
        """Return when the client is fully synced; while it is degraded or paused this waits on.

        Args:
            confirmed: wait also until the tip is ChainLocked, so that no reorganisation can undo what was found.

        Raises:
            ConfigError: `confirmed`, but the client downloads no masternode lists and can verify no ChainLock.
            ClientEnded: the client has ended without.
        """
        self._check_loop("wait_synced")
        if confirmed and not self.config.masternodes:
            raise ConfigError("confirmed: without masternode lists no ChainLock can be verified")
        events = self.events()
        while not (self.state == "synced" and self._all_matched and (self._tip_locked or not confirmed)):
            if self._ended or self.state in ("failed", "stopped"):
                why = f": {reason}" if (reason := self.status.reason) else ""
                raise ClientEnded(f"the client ended in state {self.state}{why}") from self._bindings.crashed
            async for event in events:
                if isinstance(event, ChainLocked | Lagged | Transition):
                    break

    @property
    def _all_matched(self) -> bool:
        """Whether nothing was added that the chart has not heard of yet."""
        return not self.config.filters or self.facts.blocks_complete

    @property
    def _tip_locked(self) -> bool:
        marks = self._writer.marks
        return marks.chainlock == marks.tip


def _checked(seen: object) -> Seen:
    if not isinstance(seen, Seen):
        raise ConfigError(f"after: {seen!r} is no Seen")
    for name in ("transition", "transaction", "lost"):
        whole(f"after: {name}", getattr(seen, name))
    return seen
