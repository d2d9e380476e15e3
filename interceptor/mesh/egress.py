"""Sidecar documents: which hosts of the mesh one workload is told of (spec.egress).

One document counts for a workload: that of its own namespace whose workloadSelector picks it,
else its namespace's without a selector, else the root namespace's without one. Nothing else of
a Sidecar is looked at here: its ingress and a policy for traffic to others are ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from sys import intern

from interceptor.mesh import field, shape
from interceptor.mesh.field import Note, Notes
from interceptor.mesh.model import Labels
from interceptor.mesh.name import above
from interceptor.mesh.resource import Import, Sidecar

ROOT_NAMESPACE = "istio-system"  # MeshConfig.rootNamespace as it is by default
ANY, OWN, NONE = "*", ".", "~"
_FORM = "NAMESPACE/HOST: a namespace, ., * or ~; a DNS name, *.suffix or *"
_EVERYTHING = ((0, ANY, ANY),)


def read(found: shape.Sidecar, origin: str, notes: Notes) -> Sidecar:
    metadata, spec = found.get("metadata", {}), found.get("spec", {})
    imports: list[Import] = []
    for index, part in enumerate(spec.get("egress", ())):
        key = f"spec.egress[{index}].hosts"
        if not part.get("hosts"):
            notes.append(Note(key, field.MISSING, _FORM))
        number = part.get("port", {}).get("number", 0)
        for place, text in enumerate(part.get("hosts", ())):
            namespace, host = _host(notes, f"{key}[{place}]", text)
            imports.append((number, namespace, host))
    return Sidecar(
        name=metadata.get("name", ""),
        namespace=intern(metadata.get("namespace", "default")),
        origin=origin,
        selector=field.labels(spec.get("workloadSelector", {}).get("labels", {})),
        imports=tuple(imports) or _EVERYTHING,
    )


def _host(notes: Notes, key: str, text: str) -> tuple[str, str]:
    namespace, slash, host = text.partition("/")
    if not slash or not host:
        notes.append(Note(key, repr(text), _FORM))
        return NONE, ANY
    if namespace not in (ANY, OWN, NONE):
        field.label(notes, key, namespace, "a namespace, ., * or ~")
    return namespace, host if host == ANY else field.host(notes, key, host)


def choose(found: Iterable[Sidecar], namespace: str, labels: Labels) -> Sidecar | None:
    """The one that counts for a workload; of several alike the first by name."""
    ranked = sorted(found, key=lambda each: (each.name, each.origin))
    own = [each for each in ranked if each.namespace == namespace]
    picked = [each for each in own if each.selector and set(each.selector) <= set(labels)]
    default = [each for each in own if not each.selector]
    root = [each for each in ranked if each.namespace == ROOT_NAMESPACE and not each.selector]
    return next(iter((*picked, *default, *root)), None)


def ports(sidecar: Sidecar, owner: str, host: str, viewer: str) -> frozenset[int] | None:
    """The ports by which a host of namespace ``owner`` is to be seen in ``viewer``; empty: it is
    hidden; None: by all of them.

    In one egress part a namespace that is named counts alone: what the part says of ``*`` is for
    the others.
    """
    seen: set[int] = set()
    for number, wanted in _wanted(sidecar.imports, owner, viewer):
        if any(_is_subset(host, name) for name in wanted):
            if not number:
                return None
            seen.add(number)
    return frozenset(seen)


@lru_cache(maxsize=1024)
def _wanted(
    imports: tuple[Import, ...], owner: str, viewer: str
) -> tuple[tuple[int, tuple[str, ...]], ...]:
    """(port, hosts) of each part, as far as they concern a namespace: few, of many hosts."""
    found = []
    for number in dict.fromkeys(number for number, _, _ in imports):
        part = [(_namespace(space, viewer), name) for at, space, name in imports if at == number]
        named = tuple(name for space, name in part if space == owner)
        found.append((number, named or tuple(name for space, name in part if space == ANY)))
    return tuple(found)


def _namespace(text: str, viewer: str) -> str:
    return viewer if text == OWN else text


def _is_subset(host: str, wanted: str) -> bool:
    """Whether everything that ``host`` stands for, a name or wildcard, is ``wanted``."""
    if wanted == ANY or host == wanted:
        return True
    return wanted.startswith("*.") and above(host, wanted[2:]) is not None
