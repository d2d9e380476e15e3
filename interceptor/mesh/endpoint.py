"""Endpoints out of workloads, with the ports that differ from their host's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from interceptor.mesh import identity
from interceptor.mesh.model import Address, Endpoint, Port, Workload


def of_workload(
    workload: Workload, ports: tuple[Port, ...], numbers: Mapping[str, int]
) -> Endpoint:
    """The endpoint that ``workload`` is for a host with ``ports``.

    ``numbers`` holds name of a port → number to dial, as far as it is said.
    """
    return with_ports(
        Endpoint(
            workload.address,
            weight=workload.weight,
            locality=workload.locality,
            network=workload.network,
            service_account=workload.service_account,
            ready=workload.ready,
            origin=workload.origin,
            identity=identity.choose(
                dict(workload.labels), workload.namespace, workload.service_account
            ),
        ),
        ports,
        numbers,
    )


def with_ports(found: Endpoint, ports: tuple[Port, ...], numbers: Mapping[str, int]) -> Endpoint:
    """``found`` with those of ``numbers`` that are not the host's own anyway."""
    differing = tuple(
        [
            (port.name, numbers[port.name])
            for port in ports
            if numbers.get(port.name, port.number) != port.number
        ]
    )
    return found if differing == found.ports else replace(found, ports=differing)


def ips(found: Iterable[Endpoint]) -> tuple[Address, ...]:
    """Their addresses, each once; DNS names are left out."""
    return tuple(
        dict.fromkeys(place.address for place in found if isinstance(place.address, Address))
    )
