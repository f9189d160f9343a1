"""`phasegate sync --web`: a view while the sync runs, refused in one line when it cannot be, and never in its way."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phasegate.cli import web

Run = Callable[..., Any]
PHASEGATE = (sys.executable, "-m", "phasegate")


def test_a_sync_with_a_view_ends_as_one_without(sync: Run, honest: Any) -> None:
    """Exit 0 and the same lines; where the page is stands on standard error, in one line."""
    outcome = sync("--peer", honest.address, *honest.watching, "--web", "127.0.0.1:0")
    assert outcome.code == 0
    assert re.fullmatch(r"live view: http://127\.0\.0\.1:\d+/\n", outcome.err)
    assert outcome.summary["state"] == "synced"
    assert outcome.path[-2:] == ["synced", "stopped"]


def test_a_port_in_use(sync: Run, honest: Any, tmp_path: Path) -> None:
    """Exit 2 and one line, before a store is made."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        place = f"127.0.0.1:{other.getsockname()[1]}"
        outcome = sync("--peer", honest.address, "--web", place)
    assert outcome.code == 2
    assert outcome.err == f"phasegate sync: --web cannot listen on {place}: Address already in use\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--web", "8777"], "--web '8777' is not HOST:PORT"),
        (["--web", "127.0.0.1:0", "--web-token", "short"], "the token of --web is not 16 to 200 letters"),
    ],
)
def test_what_cannot_be_is_named(sync: Run, honest: Any, words: list[str], told: str) -> None:
    """Exit 2 and one line that names it."""
    outcome = sync("--peer", honest.address, *words)
    assert outcome.code == 2
    assert outcome.err.startswith(f"phasegate sync: {told}")
    assert len(outcome.err.splitlines()) == 1


def test_a_missing_library_is_named(sync: Run, honest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setattr(web, "find_spec", lambda name: None if name == "hypercorn" else name)
    outcome = sync("--peer", honest.address, "--web", "127.0.0.1:0")
    assert outcome.code == 2
    assert outcome.err == "phasegate sync: --web needs hypercorn: pip install 'hypercorn<0.19,>=0.17'\n"


def test_the_view_is_not_loaded_before_it_is_wanted() -> None:
    """Neither the command line nor a client loads a web server."""
    heavy = ("hypercorn", "starlette", "prometheus_client", "anyio", "phasegate.web")
    code = f"import sys, phasegate.cli.app, phasegate.cli.run; print(*sorted({set(heavy)!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split() == []


def test_the_token_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not printed, and without it nothing is told; a signal ends client and view at once."""
    token = "a-token-of-the-environment"  # noqa: S105 - nobody's
    monkeypatch.setenv("PHASEGATE_WEB_TOKEN", token)
    words = [*PHASEGATE, "sync", "--network", "simnet", "--datadir", str(tmp_path), "--peer", "127.0.0.1:1"]
    with subprocess.Popen(
        [*words, "--give-up", "60", "--json", "--web", "127.0.0.1:0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stdout is not None
        url = process.stderr.readline().removeprefix("live view: ").strip()
        assert token not in url
        json.loads(process.stdout.readline())  # it runs
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{url}healthz", timeout=10)  # noqa: S310 - our own address
        asked = urllib.request.Request(f"{url}healthz", headers={"Authorization": f"Bearer {token}"})  # noqa: S310
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
            assert answer.read().startswith(b"ok: ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 130
        process.stdout.read()
