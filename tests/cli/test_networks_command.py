"""`phasegate sync` on all networks and from all beginnings: exit codes, reasons, summaries, and what is stored then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import trio

from phasegate.consensus.headers import ChainTip, context_size, first_judged, work_of
from phasegate.consensus.params import DEVNET, MAINNET, REGTEST, SIMNET, TESTNET, Network, network
from phasegate.consensus.primitives import BlockHeader
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.header_range import HEADERS_ONLY, HeaderRange
from phasegate.p2p.simnet.node import Node
from tests.block_trees import ListlessChain, work
from tests.real_headers import CONTEXT, chainwork, headers_of, trusted

Run = Callable[..., Any]
Serve = Callable[..., str]

MAIN = "mainnet_1737084_1742083"
BASE, TIP = 1737084 + CONTEXT, 1742083
BARE = ("--no-masternodes", "--no-filters", "--give-up", "0.3", "--connect-only")
PLAIN = tuple(word for name in ("dip3", "v20", "mn_rr") for word in ("--activation", f"{name}=1000000"))


@contextmanager
def _listening(node: Node) -> Iterator[str]:
    told: SimpleQueue[Any] = SimpleQueue()

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            host, port = await nursery.start(node.serve, "127.0.0.1", 0)
            told.put((f"{host}:{port}", trio.lowlevel.current_trio_token(), nursery.cancel_scope))
            await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    address, token, scope = told.get(timeout=10)
    try:
        yield address
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves a chain on TCP for the length of the test, and gives the address."""
    with ExitStack() as stack:

        def start(chain: SimulatedChain, **behaviour: Any) -> str:
            return stack.enter_context(_listening(Node(chain, **behaviour)))

        yield start


@pytest.fixture
def mainnet(sync: Run, serve: Serve, shared: Path) -> Run:
    """Syncs 5,000 real headers of mainnet from a trusted one on."""
    address, start = serve(headers_of(shared, MAIN), identity=HEADERS_ONLY), trusted(shared, MAIN, BASE)

    def call(*arguments: str) -> Any:
        return sync("--peer", address, *BARE, "--trusted-header", start, *arguments, network="mainnet")

    return call


def test_so_few_blocks_of_mainnet_are_not_enough_work(mainnet: Run, shared: Path) -> None:
    """Exit 3; the reason stands in the summary and, in one line, on standard error."""
    outcome = mainnet()
    assert outcome.code == 3
    reason = outcome.summary["reason"]
    assert reason.startswith(f"not enough work: the chain at {TIP}")
    assert outcome.err == f"phasegate sync: degraded: {reason}\n"
    assert outcome.summary["state"] == "degraded"
    assert int(outcome.summary["chainwork"], 16) == chainwork(shared, MAIN, TIP)
    assert outcome.summary["difficulty_from"] == BASE + 1


def test_an_old_newest_block_of_mainnet_is_a_stale_tip(mainnet: Run) -> None:
    """Exit 3 again, for the other reason, with all headers stored."""
    outcome = mainnet("--min-chainwork", "0")
    assert outcome.code == 3
    assert outcome.summary["reason"].startswith(f"stale tip: the newest block, {TIP}, is ")
    assert outcome.summary["height"] == TIP
    assert outcome.path[-2:] == ["degraded", "stopped"]


def test_whoever_minds_neither_is_synced(mainnet: Run, run: Run, tmp_path: Path) -> None:
    """Exit 0; `status` tells the same, and a second run, told nothing of the beginning, downloads nothing."""
    settings = ("--min-chainwork", "0", "--max-tip-age", "0")
    first = mainnet(*settings)
    assert (first.code, first.err) == (0, "")
    (status,) = run("status", "--datadir", tmp_path, "--json").lines
    assert (status["network"], status["height"], status["tip"]) == ("mainnet", TIP, first.summary["tip"])
    assert (status["filters"], status["filter_headers"], status["balances"]) == (0, 0, {})
    second = mainnet(*settings, "--trusted-header", "")
    assert (second.code, second.summary["phases"]["headers"]["items"]) == (0, 0)
    assert second.summary["difficulty_from"] == BASE + 1


def test_mainnet_begins_at_genesis_by_itself(sync: Run, serve: Serve) -> None:
    """There is nothing to download here; the difficulty will be judged from 107996 on."""
    address = serve(HeaderRange(MAINNET, 0, MAINNET.genesis), identity=HEADERS_ONLY)
    outcome = sync("--peer", address, *BARE, network="mainnet")
    assert outcome.code == 3
    assert (outcome.summary["height"], outcome.summary["difficulty_from"]) == (0, 107996)
    assert outcome.summary["tip"] == "00000ffd590b1485b3caadc19b22e6379c733355108f107a430458cdf3407ab6"
    assert "not enough work" in outcome.summary["reason"]


def test_testnet_is_judged_from_its_first_block_on(sync: Run, serve: Serve, shared: Path) -> None:
    """255 headers by Bitcoin's rule, the last of them a checkpoint."""
    address = serve(headers_of(shared, "testnet_0_255"), identity=HEADERS_ONLY)
    outcome = sync("--peer", address, *BARE, "--min-chainwork", "0", "--max-tip-age", "0", network="testnet")
    assert (outcome.code, outcome.summary["height"], outcome.summary["difficulty_from"]) == (0, 255, 1)


@pytest.mark.parametrize("chain", [MAINNET, TESTNET, DEVNET, REGTEST, SIMNET], ids=lambda chain: chain.name)
@pytest.mark.parametrize("base", [0, 1, 30, 600, 4000, 107994, 107995, 107996, 1737124])
def test_the_formula_for_the_first_judged_difficulty(chain: Network, base: int) -> None:
    """What the summary states is what the rules do, with all that is fetched from below the first block."""
    tip = ChainTip(base, bytes(32), 0, ((0, 0x207FFFFF),) * context_size(chain, base))
    assert first_judged(chain, tip) == max(base + 1, chain.linked_until)


def test_a_devnet_has_its_own_store(sync: Run, run: Run, serve: Serve, tmp_path: Path) -> None:
    """It is found without its name while it is the only one; with two of them the line says how to choose."""
    heights = dict.fromkeys(("dip3", "v20", "mn_rr"), 1_000_000)
    for name in ("foo", "bar"):
        chain = ListlessChain(((30, 0),), network("devnet", heights, devnet_name=name))
        words = ("--devnet-name", name, *PLAIN, "--max-tip-age", "0", "--watch", chain.watch[0])
        outcome = sync("--peer", serve(chain), *words, network="devnet")
        assert (outcome.code, outcome.summary["height"]) == (0, 30)
        assert outcome.summary["transactions"]
        (status,) = run("status", "--datadir", tmp_path, "--json", "--devnet-name", name, *PLAIN).lines
        assert (status["tip"], status["balances"]) == (outcome.summary["tip"], outcome.summary["balances"])
        if name == "foo":
            assert run("status", "--datadir", tmp_path, *PLAIN).out.startswith(f"devnet-foo in {tmp_path}")
    outcome = run("status", "--datadir", tmp_path, *PLAIN)
    assert outcome.code == 2
    assert "holds stores of devnet-bar, devnet-foo: choose one with --network or --devnet-name" in outcome.err
    assert "holds no devnet-baz store" in run("status", "--datadir", tmp_path, "--devnet-name", "baz").err


def test_a_birthday_leaves_older_filters_out(sync: Run, run: Run, honest: Any, tmp_path: Path) -> None:
    """The summary and `status` tell from where on there are filters; a second run needs no word of it."""
    first = sync("--peer", honest.address, *honest.watching, "--birthday", "100")
    assert (first.code, first.summary["filters_from"], first.summary["filters"]) == (0, 100, 21)
    assert min(first.summary["matched_blocks"]) >= 100
    (status,) = run("status", "--datadir", tmp_path, "--json").lines
    assert (status["filters"], status["filter_headers"]) == (21, 121)
    second = sync("--peer", honest.address)
    assert (second.code, second.summary["filters_from"]) == (0, 100)
    assert second.summary["transactions"] == first.summary["transactions"]
    later = sync("--peer", honest.address, "--birthday", "110")
    assert (later.code, later.summary["filters_from"]) == (0, 100)


def test_an_earlier_birthday_is_refused_in_one_line(sync: Run, honest: Any, tmp_path: Path) -> None:
    """Exit 5, with both heights; what is stored stays."""
    assert sync("--peer", honest.address, "--birthday", "100").code == 0
    for words, wanted in ((("--birthday", "50"), 50), (("--birthday", "2014-01-01"), 0)):
        outcome = sync("--peer", honest.address, *words)
        assert (outcome.code, outcome.out) == (5, "")
        said = f"{tmp_path}/simnet.sqlite has filters from height 100 on, which is above the wanted {wanted}"
        assert outcome.err == f"phasegate sync: {said}\n"
    assert sync("--peer", honest.address).code == 0


def test_a_birthday_above_the_tip_has_nothing_to_search(sync: Run, run: Run, honest: Any, tmp_path: Path) -> None:
    """Synced all the same; no balance is stated of what was never looked for."""
    outcome = sync("--peer", honest.address, *honest.watching, "--birthday", "500")
    assert (outcome.code, outcome.summary["filters"], outcome.summary["balances"]) == (0, 0, {})
    assert "not searched for yet" in run("status", "--datadir", tmp_path).out


def test_a_trusted_header_of_simnet(sync: Run, honest: Any, tmp_path: Path) -> None:
    """Masternodes, locks and filters from there on; another word for the same block is refused."""
    chain = generate(120, 11)
    header, total = chain.header(60), work(chain) - _work_above(chain, 60)
    outcome = sync("--peer", honest.address, *honest.watching, "--trusted-header", f"60:{header.hex()}:{total:x}")
    summary = outcome.summary
    assert (outcome.code, outcome.err, summary["tip"]) == (0, "", honest.told["tip"])
    assert (summary["filters_from"], summary["filters"], summary["difficulty_from"]) == (60, 61, 61)
    assert summary["masternodes"]["height"] == 120
    assert int(summary["chainwork"], 16) == work(chain)
    for words, said in (
        (f"60:{header.hex()}:{total + 1:x}", f"counts {total:x} as the chainwork at height 60, not {total + 1:x}"),
        (f"61:{header.hex()}:{total:x}", "holds another block at height 61 than the wanted one"),
    ):
        refused = sync("--peer", honest.address, "--trusted-header", words)
        assert refused.code == 5
        assert refused.err == f"phasegate sync: {tmp_path}/simnet.sqlite {said}\n"


def _work_above(chain: SimulatedChain, height: int) -> int:
    heights = range(height + 1, chain.height + 1)
    return sum([work_of(BlockHeader.from_bytes(chain.header(at)).bits) for at in heights])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--trusted-header", "60"), "three parts and not 1"),
        (("--trusted-header", f"60:{'00' * 80}:5"), "the trusted header is none of simnet: bad-difficulty: height 60"),
        (("--checkpoint", "latest"), "simnet has no built-in checkpoint to begin at"),
        (("--checkpoint", "x"), "checkpoint 'x' is neither a height nor `latest`"),
        (("--birthday", "soon"), "birthday 'soon' is neither a height nor a date like 2024-05-31"),
        (("--min-chainwork", "xyz"), "min-chainwork 'xyz' is not a hexadecimal number"),
        (("--min-chainwork", "1" * 65), "is not a 256-bit number"),
        (("--max-tip-age", "inf"), "--max-tip-age inf is no number of seconds"),
        (("--max-tip-age", "-1"), "--max-tip-age"),
        (("--devnet-name", "foo"), "only devnets have"),
    ],
)
def test_a_beginning_that_cannot_be_is_refused(sync: Run, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """Exit 2, one line, and no store is made."""
    outcome = sync("--peer", "127.0.0.1:1", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
