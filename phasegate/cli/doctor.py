"""`phasegate doctor`: what is wrong with this installation, this data directory or this network, and what to do.

Nothing that is stored is changed, and a client may have the store open. A database is only read, but opened so that it
can be written, since SQLite needs that for one with a write-ahead log; a log that a crash has left is folded into its
file then, as by whoever opens it next. What is written to try the disk is removed again. The installation comes first,
because everything else is built on it: without a kernel that hashes blocks the other modules cannot even be imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phasegate.cli import options
from phasegate.cli.findings import Finding, Verdict
from phasegate.cli.refusal import Code, one_line, refusals

if TYPE_CHECKING:
    from phasegate.cli.patient import Patient


def doctor(
    network: Annotated[
        str | None,
        typer.Option(
            "--network", metavar=options.NAMES, help="Which chain; default: the one stored, mainnet if there is none."
        ),
    ] = None,
    datadir: options.Datadir = None,
    devnet_name: options.DevnetName = "",
    peer: options.Peers = None,
    proxy: options.Proxy = "",
    dns_seed: options.DnsSeeds = None,
    offline: Annotated[bool, typer.Option("--offline", help="Leave out what needs the network.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Examine installation, data directory and network. One line a check, with what to do; 0 if nothing failed."""
    found: list[Finding] = []
    for finding in _findings(network, datadir, devnet_name, peer, proxy, dns_seed, offline=offline):
        found.append(finding)
        _show(finding, as_json=as_json)
    failed, warned = (_count(found, verdict) for verdict in (Verdict.FAIL, Verdict.WARN))
    if as_json:
        from phasegate.cli.output import write_line

        write_line("diagnosis", None, {"checks": len(found), "failed": failed, "warned": warned})
    else:
        typer.echo(f"{len(found)} checks, {failed} failed, {warned} warned")
    raise typer.Exit(Code.UNFIT if failed else Code.SYNCED)


def _findings(
    network: str | None,
    datadir: Path | None,
    devnet_name: str,
    peer: list[str] | None,
    proxy: str,
    dns_seed: list[str] | None,
    *,
    offline: bool,
) -> Iterator[Finding]:
    from phasegate.cli.doctor_installation import look_at_installation, look_at_x11

    yield from look_at_installation()
    yield (kernel := look_at_x11())
    if kernel.verdict is Verdict.FAIL:
        return
    from phasegate.cli.doctor_directory import look_at_directory
    from phasegate.cli.doctor_kernels import look_at_kernels
    from phasegate.cli.doctor_network import look_at_network
    from phasegate.cli.patient import admitted

    with refusals("doctor"):
        seeds = None if dns_seed is None else tuple(dns_seed)
        patient = admitted(network, datadir, devnet_name, peers=tuple(peer or ()), proxy=proxy, dns_seeds=seeds)
    yield from look_at_kernels()
    yield from _of_directory(patient, look_at_directory(patient))
    if not offline:
        yield from look_at_network(patient)


def _of_directory(patient: Patient, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Without a clock that fits the stored chain nothing else is worth much: it is looked at with the directory."""
    from phasegate.cli.doctor_clock import look_at_clock

    yield from findings
    yield look_at_clock(patient)


def _show(finding: Finding, *, as_json: bool) -> None:
    if not as_json:
        typer.echo(one_line_of(finding))
        return
    import json
    import sys
    import time

    fields = {"check": finding.check, "verdict": finding.verdict, "detail": finding.detail, "remedy": finding.remedy}
    sys.stdout.write(json.dumps({"event": "finding", "time": round(time.time(), 3), **fields}) + "\n")
    sys.stdout.flush()


def one_line_of(finding: Finding) -> str:
    """The line of a finding, whatever is in it, its columns kept."""
    head = f"{finding.verdict:<4}  {finding.check:<10} "
    return head + one_line(finding.line()[len(head) :])


def _count(found: list[Finding], verdict: Verdict) -> int:
    return sum(finding.verdict is verdict for finding in found)
