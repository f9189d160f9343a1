"""`python -m phasegate.verification.fuzzing`: fuzz the targets, or run a finding again.

At the end each target has a line: inputs, seconds, edges of the code that were reached, findings. The exit code is 1 if
there was a finding; each is a file with its input and its traceback. 2: it could not be begun.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from phasegate.verification.fuzzing.campaign import Bounds, Outcome, fuzz, plant
from phasegate.verification.fuzzing.corpus import RECORDING, seeds
from phasegate.verification.fuzzing.findings import read_finding
from phasegate.verification.fuzzing.targets import TARGETS

MISSING = "fuzzing needs atheris, which has wheels for some versions of Python only: pip install 'atheris >= 2.3'"


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words on the command line ask for, by default those of this process; the exit code."""
    given = _parser().parse_args(words)
    if given.replay is not None:
        return _replay(given.replay)
    if importlib.util.find_spec("atheris") is None:
        print(f"{MISSING} (this is Python {sys.version.split()[0]})", file=sys.stderr)  # noqa: T201 - a command speaks
        return 2
    with TemporaryDirectory(prefix="phasegate-fuzzing-") as place:
        return _campaign(given, Path(place) if given.corpus is None else given.corpus)


def _campaign(given: argparse.Namespace, corpus: Path) -> int:
    chosen = [TARGETS[name] for name in given.target or TARGETS]
    seconds = max(1, given.seconds * given.jobs // len(chosen)) if given.seconds else 0
    given.findings.mkdir(parents=True, exist_ok=True)
    plant(corpus, seeds(given.recording))
    with ThreadPoolExecutor(given.jobs) as pool:
        bounds = Bounds(given.runs, seconds, given.seed)
        outcomes = list(pool.map(lambda target: _tell(fuzz(target, corpus, given.findings, bounds)), chosen))
    inputs, found = sum(o.inputs for o in outcomes), sum(len(o.findings) for o in outcomes)
    print(f"{len(outcomes)} targets: {inputs} inputs, {found} findings")  # noqa: T201
    return 1 if any(outcome.findings or outcome.failure for outcome in outcomes) else 0


def _tell(outcome: Outcome) -> Outcome:
    print(outcome, *[f"  {path}" for path in outcome.findings], sep="\n", flush=True)  # noqa: T201
    return outcome


def _replay(path: Path) -> int:
    name, data = read_finding(path)
    TARGETS[name].run(data)
    print(f"{name}: the input of {path.name} is no finding any more")  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m phasegate.verification.fuzzing", description=__doc__)
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="only this one; may be repeated")
    parser.add_argument("--runs", type=int, default=0, help="inputs of each target, 0: as many as the time allows")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together, 0: no end")
    parser.add_argument("--corpus", type=Path, help="a folder that keeps what reached something new, between runs")
    parser.add_argument("--seed", type=int, default=1, help="decides what is tried; 0: the time")
    parser.add_argument("--jobs", type=int, default=1, help="targets at once")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="the folder for what is found")
    parser.add_argument("--recording", type=Path, default=RECORDING, help="the folder of a recording to begin with")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run the input of a finding again, and no fuzzer")
    return parser


if __name__ == "__main__":
    sys.exit(main())
