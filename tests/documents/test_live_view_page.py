"""The page about the live view: its command and its program serve the view where they say, on a port that is fixed."""

from __future__ import annotations

import socket
import urllib.request
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request

import pytest
import trio

import phasegate
from tests.documents.conftest import Reader
from tests.documents.printed import Block, printed, some
from tests.documents.shells import running, stopped
from tests.documents.snippets import execute

PAGE = "docs/live-view.md"
VIEW = 8777


@pytest.fixture
def free_view() -> None:
    """The port of the live view is free on this machine, or the test is skipped."""
    with socket.socket() as trial:
        if trial.connect_ex(("127.0.0.1", VIEW)) == 0:
            pytest.skip(f"port {VIEW} of this machine is in use")


@printed(some(PAGE, "sh") + some(PAGE, "text"))
def test_the_live_view_is_served(reader: Reader, free_view: None, blocks: tuple[Block, ...]) -> None:
    """Where the page says, to who shows the token in the header that the page shows."""
    command, header = blocks
    told = {**reader.settings, "PHASEGATE_WEB_TOKEN": header.text.split()[-1]}
    health = f"http://127.0.0.1:{VIEW}/healthz"
    with running(f"exec {command.text}", reader.home, **told) as shell:
        assert shell.stdout is not None
        assert any(f"http://127.0.0.1:{VIEW}/" in line for line in shell.stdout)
        with urllib.request.urlopen(
            Request(health, headers=dict([header.text.strip().split(": ")])), timeout=20
        ) as answer:
            assert answer.status == 200
        with pytest.raises(HTTPError, match="401"):
            urllib.request.urlopen(health, timeout=20)
        assert stopped(shell)[0] == 130


@pytest.mark.trio
@printed(some(PAGE, "python"))
async def test_a_program_serves_the_view(
    blocks: tuple[Block, ...], nursery: trio.Nursery, free_view: None, tmp_path: Path
) -> None:
    """Where the block says, as long as the client runs."""
    config = phasegate.Config.create("simnet", peers=("127.0.0.1:1",), connect_only=True, datadir=tmp_path)
    client = phasegate.Client(config)
    events = client.events()
    nursery.start_soon(partial(execute, blocks[0], client=client))
    with trio.fail_after(60):
        async for _ in events:
            break
        async with await trio.open_tcp_stream("127.0.0.1", VIEW) as visitor:
            await visitor.send_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert (await visitor.receive_some(1 << 16)).startswith(b"HTTP/1.1 200 ")
        await client.stop()
