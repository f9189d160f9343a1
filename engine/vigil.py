"""What a client looks at again and again, whatever else goes on: so that nothing is lost with a signal that was missed.

At every tick the guards of the chart are asked again, kept hints fall due, and the progress is shown. Besides, three
things are noticed that no message tells of. The machine slept: the wall clock ran ahead of Trio's, and every connection
may be dead without knowing it. No block came for a long time, or the client is degraded for what others may know
better: other peers are asked, because those at hand may all be cut off. A peer is much slower than the others: it makes
room. And what is remembered of addresses is kept within bounds, for in months of running one meets many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import trio

from phasegate.engine.config import Address
from phasegate.engine.events import Event, Progress
from phasegate.engine.hints import Hints
from phasegate.engine.interpreter import Interpreter
from phasegate.engine.listed_nodes import ListedNodes
from phasegate.engine.peers import Peer
from phasegate.engine.recovery import Recovery
from phasegate.engine.work import Work
from phasegate.statecharts.policy import Reason

MOST_REMEMBERED = 1000
"""Addresses whose delays and hints are remembered, beside those of the peers that are there."""

OTHERS_MAY_HELP = frozenset(
    {Reason.NO_CAPABLE_PEER, Reason.DISPUTED, Reason.STALLED, Reason.NOT_ENOUGH_WORK, Reason.UNSOUND}
)
"""Reasons of a degradation that peers other than those at hand may end."""


class Vigil:
    """Looks after one running client.

    Args:
        work: the workbench.
        interpreter: of the sync chart.
        publish: hands an event to the subscribers.
        figures: those of the running phases.
        recovery: knows why the client is degraded.
    """

    def __init__(
        self,
        work: Work,
        interpreter: Interpreter[Any],
        publish: Callable[[Event], None],
        figures: Callable[[], Iterable[Progress]],
        recovery: Recovery,
    ) -> None:
        self._work = work
        self._interpreter = interpreter
        self._publish = publish
        self._figures = figures
        self._recovery = recovery
        self._hints = Hints()
        self._clocks = 0.0, 0.0
        self._tip = b""
        self._tip_since = 0.0
        self._searching = False
        self._troubled = False
        self._listed = ListedNodes(work.config, work.seams, work.pool.memory, work.store)
        work.pool.outbound.outdated = work.live.opinions.outdated

    async def run(self) -> None:
        """Look, tick by tick, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listed.run, lambda: self._interpreter.leaf == "synced")
            await self._watch()

    async def _watch(self) -> None:
        self._clocks = self._work.seams.now(), trio.current_time()
        while True:
            await trio.sleep(self._work.limits.tick)
            self._notice_sleep()
            self._notice_stale_tip()
            self._notice_bad_company()
            self._work.pool.look_after(self._work.live.outrun)
            self._tell_of_search()
            self._forget_strangers()
            for address in self._hints.due(self._work.writer.marks.tip_hash, trio.current_time()):
                self._follow_hint(address)
            self._ask_again()
            for figure in self._figures():
                self._publish(figure)

    def _tell_of_search(self) -> None:
        """Say once that somebody is searched for whom the client cannot do without."""
        search = self._work.pool.search if self._interpreter.leaf in ("degraded", "waiting", "switching") else ""
        if search and not self._searching:
            self._work.warn("searching", search)
        self._searching = bool(search)

    def _forget_strangers(self) -> None:
        live, tip = self._work.live, self._work.writer.marks.tip_hash
        here = {peer.address for peer in self._work.pool.connected}
        for delays in (live.silent, live.outrun):
            _forget(delays, here)
        if len(self._hints) > MOST_REMEMBERED:
            self._hints.forget(tip)

    def _ask_again(self) -> None:
        """Have the guards asked."""
        state = self._interpreter.leaf
        if state == "synced" and self._work.locks.take_walk(self._work.writer.marks.tip_hash):
            self._interpreter.post_nowait("rewalk", "a lock waits for quorums of the past")
        self._interpreter.post_nowait("recover" if state == "degraded" else "advance")

    # -- hints ---------------------------------------------------------------------------------------------------

    def hinted(self, peer: Peer) -> None:
        """`peer` hints at a block that is not stored."""
        if self._hints.take(peer.address, self._work.writer.marks.tip_hash, trio.current_time()):
            self._follow_hint(peer.address)
            self._interpreter.post_nowait("advance")

    def _follow_hint(self, address: Address) -> None:
        """Have the peer at `address` asked again; if it has no turn among those that are, all of them."""
        live = self._work.live
        turn = any(peer.address == address for peer in self._work.pool.ready)
        for peer in [peer for peer in live.agreed if peer.address == address or not turn]:
            del live.agreed[peer]
        live.tip_hint = True

    def peers_changed(self) -> None:
        """Have newcomers asked; who comes again and again while the tip stays the same has to wait, as for a hint."""
        for peer in self._work.newcomers():
            if self._hints.take(peer.address, self._work.writer.marks.tip_hash, trio.current_time()):
                self._work.live.tip_hint = True

    # -- what no message tells -----------------------------------------------------------------------------------

    def _notice_sleep(self) -> None:
        wall, steady = self._work.seams.now(), trio.current_time()
        slept = max(wall - self._clocks[0] - (steady - self._clocks[1]), steady - self._clocks[1])
        self._clocks = wall, steady
        if slept > self._work.limits.sleep_gap:
            self._work.warn("woke-up", f"the clock went on for {slept:.0f} s without us: every peer is asked for life")
            self._work.pool.probe()
            self._ask_everyone()

    def _notice_stale_tip(self) -> None:
        """On a network whose blocks come by themselves, be uneasy when none comes."""
        tip, now = self._work.writer.marks.tip_hash, trio.current_time()
        if tip != self._tip:
            self._tip, self._tip_since = tip, now
            self._work.pool.company.be_content()
        if self._work.config.max_tip_age is None or self._interpreter.leaf != "synced":
            return
        if now - self._tip_since >= self._work.limits.stale_after:
            waited, self._tip_since = now - self._tip_since, now
            more = ", and one peer more" if self._work.pool.company.look_further() else ""
            self._work.warn("stale-tip", f"no block for {waited / 60:.0f} minutes: all are asked{more}")
            self._ask_everyone()

    def _notice_bad_company(self) -> None:
        """While degraded for what others may know better, have others; once in sync, it is as before."""
        state, company = self._interpreter.leaf, self._work.pool.company
        if state == "degraded" and self._recovery.kind in OTHERS_MAY_HELP:
            self._troubled = True
            company.look_elsewhere()
        elif state == "synced" and self._troubled:
            self._troubled = False
            company.be_content()

    def _ask_everyone(self) -> None:
        self._work.live.agreed.clear()
        self._work.live.tip_hint = True


def _forget(delays: Counter[Address], here: set[Address]) -> None:
    """Of too many addresses, forget all that no peer is connected from."""
    if len(delays) > MOST_REMEMBERED:
        for address in [address for address in delays if address not in here]:
            del delays[address]
