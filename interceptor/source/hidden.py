"""Hosts that the documents have, and that this VM may not see: by exportTo, or by a Sidecar."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from interceptor import config
from interceptor.errors import ConfigError
from interceptor.mesh import egress, parse
from interceptor.mesh.field import is_visible, labels
from interceptor.mesh.resource import Resource, Service, ServiceEntry, Sidecar
from interceptor.source import listing


def observe(mesh: config.Mesh, node: config.Node, name: str) -> tuple[str, ...]:
    """The namespaces whose documents give ``name``, all hidden from this VM; files that cannot
    be read say nothing."""
    if mesh.source != "files":
        return ()
    found = (owner(each, node, name) for each in _resources(mesh, name.partition(".")[0]))
    return tuple(dict.fromkeys(namespace for namespace in found if namespace))


@dataclass(frozen=True, slots=True)
class Shut:
    """A host that a Sidecar leaves out: ``wanted`` in its egress hosts would show it."""

    sidecar: str  # Sidecar vm/default (mesh.yaml)
    wanted: str  # bookinfo/reviews.bookinfo.svc.cluster.local

    @property
    def cure(self) -> str:
        return f"add {self.wanted} to the egress hosts of {self.sidecar.partition(' (')[0]}"


def observe_sidecar(mesh: config.Mesh, node: config.Node, name: str) -> Shut | None:
    """Whether the Sidecar that counts for this VM hides ``name``, which is exported to it."""
    if mesh.source != "files":
        return None
    found = list(_resources(mesh, name.partition(".")[0], "sidecar"))
    sidecars = [each for each in found if isinstance(each, Sidecar)]
    chosen = egress.choose(sidecars, node.namespace, labels(node.labels))
    if chosen is None:
        return None
    for each in found:
        host = named(each, node.domain, name)
        if not host or not isinstance(each, Service | ServiceEntry):
            continue
        is_exported = is_visible(each.export_to, each.namespace, node.namespace)
        if (
            is_exported
            and egress.ports(chosen, each.namespace, host, node.namespace) == frozenset()
        ):
            return Shut(chosen.origin, f"{each.namespace}/{host}")
    return None


def named(resource: Resource, domain: str, name: str) -> str:
    """The host of a document that ``name`` means; empty where it means none."""
    if isinstance(resource, ServiceEntry):
        return name if name in resource.hosts else ""
    if isinstance(resource, Service):
        stem = f"{resource.name}.{resource.namespace}"
        forms = (stem, f"{stem}.svc", f"{stem}.svc.{domain}")
        return forms[-1] if name in forms else ""
    return ""


def owner(resource: Resource, node: config.Node, name: str) -> str:
    """The namespace of a document that gives the name to others than this VM; empty for none."""
    if not named(resource, node.domain, name) or not isinstance(resource, Service | ServiceEntry):
        return ""
    seen = is_visible(resource.export_to, resource.namespace, node.namespace)
    return "" if seen else resource.namespace


def _resources(mesh: config.Mesh, *words: str) -> Iterator[Resource]:
    """Those of the files in which a word stands at all: reading the others takes seconds."""
    for path in listing.observe(mesh.files).seen:
        try:
            data = listing.recv(path, mesh.max_file_bytes)
            if not any(word.encode() in data.lower() for word in words):
                continue
            parsed = parse.parse(data, path)
        except (ConfigError, OSError):
            continue
        for piece in parsed.pieces.values():
            yield from piece
