"""A WorkloadGroup as a document (networking.istio.io): what the members of a group have in common.

PURE. The mesh table keeps of a WorkloadGroup what it needs; here is all of it, for whoever makes
one, and for the files of a VM that is to join.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from interceptor.errors import ConfigError, Problem
from interceptor.mesh import document, parse
from interceptor.mesh.resource import Group as Checked
from interceptor.workload.member import JSON

VERSION = "networking.istio.io/v1"
KIND = "WorkloadGroup"
CANONICAL = "service.istio.io/canonical-name"
REVISION = "service.istio.io/canonical-revision"
_NAMES = (CANONICAL, "app.kubernetes.io/name", "app")
_REVISIONS = (REVISION, "app.kubernetes.io/version", "version")
PROXY_CONFIG = "proxy.istio.io/config"
"""Annotation: settings of the members' ProxyConfig, as YAML."""


@dataclass(frozen=True, slots=True)
class Group:
    """``labels`` and ``annotations`` are those that members get, ``own_annotations`` the
    document's; ``ports`` number by name; ``probe`` is Istio's ReadinessProbe as it was written."""

    name: str
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    own_annotations: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    service_account: str = "default"
    network: str = ""
    locality: str = ""
    weight: int = 0
    probe: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def canonical_name(self) -> str:
        """The service that telemetry calls its members by."""
        return next((self.labels[key] for key in _NAMES if self.labels.get(key)), self.name)

    @property
    def canonical_revision(self) -> str:
        return next((self.labels[key] for key in _REVISIONS if self.labels.get(key)), "latest")


def build(group: Group) -> dict[str, JSON]:
    """The document; what says nothing is left out."""
    template: dict[str, JSON] = {
        "ports": dict(group.ports),
        "network": group.network,
        "locality": group.locality,
        "weight": group.weight,
        "serviceAccount": group.service_account,
    }
    inner: dict[str, JSON] = {
        "labels": dict(group.labels),
        "annotations": dict(group.annotations),
    }
    spec: dict[str, JSON] = {
        "metadata": _said(inner),
        "probe": dict(group.probe),
        "template": _said(template),
    }
    outer: dict[str, JSON] = {
        "name": group.name,
        "namespace": group.namespace,
        "annotations": dict(group.own_annotations),
    }
    return {"apiVersion": VERSION, "kind": KIND, "metadata": _said(outer), "spec": _said(spec)}


def _said(tree: Mapping[str, JSON]) -> dict[str, JSON]:
    return {key: value for key, value in tree.items() if value not in ({}, "", 0, None)}


def render(group: Group) -> str:
    """The document as YAML. Raises ConfigError for what no mesh would take."""
    text = yaml.safe_dump(build(group), sort_keys=False)
    parse.parse(text.encode(), "(options)")
    return text


def parse_group(text: str, where: str, name: str = "", namespace: str = "") -> Group:
    """The one WorkloadGroup of a file (``name``: of that name, among several).

    ``namespace`` is where it is, for a document that does not say. Raises ConfigError with
    every problem.
    """
    checked = parse.parse(text.encode(), where)
    if not any(isinstance(one, Checked) for found in checked.pieces.values() for one in found):
        kinds = ", ".join(map(_title, _trees(text))) or "none"
        problem = Problem(where, "kind", kinds, f"a document of kind {KIND}, apiVersion {VERSION}")
        raise ConfigError([problem])
    trees = [tree for tree in _trees(text) if tree.get("kind") == KIND]
    groups = [decode(tree, namespace) for tree in trees]
    chosen = [group for group in groups if name in ("", group.name)]
    if len(chosen) != 1:
        names = ", ".join(group.name for group in groups)
        legal = f"a {KIND} that is in the file once" if name else f"one {KIND}; name it with --name"
        raise ConfigError([Problem(where, "metadata.name", name or names, f"{legal}: {names}")])
    return chosen[0]


def _trees(text: str) -> list[dict[str, JSON]]:
    return [
        tree
        for piece in document.split(text.encode())
        for tree in yaml.load_all(piece.text, Loader=yaml.CSafeLoader)
        if isinstance(tree, dict)
    ]


def _title(tree: Mapping[str, JSON]) -> str:
    metadata = _map(tree, "metadata")
    place = f"{metadata.get('namespace') or 'default'}/{metadata.get('name', '')}"
    return f"{tree.get('kind')} {place}"


def decode(tree: Mapping[str, JSON], namespace: str = "") -> Group:
    """A document whose shape is right, from a file or a cluster."""
    metadata, spec = _map(tree, "metadata"), _map(tree, "spec")
    inner, template = _map(spec, "metadata"), _map(spec, "template")
    weight = template.get("weight", 0)
    # Labels of the template, which belong to the metadata, win there as they do in a member.
    return Group(
        name=str(metadata.get("name", "")),
        namespace=str(metadata.get("namespace") or namespace or "default"),
        labels=_texts(inner, "labels") | _texts(template, "labels"),
        annotations=_texts(inner, "annotations"),
        own_annotations=_texts(metadata, "annotations"),
        ports={
            key: value for key, value in _map(template, "ports").items() if isinstance(value, int)
        },
        service_account=str(template.get("serviceAccount") or "default"),
        network=str(template.get("network") or ""),
        locality=str(template.get("locality") or ""),
        weight=weight if isinstance(weight, int) else 0,
        probe=_map(spec, "probe"),
    )


def _map(tree: Mapping[str, JSON], key: str) -> dict[str, JSON]:
    found = tree.get(key)
    return found if isinstance(found, dict) else {}


def _texts(tree: Mapping[str, JSON], key: str) -> dict[str, str]:
    return {name: str(value) for name, value in _map(tree, key).items()}
