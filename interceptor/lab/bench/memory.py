"""Memory of the processes on a lab's host, and of the kernel for their BPF maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from interceptor.lab.world import Lab

KIB = 1024
KERNEL = ("Slab", "VmallocUsed", "Percpu")
"""Lines of /proc/meminfo that hold what the kernel keeps for maps, sets and rules."""


def resident_mib(lab: Lab, host: str, field: str) -> list[float]:
    """VmRSS or VmHWM of every process on ``host``, greatest first. Unit: MiB."""
    found = []
    for pid in lab.pids(host):
        with suppress(OSError, KeyError):
            found.append(parse_status(Path(f"/proc/{pid}/status").read_text())[field] / KIB)
    return sorted(found, reverse=True)


def parse_status(text: str) -> dict[str, int]:
    """The sizes in /proc/PID/status or /proc/meminfo. Unit: KiB."""
    found = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        words = rest.split()
        if words[1:] == ["kB"]:
            found[key] = int(words[0])
    return found


def map_bytes(lab: Lab, host: str) -> int:
    """What the kernel has locked for the BPF maps that processes on ``host`` hold open, each
    map once (kernel: bpf_map_show_fdinfo, ``memlock`` and ``map_id``)."""
    texts = []
    for pid in lab.pids(host):
        with suppress(OSError):
            for file in Path(f"/proc/{pid}/fdinfo").iterdir():
                with suppress(OSError):
                    texts.append(file.read_text())
    return sum(parse_maps(texts).values())


def parse_maps(texts: Iterable[str]) -> Mapping[int, int]:
    """Map id → bytes locked, from the fdinfo of any descriptors."""
    found = {}
    for text in texts:
        fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        if "map_id" in fields:
            found[int(fields["map_id"])] = int(fields.get("memlock", 0))
    return found


def kernel_mib() -> float:
    """What the kernel of this machine keeps in all; only differences mean something."""
    fields = parse_status(Path("/proc/meminfo").read_text())
    return sum(fields.get(key, 0) for key in KERNEL) / KIB
