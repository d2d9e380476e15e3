"""Capabilities, memory, room."""

from __future__ import annotations

import os
from pathlib import Path

from interceptor.host import credential


def test_missing_capabilities_are_named() -> None:
    every = sum(1 << bit for bit in credential.CAPABILITIES.values())
    assert credential.parse_capabilities(f"Name:\tx\nCapEff:\t{every:016x}\n") == ()
    less = every & ~(1 << 12)
    assert credential.parse_capabilities(f"CapEff:\t{less:016x}\n") == ("CAP_NET_ADMIN",)


def test_the_unit_grants_what_is_looked_for() -> None:
    unit = Path(credential.__file__).parents[1] / "cli" / "interceptor.service"
    granted = {
        word
        for line in unit.read_text().splitlines()
        if line.startswith("CapabilityBoundingSet=")
        for word in line.partition("=")[2].split()
    }
    assert set(credential.CAPABILITIES) <= granted


def test_memory_is_what_the_kernel_calls_available() -> None:
    assert credential.parse_memory("MemTotal: 9 kB\nMemAvailable:   2048 kB\n") == 2 << 20
    assert credential.parse_memory("") == -1


def test_this_process_is_seen_as_it_is() -> None:
    seen = credential.observe()
    assert seen.uid == os.geteuid()
    assert seen.available_bytes > 0


def test_room_is_that_of_the_folder_above_where_there_is_none_yet(tmp_path: Path) -> None:
    there = os.statvfs(tmp_path)
    free = credential.free_bytes(tmp_path / "not" / "yet")
    assert 0 < free <= there.f_blocks * there.f_frsize
