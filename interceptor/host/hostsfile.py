"""/etc/hosts (hosts(5)): the addresses that it gives to a name, before any server is asked."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

PATH = Path("/etc/hosts")


def parse(text: str, name: str) -> tuple[str, ...]:
    """The addresses of ``name``; lines that are none are left out."""
    found: list[str] = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if name in (word.lower().rstrip(".") for word in words[1:]):
            try:
                found.append(str(ip_address(words[0].partition("%")[0])))
            except ValueError:
                continue
    return tuple(dict.fromkeys(found))


def observe(name: str, path: Path = PATH) -> tuple[str, ...]:
    """Now; none where the file cannot be read."""
    try:
        return parse(path.read_text(errors="replace"), name)
    except OSError:
        return ()
