"""resolv.conf: the search list of this host (resolv.conf(5))."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def parse_search(text: str) -> tuple[str, ...]:
    """Search domains, lower case, without final dots. The last ``search`` or ``domain``
    line counts; ``.`` alone, which means no search, is left out."""
    found: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in ("search", "domain"):
            domains = words[1:] if words[0] == "search" else words[1:2]
            found = tuple(filter(None, (word.strip(".").lower() for word in domains)))
    return found


def observe_search(path: Path, read: Callable[[Path], str] = Path.read_text) -> tuple[str, ...]:
    """The search list now; empty where the file cannot be read."""
    try:
        return parse_search(read(path))
    except (OSError, UnicodeDecodeError):
        return ()
