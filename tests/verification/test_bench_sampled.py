"""A client that is measured is stopped while X11 is, set going again, and not charged with the time between."""

from __future__ import annotations

import signal
from concurrent.futures import Future
from typing import Any, cast

import pytest

from phasegate.verification.bench import sampled
from phasegate.verification.bench.sampled import SERVING, Sampled


class Scene:
    """A client, its peer, and a machine on which everything takes a second.

    `served` is what the peer has done each time that it is asked; when all of it was told, the client is done.
    """

    def __init__(self, served: list[float], *, broken: bool = False) -> None:
        self.signals, self.done = list[int](), Future[tuple[str, str]]()
        self._served, self._broken, self.now = served, broken, 0.0

    def cpu(self) -> float:
        served = self._served.pop(0)
        if not self._served:
            self.done.set_result(("", ""))
        return served

    def x11_seconds(self, cores: int) -> float:
        assert self.signals[-1] == signal.SIGSTOP
        self.now += 1
        if self._broken:
            raise OSError("no hand is free")
        return {1: 2e-5, 2: 3e-5}[cores]

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    @property
    def cores(self) -> int:
        return 2


def watched(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Sampled:
    monkeypatch.setattr(sampled, "PACE", 0)
    monkeypatch.setattr(sampled.time, "perf_counter", lambda: scene.now)  # type: ignore[attr-defined]
    one = Sampled(cast(Any, scene), cast(Any, scene))
    one.watch(cast(Any, scene), scene.done)
    return one


def test_every_stop_has_an_end_and_counts_while_the_peer_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene([0.0, 1.0, 2.0, 2.0, 3.0])
    one = watched(scene, monkeypatch)
    assert scene.signals == [signal.SIGSTOP, signal.SIGCONT] * 2
    assert (one.times, one.stopped) == ([3e-5, 3e-5], 2.0)
    assert one.each == pytest.approx(3e-5)


def test_nobody_is_stopped_before_the_peer_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene([0.0, 0.0, SERVING / 2])
    assert watched(scene, monkeypatch).stopped == 0
    assert scene.signals == []


def test_a_stop_after_the_last_answer_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The phase may have been over by then."""
    scene = Scene([0.0, 1.0, 1.0 + SERVING / 2])
    one = watched(scene, monkeypatch)
    assert scene.signals == [signal.SIGSTOP, signal.SIGCONT]
    assert (one.times, one.stopped) == ([], 0)


def test_a_client_goes_on_if_its_floor_cannot_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene([0.0, 1.0, 2.0], broken=True)
    with pytest.raises(OSError, match="no hand is free"):
        watched(scene, monkeypatch)
    assert scene.signals == [signal.SIGSTOP, signal.SIGCONT]
