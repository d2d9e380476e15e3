"""Freed memory goes back to the kernel."""

from __future__ import annotations

from pathlib import Path

from interceptor.host import memory


def resident_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def test_trimming_gives_back_what_was_freed_below_something_kept() -> None:
    # Small enough for the heap, large enough to be malloc's and not the interpreter's.
    blocks = [bytearray(4096) for _ in range(8192)]
    kept = bytearray(4096)
    full = resident_kb()
    del blocks
    memory.trim()
    assert resident_kb() < full - 16 * 1024
    assert len(kept) == 4096
