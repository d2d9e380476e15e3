"""The files by which a VM joins a mesh: those of `istioctl x workload entry configure`.

PURE. ``cluster.env`` (settings of rules and of the member), ``mesh.yaml`` (ProxyConfig),
``root-cert.pem``, ``istio-token`` and ``hosts``, byte for byte readable by Istio's own agent.
Two more say what those five cannot: ``interceptor.yaml``, settings of ours laid over them (a load
balancer with a DNS name, a site without istiod), and documents below ``mesh/``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import PurePosixPath

import yaml

from interceptor.errors import ConfigError, Problem
from interceptor.workload.group import CANONICAL, REVISION, Group
from interceptor.workload.member import JSON

CLUSTER, MESH, ROOT, TOKEN, HOSTS = (
    *("cluster.env", "mesh.yaml", "root-cert.pem", "istio-token", "hosts"),
)
SETTINGS = "interceptor.yaml"
DOCUMENTS = "mesh"
"""Folder of documents, for mesh.source files."""
NAMES = (CLUSTER, MESH, ROOT, TOKEN, HOSTS, SETTINGS)
DOCUMENT_ENDINGS = (".yaml", ".yml", ".json")

PORT = 15012
"""Where istiod serves xDS and certificates over TLS."""
AUTHORITY = "interceptor-authority"
"""What the certificate of an authority of ours bears (`authority.NAME`), wherever it listens."""
EXCLUDED = (22, 15090, 15021)
STATUS_PORT = 15020


@dataclass(frozen=True, slots=True)
class Plane:
    """What a control plane says, or its administrator.

    ``discovery`` is HOST:PORT, empty for a site without istiod; ``proxy`` the mesh's
    ``defaultConfig``; ``ingress`` addresses and names of what leads to it from outside;
    ``authority`` HOST:PORT of who issues certificates, where that is not ``discovery``.
    """

    root: bytes
    token: str
    discovery: str = ""
    proxy: Mapping[str, JSON] = field(default_factory=dict)
    cluster: str = "Kubernetes"
    trust_domain: str = "cluster.local"
    ingress: tuple[str, ...] = ()
    authority: str = ""
    documents: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The name that the control plane's certificate bears."""
        return self.discovery.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for, for one VM."""

    capture_dns: bool = True
    autoregister: bool = False
    internal_ip: str = ""
    external_ip: str = ""


def build(group: Group, plane: Plane, wish: Wish) -> dict[str, bytes]:
    """The files, by name. Raises ConfigError for text that a line of an environment cannot hold."""
    metadata = _metadata(group, plane, wish)
    files = {
        CLUSTER: _environment({**metadata, **_overrides(group, plane, wish)}).encode(),
        MESH: _mesh(group, plane, metadata).encode(),
        ROOT: plane.root,
        TOKEN: f"{plane.token.strip()}\n".encode(),
        HOSTS: _hosts(plane).encode(),
    }
    settings = _settings(plane)
    if settings:
        files[SETTINGS] = yaml.safe_dump(settings, sort_keys=False).encode()
    return files | {f"{DOCUMENTS}/{name}": data for name, data in plane.documents.items()}


def _metadata(group: Group, plane: Plane, wish: Wish) -> dict[str, str]:
    """ProxyConfig.proxyMetadata: the mesh's own, and what is this group's."""
    own = plane.proxy.get("proxyMetadata")
    found = {key: str(value) for key, value in own.items()} if isinstance(own, dict) else {}
    name, revision = group.canonical_name, group.canonical_revision
    labels = {**group.labels, CANONICAL: name, REVISION: revision}
    found |= {
        "CANONICAL_SERVICE": name,
        "CANONICAL_REVISION": revision,
        "POD_NAMESPACE": group.namespace,
        "SERVICE_ACCOUNT": group.service_account,
        "TRUST_DOMAIN": plane.trust_domain,
        "ISTIO_META_CLUSTER_ID": plane.cluster,
        "ISTIO_META_MESH_ID": str(plane.proxy.get("meshId") or plane.trust_domain),
        "ISTIO_META_NETWORK": group.network,
        "ISTIO_META_WORKLOAD_NAME": group.name,
        "ISTIO_METAJSON_LABELS": json.dumps(labels, sort_keys=True, separators=(",", ":")),
    }
    if group.ports:
        ports = [
            {"name": name, "containerPort": number, "protocol": ""}
            for name, number in sorted(group.ports.items())
        ]
        found["ISTIO_META_POD_PORTS"] = json.dumps(ports, separators=(",", ":"))
    if wish.capture_dns:
        found["ISTIO_META_DNS_CAPTURE"] = "true"
    if wish.autoregister:
        found["ISTIO_META_AUTO_REGISTER_GROUP"] = group.name
    return found


def _overrides(group: Group, plane: Plane, wish: Wish) -> dict[str, str]:
    ports = ",".join(map(str, sorted(group.ports.values())))
    status = plane.proxy.get("statusPort") or STATUS_PORT
    excluded = dict.fromkeys((*EXCLUDED, status))
    found = {
        "ISTIO_INBOUND_PORTS": ports or "*",
        "ISTIO_NAMESPACE": group.namespace,
        "ISTIO_SERVICE": f"{group.name}.{group.namespace}",
        "ISTIO_SERVICE_CIDR": "*",
        "ISTIO_LOCAL_EXCLUDE_PORTS": ",".join(map(str, excluded)),
        "SERVICE_ACCOUNT": group.service_account,
    }
    if plane.authority:
        found["CA_ADDR"] = plane.authority
    if address := wish.internal_ip or wish.external_ip:
        found["ISTIO_SVC_IP"] = address
    if wish.external_ip:
        found["REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION"] = "true"
    return found


def _environment(variables: Mapping[str, str]) -> str:
    """Sorted lines of KEY='value', for a shell to read."""
    problems = [
        Problem(CLUSTER, key, repr(value), "text without line breaks or control characters")
        for key, value in variables.items()
        if not value.isprintable()
    ]
    if problems:
        raise ConfigError(problems)
    quoted = {key: value.replace("'", "'\"'\"'") for key, value in variables.items()}
    return "".join(f"{key}='{quoted[key]}'\n" for key in sorted(quoted))


def _mesh(group: Group, plane: Plane, metadata: Mapping[str, str]) -> str:
    proxy: dict[str, JSON] = {**plane.proxy, "proxyMetadata": dict(metadata)}
    if plane.discovery:
        proxy["discoveryAddress"] = plane.discovery
    if group.probe:
        proxy["readinessProbe"] = dict(group.probe)
    return yaml.safe_dump({"defaultConfig": proxy})


def _hosts(plane: Plane) -> str:
    """hosts(5). A name cannot stand there: that one is told, for who reads it, and in
    interceptor.yaml, for us."""
    lines = []
    for place in plane.ingress:
        mark = "" if is_address(place) else "# a name, not an address: resolve it yourself: "
        lines.append(f"{mark}{place} {plane.host}\n")
    return "".join(lines)


def is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def join(host: str, port: str | int) -> str:
    """HOST:PORT, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _settings(plane: Plane) -> dict[str, JSON]:
    """What Istio's files cannot say; empty where there is nothing."""
    if not plane.discovery:
        found: dict[str, JSON] = {"mesh": {"source": "files"}}
        if plane.authority:
            found["mesh"] = {"source": "files", "istiod": {"server_name": AUTHORITY}}
            found["identity"] = {"provider": "istiod", "addresses": [plane.authority]}
        return found
    if all(map(is_address, plane.ingress)):
        return {}
    port = plane.discovery.rpartition(":")[2]
    addresses: list[JSON] = [join(place, port) for place in plane.ingress]
    return {"mesh": {"istiod": {"addresses": addresses, "server_name": plane.host}}}


def select(found: Mapping[str, bytes]) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The files of a bundle among those of a folder or an archive, by plain names; and the names
    of the rest. They may all be in one folder of the archive, of whatever name."""
    tops = {PurePosixPath(name).parts[0] for name in found}
    inner = {name.partition("/")[2]: data for name, data in found.items()}
    if len(tops) == 1 and not tops & set(NAMES) and any(name in inner for name in NAMES):
        found = inner
    kept = {name: data for name, data in found.items() if name in NAMES or is_document(name)}
    return kept, tuple(sorted(set(found) - set(kept)))


def is_document(name: str) -> bool:
    """Whether a file of the bundle is a document of the mesh: below its folder, not deeper."""
    folder, _, rest = name.partition("/")
    is_plain = "/" not in rest and not rest.startswith(".")
    return folder == DOCUMENTS and is_plain and rest.endswith(DOCUMENT_ENDINGS)


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """Name → its addresses, in the file's order; lines that are none are left out."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words: Sequence[str] = line.partition("#")[0].split()
        if words and is_address(words[0]):
            for name in words[1:]:
                found.setdefault(name.lower().rstrip("."), []).append(words[0])
    return {name: tuple(dict.fromkeys(addresses)) for name, addresses in found.items()}
