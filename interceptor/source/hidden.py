"""Hosts that the documents have, and that this VM's namespace may not see (exportTo)."""

from __future__ import annotations

from collections.abc import Iterator

from interceptor import config
from interceptor.errors import ConfigError
from interceptor.mesh import parse
from interceptor.mesh.field import is_visible
from interceptor.mesh.resource import Resource, Service, ServiceEntry
from interceptor.source import listing


def observe(mesh: config.Mesh, node: config.Node, name: str) -> tuple[str, ...]:
    """The namespaces whose documents give ``name``, all hidden from this VM; files that cannot
    be read say nothing."""
    if mesh.source != "files":
        return ()
    found = (owner(each, node, name) for each in _resources(mesh, name.partition(".")[0]))
    return tuple(dict.fromkeys(namespace for namespace in found if namespace))


def owner(resource: Resource, node: config.Node, name: str) -> str:
    """The namespace of a document that gives the name to others than this VM; empty for none."""
    if isinstance(resource, ServiceEntry):
        names = resource.hosts
    elif isinstance(resource, Service):
        stem = f"{resource.name}.{resource.namespace}"
        names = (stem, f"{stem}.svc", f"{stem}.svc.{node.domain}")
    else:
        return ""
    seen = is_visible(resource.export_to, resource.namespace, node.namespace)
    return resource.namespace if name in names and not seen else ""


def _resources(mesh: config.Mesh, word: str) -> Iterator[Resource]:
    """Those of the files in which the word stands at all: reading the others takes seconds."""
    for path in listing.observe(mesh.files).seen:
        try:
            data = listing.recv(path, mesh.max_file_bytes)
            if word.encode() not in data.lower():
                continue
            parsed = parse.parse(data, path)
        except (ConfigError, OSError):
            continue
        for piece in parsed.pieces.values():
            yield from piece
