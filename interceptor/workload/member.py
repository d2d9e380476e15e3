"""Who this VM is to the control plane: the node of every xDS stream, Envoy's and ours. PURE.

Istio reads most of it from the metadata, where a truth value is the string "true": a JSON
boolean in one of these keys makes istiod refuse the whole node.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from interceptor.config import Config
from interceptor.config.membership import Probe
from interceptor.mesh.model import Address

JSON = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None

ISTIO_VERSION = "1.29.6"
"""What istiod takes us for where it serves agents by their version: of the line that we follow."""
NOWHERE = IPv4Address("127.0.0.1")
"""Where this VM has no address that others could call."""


@dataclass(frozen=True, slots=True)
class Locality:
    """``node.locality``, whose later parts may be empty."""

    region: str = ""
    zone: str = ""
    sub_zone: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """``id`` is ``sidecar~ADDRESS~NAME.NAMESPACE~NAMESPACE.svc.DOMAIN``, four parts of which the
    last is the domain; ``cluster`` is Envoy's service cluster."""

    id: str
    cluster: str
    locality: Locality
    metadata: Mapping[str, JSON]


def build(config: Config, addresses: tuple[Address, ...], name: str) -> Member:
    """The member that ``config`` makes of a VM with ``addresses``, the first of which stands in
    its id, and the short host name ``name``, which node.name overrides."""
    node = config.node
    name = node.name or name
    namespace = node.namespace
    first = next(iter(addresses), NOWHERE)
    region, _, rest = node.locality.partition("/")
    zone, _, sub_zone = rest.partition("/")
    return Member(
        id=f"sidecar~{first}~{name}.{namespace}~{namespace}.svc.{node.domain}",
        cluster=f"{node.labels.get('app', name)}.{namespace}",
        locality=Locality(region, zone, sub_zone),
        metadata={**_metadata(config, addresses or (first,), name), **node.metadata},
    )


def _metadata(config: Config, addresses: tuple[Address, ...], name: str) -> dict[str, JSON]:
    """The keys of istiod's NodeMetadata that follow from the configuration; empty ones are left
    out, for istiod takes what is not there for its own default."""
    node, workload = config.node, config.workload
    found: dict[str, JSON] = {
        "NAMESPACE": node.namespace,
        "NAME": name,
        "WORKLOAD_NAME": name,
        "SERVICE_ACCOUNT": node.service_account,
        "INSTANCE_IPS": ",".join(map(str, addresses)),
        "CLUSTER_ID": node.cluster,
        "MESH_ID": node.mesh_id,
        "NETWORK": node.network,
        "LABELS": dict(node.labels),
        "ISTIO_VERSION": ISTIO_VERSION,
        "INTERCEPTION_MODE": config.capture.inbound.mode.upper(),
        "AUTO_REGISTER_GROUP": workload.group,
        "ENVOY_STATUS_PORT": config.sidecar.readiness_port,
        "ENVOY_PROMETHEUS_PORT": config.sidecar.prometheus_port,
    }
    if config.dns.enabled:
        found |= {"DNS_CAPTURE": "true", "DNS_AUTO_ALLOCATE": "true"}
    if workload.probe is not None:
        # Its presence makes istiod wait for our word before it sends anybody here.
        found["PROXY_CONFIG"] = {"readinessProbe": readiness(workload.probe)}
    return {key: value for key, value in found.items() if value != ""}


def readiness(probe: Probe) -> dict[str, JSON]:
    """A probe as Istio's ReadinessProbe (networking/v1alpha3/workload_group.proto), whose times
    are whole seconds."""
    found: dict[str, JSON] = {
        "initialDelaySeconds": math.ceil(probe.initial_delay_s),
        "timeoutSeconds": math.ceil(probe.timeout_s),
        "periodSeconds": math.ceil(probe.period_s),
        "successThreshold": probe.success_threshold,
        "failureThreshold": probe.failure_threshold,
    }
    if (http := probe.http) is not None:
        headers: list[JSON] = [{"name": key, "value": text} for key, text in http.headers.items()]
        named: dict[str, JSON] = {"host": http.host, "httpHeaders": headers}
        found["httpGet"] = {
            "path": http.path,
            "port": http.port,
            "scheme": http.scheme,
            **{key: value for key, value in named.items() if value},
        }
    if (tcp := probe.tcp) is not None:
        found["tcpSocket"] = {"port": tcp.port} | ({"host": tcp.host} if tcp.host else {})
    if probe.exec is not None:
        found["exec"] = {"command": list(probe.exec.command)}
    if (grpc := probe.grpc) is not None:
        found["grpc"] = {"port": grpc.port} | ({"service": grpc.service} if grpc.service else {})
    return found
