"""The daemon's life sign: programs whose policy says so let go when it stays away."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from interceptor.host import bpfmap, clock
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import Map, State


class Lease:
    """Renewed by `beat`, each second. ``maps`` stay the caller's."""

    def __init__(
        self, maps: Mapping[Map, BpfMap], clock_ns: Callable[[], int] = clock.kernel_ns
    ) -> None:
        self._state = maps[Map.STATE]
        self._clock_ns = clock_ns

    def beat(self) -> None:
        """We live now. Raises OSError."""
        bpfmap.write_state(self._state, State.BEAT_NS, self._clock_ns())

    def age_s(self) -> float | None:
        """Since the last life sign of whoever gave it; None where nobody has."""
        beat_ns = bpfmap.read_state(self._state, State.BEAT_NS)
        return (self._clock_ns() - beat_ns) / 1e9 if beat_ns else None
