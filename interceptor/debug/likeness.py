"""Names that are nearly what somebody typed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from interceptor.mesh.model import Host, Locale
from interceptor.mesh.name import above

SHORT = 8  # characters: names below it may differ by one slip, longer ones by two
MAXIMUM = 3


@dataclass(frozen=True, slots=True)
class Place:
    """A Kubernetes name taken apart: ``service.namespace``; the namespace may be missing."""

    service: str
    namespace: str = ""


def forms(host: Host, locale: Locale) -> Iterator[str]:
    """Every name that a host answers to from here, the full one first."""
    yield host.name
    stem = above(host.name, f"svc.{locale.domain}")
    if stem is not None and host.is_kubernetes:
        yield f"{stem}.svc"
        yield stem
        service, _, namespace = stem.rpartition(".")
        if namespace == locale.namespace:
            yield service
    yield from host.extra_names


def strip(name: str, locale: Locale) -> str:
    """``name`` without the search domain that a resolver put behind it."""
    found = (above(name, search) for search in locale.search)
    return next((rest for rest in found if rest), name)


def split(name: str, locale: Locale) -> Place | None:
    """``x``, ``x.ns``, ``x.ns.svc`` or ``x.ns.svc.<domain>`` taken apart; None for other names."""
    for suffix in (f"svc.{locale.domain}", "svc"):
        stem = above(name, suffix)
        if stem is not None:
            name = stem
            break
    labels = name.split(".")
    return Place(*labels) if len(labels) <= 2 else None


def distance(one: str, other: str) -> int:
    """Slips between two words: a letter missing, too much, wrong, or two exchanged."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        older, before, row = before, row, [i]
        for j, right in enumerate(other, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                best = min(best, older[j - 2] + 1)
            row.append(best)
    return row[-1]


def is_near(one: str, other: str) -> bool:
    """Whether two names differ by a slip in one label. Labels that are the same count nothing:
    a long common ending must not make two services alike."""
    left, right = one.split("."), other.split(".")
    if len(left) != len(right) or abs(len(one) - len(other)) > 2:
        return False
    unequal = [pair for pair in zip(left, right, strict=True) if pair[0] != pair[1]]
    if len(unequal) != 1:
        return False
    first, second = unequal[0]
    allowed = 1 if min(len(first), len(second)) < SHORT else 2
    return min(len(first), len(second)) > 1 and distance(first, second) <= allowed


def near(asked: str, hosts: Iterable[Host], locale: Locale) -> tuple[str, ...]:
    """The names of hosts that ``asked`` is a slip away from, the likeliest first."""
    wanted = strip(asked, locale)
    found: dict[str, int] = {}
    for host in hosts:
        for form in forms(host, locale):
            if wanted != form and (is_near(wanted, form) or _lacks_svc(wanted, form, locale)):
                found[host.name] = min(found.get(host.name, 99), distance(wanted, form))
    return tuple(sorted(found, key=lambda name: (found[name], name))[:MAXIMUM])


def _lacks_svc(wanted: str, form: str, locale: Locale) -> bool:
    """``x.ns.<domain>`` for ``x.ns.svc.<domain>``: the label that people forget."""
    stem = above(form, f"svc.{locale.domain}")
    return stem is not None and wanted == f"{stem}.{locale.domain}"


def elsewhere(asked: str, hosts: Iterable[Host], locale: Locale) -> tuple[Host, ...]:
    """The services of the same name in other namespaces than the one asked."""
    place = split(strip(asked, locale), locale)
    if place is None:
        return ()
    return tuple(
        host
        for host in hosts
        if host.is_kubernetes
        and (stem := above(host.name, f"svc.{locale.domain}")) is not None
        and stem.partition(".")[0] == place.service
        and stem.count(".") == 1
        and stem.rpartition(".")[2] != (place.namespace or locale.namespace)
    )[:MAXIMUM]
