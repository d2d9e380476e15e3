"""The daemon's life sign."""

from __future__ import annotations

from typing import Any

from interceptor.capture.lease import Lease
from interceptor.host.layout import Map


class Array:
    """A map of u64, which takes nothing but keys and values of its size."""

    def __init__(self) -> None:
        self.values = dict.fromkeys(range(8), b"\0" * 8)

    def update(self, key: bytes, value: bytes) -> None:
        assert (len(key), len(value)) == (4, 8)
        self.values[int.from_bytes(key, "little")] = value

    def lookup(self, key: bytes) -> bytes:
        return self.values[int.from_bytes(key, "little")]


def test_a_beat_is_the_time_in_its_place() -> None:
    state: Any = Array()
    now_ns = 5_000_000_000
    lease = Lease({Map.STATE: state}, lambda: now_ns)
    assert lease.age_s() is None
    lease.beat()
    assert state.values[2] == now_ns.to_bytes(8, "little")
    now_ns += 1_500_000_000
    assert lease.age_s() == 1.5
