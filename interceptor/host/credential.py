"""What this process may do, and how much: capabilities, limits, memory (proc(5))."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
}
"""Those that the daemon needs (linux/capability.h); its unit names the same."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Of this process. Bytes; a limit that is none is -1."""

    uid: int = 0
    missing: tuple[str, ...] = ()
    files: int = -1
    locked_bytes: int = -1
    available_bytes: int = -1


def parse_capabilities(status: str) -> tuple[str, ...]:
    """Which of `CAPABILITIES` are not effective, by /proc/PID/status."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            return tuple(name for name, bit in CAPABILITIES.items() if not held >> bit & 1)
    return ()


def parse_memory(text: str) -> int:
    """MemAvailable of /proc/meminfo; -1 where it is not told. Unit: bytes."""
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return -1


def observe() -> Credential:
    """Now."""
    locked = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return Credential(
        uid=os.geteuid(),
        missing=parse_capabilities(_read("/proc/self/status")),
        files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        locked_bytes=locked,
        available_bytes=parse_memory(_read("/proc/meminfo")),
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def free_bytes(path: Path) -> int:
    """Room for root on the file system of ``path``, or of the nearest folder above that exists;
    -1 where nobody can tell."""
    for place in (path, *path.parents):
        try:
            status = os.statvfs(place)
        except FileNotFoundError:
            continue
        except OSError:
            return -1
        return status.f_bavail * status.f_frsize
    return -1
