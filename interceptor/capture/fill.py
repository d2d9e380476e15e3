"""How full the BPF maps are that have a fixed size: what does not get in is not captured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interceptor.host import pin
from interceptor.host.layout import SPECS, Map

MAPS = (Map.ALIAS4, Map.ALIAS6, Map.NETWORKS, Map.NUMBERS)
"""The others have a fixed number of elements, or are made as large as their content needs."""


@dataclass(frozen=True, slots=True)
class Fill:
    """Entries of one map, those that are there and those that there is room for."""

    entries: int
    capacity: int


def observe(bpf_dir: Path) -> dict[str, Fill]:
    """Each pinned map's, by its name. Raises InterceptorError, OSError."""
    found = {}
    for number in MAPS:
        opened = pin.adopt_map(bpf_dir, number)
        if opened is None:
            continue
        try:
            found[SPECS[number].name] = Fill(opened.count(), opened.capacity())
        finally:
            opened.close()
    return found
