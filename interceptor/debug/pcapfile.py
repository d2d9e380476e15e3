"""Captures into files: pcapng, as one file, a ring of them, or a stream.

Files are root's alone (mode 0600): packets hold what processes say to each other.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import interceptor
from interceptor.debug import pcapwrite
from interceptor.debug.pcaprecord import Record
from interceptor.debug.pcapwrite import Interface, Statistics
from interceptor.errors import InterceptorError

PROGRAM = f"interceptor {interceptor.__version__}"

Counts = Callable[[], Mapping[str, tuple[int, int]]]
"""By link's interface name: packets that came, packets that were lost, since the begin."""
Describe = Callable[[str, int], Interface]
"""The interface of a name and a LINKTYPE_."""


@dataclass(frozen=True, slots=True)
class Ring:
    """``files`` 0: no ring. Each is closed at ``file_bytes``; the oldest goes for a new one."""

    files: int = 0
    file_bytes: int = 100 << 20


@dataclass(slots=True)
class PcapFile:
    """Where a capture goes. ``path`` - is standard output. `close` finishes it.

    ``known`` are interfaces that each file has, even without packets of theirs.
    """

    path: Path
    known: tuple[Interface, ...]
    describe: Describe
    counts: Counts
    ring: Ring = Ring()
    packets: Counter[str] = field(default_factory=Counter)
    written: int = 0
    files: deque[Path] = field(default_factory=deque)
    _stream: BinaryIO | None = None
    _numbers: dict[tuple[str, int], int] = field(default_factory=dict)
    _here: int = 0  # bytes of the file that is open
    _count: int = 0  # files of the ring so far
    _span: tuple[int, int] = (0, 0)  # first and last packet's time, in nanoseconds

    def open(self) -> None:
        """The first file, with what it begins with. Raises InterceptorError."""
        path = self.path
        if self.ring.files:
            self._count += 1
            path = path.with_suffix(f".{self._count:05}{path.suffix}")
        self._stream = _open(path)
        self.files.append(path)
        self._numbers.clear()
        self._here = 0
        system = " ".join(os.uname()[field] for field in (0, 2, 4))
        self._put(pcapwrite.encode_section(PROGRAM, system))
        for interface in self.known:
            self._number(interface)

    def write(self, record: Record) -> None:
        """One packet. A file that is full is closed before it. Raises OSError."""
        key = record.interface, record.link
        index = self._numbers.get(key)
        if index is None:
            index = self._number(self.describe(*key))
        self._put(pcapwrite.encode_packet(index, record))
        self.packets[record.interface] += 1
        self._span = (self._span[0] or record.time_ns, max(self._span[1], record.time_ns))
        if self.ring.files and self._here >= self.ring.file_bytes:
            self._finish()
            while len(self.files) >= self.ring.files:
                self.files.popleft().unlink(missing_ok=True)
            self.open()

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()

    def close(self) -> None:
        """The end of the file, with the counts of each link. Twice is no harm."""
        if self._stream is not None:
            try:
                self._finish()
            except BrokenPipeError:
                self._abandon()

    def _abandon(self) -> None:
        """Who read it has seen enough: what is left is nobody's."""
        stream, self._stream = self._stream, None
        if stream is sys.stdout.buffer:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        elif stream is not None:
            with suppress(BrokenPipeError):
                stream.close()

    def _finish(self) -> None:
        assert self._stream is not None
        counts = self.counts()
        for (name, _), index in self._numbers.items():
            received, dropped = counts.get(name, (self.packets[name], 0))
            statistics = Statistics(*self._span, received, dropped)
            self._put(pcapwrite.encode_statistics(index, statistics))
        self._stream.flush()
        if self._stream is not sys.stdout.buffer:
            self._stream.close()
        self._stream = None

    def _number(self, interface: Interface) -> int:
        self._put(pcapwrite.encode_interface(interface))
        number = len(self._numbers)
        self._numbers[interface.name, interface.link] = number
        return number

    def _put(self, data: bytes) -> None:
        assert self._stream is not None
        self._stream.write(data)
        self._here += len(data)
        self.written += len(data)


def _open(path: Path) -> BinaryIO:
    if str(path) == "-":
        return sys.stdout.buffer
    try:
        flags = os.O_WRONLY | os.O_CLOEXEC
        if not path.is_fifo():  # the kernel minds who makes one (fs.protected_fifos)
            flags |= os.O_CREAT | os.O_TRUNC
        descriptor = os.open(path, flags, 0o600)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.fchmod(descriptor, 0o600)  # one that was there may be open to others
    except OSError as error:
        raise InterceptorError(f"{path}: {error.strerror}; name another file with -w") from error
    return open(descriptor, "wb", buffering=1 << 16)
