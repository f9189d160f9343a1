"""The page about Tor does what it prints, with the tests' proxy where Tor would listen, and nothing goes round it.

Every `phasegate` of the page runs behind a wall: its process can connect to the proxy and look up no name; whatever
else it tries is refused and noted.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import trio

from phasegate import Config
from phasegate.consensus.params import MAINNET
from phasegate.p2p.address_forms import to_v2
from phasegate.p2p.addresses import Address
from phasegate.p2p.simnet.generated import GeneratedChain
from phasegate.p2p.simnet.greeting import SERVICES
from phasegate.p2p.simnet.node import Node
from tests.documents.printed import ROOT, Block, printed, some
from tests.documents.shells import bash, first_unsaid, running, script, stopped
from tests.socks_proxy import SocksProxy

PAGE = "docs/howto/run-behind-tor.md"
TOR = 9050
SEED = "dnsseed.dash.org"
ONION = "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dyp3kead.onion"
WALL = f"""#!/bin/sh
exec {sys.executable} {ROOT}/tests/internet/walled_client.py 127.0.0.1:{TOR} "$HOME/refused" "$@"
"""


@attrs.frozen
class Behind:
    """A reader's home, the proxy, and the node of mainnet that it leads to."""

    home: Path
    proxy: SocksProxy
    node: Node

    @property
    def refused(self) -> list[str]:
        """What was tried beside the proxy."""
        return (self.home / "refused").read_text("utf-8").splitlines()

    @property
    def hosts(self) -> set[str]:
        """Whom the proxy was asked for."""
        return {asked.host for asked in self.proxy.asked}


@pytest.fixture
async def behind(nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[Behind]:
    """The proxy where Tor would be; all but the service of the page leads to a node of mainnet that knows another."""
    known = to_v2(Address.parse(ONION, MAINNET.port), int(time.time()), int(SERVICES))
    assert known is not None
    node = Node(GeneratedChain.begin(MAINNET, 1), known=(known,), share=100)
    proxy = SocksProxy({f"{ONION}:29876": ("127.0.0.1", 29876)}, others=await nursery.start(node.serve, "127.0.0.1", 0))
    try:
        await nursery.start(proxy.serve, TOR)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        pytest.skip(f"port {TOR} of this machine is in use: Tor runs here")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "phasegate").write_text(WALL, encoding="utf-8")
    (tmp_path / "bin" / "phasegate").chmod(0o755)
    (tmp_path / "refused").touch()
    yield Behind(tmp_path, proxy, node)
    nursery.cancel_scope.cancel()


@pytest.mark.trio
@printed(some(PAGE, "sh", "phasegate sync --network mainnet"))
async def test_a_sync_asks_the_proxy_alone(behind: Behind, blocks: tuple[Block, ...]) -> None:
    """It asks a seed by its name, hears of a node from it, and connects to that: all by the proxy."""
    with running(f"exec {blocks[0].text}", behind.home) as shell:
        with trio.fail_after(60):
            await behind.proxy.until(lambda _: {SEED, ONION} <= behind.hosts)
        code, output = await trio.to_thread.run_sync(stopped, shell)
    assert (code, behind.refused) == (130, []), output


@pytest.mark.trio
@printed(some(PAGE, "sh", "phasegate doctor") + some(PAGE, "text", "ok    dns"))
async def test_an_examination_asks_the_proxy_alone(behind: Behind, blocks: tuple[Block, ...]) -> None:
    """It looks up nothing, and reaches a node."""
    code, output = await trio.to_thread.run_sync(bash, blocks[0].text, behind.home)
    assert (code, behind.refused) == (0, []), output
    assert first_unsaid(blocks[1].text.splitlines(), output) is None, output
    assert behind.hosts


@pytest.mark.trio
@printed(
    some(PAGE, "sh", "phasegate simnet") + some(PAGE, "sh", "phasegate sync --network simnet") + some(PAGE, "text", "…")
)
async def test_a_whole_sync_goes_to_a_hidden_service(behind: Behind, blocks: tuple[Block, ...]) -> None:
    """The node of the page behind the onion of the page; the proxy is asked for that name and nothing else."""
    code, output = await trio.to_thread.run_sync(bash, script(blocks), behind.home)
    assert (code, behind.refused) == (0, []), output
    assert first_unsaid(blocks[2].text.splitlines(), output) is None, output
    assert behind.hosts == {ONION}


@pytest.mark.trio
async def test_the_wall_is_one(behind: Behind) -> None:
    """The examination of the page without its proxy is refused, and seen to have looked up a name."""
    code, output = await trio.to_thread.run_sync(bash, "phasegate doctor --network mainnet", behind.home)
    assert code == 7, output
    assert f"look up {SEED}" in behind.refused


@printed(some(PAGE, "toml"))
def test_the_file_sets_the_proxy(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    file = tmp_path / "phasegate.toml"
    file.write_text(blocks[0].text, encoding="utf-8")
    assert Config.load(file, {}).proxy == Address("127.0.0.1", TOR)
