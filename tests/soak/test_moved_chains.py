"""A chain of 100,000 blocks moves in a file, and no bit of that file can be turned without being told."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from phasegate.engine.chain_file import BadChainFile, Section, read_sections
from phasegate.p2p.simnet.generated import generate
from phasegate.store import AppendFilterHeaders, PutFilters, Store
from tests.exported_chains import flipped, sections_of, stored

BLOCKS = 100_000
WHOLE_IMPORTS = 12
HEAD, CHECKSUM = 13, 4
"""Bytes of a section before its payload and after it."""


def _phasegate(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "phasegate", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def _places(raw: bytes, sections: list[Section], pick: random.Random) -> list[tuple[int, str]]:
    """Bytes to be hit: the preamble's, one of each part of each section, the end's; and what must be named then."""
    found = [(place, "") for place in range(12)]
    for section in sections:
        payload = section.place + HEAD
        after = payload + len(section.payload)
        parts = [(section.place, payload), (payload, after), (after, after + CHECKSUM)]
        found += [(pick.randrange(*part), f"section {section.number}") for part in parts if part[0] < part[1]]
    end = len(raw) - HEAD - CHECKSUM
    return found + [(place, f"section {len(sections) + 1}") for place in range(end, len(raw))]


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_100_000_blocks_move_and_every_flipped_bit_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the commands that people have; each section is hit in its head, its payload and its checksum."""
    seed = int(os.environ.get("PHASEGATE_SEED", "1"))
    chain = generate(BLOCKS, seed)
    source = stored(tmp_path / "source", chain, BLOCKS)
    digest = source.digest()
    source.close()
    file = tmp_path / "chain.phg"

    began = time.monotonic()
    done = _phasegate("export", str(file), "--network", "simnet", "--datadir", str(tmp_path / "source"))
    assert done.returncode == 0, done.stderr
    wrote = time.monotonic()
    done = _phasegate("import", str(file), "--network", "simnet", "--datadir", str(tmp_path / "fresh"))
    assert done.returncode == 0, done.stderr
    took = time.monotonic()
    store = Store.open(tmp_path / "fresh", chain.network)
    last = AppendFilterHeaders(BLOCKS, chain.filter_header(BLOCKS)), PutFilters(((BLOCKS, chain.filter(BLOCKS)),))
    store.commit(list(last))  # the newest one, which a peer has to confirm
    assert store.check() == ()
    assert store.digest() == digest
    store.close()

    raw, pick = file.read_bytes(), random.Random(seed)
    sections = sections_of(raw)
    hit = _places(raw, sections, pick)
    for place, named in hit:
        with pytest.raises(BadChainFile) as error:
            list(read_sections(io.BytesIO(flipped(raw, place, pick.randrange(8)))))
        assert named in str(error.value), place
    for number, (place, named) in enumerate(pick.sample(hit, WHOLE_IMPORTS)):
        file.write_bytes(flipped(raw, place, pick.randrange(8)))
        there = tmp_path / f"refused-{number}"
        done = _phasegate("import", str(file), "--network", "simnet", "--datadir", str(there))
        assert done.returncode == 4
        assert str(file) in done.stderr
        assert named in done.stderr
        assert list(there.glob("*.sqlite")) == []
    with capsys.disabled():
        sys.stdout.write(
            f"\n{BLOCKS} blocks, {len(raw) >> 20} MiB, {len(sections)} sections, seed {seed}: exported in"
            f" {wrote - began:.2f} s, imported and verified in {took - wrote:.2f} s; {len(hit)} flipped bits found and"
            f" named, {WHOLE_IMPORTS} of them by `phasegate import`, which made nothing\n"
        )
