"""The tables of the address book: buckets of few slots, and the secret that says which slot an address may take.

An address has exactly one slot in each table, computed from the address, the groups and a secret key. So nobody who
does not know the key can aim at a slot, a source reaches only few buckets whatever it tells, and a group likewise.
Drawing takes a bucket first and an address in it second: who crowds a few buckets gains nothing in all the others.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from hashlib import blake2b
from random import Random

from phasegate.consensus.codec import u64, var_bytes
from phasegate.p2p.address_groups import group
from phasegate.p2p.addresses import Address

NEW_BUCKETS, TRIED_BUCKETS, SLOTS = 1024, 256, 64
BUCKETS_A_SOURCE = 64
"""Buckets of the new table that one group of sources reaches [Core ADDRMAN_NEW_BUCKETS_PER_SOURCE_GROUP]."""
BUCKETS_A_GROUP = 8
"""Buckets of the tried table that one group of addresses reaches [Core ADDRMAN_TRIED_BUCKETS_PER_GROUP]."""
KEY_SIZE = 32

Place = tuple[int, int]
"""A bucket and a slot in it."""


class Places:
    """Which slot of each table belongs to an address.

    Args:
        key: 32 secret bytes.
        new_buckets, tried_buckets, slots: the sizes of the tables.

    Raises:
        ValueError: the key has another size.
    """

    def __init__(self, key: bytes, new_buckets: int, tried_buckets: int, slots: int) -> None:
        if len(key) != KEY_SIZE:
            raise ValueError(f"the key of an address book has {KEY_SIZE} bytes, not {len(key)}")
        self._key = key
        self._sizes = new_buckets, tried_buckets, slots

    def new(self, address: Address, source: str) -> Place:
        """The place among the new: the source's group chooses the 64 buckets, the address's group one of them."""
        whose, of = group(Address(source, 1)), group(address)
        share = self._number(b"share", whose, of) % BUCKETS_A_SOURCE
        bucket = self._number(b"new", whose, u64(share)) % self._sizes[0]
        return bucket, self._slot(b"new slot", bucket, address)

    def tried(self, address: Address) -> Place:
        """The place among the tried: the address's group chooses the 8 buckets, the address one of them."""
        share = self._number(b"part", str(address).encode()) % BUCKETS_A_GROUP
        bucket = self._number(b"tried", group(address), u64(share)) % self._sizes[1]
        return bucket, self._slot(b"tried slot", bucket, address)

    def _slot(self, table: bytes, bucket: int, address: Address) -> int:
        return self._number(table, u64(bucket), str(address).encode()) % self._sizes[2]

    def _number(self, *parts: bytes) -> int:
        data = b"".join(map(var_bytes, parts))
        return int.from_bytes(blake2b(data, digest_size=8, key=self._key).digest())


class Table:
    """Addresses by place. What is drawn and in which order they are walked depends on the places alone."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[int, Address]] = {}
        self._filled: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._filled)

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def __iter__(self) -> Iterator[Address]:
        """All addresses, by place."""
        for number in self._filled:
            bucket = self._buckets[number]
            yield from [bucket[slot] for slot in sorted(bucket)]

    @property
    def buckets(self) -> tuple[int, ...]:
        """The numbers of the buckets that hold anything."""
        return tuple(self._filled)

    def at(self, place: Place) -> Address | None:
        """Who stands at `place`."""
        return self._buckets.get(place[0], {}).get(place[1])

    def put(self, place: Place, address: Address) -> None:
        """Give `place` to `address`, whoever has it."""
        number, slot = place
        if number not in self._buckets:
            self._buckets[number] = {}
            insort(self._filled, number)
        self._buckets[number][slot] = address

    def clear(self, place: Place) -> None:
        """Free the taken `place`."""
        number, slot = place
        del self._buckets[number][slot]
        if not self._buckets[number]:
            del self._buckets[number]
            del self._filled[bisect_left(self._filled, number)]

    def draw(self, random: Random) -> Address:
        """Anyone of a bucket that holds anything, each such bucket as likely as the others; the table is not empty."""
        bucket = self._buckets[random.choice(self._filled)]
        return bucket[random.choice(sorted(bucket))]
