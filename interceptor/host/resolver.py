"""resolv.conf of this host: its servers and its search list (resolv.conf(5))."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path


def parse_servers(text: str) -> tuple[IPv4Address | IPv6Address, ...]:
    """``nameserver`` lines, without zones; what is no address is left out."""
    found: list[IPv4Address | IPv6Address] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                address = ip_address(words[1].partition("%")[0])
            except ValueError:
                continue
            if address not in found:
                found.append(address)
    return tuple(found)


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


def observe_servers(path: Path) -> tuple[IPv4Address | IPv6Address, ...]:
    """The servers now; none where the file cannot be read."""
    return parse_servers(_read(path))


def observe_search(path: Path) -> tuple[str, ...]:
    """The search list now; empty where the file cannot be read."""
    return parse_search(_read(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
