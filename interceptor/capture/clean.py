"""Everything of ours off the host, from a cold start: no configuration, no journal, any version."""

from __future__ import annotations

import logging

from interceptor.capture import ipset, route
from interceptor.capture.iptables import Iptables
from interceptor.capture.journal import Journal
from interceptor.capture.nftables import Nftables
from interceptor.errors import CommandFailed

log = logging.getLogger(__name__)


def revert(journal: Journal) -> None:
    """Replay the journal, then remove whatever still bears our name.

    Every mechanism is tried; the first failure is raised at the end. Only when
    nothing failed is the journal forgotten.
    """
    journal.replay()
    failures: list[CommandFailed] = []
    quiet = Journal()
    removals = (
        Nftables(quiet).revert,
        Iptables("nft", quiet).revert,
        Iptables("legacy", quiet).revert,
        ipset.revert,
        route.revert,
    )
    for remove in removals:
        try:
            remove()
        except CommandFailed as error:
            log.warning("clean: %s", error)
            failures.append(error)
    if failures:
        raise failures[0]
    journal.remove()


def observe() -> str:
    """Whatever of ours is on the host, by every mechanism; empty on a clean host."""
    quiet = Journal()
    backends = (Nftables(quiet), Iptables("nft", quiet), Iptables("legacy", quiet, ipset=False))
    return "".join(backend.observe() for backend in backends) + route.observe()
