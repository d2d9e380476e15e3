"""What a guest is told to do: records of `record.h`, one after another."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6

from interceptor.host.bytecode import Program
from interceptor.host.layout import SPECS, VIEWS, Map, MapSpec

RECORD = struct.Struct("=8I48sII")
NAME_SIZE = 48
MAP, PUT, LOAD, RUN, ATTACH, MODULE, NETLINK, ASK, CONNECT, UNSHARE = range(1, 11)

FAMILIES = {4: AF_INET, 6: AF_INET6}

INNER = 100
"""Numbers of inner maps: INNER + VIEWS * the outer map's + the view."""


class Orders:
    """What the guest is to do, one after another; programs and maps are numbered as they come."""

    def __init__(self) -> None:
        self._records: list[bytes] = []
        self._programs: dict[str, int] = {}

    def render(self) -> bytes:
        return b"".join(self._records)

    def make_maps(self) -> None:
        """Every map of the layout, with inner maps in those that have such."""
        for number, spec in SPECS.items():
            if spec.inner is None:
                self._map(number, spec, 0)
                continue
            first = INNER + VIEWS * number
            for view in range(VIEWS):
                # The worker makes them as large as a mesh needs.
                wider = replace(spec.inner, max_entries=spec.inner.max_entries << view)
                self._map(first + view, wider, 0)
            self._map(number, spec, first)
            for view in range(VIEWS):
                key, value = struct.pack("=I", view), struct.pack("=I", first + view)
                self._add(PUT, number, (0, 1), spec.name, key, value)

    def put(self, number: Map, key: bytes, value: bytes, view: int | None = None) -> None:
        """Into the map, or the inner map of ``view``."""
        at = number if view is None else INNER + VIEWS * number + view
        self._add(PUT, at, (), SPECS[number].name, key, value)

    def load(self, program: Program) -> None:
        number = self._programs[program.name] = len(self._programs)
        kinds = (program.kind, program.attach)
        self._add(LOAD, number, kinds, program.name, program.instructions)

    def run(self, program: str, name: str, packet: bytes) -> None:
        self._add(RUN, self._programs[program], (), name, packet)

    def attach(self, program: Program, path: str) -> None:
        number = self._programs[program.name]
        self._add(ATTACH, number, (program.attach,), program.name, path.encode() + b"\0")

    def add_module(self, name: str) -> None:
        self._add(MODULE, 0, (), name, f"/{name}.ko".encode() + b"\0")

    def netlink(self, name: str, message: bytes) -> None:
        self._add(NETLINK, 0, (0,), name, message)

    def filter(self, program: str, message: bytes, place: bytes) -> None:
        """Send it with the program's descriptor where it says ``place``."""
        at = message.index(place)
        self._add(NETLINK, self._programs[program], (at,), program, message)

    def ask(self, name: str, server: IPv4Address | IPv6Address, datagram: bytes) -> None:
        """By UDP, to port 53."""
        arguments = (FAMILIES[server.version], 53)
        self._add(ASK, 0, arguments, name, server.packed, datagram)

    def connect(
        self, name: str, address: IPv4Address | IPv6Address, port: int, listen: int = 0
    ) -> None:
        """A call; with ``listen``, a sidecar listens on that port meanwhile."""
        arguments = (FAMILIES[address.version], port, bool(listen), listen)
        self._add(CONNECT, 0, arguments, name, address.packed)

    def unshare(self) -> None:
        self._add(UNSHARE, 0, (), "")

    def _map(self, number: int, spec: MapSpec, inner: int) -> None:
        sizes = (spec.key_size, spec.value_size, spec.max_entries)
        self._add(MAP, number, (spec.type, *sizes, spec.flags, inner), spec.name)

    def _add(
        self, order: int, number: int, arguments: Sequence[int], name: str, *data: bytes
    ) -> None:
        assert len(name) < NAME_SIZE, name
        first, second = (*data, b"", b"")[:2]
        padding = (0,) * (6 - len(arguments))
        sizes = (len(first), len(second))
        head = RECORD.pack(order, number, *arguments, *padding, name.encode(), *sizes)
        self._records.append(head + padded(first, 8) + padded(second, 8))


def padded(data: bytes, to: int) -> bytes:
    return data + b"\0" * (-len(data) % to)
