"""Through a SOCKS5 proxy and nothing else: no direct connection, no local look-up, onion addresses included.

Real sockets and processes: the proxy and the nodes live here, the client in a process that cannot get past a wall.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from phasegate.consensus.params import SIMNET
from phasegate.p2p.address_forms import to_v2
from phasegate.p2p.addresses import Address, Kind
from phasegate.p2p.messages import AddressV2
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.greeting import SERVICES
from phasegate.p2p.simnet.node import Node
from tests.socks_proxy import SocksProxy

WALLED = str(Path(__file__).with_name("walled_client.py"))
SEED = "seed.example"
BLOCKS = 120


def onion(number: int) -> Address:
    """A Tor address that nobody has."""
    return Address.of(Kind.TORV3, bytes([number]) * 32, SIMNET.port)


def told(address: Address) -> AddressV2:
    record = to_v2(address, int(time.time()), int(SERVICES))
    assert record is not None
    return record


@attrs.frozen
class Ended:
    code: int
    lines: list[dict[str, Any]]
    refused: list[str]


async def walled(proxy: Address, place: Path, *words: str) -> Ended:
    """`sync --once --json` in a process that can reach `proxy` only."""
    log = place / "refused"
    log.touch()
    options = ("sync", "--network", "simnet", "--datadir", str(place), "--once", "--json", "--give-up", "5")
    command = [sys.executable, WALLED, str(proxy), str(log), *options, *words]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    return Ended(done.returncode, lines, log.read_text("utf-8").splitlines())


@pytest.mark.trio
async def test_everything_goes_through_the_proxy(tmp_path: Path, nursery: trio.Nursery) -> None:
    """One seed by its name, two nodes by their onion addresses: synced; the proxy was asked for just these, by name."""
    chain, hidden = generate(BLOCKS, 11), [onion(1), onion(2)]
    nodes = [Node(chain, known=tuple(map(told, hidden)), share=100), Node(chain), Node(chain)]
    places = [await nursery.start(node.serve, "127.0.0.1", 0) for node in nodes]
    names = [SEED, *[address.host for address in hidden]]
    proxy = SocksProxy({name: (host, port) for name, (host, port) in zip(names, places, strict=True)})
    await nursery.start(proxy.serve)
    words = [word for item in chain.watch for word in ("--watch", item)]
    ended = await walled(proxy.address, tmp_path, "--proxy", str(proxy.address), "--dns-seed", SEED, *words)
    nursery.cancel_scope.cancel()
    assert ended.code == 0
    summary = ended.lines[-1]
    assert (summary["state"], summary["height"], summary["filters"]) == ("synced", BLOCKS, BLOCKS + 1)
    assert sorted(found["txid"] for found in summary["transactions"]) == sorted(chain.expected["transactions"])
    assert ended.refused == []  # not even tried
    assert {asked.host for asked in proxy.asked} == {SEED, *[address.host for address in hidden]}
    assert len({asked.username for asked in proxy.asked}) == len(proxy.asked)  # each connection on a circuit of its own


@pytest.mark.trio
async def test_without_the_proxy_the_wall_holds(tmp_path: Path, nursery: trio.Nursery) -> None:
    """The wall of the other test is one: the same client without the proxy is refused, and reaches nobody."""
    chain = generate(BLOCKS, 11)
    host, port = await nursery.start(Node(chain).serve, "127.0.0.1", 0)
    nowhere = Address("127.0.0.1", 9)
    direct = await walled(nowhere, tmp_path, "--peer", f"{host}:{port}")
    by_name = await walled(nowhere, tmp_path, "--dns-seed", SEED)
    nursery.cancel_scope.cancel()
    assert (direct.code, by_name.code) == (3, 3)
    assert direct.lines[-1]["height"] == by_name.lines[-1]["height"] == 0
    assert f"connect ('{host}', {port})" in by_name.refused
    assert f"look up {SEED}" in by_name.refused


@pytest.mark.trio
async def test_a_proxy_that_is_away_is_named(tmp_path: Path) -> None:
    """Nothing goes round it: degraded, with the proxy in the reason."""
    proxy = Address("127.0.0.1", 9)
    ended = await walled(proxy, tmp_path, "--proxy", str(proxy), "--dns-seed", SEED)
    assert ended.code == 3
    assert str(proxy) in ended.lines[-1]["reason"]
    assert ended.refused == []
