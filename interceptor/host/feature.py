"""Features of the kernel, each tried in a network namespace that is thrown away."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interceptor.host import command, scratch

IPPROTO_MPTCP = 262  # linux/in.h
FAST_OPEN = Path("/proc/sys/net/ipv4/tcp_fastopen")
LEGACY = "legacy"


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature. ``said`` is the kernel's or the program's word where it does not work."""

    name: str
    works: bool
    said: str = ""


def _nft(rule: str, chain: str = "", family: str = "inet") -> tuple[tuple[str, ...], str]:
    lines = (f"add table {family} x", f"add chain {family} x y {chain}")
    text = "\n".join((*lines, f"add rule {family} x y {rule}", f"delete table {family} x", ""))
    return ("nft", "-f", "-"), text


NAT = "{ type nat hook output priority -101; }"
EARLY = "{ type filter hook prerouting priority -150; }"
TRIALS: dict[str, tuple[tuple[str, ...], str]] = {
    "NFQUEUE (nft)": _nft("queue num 1 bypass"),
    "redirect (nft)": _nft("tcp dport 1 redirect to :15001", NAT),
    "TPROXY (nft)": _nft("tcp dport 1 tproxy to :15006", EARLY, "ip"),
    "NFLOG (nft)": _nft("log group 5"),
    "cgroup match (nft)": _nft('socket cgroupv2 level 1 "."'),
}
IPTABLES: dict[str, str] = {
    "NFQUEUE (iptables)": "-t mangle -A OUTPUT -p udp --dport 53 -j NFQUEUE --queue-num 1 "
    "--queue-bypass",
    "redirect (iptables)": "-t nat -A OUTPUT -p tcp -m owner ! --uid-owner 1 -j REDIRECT "
    "--to-ports 15001",
    "TPROXY (iptables)": "-t mangle -A PREROUTING -p tcp -j TPROXY --on-port 15006",
    "conntrack zones (iptables)": "-t raw -A OUTPUT -p udp -j CT --zone 5",
}


def trials(iptables: str) -> dict[str, tuple[Sequence[str], str]]:
    """Feature → command and its standard input. ``iptables`` is the program for the second
    half; legacy's is never tried: its tables stay registered until the next boot."""
    found: dict[str, tuple[Sequence[str], str]] = dict(TRIALS)
    if iptables:
        for name, words in IPTABLES.items():
            found[name] = (iptables, *words.split()), ""
    return found


def observe(iptables: str = "iptables-nft") -> tuple[Feature, ...]:
    """Every feature. Raises OSError where no network namespace may be made."""

    def body() -> tuple[Feature, ...]:
        return tuple(_try(name, *each) for name, each in trials(iptables).items())

    return (*scratch.call(body), _mptcp(), _fast_open())


def _try(name: str, argv: Sequence[str], stdin: str) -> Feature:
    done = command.run(argv, stdin or None, check=False)
    return Feature(
        name, bool(done), "" if done else _last(done.stderr) or f"ended with {done.code}"
    )


def _last(text: str) -> str:
    """The first line that says something, without nft's place in our text."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return re.sub(r"^/dev/stdin:[\d:-]+ (Error: )?", "", line)


def _mptcp() -> Feature:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
    except OSError as error:
        return Feature("MPTCP", False, error.strerror or str(error))
    return Feature("MPTCP", True)


def _fast_open() -> Feature:
    try:
        value = FAST_OPEN.read_text().strip()
    except OSError as error:
        return Feature("TCP Fast Open", False, error.strerror or str(error))
    return Feature("TCP Fast Open", bool(int(value) & 1), f"net.ipv4.tcp_fastopen = {value}")
