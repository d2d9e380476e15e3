"""What the kernel's program knows of one name: keys and values of its maps, as bytes.

Whatever stands under a name in the Directory gives one value, and the names by
which it may be looked up (nearly always one: see ``suffix``) give its keys.
Everything here follows from the Directory alone, so that a change of one host
is followed by looking again at the names and addresses that it touches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import mul
from struct import Struct

from interceptor.dns.suffix import Suffixes, wire
from interceptor.host.layout import (
    ADDRESSES,
    HASH_FACTOR,
    MARK_ROOT,
    NAME_SIZE,
    NAME_VALUE,
    ValueFlag,
)
from interceptor.mesh import record
from interceptor.mesh.directory import Directory, addresses
from interceptor.mesh.record import Record

_MODULO = 1 << 64
_KEY_WORDS = NAME_SIZE // 8
_VALUE_WORDS = NAME_VALUE.size // 8
_WORDS = [Struct(f"<{count}Q") for count in range(_VALUE_WORDS + 1)]
# h = (h + word) * FACTOR over n words gives word i the weight FACTOR ** (n - i): known before,
# and nothing for the zeros that most of a key and a value are.
_TOTAL = _KEY_WORDS + _VALUE_WORDS - 1
_WEIGHTS = [pow(HASH_FACTOR, _TOTAL - place, _MODULO) for place in range(_TOTAL)]
_AT_COUNTS = _WEIGHTS[_KEY_WORDS]
_AT_V4 = _WEIGHTS[_KEY_WORDS + 1 :]
_AT_V6 = _WEIGHTS[_KEY_WORDS + 1 + ADDRESSES // 2 :]
_PADDING = [b"\0" * (-size % 8) for size in range(8)]
# Plain numbers: an enum's operators cost more than the rest of a value.
_PASS, _HANDOVER, _EXTRA = map(int, ValueFlag)
_NOBODY = Record(b"", b"", False, "", (), (), (), ())

Pair = tuple[bytes, bytes | None]  # key, value; None: nothing is to stand there


@dataclass(slots=True)
class Touched:
    """Names (as `Directory.names` gives them) and packed addresses that a change concerns."""

    names: set[str] = field(default_factory=set)
    addresses: set[bytes] = field(default_factory=set)

    def add(self, host: str, data: bytes | None) -> None:
        """Everything that a record says of its host, as it was or as it will be."""
        self.names.add(host)
        if data is not None:
            entry = record.decode(data)
            self.names.update(entry.extra_names)
            self.addresses.update(addresses(entry), entry.endpoints)


@dataclass(frozen=True, slots=True)
class Value:
    """A value of ``MAP_NAMES`` as people read it. Addresses are packed, one after another."""

    flags: ValueFlag
    v4: bytes
    v6: bytes
    is_whole: bool  # the hash fits


def encode_key(name: str, mark: int) -> bytes:
    """The key of a name whose suffix was cut off. ValueError where it has no place in one."""
    key = wire(name)
    if len(key) >= NAME_SIZE:
        raise ValueError(f"{name}: more than {NAME_SIZE} bytes")
    return (key + b"%c" % mark).ljust(NAME_SIZE, b"\0")


def encode_value(key: bytes, flags: int, v4: bytes = b"", v6: bytes = b"") -> bytes:
    """The value under ``key`` with its hash. At most ADDRESSES of each family."""
    count4, count6 = len(v4) >> 2, len(v6) >> 4
    total = _weigh(key.rstrip(b"\0"), _WEIGHTS)
    total += (count4 | count6 << 8 | flags << 16) * _AT_COUNTS
    if v4:
        total += _weigh(v4, _AT_V4)
    if v6:
        total += _weigh(v6, _AT_V6)
    return NAME_VALUE.pack(total % _MODULO, count4, count6, flags, 0, v4, v6)


def decode_value(key: bytes, data: bytes) -> Value:
    """What `encode_value` was given."""
    total, count4, count6, flags, _, v4, v6 = NAME_VALUE.unpack(data)
    words = (*_WORDS[_KEY_WORDS].unpack(key), *_WORDS[_VALUE_WORDS].unpack(data)[1:])
    is_whole = sum(map(mul, words, _WEIGHTS)) % _MODULO == total
    return Value(ValueFlag(flags), v4[: 4 * count4], v6[: 16 * count6], is_whole)


def pairs(directory: Directory, suffixes: Suffixes, name: str) -> list[Pair]:
    """What has to stand in ``MAP_NAMES`` for ``name``. ValueError where it has no place there:
    the program lets names pass that are so long."""
    found = directory.at(name)
    if found is None:
        flags, entry = _HANDOVER, _NOBODY
        is_there = name in suffixes.handed
    else:
        entry, is_there = record.decode(found[0]), True
        flags = _flags(entry, suffixes.is_doubtful(name), suffixes.is_forwarded(name))
        if found[1]:
            flags |= _EXTRA
    made = (encode_key(rest, mark) for rest, mark in suffixes.cuts(name))
    return [(key, _value(key, flags, entry) if is_there else None) for key in made]


def wild_pair(directory: Directory, suffixes: Suffixes, suffix: str) -> Pair:
    """What has to stand in ``MAP_WILD`` for ``*.suffix``. ValueError likewise."""
    key = encode_key(suffix, MARK_ROOT)
    found = directory.at(f"*.{suffix}")
    if found is not None:
        entry = record.decode(found[0])
        flags = _flags(entry, suffixes.is_doubtful_below(suffix), suffixes.is_forwarded(suffix))
        return key, _value(key, flags, entry)
    if suffix in suffixes.handed:
        return key, encode_value(key, _HANDOVER)
    return key, None


def names(directory: Directory, suffixes: Suffixes) -> Iterator[str]:
    """Every name of a directory and its locale that gives a pair, wildcards as ``*.suffix``."""
    yield from directory.names()
    for zone in suffixes.handed:
        yield from (name for name in (zone, f"*.{zone}") if directory.at(name) is None)


def depths(suffixes: Iterable[str]) -> int:
    """The mask of numbers of labels that wildcards' suffixes have."""
    mask = 0
    for suffix in suffixes:
        mask |= 1 << depth(suffix)
    return mask


def depth(suffix: str) -> int:
    """How many labels. A suffix that has a place in a key has 63 at most."""
    return suffix.count(".") + 1


def pointer_key(packed: bytes) -> bytes:
    """The key in ``MAP_POINTERS``; IPv4 as ::ffff:a.b.c.d."""
    return packed if len(packed) == 16 else b"\0" * 10 + b"\xff\xff" + packed


def _flags(entry: Record, is_doubtful: bool, is_forwarded: bool) -> int:
    if not entry.is_answered:
        return _HANDOVER if is_forwarded else _PASS
    is_large = len(entry.v4) > 4 * ADDRESSES or len(entry.v6) > 16 * ADDRESSES
    return _HANDOVER if is_doubtful or is_large or entry.external_name else 0


def _value(key: bytes, flags: int, entry: Record) -> bytes:
    if flags & (_PASS | _HANDOVER):
        return encode_value(key, flags)
    return encode_value(key, flags, entry.v4, entry.v6)


def _weigh(data: bytes, weights: list[int]) -> int:
    """The part of the hash that ``data`` adds, padded with zeros to whole words."""
    data += _PADDING[len(data) & 7]
    return sum(map(mul, _WORDS[len(data) >> 3].unpack(data), weights))
