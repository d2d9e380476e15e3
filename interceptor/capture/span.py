"""Arithmetic on sets of networks: what covers what, and no more elements than needed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from interceptor.capture.rule import Network
from interceptor.mesh.model import Address

Place = Address | Network
"""What the mesh table gives to a host: an address, or a whole CIDR."""

EVERYTHING: dict[int, Network] = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}


def halves(network: Network) -> tuple[Network, ...]:
    """A network as a set of the kernel takes it: an ipset knows no /0, but both its halves."""
    return (network,) if network.prefixlen else tuple(network.subnets())


def collapse(networks: Iterable[Network]) -> tuple[Network, ...]:
    """The fewest networks that cover the same addresses: sorted, IPv4 first."""
    four: list[Network] = []
    six: list[Network] = []
    for network in networks:
        (four if network.version == 4 else six).append(network)
    return (*collapse_addresses(four), *collapse_addresses(six))  # type: ignore[type-var]


class Cover:
    """Sorted networks of one family that do not overlap, ready to be asked."""

    def __init__(self, networks: Sequence[Network]) -> None:
        spans = sorted((int(n.network_address), int(n.broadcast_address)) for n in networks)
        self._firsts = [first for first, _ in spans]
        self._lasts = [last for _, last in spans]

    def holds(self, first: int, last: int) -> bool:
        """Whether one of the networks has every address from ``first`` to ``last``."""
        place = bisect_right(self._firsts, first)
        return place > 0 and last <= self._lasts[place - 1]


def contains(networks: Sequence[Network], address: Address) -> bool:
    """Whether one of some networks, all of the address's family, has it."""
    return Cover(networks).holds(int(address), int(address))


def uncovered(
    fixed: Sequence[Network], places: Iterable[Place], families: tuple[int, ...]
) -> tuple[Network, ...]:
    """The places outside of ``fixed`` as networks in a stable order, none within another.

    Addresses are kept one by one rather than collapsed, so that one address
    more or less is one element more or less.
    """
    wide: list[Network] = []
    addresses: set[Address] = set()
    for place in places:
        if isinstance(place, Network):
            wide.append(place)
        else:
            addresses.add(place)
    found: list[Network] = []
    for version in families:
        known = [network for network in fixed if network.version == version]
        networks = _outside(known, (network for network in wide if network.version == version))
        cover = Cover(collapse([*known, *networks]))
        numbers = sorted(int(a) for a in addresses if a.version == version)
        kind = IPv4Network if version == 4 else IPv6Network
        found += networks
        found += [kind(number) for number in numbers if not cover.holds(number, number)]
    return tuple(found)


def _outside(known: Sequence[Network], networks: Iterable[Network]) -> tuple[Network, ...]:
    """``networks`` without what ``known`` covers; one that is wider is cut around it."""
    left = list(collapse(networks))
    for hole in known:
        cut: list[Network] = []
        for network in left:
            if not network.overlaps(hole):
                cut.append(network)
            elif network != hole and hole.subnet_of(network):  # type: ignore[arg-type]
                cut += network.address_exclude(hole)  # type: ignore[arg-type]
        left = cut
    return collapse(half for network in left for half in halves(network))
