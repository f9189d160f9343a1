"""A user's program, as far as types go: mypy reads it (`make check`), nobody runs it.

Every public name stands in it, and every public method of a client; `tests/test_typed_usage.py` counts. What a user
would annotate is annotated, and where a type has to be exactly so `assert_type` says it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, assert_type

import trio

import phasegate
from phasegate import (
    PHASES,
    Balance,
    BlockUnavailable,
    BroadcastLimit,
    BroadcastMoved,
    BroadcastStatus,
    ChainLocked,
    Client,
    ClientEnded,
    ClientFailed,
    Config,
    ConfigError,
    Devnet,
    Event,
    Fault,
    Following,
    InstantLocked,
    InterleavedChart,
    JournalRow,
    KeyPlace,
    Lagged,
    Limits,
    LocalProtocolError,
    LostTransaction,
    Masternode,
    MasternodeList,
    Network,
    OutPoint,
    PeerChart,
    PeerMisbehaved,
    PhaseRun,
    Progress,
    ProvenBlock,
    ProvenHeader,
    RefusedTransaction,
    Rewound,
    Seen,
    Stage,
    Status,
    StoreCorrupt,
    StoredChainLock,
    StoredCoin,
    StoredKeyChain,
    StoredTransaction,
    StoreError,
    StoreFailed,
    StoreLocked,
    StoreMismatch,
    Subscription,
    SyncChart,
    Transaction,
    TransactionConflicted,
    TransactionDropped,
    TransactionFound,
    TransactionLost,
    TransactionReturned,
    TransactionSeen,
    Transition,
    TxIn,
    TxOut,
    UnconfirmedTransaction,
    UnknownBlock,
    Utxo,
    WalletTransaction,
    Warned,
    Watermarks,
    address_of,
    derive,
    network,
    open_client,
)


def configurations() -> Config:
    """From what people write, and from where they keep it."""
    devnet = Devnet("foo", 10, {"llmqplatform": "llmq_devnet_platform"})
    limits = Limits(max_peers=4, batch={"filters": 500})
    made = Config.create("devnet", peers=("127.0.0.1",), devnet=devnet, limits=limits, watch=("76a9",), datadir="x")
    assert_type(made, Config)
    made = Config.create("testnet", watch=(b"script", "76a9"), birthday=7, min_chainwork="1f", memory_limit="512 MB")
    loaded = Config.load()
    loaded = Config.load("phasegate.toml", os.environ, network="simnet", limits={"max_peers": 2})
    loaded = Config.load(Path("phasegate.toml"), {}, limits=limits)
    assert_type(loaded.network, Network)
    assert_type(network("regtest", {"v20": 5}), Network)
    assert_type(loaded.watch, tuple[bytes, ...])
    return loaded


async def embedded(config: Config) -> None:
    """In a nursery of one's own, and by itself."""
    async with trio.open_nursery() as nursery:
        client: Client = await nursery.start(Client(config).run)
        await client.stop()
        client.close()
    async with open_client(config) as client:
        assert_type(client, Client)
        await client.wait_synced()
        await client.wait_synced(confirmed=True)
        await client.pause()
        await client.resume()
        await client.give_up()
        await client.rescan()
        await client.rescan(from_height=5)
        await client.watch([b"script", "address", "xpub:gap=30"])
        await client.watch({"address": "till"})
        await client.label({b"script": "rent"})
        await client.unwatch([b"script"])


async def look_ups(client: Client) -> None:
    """The proven chain."""
    header = client.get_header(5)
    assert_type(header, ProvenHeader)
    assert_type((header.height, header.hash, header.chainlocked), tuple[int, bytes, bool])
    assert_type(client.get_header(header.hash), ProvenHeader)
    block = await client.get_block("00" * 32, timeout=5.0)
    assert_type(block, ProvenBlock)
    assert_type(block.header, ProvenHeader)
    assert_type(block.transactions, tuple[Transaction, ...])
    for tx in block.transactions:
        assert_type(tx.inputs, tuple[TxIn, ...])
        assert_type(tx.outputs, tuple[TxOut, ...])
        assert_type(tx.inputs[0].prevout, OutPoint)
    listed = await client.get_masternodes()
    assert_type(listed, MasternodeList | None)
    if listed is not None:
        assert_type(listed.masternodes, tuple[Masternode, ...])
        assert_type(listed.masternodes[0].addresses, tuple[str, ...])
    locked = client.get_chainlock()
    assert_type(locked, StoredChainLock | None)
    assert_type(client.chainlock, tuple[int, bytes] | None)


async def happenings(client: Client) -> None:
    """Events, from now on or from a row on."""
    assert_type(client.events(), Subscription)
    following = client.events(100, after=Seen(transition=5, transaction=7))
    assert_type(following, Following)
    async for event in following:
        told(event)
        assert_type(following.seen, Seen)
        assert_type(following.seen.lost, int)
        assert_type(following.seen.run, str)


def told(event: Event) -> str:
    """Every kind there is: mypy sees that none is left out."""
    match event:
        case Transition(source=source, target=target, facts=facts):
            assert_type(facts, Mapping[str, Any])
            return f"{source} -> {target}"
        case Progress(percent=percent, eta=eta):
            assert_type(eta, float | None)
            return f"{percent} %"
        case TransactionFound(txid=txid, received=received):
            return f"{txid.hex()} pays {received}"
        case TransactionSeen(txid=txid, instantlock=locked):
            assert_type(locked, bool)
            return f"{txid.hex()} in no block"
        case TransactionDropped(txid=txid, reason=reason):
            return f"{txid.hex()} given up: {reason}"
        case TransactionLost(txid=txid, height=height) | TransactionReturned(txid=txid, height=height):
            return f"{txid.hex()} at {height}"
        case TransactionConflicted(txid=txid):
            return f"{txid.hex()} contradicted"
        case ChainLocked(height=height):
            return f"locked to {height}"
        case InstantLocked(txid=txid):
            return f"locked {txid.hex()}"
        case BroadcastMoved(stage=stage):
            return stage
        case Rewound(fork_height=height):
            return f"back to {height}"
        case Warned(code=code, message=message):
            return f"{code}: {message}"
        case Lagged(count=count):
            return f"{count} missed"


def standing(client: Client) -> None:
    """What a client says of itself, at any time."""
    assert_type(client.config, Config)
    assert_type(client.network, Network)
    assert_type(client.state, str)
    status = client.status
    assert_type(status, Status)
    assert_type(status.marks, Watermarks)
    assert_type((client.recovering, client.struggling, client.disk_refuses), tuple[bool, bool, bool])
    assert_type(client.hopeless, str)
    assert_type(client.pending_locks, int)
    assert_type(client.remembered_peers, int)
    assert_type(client.waiting_events, int)
    assert_type(client.last_progress, float)
    assert_type(client.current, PhaseRun | None)
    assert_type(client.completed, Iterable[PhaseRun])
    assert_type(client.totals, dict[str, tuple[int, float]])
    assert_type(client.progress(), Progress | None)
    assert_type(client.figures(), list[Progress])
    assert_type(client.facts.sound, bool)
    assert_type(client.requests.sent, int)
    assert_type(client.locks.false, int)
    names = [(peer.address, client.banned(peer.address), client.score(peer.address)) for peer in client.peers]
    views = [(one.phase, one.peer) for one in client.open_requests]
    print(names, views, PHASES, phasegate.__version__)  # noqa: T201 - as a user might


def found(client: Client) -> None:
    """What was found, and what was done."""
    assert_type(client.history(after=5, limit=10), list[JournalRow])
    history = client.transactions(after=5, script=b"script", limit=10)
    assert_type(history, list[WalletTransaction])
    assert_type(history[0].txid, bytes)
    assert_type(client.balances(), dict[bytes, int])
    assert_type(client.balance(), Balance)
    assert_type(client.balance_of_each(), dict[bytes, Balance])
    assert_type(client.utxos("address"), list[Utxo])
    assert_type(client.lost_transactions(after=5), list[LostTransaction])
    assert_type(client.unconfirmed(), list[UnconfirmedTransaction])
    assert_type(client.labels(), dict[bytes, str])
    assert_type(client.store.transactions(), list[StoredTransaction])
    assert_type(client.key_chains(), list[StoredKeyChain])
    assert_type(client.coin("txid:0"), StoredCoin | None)
    (script,) = derive("xpub", 7, client.network, chain=1)
    assert_type(script, bytes)
    assert_type(address_of(script, client.network), str | None)
    assert_type(client.place_of(script), KeyPlace | None)
    assert_type(client.store.digest(), str)


async def sending(client: Client, raw: bytes) -> Stage:
    """A transaction of one's own."""
    try:
        status = await client.broadcast(raw, until=Stage.LOCKED, timeout=30.0)
        assert_type(status, BroadcastStatus)
        waiting = client.broadcasting
        print(waiting)  # noqa: T201 - as a user might
    except (RefusedTransaction, BroadcastLimit):
        raise
    return status.stage


async def errors(config: Config) -> str:
    """Whatever may come, by who is at fault."""
    try:
        async with open_client(config) as client:
            await client.get_block(7)
    except (UnknownBlock, BlockUnavailable) as error:
        return str(error)
    except ConfigError as error:
        return f"the caller's: {error}"
    except (StoreLocked, StoreMismatch, StoreFailed) as error:
        return f"the disk's, or the directory's: {error}"
    except StoreCorrupt as error:
        return f"damaged: {error.table}"
    except StoreError as error:
        return str(error)
    except ClientEnded as error:
        return f"too late: {error}"
    except ClientFailed as error:
        return f"a bug: {error.__cause__}"
    except LocalProtocolError as error:
        return f"a bug: {error}"
    except PeerMisbehaved as lie:
        fault: Fault = lie.fault
        return fault.name
    return ""


def charts() -> list[str]:
    """The statecharts are public, too."""
    return [chart.__name__ for chart in (SyncChart, InterleavedChart, PeerChart)]
