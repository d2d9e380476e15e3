"""A service of this VM, as the documents by which the mesh knows it. PURE.

A ServiceEntry says what the service is called and where it listens; several VMs may offer it, and
share it. A WorkloadEntry for each address of this VM says that it is here. What is ours bears our
label, and a file of ours begins with a seal: what somebody edited is not ours any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

import yaml

from interceptor.errors import ConfigError, Problem
from interceptor.mesh import parse
from interceptor.mesh.model import Address
from interceptor.workload.member import JSON

VERSION = "networking.istio.io/v1"
SERVICE = "interceptor/service"
"""Label of entries, and what the ServiceEntry selects by."""
BY = "interceptor/registered-by"
"""Annotation of both: the VM."""
_SEAL = "# interceptor service register, sealed: "


@dataclass(frozen=True, slots=True)
class Offered:
    """A port: callers dial ``number``, the service listens on ``target``."""

    name: str
    number: int
    target: int


@dataclass(frozen=True, slots=True)
class Offer:
    """``host`` is what it is called by; ``vm`` who offers it, as a part of names."""

    name: str
    namespace: str
    host: str
    vm: str
    ports: tuple[Offered, ...]
    addresses: tuple[Address, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    service_account: str = "default"
    network: str = ""
    locality: str = ""
    weight: int = 0


def build_service(offer: Offer) -> dict[str, JSON]:
    """The ServiceEntry: the same from every VM that offers the service alike."""
    ports: list[JSON] = [
        {
            "number": port.number,
            "name": port.name,
            **({"targetPort": port.target} if port.target != port.number else {}),
        }
        for port in offer.ports
    ]
    return {
        "apiVersion": VERSION,
        "kind": "ServiceEntry",
        "metadata": {
            "name": offer.name,
            "namespace": offer.namespace,
            "labels": {SERVICE: offer.name},
        },
        "spec": {
            "hosts": [offer.host],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": ports,
            "workloadSelector": {"labels": {SERVICE: offer.name}},
        },
    }


def build_entries(offer: Offer) -> list[dict[str, JSON]]:
    """A WorkloadEntry for each address."""
    return [_entry(offer, index, address) for index, address in enumerate(offer.addresses)]


def _entry(offer: Offer, index: int, address: Address) -> dict[str, JSON]:
    name = f"{offer.name}-{offer.vm}" + (f"-{index + 1}" if index else "")
    labels: dict[str, JSON] = {"app": offer.name, **offer.labels, SERVICE: offer.name}
    spec: dict[str, JSON] = {
        "address": str(address),
        "labels": labels,
        "serviceAccount": offer.service_account,
        "network": offer.network,
        "locality": offer.locality,
        "weight": offer.weight,
    }
    return {
        "apiVersion": VERSION,
        "kind": "WorkloadEntry",
        "metadata": {
            "name": name,
            "namespace": offer.namespace,
            "labels": {SERVICE: offer.name},
            "annotations": {BY: offer.vm},
        },
        "spec": {key: value for key, value in spec.items() if value not in ("", 0)},
    }


def check(offer: Offer) -> None:
    """Raises ConfigError for what no mesh would take."""
    problems: list[Problem] = []
    for tree in (build_service(offer), *build_entries(offer)):
        try:
            parse.parse(_text([tree]).encode(), f"({tree['kind']} to be)")
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def render(trees: list[dict[str, JSON]]) -> str:
    """Documents as a file of ours."""
    text = _text(trees)
    return f"{_SEAL}{_digest(text)}\n{text}"


def _text(trees: list[dict[str, JSON]]) -> str:
    return yaml.safe_dump_all(trees, sort_keys=False)


def is_ours(text: str) -> bool:
    """Whether a file is as we wrote it."""
    head, _, rest = text.partition("\n")
    return head == _SEAL + _digest(rest)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
