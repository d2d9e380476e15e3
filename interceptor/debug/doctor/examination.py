"""All rules over all facts."""

from __future__ import annotations

from collections.abc import Collection

from interceptor.config import Config
from interceptor.debug.doctor import firewall, kernel, mesh, network, placement, resolver
from interceptor.debug.doctor.check import Check, Group
from interceptor.debug.doctor.fact import Facts


def decide(
    facts: Facts, config: Config, only: Collection[Group] = frozenset(Group)
) -> tuple[Check, ...]:
    """Every check of those groups, in the order of the groups."""
    parts = (kernel, resolver, firewall, network, placement)
    found = [check for part in parts for check in part.decide(facts, config)]
    found += mesh.decide(facts)
    order = list(Group)
    wanted = (check for check in found if check.group in only)
    return tuple(sorted(wanted, key=lambda check: order.index(check.group)))
