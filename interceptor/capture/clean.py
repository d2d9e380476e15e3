"""Everything of ours off the host, from a cold start: no configuration, no journal, any version."""

from __future__ import annotations

import logging
from collections.abc import Collection
from pathlib import Path

from interceptor.capture import ebpf, ipset, route
from interceptor.capture.ebpf import Ebpf
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.iptables import Iptables
from interceptor.capture.journal import Journal
from interceptor.capture.nftables import Nftables
from interceptor.errors import InterceptorError

log = logging.getLogger(__name__)

BPF_DIR = Sites().bpf_dir


def revert(journal: Journal, bpf_dir: Path = BPF_DIR) -> None:
    """Replay the journal, then remove whatever still bears our name.

    Every mechanism is tried; the first failure is raised at the end. Only when
    nothing failed is the journal forgotten. ``bpf_dir`` is looked at besides
    the usual one.
    """
    journal.replay()
    failures: list[InterceptorError] = []
    quiet = Journal()
    # What is under the usual place is ours whatever the configuration says by now.
    removals = (
        *(Ebpf(quiet, Sites(folder)).revert for folder in {bpf_dir, BPF_DIR}),
        Nftables(quiet).revert,
        Iptables("nft", quiet).revert,
        Iptables("legacy", quiet).revert,
        ipset.revert,
        route.revert,
    )
    for remove in removals:
        try:
            remove()
        except InterceptorError as error:
            log.warning("clean: %s", error)
            failures.append(error)
    if failures:
        raise failures[0]
    journal.remove()


def sweep(kept: Collection[str], bpf_dir: Path = BPF_DIR) -> None:
    """Remove what other back ends than those ``kept`` (by name) have on this host.

    An earlier configuration installed it, and two captures beside each other
    would each be repaired and neither removed.
    """
    quiet = Journal()
    backends = (Nftables(quiet), Iptables("nft", quiet), Iptables("legacy", quiet))
    for backend in backends:
        if backend.name not in kept and _has_rules(backend.observe()):
            log.warning("%s: rules of an earlier configuration are removed", backend.name)
            backend.revert()
    if Ebpf.name not in kept and ebpf.has_pins(bpf_dir):
        log.warning("ebpf: programs of an earlier configuration are removed")
        Ebpf(quiet, Sites(bpf_dir)).revert()


def _has_rules(observed: str) -> bool:
    """Whether there is more than ipsets, which the variants of iptables share."""
    return any(not line.startswith(("set ", "add ")) for line in observed.splitlines())


def observe(bpf_dir: Path = BPF_DIR) -> str:
    """Whatever of ours is on the host, by every mechanism; empty on a clean host."""
    quiet = Journal()
    backends = (Nftables(quiet), Iptables("nft", quiet), Iptables("legacy", quiet, ipset=False))
    rules = "".join(backend.observe() for backend in backends)
    return rules + ebpf.remains(bpf_dir) + route.observe()
