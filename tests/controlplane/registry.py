"""Who is connected, who registered itself, and how well they are: istiod's auto-registration."""

from __future__ import annotations

import time
from collections import Counter

from interceptor.mesh.model import WorkloadGroup
from tests.controlplane.content import Content
from tests.controlplane.node import Node
from tests.controlplane.record import Record

Document = dict[str, object]


class UnknownGroup(Exception):
    """The node names a WorkloadGroup that there is not."""


class Registry:
    """The caller holds the plane's lock."""

    def __init__(self, content: Content, record: Record, grace_s: float) -> None:
        self._content, self._record, self._grace_s = content, record, grace_s
        self._streams: Counter[str] = Counter()
        self._documents: dict[str, Document] = {}
        self._ends: dict[str, float] = {}

    def connect(self, node: Node) -> bool:
        """A stream of ``node`` has begun; whether the mesh is another now. Raises UnknownGroup."""
        if not node.group:
            return False
        group = self._content.group(node)
        if group is None:
            raise UnknownGroup(f"cannot find WorkloadGroup {node.namespace}/{node.group}")
        name = entry_name(node)
        self._streams[name] += 1
        self._ends.pop(name, None)
        if name in self._documents:
            return False
        self._set(name, _document(name, group, node))
        self._record.write("registered", name=name, namespace=node.namespace)
        return True

    def disconnect(self, node: Node) -> None:
        name = entry_name(node)
        if node.group and self._streams[name]:
            self._streams[name] -= 1
            if not self._streams[name]:
                self._ends[name] = time.monotonic() + self._grace_s

    def tell_health(self, node: Node, healthy: bool, message: str) -> bool:
        """Note a health message; whether the mesh is another now."""
        self._record.write("health", node=node.id, healthy=healthy, message=message)
        name = entry_name(node)
        if not node.group or name not in self._documents:
            return False
        condition = {"type": "Healthy", "status": str(healthy), "message": message}
        status = {"conditions": [condition]}
        if self._documents[name].get("status") == status:
            return False
        self._set(name, self._documents[name] | {"status": status})
        return True

    def sweep(self) -> bool:
        """Remove who has been away for longer than the grace; whether there was anybody."""
        now = time.monotonic()
        gone = [name for name, end in self._ends.items() if end <= now]
        for name in gone:
            del self._ends[name], self._documents[name]
            self._content.register(name, None)
            self._record.write("unregistered", name=name)
        return bool(gone)

    def _set(self, name: str, document: Document) -> None:
        self._documents[name] = document
        self._content.register(name, document)


def entry_name(node: Node) -> str:
    network = node.metadata.get("NETWORK", "")
    address = str(node.addresses[0]).replace(":", "-")
    return "-".join(filter(None, (node.group, address, str(network))))[-253:].lstrip("-")


def _document(name: str, group: WorkloadGroup, node: Node) -> Document:
    labels = node.metadata.get("LABELS", {})
    spec = {
        "address": str(node.addresses[0]),
        "labels": {**dict(group.labels), **(labels if isinstance(labels, dict) else {})},
        "ports": dict(group.ports),
        "network": str(node.metadata.get("NETWORK", "")) or group.network,
        "locality": node.locality or group.locality,
        "serviceAccount": group.service_account,
    }
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {"name": name, "namespace": node.namespace},
        "spec": {key: value for key, value in spec.items() if value},
    }
