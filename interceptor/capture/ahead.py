"""Who stands in front of us on this host, and takes what we should see."""

from __future__ import annotations

from interceptor.capture import foreignnft, foreignsave
from interceptor.capture.foreign import Foreign
from interceptor.capture.plan import Flow
from interceptor.host import command

NAT, QUEUE = -101, -150
"""Priorities of our chains (ruleset.py): what translates connections, what sees queries."""
LAST = 1 << 30


def limit(flow: Flow, backend: str) -> int | None:
    """The priority before which a chain comes before ours; None: none does.

    Programs steer a connect() before there is a packet, and meet queries behind netfilter.
    """
    if backend == "ebpf":
        return LAST if flow.protocol == "udp" else None
    return QUEUE if flow.protocol == "udp" else NAT


def observe(flow: Flow, backend: str) -> tuple[Foreign, ...]:
    """Rules that take this flow, or may. Nothing is seen without root."""
    before = limit(flow, backend)
    if before is None:
        return ()
    listed = command.run(["nft", "--terse", "-j", "list", "ruleset"], check=False)
    found = list(foreignnft.parse(listed.stdout, flow, before)) if listed else []
    program = "iptables" if flow.destination.version == 4 else "ip6tables"
    for variant in ("nft", "legacy"):
        saved = command.run([f"{program}-{variant}-save"], check=False).stdout
        found += foreignsave.parse(saved, flow, before, f"{program}-{variant}")
    return tuple(dict.fromkeys(found))
