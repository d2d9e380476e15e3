"""What a cluster's documents say of the Istio in it. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from interceptor.errors import ConfigError, Problem
from interceptor.workload.member import JSON

Tree = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Mesh:
    """What the mesh's ConfigMap says; ``proxy`` is its defaultConfig."""

    trust_domain: str
    proxy: Mapping[str, JSON]


@dataclass(frozen=True, slots=True)
class Istio:
    """Where the control plane is in the cluster. ``revision``: empty or "default" for the one
    without a revision."""

    namespace: str = "istio-system"
    revision: str = ""

    @property
    def suffix(self) -> str:
        return "" if self.revision in ("", "default") else f"-{self.revision}"

    @property
    def host(self) -> str:
        return f"istiod{self.suffix}.{self.namespace}.svc"


def parse_mesh(text: str, where: str) -> Mesh:
    """MeshConfig as YAML. Raises ConfigError."""
    try:
        tree = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError([Problem(where, "(document)", str(error), "YAML")]) from error
    tree = {} if tree is None else tree
    proxy = tree.get("defaultConfig") or {} if isinstance(tree, dict) else None
    if not isinstance(proxy, dict):
        legal = "a MeshConfig: a mapping, with defaultConfig as another"
        raise ConfigError([Problem(where, "defaultConfig", repr(proxy)[:80], legal)])
    return Mesh(str(tree.get("trustDomain") or "cluster.local"), proxy)


def choose_ingress(service: Tree) -> tuple[str, ...]:
    """Addresses, or else DNS names, of a Service's load balancer and its externalIPs; empty where
    it has none (yet)."""
    places = items(service, "status", "loadBalancer", "ingress")
    addresses = [text(place, "ip") for place in places if text(place, "ip")]
    spec = service.get("spec")
    external = spec.get("externalIPs") if isinstance(spec, Mapping) else None
    addresses += [str(address) for address in external] if isinstance(external, list) else []
    names = [text(place, "hostname") for place in places if text(place, "hostname")]
    return tuple(addresses or names)


def text(tree: object, *keys: str) -> str:
    """What is there as text; empty where nothing is."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return str(tree or "")


def items(tree: object, *keys: str) -> list[Tree]:
    """The mappings of a list."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return [item for item in tree if isinstance(item, Mapping)] if isinstance(tree, list) else []
