"""Kernel parameters of this network namespace, by their names with slashes (sysctl(8))."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

FOLDER = Path("/proc/sys")


def observe(names: Iterable[str], folder: Path = FOLDER) -> dict[str, str]:
    """Name → value. ``*`` stands for every device; what is not there is left out."""
    found: dict[str, str] = {}
    for name in names:
        paths = sorted(folder.glob(name)) if "*" in name else [folder / name]
        for path in paths:
            try:
                found[path.relative_to(folder).as_posix()] = path.read_text().strip()
            except OSError:
                continue
    return found


def of_devices(values: Mapping[str, str], pattern: str) -> dict[str, str]:
    """Device → value, of a name with one ``*``."""
    before, _, after = pattern.partition("*")
    return {
        name.removeprefix(before).removesuffix(after): value
        for name, value in values.items()
        if name.startswith(before) and name.endswith(after) and len(name) > len(before + after)
    }
