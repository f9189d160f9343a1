"""Where a new store begins: what people write is understood, or refused in one line that names what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.consensus import checkpoints as known
from phasegate.consensus.checkpoints import Checkpoint, start_before
from phasegate.consensus.devnet import first_block
from phasegate.consensus.headers import work_of
from phasegate.consensus.params import DEVNET, MAINNET, REGTEST, SIMNET, TESTNET, Network, network
from phasegate.consensus.x11 import x11
from phasegate.engine.errors import ConfigError
from phasegate.engine.starting import Start, start_at
from phasegate.store import Anchor
from tests.scripted_peers import HeaderChain, changed, remined

LATEST = (1 << 31) - 1
CHAIN = HeaderChain(SIMNET).grown(40, spacing=160)
DAY = 86400


def at(chain: Network, height: int) -> Checkpoint:
    """The built-in checkpoint at `height` that a chain can begin at."""
    found = known.checkpoints(chain)[height]
    assert found.starts
    return found


def anchor_of(checkpoint: Checkpoint | None) -> Anchor:
    """The first block of a store that begins there."""
    assert checkpoint is not None
    assert checkpoint.header is not None
    assert checkpoint.work is not None
    return Anchor(checkpoint.height, checkpoint.header, checkpoint.work)


def written(anchor: Anchor) -> str:
    """HEIGHT:HEADER:CHAINWORK."""
    return f"{anchor.height}:{anchor.header.hex()}:{anchor.work:064x}"


def simnet_anchor(height: int) -> Anchor:
    """A header of the small chain of this file."""
    return Anchor(height, CHAIN.header(height), CHAIN.tips[height].work)


def refusal(chain: Network, **written: str) -> str:
    """The line that what is written is refused with."""
    with pytest.raises(ConfigError) as caught:
        start_at(chain, **written)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("chain", [MAINNET, TESTNET, DEVNET, REGTEST, SIMNET], ids=lambda chain: chain.name)
def test_without_a_word_a_store_begins_at_genesis(chain: Network) -> None:
    """On every network, however many checkpoints there are."""
    assert start_at(chain) == Start(None, None)


@pytest.mark.parametrize("chain", [MAINNET, TESTNET], ids=lambda chain: chain.name)
def test_a_checkpoint_is_the_newest_at_or_below(chain: Network) -> None:
    """`latest` is the newest of all; a height takes the one at it or before it, never one without a header."""
    newest = anchor_of(start_before(chain, LATEST))
    assert start_at(chain, checkpoint="latest") == Start(newest)
    assert start_at(chain, checkpoint=str(newest.height)) == Start(newest)
    before = start_at(chain, checkpoint=str(newest.height - 1)).anchor
    assert before is not None
    assert before.height < newest.height
    assert before == anchor_of(start_before(chain, newest.height - 1))


def test_a_checkpoint_without_a_header_is_passed_over() -> None:
    """905100 of testnet is a height and a hash only: a chain that passes it is held against it, none begins there."""
    assert not known.checkpoints(TESTNET)[905100].starts
    assert start_at(TESTNET, checkpoint="905100") == Start(anchor_of(at(TESTNET, 898560)))


@pytest.mark.parametrize(
    ("chain", "checkpoint", "said"),
    [
        (MAINNET, "newest", "checkpoint 'newest' is neither a height nor `latest`"),
        (MAINNET, "-1", "checkpoint '-1' is neither"),
        (MAINNET, "1e5", "checkpoint '1e5' is neither"),
        (MAINNET, "٣", "is neither"),  # a digit, but not an ASCII one
        (MAINNET, "9" * 5000, "is neither"),
        (MAINNET, "10", "mainnet has no built-in checkpoint at or below 10 to begin at"),
        (TESTNET, "11519", "testnet has no built-in checkpoint at or below 11519 to begin at"),
        (SIMNET, "latest", "simnet has no built-in checkpoint to begin at"),
        (network("devnet", devnet_name="foo"), "latest", "devnet-foo has no built-in checkpoint to begin at"),
    ],
)
def test_a_checkpoint_that_is_not_there_is_refused(chain: Network, checkpoint: str, said: str) -> None:
    """The line says what was written, or that there is none."""
    assert said in refusal(chain, checkpoint=checkpoint)


@pytest.mark.parametrize("height", [1, 10, 24, 40])
def test_a_trusted_header_is_taken_as_written(height: int) -> None:
    """Height, header and chainwork; upper case and leading zeros do no harm."""
    anchor = simnet_anchor(height)
    assert start_at(SIMNET, trusted_header=written(anchor)) == Start(anchor)
    assert start_at(SIMNET, trusted_header=written(anchor).upper()) == Start(anchor)
    assert start_at(SIMNET, trusted_header=f"00{height}:{anchor.header.hex()}:{anchor.work:x}") == Start(anchor)


HEADER = CHAIN.header(20).hex()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("20", "three parts and not 1"),
        (f"20:{HEADER}", "three parts and not 2"),
        (f"20:{HEADER}:5:6", "three parts and not 4"),
        (f":{HEADER}:5", "'' is no height above genesis"),
        (f"x:{HEADER}:5", "'x' is no height above genesis"),
        (f"0:{HEADER}:5", "'0' is no height above genesis"),
        (f"-3:{HEADER}:5", "'-3' is no height above genesis"),
        (f"9999999999:{HEADER}:5", "'9999999999' is no height above genesis"),
        (f"20:{HEADER[2:]}:5", "its header is 160 hex digits, not these 158 characters"),
        (f"20:{HEADER}00:5", "its header is 160 hex digits, not these 162 characters"),
        (f"20:{HEADER[:-1]}g:5", "its header is 160 hex digits, not these 160 characters"),
        (f"20:{HEADER}:", "its chainwork is 1 to 64 hex digits, not ''"),
        (f"20:{HEADER}:0x5", "its chainwork is 1 to 64 hex digits, not '0x5'"),
        (f"20:{HEADER}:{'1' * 65}", "its chainwork is 1 to 64 hex digits"),
        (f"20:{HEADER}:0", "the chainwork 0 of a trusted header at 20 cannot be less than"),
    ],
)
def test_a_trusted_header_of_another_form_is_refused(text: str, said: str) -> None:
    """The line names the part that is wrong."""
    assert said in refusal(SIMNET, trusted_header=text)


@given(st.text(max_size=200))
def test_any_text_is_a_trusted_header_or_a_refusal(text: str) -> None:
    """No other error comes out, whatever is written."""
    for setting in ("trusted_header", "checkpoint", "birthday"):
        with suppress(ConfigError):
            start_at(SIMNET, **{setting: text})


def test_a_trusted_header_that_proves_no_work_is_refused() -> None:
    """A typing error in a header is found before a store is made of it."""
    wrong = attrs.evolve(simnet_anchor(20), header=changed(CHAIN.header(20), 0, 40, b"\xff"))
    while int.from_bytes(x11(wrong.header), "little") <= (1 << 250) // 2:
        wrong = attrs.evolve(wrong, header=changed(wrong.header, 0, 76, bytes([wrong.header[76] + 1 & 255])))
    said = refusal(SIMNET, trusted_header=written(wrong))
    assert "the trusted header is none of simnet: bad-proof-of-work: height 20" in said


def test_a_trusted_header_of_another_network_is_refused() -> None:
    """Its difficulty is easier than the limit."""
    said = refusal(MAINNET, trusted_header=written(simnet_anchor(20)))
    assert "the trusted header is none of mainnet: bad-difficulty: height 20" in said
    assert "easier than the limit" in said


def test_a_trusted_header_that_contradicts_a_checkpoint_is_refused() -> None:
    """The checkpoint is named."""
    foo = network("devnet", devnet_name="foo")
    forged = remined(changed(first_block(foo.genesis, foo.file_name), 0, 40, b"\xff"))
    said = refusal(foo, trusted_header=f"1:{forged.hex()}:4")
    assert f"contradicts the checkpoint {known.checkpoints(foo)[1].hash[::-1].hex()} of devnet-foo" in said


def test_the_chainwork_of_a_trusted_header_lies_between_those_of_the_checkpoints() -> None:
    """At a checkpoint it is exactly that one's."""
    below, above = (anchor_of(at(TESTNET, height)) for height in (887040, 898560))
    own = work_of(int.from_bytes(above.header[72:76], "little"))
    for work, said in (
        (below.work, f"cannot be less than {above.work:x}"),
        (above.work - 1, f"cannot be less than {above.work:x}"),
        (above.work + 1, f"cannot be more than {above.work:x}"),
    ):
        assert said in refusal(TESTNET, trusted_header=written(attrs.evolve(above, work=work)))
    assert start_at(TESTNET, trusted_header=written(above)) == Start(above)
    shifted = Anchor(898559, above.header, below.work + own - 1)  # as if it stood one block lower
    assert f"cannot be less than {below.work + own:x}" in refusal(TESTNET, trusted_header=written(shifted))
    shifted = attrs.evolve(shifted, work=above.work + 1)
    assert f"cannot be more than {above.work:x}" in refusal(TESTNET, trusted_header=written(shifted))


def test_a_birthday_by_height_begins_at_the_checkpoint_before_it() -> None:
    """Headers from there on, filters from the height itself; where there is no checkpoint headers are from genesis."""
    assert start_at(TESTNET, birthday="900000") == Start(anchor_of(at(TESTNET, 898560)), 900000)
    assert start_at(TESTNET, birthday="898560") == Start(anchor_of(at(TESTNET, 898560)), 898560)
    assert start_at(TESTNET, birthday="11519") == Start(None, 11519)
    assert start_at(SIMNET, birthday="300") == Start(None, 300)
    assert start_at(MAINNET, birthday="0") == Start(None, 0)


def test_a_birthday_by_date_begins_at_the_checkpoint_before_that_day() -> None:
    """Both headers and filters; the block of two hours before midnight may state a time after it."""
    newest = at(MAINNET, 1739520)  # 2022-09-17 00:44 UTC
    before = start_before(MAINNET, newest.height - 1)
    assert start_at(MAINNET, birthday="2022-09-18") == Start(anchor_of(newest), newest.height)
    for day in ("2022-09-17", "2022-09-16"):
        assert start_at(MAINNET, birthday=day) == Start(anchor_of(before), before.height if before else 0)
    assert start_at(MAINNET, birthday="2014-01-01") == Start(None, 0)
    assert start_at(MAINNET, birthday="1900-01-01") == Start(None, 0)
    assert start_at(MAINNET, birthday="9999-12-31") == Start(
        anchor_of(start_before(MAINNET, LATEST)), anchor_of(start_before(MAINNET, LATEST)).height
    )


@pytest.mark.parametrize("text", ["yesterday", "2024-13-01", "2024-02-30", "31.05.2024", "-5", "1e3", "9" * 20, " "])
def test_a_birthday_that_is_no_height_and_no_date_is_refused(text: str) -> None:
    """The line shows both forms."""
    assert refusal(MAINNET, birthday=text) == f"birthday {text!r} is neither a height nor a date like 2024-05-31"


def test_a_birthday_before_the_first_header_is_refused() -> None:
    """By height and by date, with a trusted header and with a checkpoint; the line names both."""
    trusted = written(simnet_anchor(30))
    assert refusal(SIMNET, trusted_header=trusted, birthday="29") == "the birthday 29 is before the first header, at 30"
    said = refusal(SIMNET, trusted_header=trusted, birthday="2014-01-17")
    assert said == "the birthday 2014-01-17 is before the first header, at 30"
    assert "at 898560" in refusal(TESTNET, checkpoint="898560", birthday="898559")
    assert "at 898560" in refusal(TESTNET, checkpoint="898560", birthday="2020-01-01")


def test_a_birthday_at_or_after_the_first_header_is_taken() -> None:
    """By date it is the trusted header itself, if that is newer than every checkpoint before the day."""
    anchor = simnet_anchor(30)
    assert start_at(SIMNET, trusted_header=written(anchor), birthday="30") == Start(anchor, 30)
    assert start_at(SIMNET, trusted_header=written(anchor), birthday="35") == Start(anchor, 35)
    assert start_at(SIMNET, trusted_header=written(anchor), birthday="2014-01-20") == Start(anchor, 30)
    older = anchor_of(at(TESTNET, 898560))
    assert start_at(TESTNET, checkpoint="898560", birthday="9999-01-01") == Start(
        older, anchor_of(start_before(TESTNET, LATEST)).height
    )


def test_a_checkpoint_and_a_trusted_header_exclude_each_other() -> None:
    """Only one of them can be the first block."""
    said = refusal(SIMNET, checkpoint="latest", trusted_header=written(simnet_anchor(30)))
    assert said == "--checkpoint and --trusted-header exclude each other"


def test_checkpoints_of_other_chains_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing depends on the names of mainnet and testnet: a table is enough."""
    tip = CHAIN.tips[30]
    table: Mapping[int, Checkpoint] = MappingProxyType({30: Checkpoint(30, tip.hash, CHAIN.header(30), tip.work)})
    monkeypatch.setattr(known, "_NONE", table)
    assert start_at(SIMNET, checkpoint="latest") == Start(simnet_anchor(30))
    assert start_at(SIMNET, birthday="2014-01-20") == Start(simnet_anchor(30), 30)
    assert start_at(SIMNET, birthday="29") == Start(None, 29)
