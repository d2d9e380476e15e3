"""How many connections were handed to the sidecar, by the rules' own counters.

A rule of a nat chain meets the first packet of a connection only, so its
packet counter counts connections. The counters begin anew when rules are
replaced, as a restarted process's do.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from interceptor.capture.plan import Steering
from interceptor.host import bpfmap, command, pin
from interceptor.host.layout import TCP_RESULTS as RESULTS
from interceptor.host.layout import Map

NFT = ("nft", "-j", "list", "table", "inet", "interceptor")
SAVED = re.compile(
    r"^\[(\d+):\d+\] -A INTERCEPTOR_\S* .*-j (?:REDIRECT --to-ports|TPROXY --on-port) (\d+)"
)

STEERED = {"outbound": ("outbound",), "inbound": ("inbound", "self")}
"""Direction → the programs' results that are of it. A call to oneself arrives at inbound."""


def directions(steering: Steering) -> Mapping[int, str]:
    """The sidecar's port → the direction of what is sent there."""
    return {steering.outbound_port: "outbound", steering.inbound_port: "inbound"}


def parse_nft(text: str, steering: Steering) -> Counter[str]:
    """Read ``nft -j list table``."""
    found: Counter[str] = Counter()
    for item in json.loads(text or "{}").get("nftables", ()):
        expressions = item.get("rule", {}).get("expr", ())
        packets = sum(each["counter"]["packets"] for each in expressions if "counter" in each)
        direction = directions(steering).get(_port(expressions))
        if direction is not None:
            found[direction] += packets
    return found


def _port(expressions: Iterable[Mapping[str, object]]) -> int:
    for each in expressions:
        for verdict in ("redirect", "tproxy"):
            target = each.get(verdict)
            if isinstance(target, Mapping) and isinstance(target.get("port"), int):
                return int(target["port"])
    return 0


def parse_saved(text: str, steering: Steering) -> Counter[str]:
    """Read ``iptables-save --counters``."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        match = SAVED.match(line)
        if match and (direction := directions(steering).get(int(match[2]))):
            found[direction] += int(match[1])
    return found


def observe_decisions(bpf_dir: Path) -> Counter[str]:
    """Result → connections that the ebpf programs decided so, since their maps were made."""
    counts = pin.adopt_map(bpf_dir, Map.TCP_COUNTS)
    if counts is None:
        return Counter()
    try:
        found = {name: counts.sum(bpfmap.index(place)) for place, name in enumerate(RESULTS)}
    finally:
        counts.close()
    return Counter({name: count for name, count in found.items() if count})


def steered(decisions: Mapping[str, int]) -> Counter[str]:
    """Direction → connections that were steered, of the programs' decisions."""
    return Counter(
        {
            direction: sum(decisions.get(name, 0) for name in names)
            for direction, names in STEERED.items()
        }
    )


def observe(backend: str, steering: Steering) -> Counter[str]:
    """Direction → connections so far. ``backend`` is the TCP plane's: nftables, or iptables
    with its variant; whatever cannot be read counts nothing."""
    if backend == "nftables":
        return parse_nft(command.run(NFT, check=False).stdout, steering)
    found: Counter[str] = Counter()
    for program in ("iptables", "ip6tables"):
        save = f"{program}-{backend.removeprefix('iptables-')}-save"
        found += parse_saved(command.run([save, "--counters"], check=False).stdout, steering)
    return found
