"""A target of what people write: addresses of nodes and of coins, script hex, and a devnet's name and quorums."""

from __future__ import annotations

from contextlib import suppress

from phasegate.consensus.addresses import address_of, parse_watch_item
from phasegate.consensus.devnet import UnfitSetting
from phasegate.consensus.params import NETWORKS, network
from phasegate.p2p.addresses import Address, BadAddress, group
from phasegate.verification.fuzzing.choices import Choices
from phasegate.verification.fuzzing.laws import held, same

_NETWORKS = tuple(NETWORKS.values())
_SETTINGS = ("llmqdevnetparams", "llmqchainlocks", "llmqinstantsenddip0024", "llmqplatform", "llmqmnhf", "llmq")
KINDS = ("node", "watched", "devnet", "quorums")


def texts(data: bytes) -> None:
    """One text of some kind; UTF-8, with a sign of its own for what is none."""
    choices = Choices(data)
    kind, chosen, setting = choices.pick(KINDS), choices.pick(_NETWORKS), choices.pick(_SETTINGS)
    text = choices.rest().decode(errors="replace")
    if kind == "node":
        _node(text)
    elif kind == "watched":
        with suppress(ValueError):
            script = parse_watch_item(text, chosen)
            held(text.strip() in (address_of(script, chosen), text.strip()), "an address of another text")
            same(parse_watch_item(script.hex(), chosen), script, "a script by its hex")
    else:
        with suppress(UnfitSetting):
            network("devnet", devnet_name=text) if kind == "devnet" else network("devnet", quorums={setting: text})


def text_input(kind: str, text: str, *, on: str = "mainnet", setting: str = "llmqdevnetparams") -> bytes:
    """The bytes that `texts` reads as this text."""
    return bytes((KINDS.index(kind), [n.name for n in _NETWORKS].index(on), _SETTINGS.index(setting))) + text.encode()


def _node(text: str) -> None:
    with suppress(BadAddress):
        place = Address.parse(text, 9999)
        same(Address.parse(str(place), 1), place, "a place read from its own text")
        same(place.canonical.canonical, place.canonical, "the canonical form of a canonical form")
        held(isinstance(place.is_routable, bool) and bool(group(place)), "a place without a group")
