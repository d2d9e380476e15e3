"""A virtual machine that is a Debian kernel and one static program: boots, obeys, powers off.

The kernels come from `scripts/kernels`. QEMU emulates: /dev/kvm may be there and not work.
"""

from __future__ import annotations

import lzma
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from interceptor.host import command
from tests.vm.kernel.order import Orders, padded

HERE = Path(__file__).parent
BOOT_LIMIT_S = 120  # of one kernel: 5 s on an idle machine


@dataclass(frozen=True, slots=True)
class Kernel:
    """One line of what `scripts/kernels` keeps. ``suite``: Debian's name, or `newest`."""

    suite: str
    version: str
    folder: Path

    def modules(self) -> dict[str, bytes]:
        """Those that are at hand, by their names."""
        paths = sorted(self.folder.glob("*.ko*"))
        return {path.name.partition(".")[0]: unpacked(path) for path in paths}


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


def unpacked(path: Path) -> bytes:
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


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

    def boot(self, kernel: Kernel, orders: Orders) -> Report:
        """Run the orders on a kernel. Fails the test where the guest does not get to the end."""
        initramfs, console, report = (self.folder / name for name in ("initrd", "console", "said"))
        folders = [(name, 0o40755, b"") for name in ("dev", "proc", "sys")]
        files = [("init", 0o100755, self.init), ("orders", 0o100644, orders.render())]
        files += [(f"{name}.ko", 0o100644, each) for name, each in kernel.modules().items()]
        initramfs.write_bytes(archive((*folders, *files)))
        report.unlink(missing_ok=True)
        started = time.monotonic()
        line = argv(kernel.folder / "vmlinuz", initramfs, console, report)
        done = command.run(line, timeout_s=BOOT_LIMIT_S, check=False)
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
