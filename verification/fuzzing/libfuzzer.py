"""One target under libFuzzer, in a process of its own: run as a script, before anything of phasegate is imported.

atheris rewrites modules while they are imported, so that each branch is counted. The compiled kernels are left
as they are: numba could not compile what was rewritten. They check their bounds instead.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

INSTRUMENTED = ("phasegate.consensus", "phasegate.p2p", "phasegate.engine")
LEFT_ALONE = (
    "phasegate.consensus.filter_kernel",
    "phasegate.consensus.header_kernel",
    "phasegate.consensus.x11_kernel",
    "phasegate.p2p.compressed_kernel",
    "phasegate.p2p.simnet",
)


def main(name: str, findings: str, arguments: list[str]) -> None:
    """Fuzz the target of that name; libFuzzer ends the process.

    Args:
        name: of the target.
        findings: the folder for what is found.
        arguments: libFuzzer's own.
    """
    os.environ["NUMBA_BOUNDSCHECK"] = "1"
    os.environ["NUMBA_CACHE_DIR"] = str(Path(findings) / "kernel")
    import atheris

    with atheris.instrument_imports(include=list(INSTRUMENTED), exclude=list(LEFT_ALONE)):
        from phasegate.verification.fuzzing.findings import write_finding
        from phasegate.verification.fuzzing.targets import TARGETS
    run = TARGETS[name].run

    def guarded(data: bytes) -> None:
        try:
            run(data)
        except BaseException:
            write_finding(Path(findings), name, data, traceback.format_exc())
            raise

    guarded(b"")  # what is compiled or generated at first use takes none of an input's time
    atheris.Setup([sys.argv[0], *arguments], guarded, enable_python_coverage=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
