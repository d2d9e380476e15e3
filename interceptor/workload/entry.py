"""This VM's own WorkloadEntry, made from its WorkloadGroup as istiod makes it. PURE."""

from __future__ import annotations

import json
from dataclasses import dataclass

import yaml

from interceptor.config.tree import Node
from interceptor.mesh import identity
from interceptor.mesh.model import Address, WorkloadGroup

JSON = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None

NAME_LENGTH = 253  # RFC 1123, as Kubernetes has it
GROUP_NOTE = "istio.io/autoRegistrationGroup"
HEALTH_NOTE = "proxy.istio.io/health-checks-enabled"
CONDITION = "Healthy"
NOT_YET = "not probed yet"


@dataclass(frozen=True, slots=True)
class Fitness:
    """Whether others may be sent here; ``reason`` where not. None: nobody probes."""

    is_healthy: bool | None = None
    reason: str = ""


def name_of(group: str, address: Address, network: str) -> str:
    """``GROUP-ADDRESS[-NETWORK]``, whose end counts where it is too long (istiod's
    pilot/pkg/autoregistration); it begins with a letter or digit."""
    whole = f"{group}-{str(address).replace(':', '-')}" + (f"-{network}" if network else "")
    # An address such as fd10:: ends in colons, and a name may not.
    return whole[-NAME_LENGTH:].strip("-.")


def build(
    node: Node, group: WorkloadGroup, address: Address, fitness: Fitness, *, is_secure: bool = False
) -> JSON:
    """The entry as a document. Labels: the group's, then node.labels over them; what the node
    says of network, locality and service account counts before the template. ``is_secure``: this
    VM takes mutual TLS, which a label tells unless group or node say otherwise."""
    network = node.network or group.network
    account = node.service_account
    if account == "default" and group.service_account:
        account = group.service_account
    annotations: dict[str, JSON] = {GROUP_NOTE: group.name}
    if fitness.is_healthy is not None:
        annotations[HEALTH_NOTE] = "true"
    secure = {identity.TLS_MODE: identity.MUTUAL} if is_secure else {}
    labels: dict[str, JSON] = {**secure, **dict(group.labels), **node.labels}
    spec: dict[str, JSON] = {
        "address": str(address),
        "ports": dict(group.ports),
        "labels": labels,
        "network": network,
        "locality": node.locality or group.locality,
        "weight": group.weight,
        "serviceAccount": account,
    }
    document: dict[str, JSON] = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {
            "name": name_of(group.name, address, network),
            "namespace": group.namespace,
            "labels": labels,
            "annotations": annotations,
        },
        "spec": {key: value for key, value in spec.items() if value},
    }
    if fitness.is_healthy is not None:
        document["status"] = {"conditions": [_condition(fitness)]}
    return document


def _condition(fitness: Fitness) -> JSON:
    found: dict[str, JSON] = {"type": CONDITION, "status": str(bool(fitness.is_healthy))}
    if fitness.reason:
        found |= {"reason": "Unhealthy", "message": fitness.reason}
    return found


def render(document: JSON, *, as_json: bool) -> str:
    """Its text."""
    if as_json:
        return json.dumps(document, indent=2) + "\n"
    head = "# Kept by interceptor (workload.entry): changes are overwritten.\n"
    return head + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
