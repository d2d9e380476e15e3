"""What the tests put into the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NETWORKING = "networking.istio.io/v1"
Document = dict[str, Any]

GROUP: Document = {
    "apiVersion": NETWORKING,
    "kind": "WorkloadGroup",
    "metadata": {"name": "mysql", "namespace": "vm"},
    "spec": {
        "metadata": {"labels": {"app": "mysql"}},
        "template": {"serviceAccount": "default", "ports": {"tcp": 3306}},
        # The VM's own configuration says how; this says that it is asked at all.
        "probe": {"periodSeconds": 1, "tcpSocket": {"port": 3306}},
    },
}
MYSQL: Document = {
    "apiVersion": NETWORKING,
    "kind": "ServiceEntry",
    "metadata": {"name": "mysql", "namespace": "vm"},
    "spec": {
        "hosts": ["mysql.vm.example"],
        "addresses": ["240.240.9.9"],
        "ports": [{"number": 3306, "name": "tcp", "protocol": "TCP"}],
        "resolution": "STATIC",
        "location": "MESH_INTERNAL",
        "workloadSelector": {"labels": {"app": "mysql"}},
    },
}


def entry(name: str, host: str, address: str, endpoints: Sequence[str]) -> Document:
    """A ServiceEntry of namespace bookinfo with an HTTP port 9080."""
    return {
        "apiVersion": NETWORKING,
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": "bookinfo"},
        "spec": {
            "hosts": [host],
            "addresses": [address],
            "ports": [{"number": 9080, "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "endpoints": [{"address": each} for each in endpoints],
        },
    }
