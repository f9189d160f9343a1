"""The masternode list of a generated chain, with its past [DIP3, DIP4].

Entries follow Core's rules as far as a list shows them: the confirmed hash appears two blocks after the registration
and is the hash of the block between; a masternode that loses its operator key is banned, loses its address and what it
had on the Platform, and falls back to the oldest version, which has no type [Core evo/dmnstate.h ResetOperatorFields].
"""

from __future__ import annotations

from typing import Any

import attrs

from phasegate.consensus.masternodes import MasternodeEntry
from phasegate.consensus.merkle import merkle_root
from phasegate.p2p.simnet import protx
from phasegate.p2p.simnet.bls_keys import public_key, secret_key
from phasegate.p2p.simnet.economy import Economy, Held
from phasegate.p2p.simnet.protx import Platform
from phasegate.p2p.simnet.timeline import Timeline

NO_ADDRESS = bytes(18)
NULL_OPERATOR = bytes(48)


@attrs.frozen
class Member:
    """What the list does not show of a masternode: whom it pays, its collateral, its Platform side."""

    payout: bytes
    collateral: Held
    platform: Platform | None


@attrs.define
class Registry:
    """All masternodes.

    Attributes:
        entries: list entries by proTxHash and height.
        members: the living ones by proTxHash, oldest registration first.
        registered: how many there ever were.
        operators: the secret of every operator key there ever was, by its basic form.
    """

    economy: Economy
    entries: Timeline[bytes, MasternodeEntry] = attrs.field(factory=Timeline)
    members: dict[bytes, Member] = attrs.field(factory=dict)
    registered: int = 0
    operators: dict[bytes, int] = attrs.field(factory=dict)
    _unconfirmed: list[tuple[int, bytes]] = attrs.field(factory=list)
    _root: bytes = bytes(32)
    _root_of: int = 0

    def confirm(self, height: int, prev_hash: bytes) -> None:
        """What the block before settles: entries registered two blocks ago are confirmed by it."""
        while self._unconfirmed and self._unconfirmed[0][0] + 2 <= height:
            _, key = self._unconfirmed.pop(0)
            if key in self.members:
                self.change(height, key, confirmed_hash=prev_hash)

    def root(self) -> bytes:
        """The merkle root over the list as it is now."""
        if self._root_of != self.entries.changes:
            now = self.entries.now
            self._root = merkle_root([now[key].leaf_hash() for key in sorted(now)])[0]
            self._root_of = self.entries.changes
        return self._root

    def payee(self, height: int) -> bytes | None:
        """The script that the coinbase of block `height` pays: valid masternodes take turns."""
        keys = list(self.members)
        for turn in range(len(keys)):
            key = keys[(height + turn) % len(keys)]
            if self.entries.now[key].valid:
                return self.members[key].payout
        return None

    def enter(self, height: int, entry: MasternodeEntry, member: Member) -> None:
        """Register a masternode, unconfirmed."""
        self.entries.put(height, entry.pro_tx_hash, entry)
        self.members[entry.pro_tx_hash] = member
        self._unconfirmed.append((height, entry.pro_tx_hash))
        self.registered += 1

    def change(self, height: int, key: bytes, **fields: Any) -> None:
        """Replace some fields of an entry from block `height` on."""
        self.entries.put(height, key, attrs.evolve(self.entries.now[key], **fields))

    def operator(self) -> bytes:
        """A new operator key, basic form."""
        secret = secret_key(self.economy.rng.randbytes(48))
        key = public_key(secret)
        self.operators[key] = secret
        return key

    def rekey(self, height: int, key: bytes, operator: bytes, voting: bytes) -> None:
        """Give a masternode other keys, which silences it until its service is announced again."""
        platform = {"type": protx.EVO, "http_port": 0, "node_id": bytes(20)} if self.members[key].platform else {}
        keys = {"operator_key": operator, "voting_key": voting}
        self.change(height, key, version=protx.BASIC, valid=False, address=NO_ADDRESS, **keys, **platform)

    def revoke(self, height: int, key: bytes) -> None:
        """Take a masternode's operator key away."""
        nothing = {"type": protx.REGULAR, "http_port": None, "node_id": b"", "operator_key": NULL_OPERATOR}
        self.change(height, key, version=protx.LEGACY, valid=False, address=NO_ADDRESS, **nothing)

    def remove(self, height: int, key: bytes) -> Member:
        """Take a masternode off the list."""
        self.entries.put(height, key, None)
        return self.members.pop(key)

    def pick(self, *, valid: bool | None = None, keyed: bool | None = None) -> bytes | None:
        """Some masternode, if there is one: of the (in)valid only, or of those with(out) an operator key, as given."""
        now = self.entries.now
        keys = [key for key in self.members if valid is None or now[key].valid is valid]
        keys = [key for key in keys if keyed is None or (now[key].operator_key != NULL_OPERATOR) is keyed]
        return self.economy.rng.choice(keys) if keys else None

    @property
    def valid_count(self) -> int:
        """How many are not banned."""
        return sum(entry.valid for entry in self.entries.now.values())
