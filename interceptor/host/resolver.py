"""resolv.conf of this host: its servers and its search list (resolv.conf(5))."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

UPSTREAM = Path("/run/systemd/resolve/resolv.conf")
"""Whom systemd-resolved asks itself, beside the stub that it gives to others (resolved.conf(5))."""
STUBS = (IPv4Address("127.0.0.53"), IPv4Address("127.0.0.54"))
ONESELF = (IPv4Address("127.0.0.1"),)
"""Whom libc asks where no server is named (resolv.conf(5))."""


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


def choose_servers(
    named: tuple[IPv4Address | IPv6Address, ...], upstream: tuple[IPv4Address | IPv6Address, ...]
) -> tuple[IPv4Address | IPv6Address, ...]:
    """Who is asked on this host. Where the stub is, resolved asks its upstream in the name of
    those who come to it by its socket (nss-resolve), and not by the stub."""
    if not set(named) & set(STUBS):
        return named or ONESELF
    return tuple(dict.fromkeys((*named, *upstream)))


def observe_servers(path: Path, upstream: Path = UPSTREAM) -> tuple[IPv4Address | IPv6Address, ...]:
    """The servers now; what cannot be read names none."""
    return choose_servers(parse_servers(_read(path)), parse_servers(_read(upstream)))


def observe_search(path: Path) -> tuple[str, ...]:
    """The search list now; empty where the file cannot be read."""
    return parse_search(_read(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
