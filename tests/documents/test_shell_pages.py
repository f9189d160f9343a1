"""What the pages tell a reader to type does what they say, in the home of a reader who has set up a client."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from phasegate.p2p.simnet.generated import generate
from tests.documents.conftest import BLOCKS, SEED, Reader
from tests.documents.printed import ROOT, Block, printed, some
from tests.documents.sample_lines import LEFT_OUT, lines_of, unlike
from tests.documents.shells import bash, bash_until, numbered, script

OPERATIONS, VALIDATION, VERIFICATION = "docs/operations.md", "docs/validation.md", "docs/verification.md"


def typed(reader: Reader, *blocks: Block) -> str:
    """What a shell prints that is given these blocks, and ends well."""
    code, output = bash(script(blocks), reader.home, **reader.settings)
    assert code == 0, output
    return output


@printed(some(OPERATIONS, "sh", "phasegate doctor"))
def test_the_doctor_finds_nothing(reader: Reader, blocks: tuple[Block, ...]) -> None:
    """Of the configured network, whose node greets."""
    output = typed(reader, *blocks)
    assert re.search(r"^ok    peers      1 of 1 ", output, re.MULTILINE), output
    assert f"{reader.home}/" in output


@printed(some(OPERATIONS, "sh", "phasegate sync --log-format") + some(OPERATIONS, "json"))
def test_logs_go_where_they_should(reader: Reader, blocks: tuple[Block, ...]) -> None:
    """As JSON to standard error, with the keys of the sample, and into the file; both run until they are stopped."""
    in_json, into_file = blocks[0].text.splitlines()
    code, output = bash_until('"state": "synced"', in_json, reader.home, **reader.settings)
    assert code == 130
    moved = next(line for line in map(json.loads, output.splitlines()) if line.get("event") == "transition")
    (sample,) = lines_of(blocks[1].text)
    assert unlike({**sample, "data": {LEFT_OUT: LEFT_OUT}}, moved) == ""
    code, output = bash_until("Fully synced", into_file, reader.home, **reader.settings)
    assert code == 130
    assert "Fully synced" in (reader.home / "sync.log").read_text("utf-8")


@printed(some(OPERATIONS, "sh", "phasegate backup"))
def test_a_backup_is_a_store(reader: Reader, blocks: tuple[Block, ...]) -> None:
    """With the digest of the one that it was made of."""
    typed(reader, *blocks)
    place = reader.home / "restored"
    place.mkdir()
    (reader.home / "today.sqlite").rename(place / "simnet.sqlite")
    words = "phasegate status --digest | tail -n 1; phasegate status --digest --datadir restored | tail -n 1"
    own, copied = bash(words, reader.home, **reader.settings)[1].splitlines()
    assert own == copied
    assert re.search("[0-9a-f]{64}", own)


@printed(some(OPERATIONS, "sh", "phasegate export"))
def test_a_chain_moves(reader: Reader, blocks: tuple[Block, ...]) -> None:
    """Verified, into a store of its own."""
    assert "all verified" in typed(reader, *blocks)
    assert (reader.home / "elsewhere" / "simnet.sqlite").exists()


@printed(some(OPERATIONS, "sh", "phasegate --install-completion"))
def test_completion_is_set_up(reader: Reader, blocks: tuple[Block, ...]) -> None:
    """For the shell that it is typed in, in the home of who types it."""
    assert "bash completion installed" in typed(reader, *blocks)
    assert (reader.home / ".bash_completions" / "phasegate.sh").exists()


@printed(some(VERIFICATION, "sh", "phasegate history") + some(VERIFICATION, "text", "52 rows"))
def test_a_journal_is_replayed(reader: Reader, blocks: tuple[Block, ...]) -> None:
    """And what is said of it has the form of the sample."""
    commands, sample = blocks
    assert numbered(typed(reader, commands)) == numbered(sample.text)


@printed(some("docs/events.md", "json", '{"event": "summary"'))
def test_the_summary_is_what_a_sync_prints(settled: Reader, blocks: tuple[Block, ...]) -> None:
    """The last line of one with filters, masternodes and found transactions."""
    (sample,) = lines_of(blocks[0].text)
    real = json.loads((settled.home / "sync.jsonl").read_text("utf-8").splitlines()[-1])
    assert unlike(sample, real) == ""


@printed(some("docs/broadcast.md", "sh"))
def test_a_transaction_is_sent(reader: Reader, blocks: tuple[Block, ...]) -> None:
    """From a file to a peer that fetches it, and again, until it is mined."""
    (reader.home / "signed.hex").write_text(generate(BLOCKS, SEED).spend_watched().to_bytes().hex(), encoding="ascii")
    output = typed(reader, *blocks)
    assert re.search(r"is fetched", output), output
    assert re.search(r"is mined at \d+", output), output


@printed(some("docs/simnet.md", "sh", "phasegate simnet --port 29875"))
def test_a_recording_is_synced(blocks: tuple[Block, ...], capture: Path, tmp_path: Path) -> None:
    """The one of the tests, in the place of DIR."""
    (tmp_path / "DIR").symlink_to(capture)
    code, output = bash(script(blocks), tmp_path)
    assert code == 0, output
    assert "Fully synced" in output


@printed(some(VALIDATION, "sh", "phasegate check chainlock"))
def test_a_chainlock_of_mainnet_holds(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    """The one that is printed."""
    code, output = bash(script(blocks), tmp_path)
    assert code == 0, output


@printed(some(VALIDATION, "sh", "phasegate check headers"))
def test_files_are_checked(blocks: tuple[Block, ...], shared: Path, tmp_path: Path) -> None:
    """Real ones, under the names of the page."""
    vectors = shared / "vectors"
    shutil.copy(vectors / "headers" / "mainnet_1737084_1742083.bin", tmp_path / "headers.bin")
    shutil.copy(vectors / "mnlist" / "DML_0_2221605.hex", tmp_path / "list.hex")
    shutil.copy(vectors / "qrinfo" / "qrinfo-testnet-0-905770-70230-after20.HF.dat", tmp_path / "rotation.dat")
    code, output = bash(script(blocks), tmp_path)
    assert code == 0, output
    assert "keep all rules" in output


@printed(some("docs/reference/charts.md", "sh"))
def test_charts_are_drawn(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    """Into a file with the state lit, and as the table of the documents."""
    code, output = bash(script(blocks), tmp_path)
    assert code == 0, output
    assert "filters" in (tmp_path / "sync.mmd").read_text("utf-8")
    assert output == (ROOT / "docs" / "charts" / "peer.md").read_text("utf-8")
