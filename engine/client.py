"""The façade: one client of one network, run in the caller's own nursery.

    async with open_client(Config.create("regtest", peers=("127.0.0.1:19899",))) as client:
        await client.wait_synced()
        print(client.balances())

The client is a Trio task tree: the interpreter of the sync chart, the pool of peers, and a tick that lets the guards
be asked again. It ends when the chart does (`stop`, or a crash), or when its caller cancels it; either way the store
is closed with everything committed that was handed over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from secrets import token_hex

import trio

from phasegate.consensus.transactions import relayable
from phasegate.engine.arguments import seconds, whole
from phasegate.engine.attending import Attending
from phasegate.engine.broadcast_search import search_back
from phasegate.engine.broadcast_stages import BroadcastStatus, Stage
from phasegate.engine.broadcasts import Broadcasts
from phasegate.engine.config import Config
from phasegate.engine.errors import ClientEnded, ClientFailed, ConfigError, leaves
from phasegate.engine.events import Broadcast, Event, Rewound, Warned
from phasegate.engine.inquiry import Status
from phasegate.engine.interpreter import Interpreter
from phasegate.engine.lock_news import LockNews
from phasegate.engine.locks import Locks
from phasegate.engine.opening import open_store, repair_store
from phasegate.engine.peer_memory import PeerMemory
from phasegate.engine.peers import Peer
from phasegate.engine.pool import Pool
from phasegate.engine.progress import Meter, enabled_phases
from phasegate.engine.recovery import Recovery, Strategy
from phasegate.engine.regions import REGIONS
from phasegate.engine.requests import Ledger
from phasegate.engine.seams import Seams, Writer, proxied
from phasegate.engine.sync import SyncBindings
from phasegate.engine.unconfirmed import Unconfirmed
from phasegate.engine.vigil import Vigil
from phasegate.engine.wallet_news import WalletNews
from phasegate.engine.watching import Watching, configured, to_add
from phasegate.engine.work import Live, Work, unwrapped
from phasegate.p2p.messages import GetData, Inv
from phasegate.statecharts.catalogue import chart_of
from phasegate.store import Rematch, StoreCorrupt, StoreError, StoreFailed, Watermarks


class Client(Attending, Watching):
    """A light client.

    Args:
        config: what to sync, from whom, and where to keep it.
        seams: how time, randomness, threads and streams are had; the defaults are the real ones.

    Raises:
        StoreError: the data directory cannot be used.
    """

    def __init__(self, config: Config, seams: Seams | None = None) -> None:
        self.config = config
        self._seams = seams or Seams()
        if config.proxy is not None:
            self._seams = proxied(self._seams, config.proxy)
        self._events = Broadcast()
        self._recovery = Recovery()
        self._ledger = Ledger(REGIONS if config.strategy == "interleaved" else ())
        self._live = Live()
        self._store, self._repaired = open_store(
            config.datadir, config.network, anchor=config.anchor, birthday=config.birthday, vfs=self._seams.vfs
        )
        try:
            self._writer = Writer(self._store, self._seams.write)
            self._build()
        except BaseException:
            self._store.close()
            raise
        self._ended = False

    def _build(self) -> None:
        config = self.config
        self._meter = Meter(enabled_phases(config), config.network.dip3)
        self.broadcasting = Broadcasts(self._writer, self._seams, self._events.publish, self._warn)
        ours, publish = self.broadcasting.knows, self._events.publish
        self._unconfirmed = Unconfirmed(config, self._store, self._seams, publish, ours)
        locks = Locks(enabled=config.masternodes, per_peer=config.limits.in_flight["locks"])
        self._pool = Pool(
            config,
            self._seams,
            self._ledger,
            known=self._knows,
            our_height=lambda: self._writer.marks.tip,
            on_hint=lambda peer: self._vigil.hinted(peer),
            on_change=lambda: self._vigil.peers_changed(),
            warn=self._warn,
            locks=locks,
            memory=PeerMemory(config, self._seams, self._writer, self._warn),
            relayed=self._relayed,
        )
        self._work = Work(
            config,
            self._seams,
            self._writer,
            self._pool,
            self._ledger,
            self._live,
            self._warn,
            self._rewound,
            locks,
            self.broadcasting,
        )
        self._wallet_news = WalletNews(self._work, self._events.publish, self._unconfirmed)
        self._lock_news = LockNews(self._work, self._events.publish, self._wallet_news.locked)
        self._bindings = SyncBindings(self._work, self._recovery, self._meter, self._events.publish)
        self._interpreter = Interpreter(chart_of(config.strategy), self._bindings.model, self._bindings)
        self._vigil = Vigil(self._work, self._interpreter, self._events.publish, self.figures, self._recovery)
        self._writer.on_receipt = self._received
        self.last_progress = 0.0
        self._run_name = token_hex(8)
        self._began = self._seen_by_now()

    def _relayed(self, peer: Peer, message: Inv | GetData) -> None:
        self.broadcasting.take(peer, message)
        self._unconfirmed.announced(peer, message)

    def _knows(self, block: bytes) -> bool:
        """Whether a block is stored; an unreadable disk knows nothing, and what it hints at is only asked for."""
        try:
            return self._store.height_of(block) is not None
        except StoreFailed:
            return False

    # -- running -------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[Client] = trio.TASK_STATUS_IGNORED) -> None:
        """Sync, and stay in sync, until stopped or cancelled: `await nursery.start(client.run)`.

        Raises:
            ClientFailed: a bug or a broken store; the cause is kept.
            ConfigError: it runs, or has run, already.
            ClientEnded: it was closed.
        """
        if self._loop is not None:
            raise ConfigError("run: a client runs once; make another one")
        self._check_running("run")
        self._loop = trio.lowlevel.current_trio_token()
        self.last_progress = trio.current_time()
        try:
            await self._run_to_the_end(task_status)
        finally:
            self._work.block_orders.end()
            self.broadcasting.end()  # who waits may end everything by its error, so damage is repaired before

    def close(self) -> None:
        """Give the directory of a client back that is not to run; after its run this does nothing.

        Raises:
            ConfigError: the client runs; `stop` ends it.
            StoreError: the disk refused; the store is closed all the same.
        """
        if self._ended:
            return
        if self._loop is not None:
            raise ConfigError("close: the client runs; stop it")
        self._ended = True
        self._events.end()
        self._store.close()

    async def _run_to_the_end(self, task_status: trio.TaskStatus[Client]) -> None:
        crash: Exception | None = None
        try:
            with unwrapped():
                await self._run(task_status)
        except StoreError as broken:  # met beside the phases; damage is repaired all the same
            crash = broken
        finally:
            self._ended = True
            await self._close()
        if (crash := crash or self._bindings.crashed) is not None:
            raise ClientFailed(f"{crash}{await self._repair(crash)}") from crash

    async def _close(self) -> None:
        """Store what is known of peers, end the events, and give the store back."""
        try:
            with trio.CancelScope(shield=True), suppress(StoreError):  # hearsay must not hide how the run ended
                await self._pool.memory.save()
        finally:
            self._events.end()
            self._store.close()

    async def _repair(self, crash: Exception) -> str:
        """If damage in the closed store was the cause, go back below it, so that the next run can go on."""
        damage = next((leaf for leaf in leaves(crash) if isinstance(leaf, StoreCorrupt)), None)
        if damage is None:
            return ""
        try:
            told = await self._seams.write(repair_store, self.config.datadir, self.network, damage, self._seams.vfs)
        except StoreError as hopeless:
            return f"; {hopeless}"
        return f"; {told}, start again"

    async def _run(self, task_status: trio.TaskStatus[Client]) -> None:
        if changes := to_add(configured(self.config)):
            await self._writer.commit(changes)
        self._take_broadcasts()
        async with trio.open_nursery() as nursery:
            await nursery.start(self._interpreter.run)
            await nursery.start(self._pool.run)
            nursery.start_soon(self._vigil.run)
            nursery.start_soon(self.broadcasting.run, self._pool, lambda: self.state == "paused")
            nursery.start_soon(
                search_back, self._work, self.broadcasting, lambda: self.state == "synced", self._walk_for_broadcasts
            )
            nursery.start_soon(self._unconfirmed.run, self._work, lambda: self.state != "synced")
            nursery.start_soon(self._lock_news.run, lambda: self.state == "paused")
            if self._repaired:
                self._warn("store-repaired", self._repaired)
            await self._interpreter.post("start")
            task_status.started(self)
            await self._interpreter.ended.wait()
            nursery.cancel_scope.cancel()

    def _take_broadcasts(self) -> None:
        """What is being broadcast and is in no block counts as seen, also when that began in an earlier run."""
        for entry in self.broadcasting.under_way:
            self._unconfirmed.take(entry.tx, entry.added)

    def _walk_for_broadcasts(self) -> None:
        self._interpreter.post_nowait("rewalk", "a stored block may have a transaction that is being broadcast")

    def _received(self, before: Watermarks, after: Watermarks) -> None:
        now = trio.current_time()
        self.last_progress = now
        self._recovery.progressed()
        self._meter.stored(before, after, now)
        self._bindings.stored()
        self._lock_news.moved(before, after)
        if after.pending_blocks != before.pending_blocks or after.tip_hash != before.tip_hash:
            self._wallet_news.announce(self._lock_news.found)

    def _rewound(self, old_tip: int, fork_height: int) -> None:
        self._meter.rewound()
        self.broadcasting.rewound(fork_height)
        self._work.locks.rewound(self._store)
        self._events.publish(Rewound(self._seams.now(), old_tip, fork_height))
        self._wallet_news.rewound()
        self._take_broadcasts()

    def _warn(self, code: str, message: str) -> None:
        self._events.publish(Warned(self._seams.now(), code, message))

    # -- what a user may do --------------------------------------------------------------------------------------

    async def rescan(self, from_height: int = 0) -> None:
        """Match everything that is watched again, from a height on, in the walk that follows.

        What was found stays, and what the blocks tell anew is merged into it: in the end it is what a fresh scan finds.
        Below the birthday there is nothing to match. Filters that were not kept (`prune_filters`) are downloaded again.

        Args:
            from_height: absolute, of a stored block.

        Raises:
            ConfigError: no such height, or the client downloads no filters.
            StoreError: the change could not be stored.
            ClientEnded: the client has ended.
        """
        self._check_running("rescan")
        tip = self._writer.marks.tip
        if not self.config.filters:
            raise ConfigError("rescan: without filters nothing is matched")
        if not 0 <= whole("rescan: from_height", from_height) <= tip:
            raise ConfigError(f"rescan: {from_height} is no height from 0 to {tip}")
        await self._commit("rescan", [Rematch(from_height)])
        await self._post("rescan", "rewalk", f"rescan from {from_height}")

    async def broadcast(self, raw: bytes, *, until: Stage = Stage.ECHOED, timeout: float = 60.0) -> BroadcastStatus:
        """Send a transaction to the network, and go on announcing it, over restarts, until it is mined.

        Args:
            raw: its whole serialisation [DIP2]; the caller has signed it.
            until: return as soon as it has come so far; the broadcasting goes on afterwards.
            timeout: seconds after which to return all the same.

        Returns:
            What is known then: the stage, and how many peers were told, fetched it, and announced it by themselves.
            With one peer nobody can be the echo, so more than `Stage.FETCHED` takes a lock or a block. Without
            filters peers are not asked to announce transactions, and no block is searched: then `FETCHED` is all.

        Raises:
            RefusedTransaction: no node would take it.
            BroadcastLimit: too many are being broadcast.
            ConfigError: `raw`, `until` or `timeout` is of another kind; nothing was stored or sent.
            StoreError: it could not be stored.
            ClientEnded: the client has ended, before or while it was waited for.
        """
        self._check_running("broadcast")
        if not isinstance(raw, bytes | bytearray):
            raise ConfigError(f"broadcast: a transaction is given as bytes, not as {type(raw).__name__}")
        if not isinstance(until, Stage) or until.has_failed:
            raise ConfigError(f"broadcast: until {until!r} is no stage that a transaction may reach")
        seconds("broadcast: timeout", timeout)
        txid = await self.broadcasting.add(tx := relayable(bytes(raw)))
        self._unconfirmed.take(tx)
        return await self.broadcasting.outcome(txid, until, timeout)

    async def give_up(self) -> None:
        """Stop struggling and be degraded, for the reason that recovery had no success against.

        Raises:
            ClientEnded: the client has ended.
        """
        self._check_running("give_up")
        if self.struggling and self.state != "degraded":
            self._recovery.advice = Strategy.DEGRADE
            await self._post("give_up", "fail", f"gave up: {self._recovery.detail}")


@asynccontextmanager
async def open_client(config: Config, seams: Seams | None = None) -> AsyncIterator[Client]:
    """A running client for the length of an `async with`; at the end it is cancelled and its store closed.

    Raises:
        StoreError: the data directory cannot be used.
        ClientFailed: the client crashed meanwhile.
    """
    client = Client(config, seams)
    with unwrapped():
        async with trio.open_nursery() as nursery:
            await nursery.start(client.run)
            yield client
            nursery.cancel_scope.cancel()


__all__ = ["Client", "ClientEnded", "ClientFailed", "Event", "Status", "open_client"]
