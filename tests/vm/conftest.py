"""A virtual machine that is a Debian kernel and one static program: boots, obeys, powers off.

The kernels come from `scripts/kernels`. The guest's orders are in `record.h`.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from socket import AF_INET, AF_INET6

import pytest

from interceptor.host import command
from interceptor.host.bytecode import Program
from interceptor.host.layout import SPECS, VIEWS, Map, MapSpec

HERE = Path(__file__).parent
BOOT_LIMIT_S = 120  # of one kernel under software emulation: 5 s on an idle machine

RECORD = struct.Struct("=8I48sII")
MAP, PUT, LOAD, RUN, ATTACH, ROUTE, CONNECT, UNSHARE = range(1, 9)

INNER = 100
"""Numbers of inner maps: INNER + VIEWS * the outer map's + the view."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One line of what `scripts/kernels` keeps. ``suite``: Debian's name, or `newest`."""

    suite: str
    version: str
    image: Path


@dataclass(frozen=True, slots=True)
class Entry:
    """What the guest said of one order: bare words, and values by their key."""

    words: tuple[str, ...]
    values: dict[str, str]

    @property
    def ok(self) -> bool:
        return "ok" in self.words


@dataclass(frozen=True, slots=True)
class Report:
    """All that a guest said. ``said`` has each order's answer by kind and name."""

    kernel: Kernel
    release: tuple[int, int]
    said: dict[tuple[str, str], Entry]
    seconds: float


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
                self._map(first + view, spec.inner, 0)
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

    def route(self, network: IPv4Network | IPv6Network, name: str) -> None:
        family = AF_INET if network.version == 4 else AF_INET6
        arguments = (family, network.prefixlen)
        self._add(ROUTE, 0, arguments, name, network.network_address.packed)

    def connect(
        self, name: str, address: IPv4Address | IPv6Address, port: int, listen: int = 0
    ) -> None:
        """A call; with ``listen``, a sidecar listens on that port meanwhile."""
        family = AF_INET if address.version == 4 else AF_INET6
        self._add(CONNECT, 0, (family, port, bool(listen), listen), name, address.packed)

    def unshare(self) -> None:
        self._add(UNSHARE, 0, (), "")

    def _map(self, number: int, spec: MapSpec, inner: int) -> None:
        sizes = (spec.key_size, spec.value_size, spec.max_entries)
        self._add(MAP, number, (spec.type, *sizes, spec.flags, inner), spec.name)

    def _add(
        self, order: int, number: int, arguments: Sequence[int], name: str, *data: bytes
    ) -> None:
        assert len(name) < 48, name
        first, second = (*data, b"", b"")[:2]
        padding = (0,) * (6 - len(arguments))
        sizes = (len(first), len(second))
        head = RECORD.pack(order, number, *arguments, *padding, name.encode(), *sizes)
        self._records.append(head + padded(first, 8) + padded(second, 8))


def padded(data: bytes, to: int) -> bytes:
    return data + b"\0" * (-len(data) % to)


def archive(files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """An initramfs of (path, mode, content): cpio's `newc` (kernel's early-userspace text)."""
    out = b""
    for number, (path, mode, content) in enumerate((*files, ("TRAILER!!!", 0, b"")), start=1):
        name = path.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields)
        out += padded(head + name, 4) + padded(content, 4)
    return out


@dataclass(slots=True)
class Guest:
    """The guest's program, compiled, and where its files go."""

    folder: Path
    init: bytes = field(init=False)

    def __post_init__(self) -> None:
        program = self.folder / "init"
        sources = [str(path) for path in sorted(HERE.glob("*.c"))]
        flags = ["-static", "-O1", "-Wall", "-Wextra", "-Werror"]
        command.run(["cc", *flags, "-o", str(program), *sources], timeout_s=60)
        self.init = program.read_bytes()

    @staticmethod
    def orders() -> Orders:
        return Orders()

    def boot(self, kernel: Kernel, orders: Orders) -> Report:
        """Run the orders on a kernel. Fails the test where the guest does not get to the end."""
        initramfs, console, report = (self.folder / name for name in ("initrd", "console", "said"))
        folders = [(name, 0o40755, b"") for name in ("dev", "proc", "sys")]
        files = [("init", 0o100755, self.init), ("orders", 0o100644, orders.render())]
        initramfs.write_bytes(archive((*folders, *files)))
        report.unlink(missing_ok=True)
        started = time.monotonic()
        done = command.run(
            argv(kernel.image, initramfs, console, report), timeout_s=BOOT_LIMIT_S, check=False
        )
        seconds = time.monotonic() - started
        text = report.read_text() if report.exists() else ""
        if not done or not text.endswith("end\n"):
            last = console.read_text(errors="replace")[-2000:] if console.exists() else ""
            pytest.fail(
                f"{kernel.suite} {kernel.version} ended with {done.code} after {seconds:.0f} s\n"
                f"{done.stderr}\nsaid last: {text[-500:]}\nconsole: {last}",
                pytrace=False,
            )
        return parse(kernel, text, seconds)


def argv(image: Path, initramfs: Path, console: Path, report: Path) -> list[str]:
    """QEMU, software emulation only: /dev/kvm may be there and not work."""
    return [
        *("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "256"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-kernel", str(image), "-initrd", str(initramfs)),
        *("-append", "console=ttyS0 quiet panic=-1 nokaslr mitigations=off"),
        *("-serial", f"file:{console}", "-serial", f"file:{report}"),
    ]


def parse(kernel: Kernel, text: str, seconds: float) -> Report:
    """Read what a guest said: a line each, kind and name first."""
    said: dict[tuple[str, str], Entry] = {}
    for line in text.splitlines():
        kind, *words = line.split(" ")
        pairs = dict(word.split("=", 1) for word in words if "=" in word)
        bare = tuple(word for word in words if "=" not in word)
        said[kind, bare[0] if bare else ""] = Entry(bare[1:], pairs)
    names = next(name for kind, name in said if kind == "kernel").split(".")
    return Report(kernel, (int(names[0]), int(names[1])), said, seconds)


def read_kernels() -> dict[str, Kernel]:
    """What `scripts/kernels` has fetched."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(cache, "interceptor", "kernels")
    try:
        lines = (folder / "list").read_text().splitlines()
    except FileNotFoundError:
        pytest.fail(f"no kernels in {folder}: run scripts/kernels", pytrace=False)
    split = (line.split() for line in lines)
    return {suite: Kernel(suite, version, folder / name) for suite, version, name in split}


@pytest.fixture(scope="session")
def kernels() -> dict[str, Kernel]:
    return read_kernels()


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Guest:
    return Guest(tmp_path_factory.mktemp("guest"))
