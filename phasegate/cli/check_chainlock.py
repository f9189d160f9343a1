"""`phasegate check chainlock`: judge one ChainLock with the key of the quorum that is said to have signed it."""

from __future__ import annotations

from typing import Annotated

import typer

from phasegate.cli import options
from phasegate.cli.refusal import Code, refusals, refuse

COMMAND = "check chainlock"


def chainlock(
    network: options.NetworkName,
    height: Annotated[int, typer.Option(metavar="H", min=0, max=options.HIGHEST, help="The height that is locked.")],
    block_hash: Annotated[str, typer.Option(metavar="HASH", help="The block that is locked, as explorers show it.")],
    signature: Annotated[str, typer.Option(metavar="HEX", help="96 bytes, as on the wire.")],
    quorum_type: Annotated[int, typer.Option(metavar="T", min=0, max=255, help="The LLMQ type, a number.")],
    quorum_hash: Annotated[str, typer.Option(metavar="HASH", help="The block that names the quorum, likewise.")],
    public_key: Annotated[str, typer.Option(metavar="HEX", help="Of the quorum, 48 bytes, as on the wire.")],
    as_json: options.AsJson = False,
) -> None:
    """Judge a ChainLock. Whether this quorum signed this block at this height."""
    from phasegate.cli.output import write_line
    from phasegate.consensus.bls import verify
    from phasegate.consensus.locks import chainlock_request_id, sign_hash
    from phasegate.engine.config import Config

    with refusals(COMMAND):
        chain = Config.create(network).network
        block = options.hex_bytes("block-hash", block_hash, 32)[::-1]
        quorum = options.hex_bytes("quorum-hash", quorum_hash, 32)[::-1]
        key, signed = options.hex_bytes("public-key", public_key, 48), options.hex_bytes("signature", signature, 96)
    if quorum_type != chain.roles["chainlock"]:
        refuse(COMMAND, f"quorums of type {quorum_type} sign no ChainLocks on {chain.name}", Code.FAILED)
    request_id = chainlock_request_id(height)
    message = sign_hash(quorum_type, quorum, request_id, block)
    if not verify(key, message, signed):
        refuse(COMMAND, f"signature: this quorum did not sign block {block_hash} at height {height}", Code.FAILED)
    fields = {"request_id": request_id.hex(), "sign_hash": message.hex(), "verified": True}
    if as_json:
        write_line("summary", None, {"checked": "chainlock", "network": chain.file_name, "height": height, **fields})
    else:
        typer.echo(f"block {block_hash} is locked at height {height} by quorum {quorum_hash}")
