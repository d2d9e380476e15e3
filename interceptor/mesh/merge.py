"""Which documents count for one host name, and whether the host gets a VIP.

A core Service beats ServiceEntries, as in Istio. ServiceEntries of one host
are joined (see `entry`): the viewer's own namespace first, then by namespace
and name; where two contradict each other the first holds, and a warning says
so. A document that stands in two files counts once, as in the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from interceptor.errors import Problem
from interceptor.mesh.model import Kind, Resolution
from interceptor.mesh.resource import Service, ServiceEntry, Slice

Claim = Service | ServiceEntry


def choose(claims: Iterable[Claim], viewer: str) -> tuple[list[Claim], list[Problem]]:
    """The claims that count for one host, in order: one Service, or ServiceEntries."""

    def rank(claim: Claim) -> tuple[bool, bool, str, str, str]:
        is_entry = isinstance(claim, ServiceEntry)
        return (is_entry, claim.namespace != viewer, claim.namespace, claim.origin, repr(claim))

    said: dict[str, Claim] = {}
    warnings: list[Problem] = []
    for claim in sorted(claims, key=rank):
        document = _document(claim.origin)
        if (earlier := said.get(document)) is not None and earlier.origin != claim.origin:
            legal = f"each document once: that of {_file(claim.origin)} counts"
            warnings.append(warning(earlier, "metadata.name", "also in another file", legal))
        said[document] = claim
    found = list(said.values())
    if isinstance(found[0], Service):
        for other in found[1:]:
            legal = f"a host that nobody else has: {found[0].origin} counts"
            warnings.append(warning(other, "spec.hosts", "a host of a Service", legal))
        return found[:1], warnings
    return found, warnings


def last_of_each(slices: Iterable[Slice]) -> list[Slice]:
    """The slices by name; of one that stands in several files the last file's."""
    ordered = sorted(
        slices, key=lambda part: (part.is_endpoints, part.name, part.origin, repr(part))
    )
    return list({(part.is_endpoints, part.name): part for part in ordered}.values())


def wants_vip(claims: Sequence[Claim], name: str) -> bool:
    """Whether the host is one that gets an address from us."""
    for claim in claims:
        if claim.addresses:
            return False
        if isinstance(claim, Service):
            return claim.kind is Kind.SERVICE
        if claim.networks or not claim.wants_address or claim.resolution is Resolution.NONE:
            return False
    return bool(claims) and not name.startswith("*.")


def warning(claim: Claim, key: str, value: str, legal: str) -> Problem:
    document, _, file = claim.origin.rpartition(" (")
    return Problem(file.removesuffix(")"), key, value, legal, document=document)


def _document(origin: str) -> str:
    return origin.rpartition(" (")[0]


def _file(origin: str) -> str:
    return origin.rpartition(" (")[2].removesuffix(")")
