"""The daemon's life sign: programs whose policy says so let go when it stays away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from interceptor.host import bpfmap, clock, pin
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


def observe_age_s(bpf_dir: Path) -> float | None:
    """The age of the lease that is pinned there; None where there is none."""
    states = pin.adopt_map(bpf_dir, Map.STATE)
    if states is None:
        return None
    try:
        return Lease({Map.STATE: states}).age_s()
    finally:
        states.close()
