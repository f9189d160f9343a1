"""What X11 takes on all cores while a client runs beside it, so to speak: in moments for which the client is stopped.

What a core of a shared machine does changes by half from second to second. So a floor that is measured before or after
is one of another machine; one that is measured in the middle, again and again, is not.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import time
from concurrent.futures import Future, wait

import attrs

from phasegate.verification.bench.peer import Peer
from phasegate.verification.bench.stage import Stage

PACE, SERVING = 0.5, 0.002
"""Seconds before and after each stop of a client; processor seconds that tell that its peer serves it."""


@attrs.define
class Sampled:
    """What an X11 takes on all cores at once, measured while a client is stopped, as long as its peer serves it.

    Args:
        stage: where it is measured.
        peer: of the client.
        stopped: seconds for which the client was stopped.
        times: what an X11 took each time.
    """

    stage: Stage
    peer: Peer
    stopped: float = 0.0
    times: list[float] = attrs.field(factory=list)

    @property
    def each(self) -> float:
        """What an X11 took at the mean rate; measured now if the client was never stopped."""
        return statistics.harmonic_mean(self.times) if self.times else self.stage.x11_seconds(self.stage.cores)

    def watch(self, client: subprocess.Popen[str], done: Future[tuple[str, str]]) -> None:
        """Stop the client again and again; what it is stopped for after its peer's last answer does not count."""
        idle = self.peer.cpu()
        while not wait([done], PACE).done:
            served, began = self.peer.cpu(), time.perf_counter()
            if served - idle < SERVING:
                continue
            client.send_signal(signal.SIGSTOP)
            try:
                each = self.stage.x11_seconds(self.stage.cores)
            finally:
                client.send_signal(signal.SIGCONT)
            stopped = time.perf_counter() - began
            wait([done], PACE)
            if self.peer.cpu() - served >= SERVING:
                self.times.append(each)
                self.stopped += stopped
