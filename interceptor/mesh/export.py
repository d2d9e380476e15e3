"""The mesh table in forms that other programs read: hosts file, name table, plain values."""

from __future__ import annotations

import dataclasses
import enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from interceptor.mesh.model import Host
from interceptor.mesh.table import MeshTable


def plain(value: object) -> object:
    """What JSON has no word for, in words it has; for an encoder's ``default``."""
    if isinstance(value, IPv4Address | IPv6Address | IPv4Network | IPv6Network):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no plain form")


def summary(host: Host) -> dict[str, object]:
    """One line of `mesh list --json`."""
    return {
        "host": host.name,
        "namespace": host.namespace,
        "kind": host.kind.value,
        "addresses": [str(address) for address in host.addresses],
        "ports": [
            {"name": port.name, "number": port.number, "protocol": port.protocol.value}
            for port in host.ports
        ],
        "endpoints": len(host.endpoints),
        "origin": host.origin,
    }


def hosts_file(table: MeshTable) -> str:
    """hosts(5) lines. Wildcards and names without an address have no place in one."""
    lines = [
        f"{address} {host.name}"
        for host in table.hosts.values()
        if not host.is_wildcard
        for address in host.addresses
    ]
    return "".join(f"{line}\n" for line in lines)


def name_table(table: MeshTable) -> dict[str, object]:
    """The JSON of istiod's /debug/ndsz, which the source ``nametable`` reads back."""
    return {"table": {host.name: _name_info(host) for host in table.hosts.values()}}


def _name_info(host: Host) -> dict[str, object]:
    info: dict[str, object] = {
        "ips": [str(address) for address in host.addresses],
        "registry": "Kubernetes" if host.is_kubernetes else "External",
    }
    if host.is_kubernetes:
        info["shortname"] = host.name.partition(".")[0]
        info["namespace"] = host.namespace
    if host.extra_names:
        info["altHosts"] = list(host.extra_names)
    return info
