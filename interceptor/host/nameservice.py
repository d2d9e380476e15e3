"""How names are looked up on this host besides resolv.conf's servers: nsswitch.conf(5),
resolved.conf(5), and options of resolv.conf(5)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from interceptor.host import command, resolver

RESOLVED_FOLDERS = ("usr/lib", "usr/local/lib", "run", "etc")
"""Later over earlier; a drop-in's name counts, and a file in etc hides those of that name."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """systemd-resolved. ``over_tls`` and ``dnssec`` are its words: no, opportunistic, yes,
    allow-downgrade; ``links`` those that have DNS over TLS of their own."""

    runs: bool = False
    over_tls: str = "no"
    dnssec: str = "no"
    domains: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NameService:
    """All of it. ``target`` is where resolv.conf leads to, empty for a plain file; ``hosts`` are
    the words of nsswitch.conf's line."""

    servers: tuple[IPv4Address | IPv6Address, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    target: str = ""
    hosts: tuple[str, ...] = ("files", "dns")
    resolved: Resolved = Resolved()
    has_nscd: bool = False


def parse_options(text: str) -> tuple[str, ...]:
    """``options`` lines of resolv.conf."""
    lines = (line.split() for line in text.splitlines())
    return tuple(word for words in lines if words[:1] == ["options"] for word in words[1:])


def parse_hosts(text: str) -> tuple[str, ...]:
    """The ``hosts`` line of nsswitch.conf, an action such as ``[NOTFOUND=return]`` one word;
    glibc's own order where there is none."""
    for line in text.splitlines():
        name, colon, rest = line.partition("#")[0].partition(":")
        if colon and name.strip() == "hosts":
            return tuple(re.findall(r"\[[^\]]*\]|\S+", rest))
    return ("dns", "[!UNAVAIL=return]", "files")


def parse_resolved(texts: Iterable[str]) -> dict[str, str]:
    """Keys of the [Resolve] sections, later files over earlier; Domains and DNS add up."""
    found: dict[str, str] = {}
    for text in texts:
        section = ""
        for line in (raw.strip() for raw in text.splitlines()):
            if line.startswith("["):
                section = line
            elif "=" in line and section == "[Resolve]" and not line.startswith(("#", ";")):
                key, _, value = (part.strip() for part in line.partition("="))
                adds = key in ("Domains", "DNS") and value
                found[key] = f"{found.get(key, '')} {value}".strip() if adds else value
    return found


def parse_link_words(text: str) -> tuple[str, ...]:
    """The links that `resolvectl dnsovertls` tells another word than no for."""
    found = re.findall(r"^Link \d+ \(([^)]+)\): (\S+)$", text, re.MULTILINE)
    return tuple(f"{name} ({word})" for name, word in found if word != "no")


def observe(resolv_conf: Path, root: Path = Path("/")) -> NameService:
    """Now. ``root`` is where the files of /etc, /run and /usr are looked for."""
    text = _read(resolv_conf)
    target = os.path.realpath(resolv_conf) if resolv_conf.is_symlink() else ""
    return NameService(
        servers=resolver.parse_servers(text),
        search=resolver.parse_search(text),
        options=parse_options(text),
        target=target,
        hosts=parse_hosts(_read(root / "etc/nsswitch.conf")),
        resolved=_observe_resolved(root),
        has_nscd=(root / "run/nscd/socket").exists(),
    )


def _observe_resolved(root: Path) -> Resolved:
    runs = (root / "run/systemd/resolve/io.systemd.Resolve").exists()
    keys = parse_resolved(map(_read, resolved_files(root)))
    asked = command.run(["resolvectl", "dnsovertls"], check=False, timeout_s=3) if runs else None
    return Resolved(
        runs=runs,
        over_tls=keys.get("DNSOverTLS", "no").lower() or "no",
        dnssec=keys.get("DNSSEC", "no").lower() or "no",
        domains=tuple(keys.get("Domains", "").split()),
        servers=tuple(keys.get("DNS", "").split()),
        links=parse_link_words(asked.stdout) if asked else (),
    )


def resolved_files(root: Path) -> list[Path]:
    """resolved.conf and its drop-ins, in the order in which they count."""
    drops: dict[str, Path] = {}
    for folder in RESOLVED_FOLDERS:
        for path in (root / folder / "systemd/resolved.conf.d").glob("*.conf"):
            drops[path.name] = path
    mains = [root / folder / "systemd/resolved.conf" for folder in reversed(RESOLVED_FOLDERS)]
    first = next((path for path in mains if path.exists()), mains[0])
    return [first, *(drops[name] for name in sorted(drops))]


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
