"""Addresses that a node tells, and how few of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio.testing

from phasegate.p2p.messages import Addr, AddressV2, AddrV2, GetAddr, Message, Verack
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.gossip import KEPT, known_node
from phasegate.p2p.simnet.node import Node

Calling = Callable[[Node], Any]
pytestmark = pytest.mark.trio


@pytest.fixture(scope="module")
def chain() -> GeneratedChain:
    """A chain that no test extends."""
    return generate(3, "gossip")


def nodes(count: int) -> tuple[AddressV2, ...]:
    """So many different addresses."""
    return tuple([known_node(f"10.0.{n // 256}.{n % 256}", 29899, services=n, time=1000 + n) for n in range(count)])


async def asked(call: Calling, node: Node, *, addrv2: bool = True) -> list[Message]:
    """What a new peer gets for its getaddr."""
    caller = call(node)
    await caller.greet(addrv2=addrv2)
    answer: list[Message] = await caller.ask(GetAddr())
    return answer


@pytest.mark.parametrize(("known", "told"), [(3, 0), (4, 0), (5, 1), (8, 1), (9, 2), (100, 23), (6000, 1000)])
async def test_a_node_tells_as_little_as_core(chain: GeneratedChain, call: Calling, known: int, told: int) -> None:
    """23 in a hundred, rounded down and 1,000 at most, each as it is known; nothing is told by silence."""
    book = nodes(known)
    answer = await asked(call, Node(chain, known=book))
    addresses = [address for message in answer for address in getattr(message, "addresses")]  # noqa: B009
    assert (len(answer), len(addresses)) == (min(told, 1), told)
    assert set(addresses) <= set(book)
    assert len(set(addresses)) == told


async def test_a_node_can_tell_all_it_knows(chain: GeneratedChain, call: Calling) -> None:
    """With a share of 100 nothing is held back; its own address is told besides."""
    own, book = known_node("10.9.9.9", 1, services=1, time=5), nodes(30)
    (answer,) = await asked(call, Node(chain, known=book, share=100, address=own))
    assert isinstance(answer, AddrV2)
    assert set(answer.addresses) == {own, *book}


async def test_who_does_not_wish_addrv2_gets_what_fits(chain: GeneratedChain, call: Calling) -> None:
    """IPv4 mapped, IPv6 as it is, and no onion; a book of onions only is silence."""
    onion = AddressV2(7, 1, 4, bytes(32), 29899)
    book = (*nodes(1), known_node("2001:db8::1", 5, services=9, time=8), onion)
    (answer,) = await asked(call, Node(chain, known=book, share=100), addrv2=False)
    assert isinstance(answer, Addr)
    told = {(a.time, a.services, a.address.hex(), a.port) for a in answer.addresses}
    assert told == {
        (1000, 0, "00" * 10 + "ffff0a000000", 29899),
        (8, 9, "20010db8" + "00" * 11 + "01", 5),
    }
    assert await asked(call, Node(chain, known=(onion,), share=100), addrv2=False) == []


async def test_only_the_first_question_of_a_peer_is_answered(chain: GeneratedChain, call: Calling) -> None:
    """Asked again on the same connection a node is silent; another connection is told."""
    node = Node(chain, known=nodes(50))
    caller = call(node)
    await caller.greet(addrv2=True)
    assert [m.command for m in await caller.ask(GetAddr())] == ["addrv2"]
    assert await caller.ask(GetAddr()) == []
    assert len(await asked(call, node)) == 1


async def test_a_node_tells_everybody_the_same_for_a_day(
    chain: GeneratedChain, call: Calling, autojump_clock: trio.testing.MockClock
) -> None:
    """So that asking often does not reveal all; after a day chance draws anew."""
    node = Node(chain, known=nodes(200), rng=random.Random(1))
    first = await asked(call, node)
    await trio.sleep(KEPT[0] - 10.0)
    assert await asked(call, node) == first
    await trio.sleep(KEPT[1])
    assert await asked(call, node) != first


async def test_a_node_can_refuse_and_takes_addresses_in_silence(chain: GeneratedChain, call: Calling) -> None:
    """A refusal is silence; so is what becomes of addresses that are told to it."""
    node = Node(chain, known=nodes(50), refuse_getaddr=True)
    assert await asked(call, node) == []
    caller = call(node)
    await caller.greet()
    assert await caller.ask(AddrV2(nodes(3))) == []
    assert await caller.ask(Addr(())) == []


async def test_gossip_goes_to_those_who_take_part(chain: GeneratedChain, call: Calling) -> None:
    """Unasked, addresses are told to who has asked for or told some, and to nobody else."""
    node, callers = Node(chain), {}
    for name, says in (("asks", GetAddr()), ("tells", AddrV2(nodes(1))), ("neither", Verack())):
        callers[name] = call(node)
        await callers[name].greet(addrv2=True)
        await callers[name].ask(says)
    await node.gossip(nodes(2))
    got = {name: await caller.ask(Verack()) for name, caller in callers.items()}
    assert got == {"asks": [AddrV2(nodes(2))], "tells": [AddrV2(nodes(2))], "neither": []}
