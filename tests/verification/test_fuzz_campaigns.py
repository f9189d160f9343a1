"""What a campaign makes of what the fuzzer says and leaves behind, and what the command says of it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from phasegate.verification.fuzzing import __main__ as command
from phasegate.verification.fuzzing import campaign
from phasegate.verification.fuzzing.campaign import Bounds, Outcome, fuzz, plant
from phasegate.verification.fuzzing.corpus import Seed
from phasegate.verification.fuzzing.findings import read_finding, write_finding
from phasegate.verification.fuzzing.targets import TARGETS
from tests.conftest import PACKED

PROOFS = TARGETS["proofs"]
BOUNDS = Bounds(runs=100, seconds=7, seed=3)
FIGURES = """\
#2	INITED cov: 11 ft: 12 corp: 1/1b exec/s: 0 rss: 80Mb
#90	NEW    cov: 77 ft: 90 corp: 3/9b exec/s: 0 rss: 80Mb
#100	DONE   cov: 77 ft: 91 corp: 4/9b exec/s: 50 rss: 80Mb
Done 100 runs in 2 second(s)
stat::number_of_executed_units: 100
"""


def _pretend(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let a script stand in for the fuzzer; it has its arguments in `words` and the folder for findings in `folder`."""
    head = "import sys; from pathlib import Path; folder, *words = sys.argv[1:]; folder = Path(folder)\n"
    monkeypatch.setattr(campaign, "_command", lambda _, folder: [sys.executable, "-c", head + script, str(folder)])


def test_the_figures_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Inputs, seconds and edges are what libFuzzer says of them at the end."""
    _pretend(monkeypatch, f"sys.stderr.write({FIGURES!r})")
    outcome = fuzz(PROOFS, tmp_path / "corpus", tmp_path, BOUNDS)
    assert outcome == Outcome("proofs", 100, 2, 77, ())
    assert str(outcome) == "proofs: 100 inputs in 2 s, 77 edges, 0 findings"


def test_the_fuzzer_is_told_its_bounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Runs, seconds, the seed and the bound of the target arrive, and the folder with the seeds comes last."""
    _pretend(monkeypatch, f"(folder / 'words').write_text(chr(10).join(words)); sys.stderr.write({FIGURES!r})")
    fuzz(PROOFS, tmp_path / "corpus", tmp_path, BOUNDS)
    words = (tmp_path / "words").read_text().splitlines()
    assert {"-runs=100", "-max_total_time=7", "-seed=3", "-max_len=2048", "-timeout=10"} < set(words)
    assert words[-1] == str(tmp_path / "corpus" / "proofs")


def test_an_artifact_becomes_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What kills the process leaves its input, which is written down with the last lines that were printed."""
    leave = "[prefix] = [word.split('=')[1] for word in words if word.startswith('-artifact_prefix=')]\n"
    leave += "Path(prefix + 'timeout-1').write_bytes(b'slow'); sys.stderr.write('ALARM: too slow'); sys.exit(70)"
    _pretend(monkeypatch, leave)
    outcome = fuzz(PROOFS, tmp_path / "corpus", tmp_path, BOUNDS)
    (path,) = outcome.findings
    assert read_finding(path) == ("proofs", b"slow")
    assert path.read_text().endswith("ALARM: too slow")
    assert not list(tmp_path.glob("artifact*"))
    assert fuzz(PROOFS, tmp_path / "corpus", tmp_path, BOUNDS).findings == (path,), "found again, told again"


def test_a_traceback_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """libFuzzer leaves an artifact of an exception, too; what the process wrote of it says more and stays."""
    leave = "[prefix] = [word.split('=')[1] for word in words if word.startswith('-artifact_prefix=')]\n"
    leave += "from phasegate.verification.fuzzing.findings import write_finding\n"
    leave += (
        "write_finding(folder, 'proofs', b'bad', 'Traceback: here'); Path(prefix + 'crash-1').write_bytes(b'bad')\n"
    )
    leave += "sys.stderr.write('fuzz target exited'); sys.exit(77)"
    _pretend(monkeypatch, leave)
    (path,) = fuzz(PROOFS, tmp_path / "corpus", tmp_path, BOUNDS).findings
    assert path.read_text().endswith("Traceback: here")
    assert not list(tmp_path.glob("artifact*"))


def test_a_fuzzer_that_does_not_run_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that ends without its figures and without a finding is told with its last line."""
    _pretend(monkeypatch, "sys.exit('no such module')")
    outcome = fuzz(PROOFS, tmp_path / "corpus", tmp_path, BOUNDS)
    assert str(outcome) == "proofs: the fuzzer ended with 1: no such module"


def test_seeds_are_planted(tmp_path: Path) -> None:
    """Each target has a folder with its seeds, each once."""
    plant(tmp_path, [Seed("proofs", "one", b"a"), Seed("proofs", "same", b"a"), Seed("frames", "two", b"b")])
    assert [path.read_bytes() for path in (tmp_path / "proofs").iterdir()] == [b"a"]
    assert [path.read_bytes() for path in (tmp_path / "frames").iterdir()] == [b"b"]


def test_a_finding_can_be_run_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A finding that was repaired says so; one that was not shows its error."""
    path = write_finding(tmp_path, "proofs", b"\1\2", "Traceback")
    assert read_finding(path) == ("proofs", b"\1\2")
    assert command.main(["--replay", str(path)]) == 0
    assert "no finding any more" in capsys.readouterr().out
    monkeypatch.setattr("phasegate.consensus.merkle.PartialMerkleTree.parse", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command.main(["--replay", str(path)])


def test_a_file_that_is_no_finding_is_refused(tmp_path: Path) -> None:
    """Only what a campaign wrote down can be run again."""
    (tmp_path / "letter.txt").write_text("dear reader")
    with pytest.raises(ValueError, match="is no finding"):
        read_finding(tmp_path / "letter.txt")


def test_without_atheris_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command does not begin, and says why in one line."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert command.main([]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'atheris >= 2.3'" in line


@pytest.mark.parametrize(("end", "code"), [(f"sys.stderr.write({FIGURES!r})", 0), ("sys.exit(1)", 1)])
def test_the_command_tells_each_target_and_the_sum(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], end: str, code: int
) -> None:
    """One line a target, one for all, and an exit code that says whether all is well."""
    _pretend(monkeypatch, end)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    words = ["--target", "proofs", "--target", "texts", "--findings", str(tmp_path), "--recording", str(PACKED)]
    assert command.main([*words, "--corpus", str(tmp_path / "corpus")]) == code
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["proofs", "texts", "2 targets"]
    assert len(list((tmp_path / "corpus" / "texts").iterdir())) > 5
