"""BPF maps: keys and values as raw bytes, in batches where the kernel has them. linux/bpf.h."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from interceptor.errors import InterceptorError
from interceptor.host import bpf
from interceptor.host.bpf import Command
from interceptor.host.layout import MapSpec, MapType, State

ANY, NOEXIST, EXIST = 0, 1, 2  # BPF_ANY, BPF_NOEXIST, BPF_EXIST
ENOTSUPP = 524  # linux/errno.h: not in errno, for it should never have left the kernel
BATCH = 4096
"""Elements of one call: bounds its buffers, and for how long the kernel is busy with it."""

_Buffer = ctypes.Array[ctypes.c_char]
_BTF_INT = 1 << 24  # BTF_KIND_INT, linux/btf.h


@dataclass(frozen=True, slots=True)
class BpfMap:
    """An open map. ``fd`` is the owner's to `close`."""

    fd: int
    spec: MapSpec

    def close(self) -> None:
        os.close(self.fd)

    def lookup(self, key: bytes) -> bytes | None:
        """The value; of a per-CPU map all CPUs' values, each padded to 8 bytes."""
        out = ctypes.create_string_buffer(self._value_bytes())
        try:
            self._element(Command.MAP_LOOKUP_ELEM, key, bpf.address(out), 0)
        except FileNotFoundError:
            return None
        return out.raw

    def update(self, key: bytes, value: bytes, flags: int = ANY) -> None:
        """Raises FileExistsError, FileNotFoundError by ``flags``; OSError E2BIG: it is full."""
        assert len(value) == self._value_bytes(), f"{self.spec.name}: {len(value)} bytes of value"
        self._element(Command.MAP_UPDATE_ELEM, key, bpf.address(value), flags)

    def delete(self, key: bytes) -> bool:
        """Whether it was there."""
        try:
            self._element(Command.MAP_DELETE_ELEM, key, 0, 0)
        except FileNotFoundError:
            return False
        return True

    def keys(self) -> Iterator[bytes]:
        """Every key. One that is deleted meanwhile may make the walk begin anew."""
        key: bytes | None = None
        out = ctypes.create_string_buffer(self.spec.key_size)
        while True:
            attributes = struct.pack("=IIQQ", self.fd, 0, bpf.address(key), bpf.address(out))
            try:
                bpf.call(Command.MAP_GET_NEXT_KEY, attributes)
            except FileNotFoundError:
                return
            key = out.raw
            yield key

    def sum(self, key: bytes) -> int:
        """The sum of a per-CPU u64 over all CPUs."""
        raw = self.lookup(key) or b""
        return sum(struct.unpack(f"={len(raw) // 8}Q", raw))

    def update_batch(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """All of them, one by one where the kernel has no batches for this type of map."""
        for at in range(0, len(keys), BATCH):
            some, their = keys[at : at + BATCH], values[at : at + BATCH]
            if not self._batch(Command.MAP_UPDATE_BATCH, some, their):
                for key, value in zip(some, their, strict=True):
                    self.update(key, value)

    def delete_batch(self, keys: Sequence[bytes]) -> None:
        """Those of ``keys`` that are there."""
        for at in range(0, len(keys), BATCH):
            some = keys[at : at + BATCH]
            try:
                done = self._batch(Command.MAP_DELETE_BATCH, some, None)
            except FileNotFoundError:  # a batch ends at the first that is missing
                done = False
            if not done:
                for key in some:
                    self.delete(key)

    def items(self) -> dict[bytes, bytes]:
        """Everything, in batches where the kernel has them."""
        try:
            return self._items()
        except OSError as error:
            if error.errno not in (ENOTSUPP, errno.EOPNOTSUPP, errno.EINVAL):
                raise
        found = ((key, self.lookup(key)) for key in self.keys())
        return {key: value for key, value in found if value is not None}

    def count(self) -> int:
        """How many entries there are; one by one where the kernel has no batches."""
        try:
            return sum(given for given, _, _ in self._pages())
        except OSError as error:
            if error.errno not in (ENOTSUPP, errno.EOPNOTSUPP, errno.EINVAL):
                raise
        return sum(1 for _ in self.keys())

    def capacity(self) -> int:
        """How many entries there is room for."""
        entries: int = struct.unpack_from("=I", bpf.info(self.fd, 20), 16)[0]
        return entries

    def _items(self) -> dict[bytes, bytes]:
        size, value_size = self.spec.key_size, self._value_bytes()
        found: dict[bytes, bytes] = {}
        for given, keys, values in self._pages():
            raw, raw_values = keys.raw, values.raw
            for index in range(given):
                key = raw[index * size : (index + 1) * size]
                found[key] = raw_values[index * value_size : (index + 1) * value_size]
        return found

    def _pages(self) -> Iterator[tuple[int, _Buffer, _Buffer]]:
        """How many elements a batch has, their keys, their values."""
        size, count = self.spec.key_size, BATCH
        where: _Buffer | None = None
        while True:
            keys = ctypes.create_string_buffer(size * count)
            values = ctypes.create_string_buffer(self._value_bytes() * count)
            after = ctypes.create_string_buffer(max(size, 4))
            attributes = self._batch_attributes(count, keys, values, where, after)
            ended = False
            try:
                bpf.call(Command.MAP_LOOKUP_BATCH, attributes)
            except FileNotFoundError:
                ended = True
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                count *= 2  # one bucket of the hash holds more than that
                continue
            yield struct.unpack_from("=I", attributes, 32)[0], keys, values
            if ended:
                return
            where = after

    def _batch(
        self, command: Command, keys: Sequence[bytes], values: Sequence[bytes] | None
    ) -> bool:
        """False where the kernel has no batches for this map."""
        joined = b"".join(keys)
        others = None if values is None else b"".join(values)
        assert len(joined) == len(keys) * self.spec.key_size
        assert others is None or len(others) == len(keys) * self._value_bytes()
        attributes = self._batch_attributes(len(keys), joined, others, None, None)
        try:
            bpf.call(command, attributes)
        except OSError as error:
            if error.errno not in (ENOTSUPP, errno.EOPNOTSUPP, errno.EINVAL):
                raise
            return False
        return True

    def _batch_attributes(
        self,
        count: int,
        keys: bytes | _Buffer,
        values: bytes | _Buffer | None,
        where: _Buffer | None,
        after: _Buffer | None,
    ) -> _Buffer:
        places = (bpf.address(part) for part in (where, after, keys, values))
        packed = struct.pack("=QQQQIIQQ", *places, count, self.fd, 0, 0)
        return ctypes.create_string_buffer(packed, len(packed))

    def _element(self, command: Command, key: bytes, value: int, flags: int) -> None:
        assert len(key) == self.spec.key_size, f"{self.spec.name}: {len(key)} bytes of key"
        bpf.call(command, struct.pack("=IIQQQ", self.fd, 0, bpf.address(key), value, flags))

    def _value_bytes(self) -> int:
        if self.spec.type is MapType.PERCPU_ARRAY:
            return (self.spec.value_size + 7) // 8 * 8 * possible_cpus()
        return self.spec.value_size


def create(spec: MapSpec) -> BpfMap:
    """A map that lives as long as its descriptors, programs and pins do.

    An inner map is made as a template of its type where ``spec`` wants one.
    """
    template = create(spec.inner) if spec.inner else None
    btf = _int_btf() if spec.type is MapType.SK_STORAGE else 0
    try:
        attributes = struct.pack(
            "=IIIIIII16sIIII",
            *(spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags),
            *(template.fd if template else 0, 0, bpf.object_name(spec.name)),
            *((0, btf, 1, 1) if btf else (0, 0, 0, 0)),
        )
        return BpfMap(bpf.call(Command.MAP_CREATE, attributes), spec)
    finally:
        if template:
            template.close()
        if btf:
            os.close(btf)


def _int_btf() -> int:
    """BTF of one type, `int`: socket storage is not to be had without (linux/btf.h)."""
    strings = b"\0int\0"
    types = struct.pack("=IIII", 1, _BTF_INT, 4, 1 << 24 | 32)  # signed, 32 bits
    head = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    blob = head + types + strings
    attributes = struct.pack("=QQIII", bpf.address(blob), 0, len(blob), 0, 0)
    return bpf.call(Command.BTF_LOAD, attributes)


def adopt(descriptor: int, spec: MapSpec) -> BpfMap:
    """An open map as ``spec`` describes it. Raises InterceptorError where it is another's shape.

    The descriptor is closed then. How many entries there is room for may differ.
    """
    kind, _, *sizes = struct.unpack("=IIII", bpf.info(descriptor, 16))
    found = (kind, *sizes)
    wanted = (int(spec.type), spec.key_size, spec.value_size)
    if found != wanted:
        os.close(descriptor)
        raise InterceptorError(
            f"BPF map {spec.name}: type, key and value size are {found}, not {wanted}: "
            "it is not ours; remove it, or set another capture.bpf_dir"
        )
    return BpfMap(descriptor, spec)


def map_id(descriptor: int) -> int:
    """The kernel's number of an open map, which is what a map of maps gives as its value."""
    number: int = struct.unpack("=II", bpf.info(descriptor, 8))[1]
    return number


def open_id(number: int, spec: MapSpec) -> BpfMap:
    """A map by its number. Raises FileNotFoundError."""
    return adopt(bpf.call(Command.MAP_GET_FD_BY_ID, struct.pack("=III", number, 0, 0)), spec)


@cache
def possible_cpus() -> int:
    """How many values an element of a per-CPU map has: possible CPUs, not those online."""
    return count_cpus(Path("/sys/devices/system/cpu/possible").read_text())


def count_cpus(text: str) -> int:
    """Read a CPU list such as `0-3,8`."""
    ranges = (part.split("-") for part in text.strip().split(","))
    return sum(int(part[-1]) - int(part[0]) + 1 for part in ranges)


def index(number: int) -> bytes:
    """The key of an array's element; also a descriptor or an id as a map's value."""
    return number.to_bytes(4, sys.byteorder)


def read_state(states: BpfMap, place: State) -> int:
    """One number of Map.STATE."""
    return int.from_bytes(states.lookup(index(place)) or b"", sys.byteorder)


def write_state(states: BpfMap, place: State, value: int) -> None:
    """In one piece, for the programs. Raises OSError."""
    states.update(index(place), value.to_bytes(8, sys.byteorder))
