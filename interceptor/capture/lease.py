"""The daemon's life sign: programs whose policy says so let go when it stays away."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from time import monotonic_ns

from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import Map, State

BEAT = struct.pack("=I", State.BEAT_NS)


class Lease:
    """Renewed by `beat`, each second. ``maps`` stay the caller's."""

    def __init__(
        self, maps: Mapping[Map, BpfMap], clock_ns: Callable[[], int] = monotonic_ns
    ) -> None:
        self._state = maps[Map.STATE]
        self._clock_ns = clock_ns

    def beat(self) -> None:
        """We live now. Raises OSError."""
        self._state.update(BEAT, struct.pack("=Q", self._clock_ns()))

    def age_s(self) -> float | None:
        """Since the last life sign of whoever gave it; None where nobody has."""
        raw = self._state.lookup(BEAT) or b"\0" * 8
        beat_ns = int(struct.unpack("=Q", raw)[0])
        return (self._clock_ns() - beat_ns) / 1e9 if beat_ns else None
