"""Sidecars and networks as they come and go: every host is as if they had been there before."""

from __future__ import annotations

from ipaddress import ip_address

from interceptor.config.tree import VipRanges
from interceptor.mesh import parse, vip
from interceptor.mesh.build import Inventory
from interceptor.mesh.standing import Workplace
from interceptor.mesh.table import MeshTable

HOSTS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: shop}
spec:
  hosts: [a.example]
  addresses: [192.0.2.1]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 90, name: tcp, protocol: TCP}]
  endpoints: [{address: 10.1.0.1}, {address: 10.2.0.1, network: far}]
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: vm}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
"""
SIDECAR = """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: vm}
spec: {egress: [{hosts: ["./*"]}]}
"""
NETWORKS = """
apiVersion: mesh.istio.io/v1alpha1
kind: MeshNetworks
metadata: {name: default}
networks: {far: {gateways: [{address: 198.51.100.2}]}}
"""
LOCAL = "b.vm.svc.cluster.local"


class Mesh:
    def __init__(self, **files: str) -> None:
        allocation = vip.Allocation(VipRanges())
        self._inventory = Inventory("vm", "cluster.local", allocation, Workplace(network="near"))
        for name, text in files.items():
            self.say(name, text)

    def say(self, name: str, text: str) -> None:
        self._inventory.replace(name, parse.parse(text.encode(), name).pieces)

    def table(self) -> MeshTable:
        return self._inventory.build()[0]


def test_a_sidecar_that_comes_and_goes_hides_and_shows_what_there_was() -> None:
    mesh = Mesh(hosts=HOSTS)
    whole = mesh.table().hosts
    assert set(whole) == {"a.example", LOCAL}
    mesh.say("sidecar", SIDECAR)
    assert set(mesh.table().hosts) == {LOCAL}
    assert mesh.table().addresses() == {ip_address("10.96.0.1")}
    mesh.say("sidecar", SIDECAR.replace("./*", "shop/*"))
    assert set(mesh.table().hosts) == {"a.example"}
    mesh.say("sidecar", "")
    assert mesh.table().hosts == whole


def test_the_order_of_documents_makes_no_difference() -> None:
    first = Mesh(sidecar=SIDECAR, networks=NETWORKS, hosts=HOSTS)
    last = Mesh(hosts=HOSTS, networks=NETWORKS)
    last.table()
    last.say("sidecar", SIDECAR)
    assert first.table().hosts == last.table().hosts


def test_a_sidecar_with_a_port_narrows_the_ports_of_a_host() -> None:
    narrow = SIDECAR.replace('hosts: ["./*"]', 'port: {number: 80}, hosts: ["*/*"]')
    mesh = Mesh(hosts=HOSTS, sidecar=narrow)
    assert [port.number for port in mesh.table().hosts["a.example"].ports] == [80]


def test_a_gateway_that_comes_and_goes_is_followed() -> None:
    mesh = Mesh(hosts=HOSTS)
    before = mesh.table().hosts["a.example"]
    mesh.say("networks", NETWORKS)
    gateways = [each.gateways for each in mesh.table().hosts["a.example"].endpoints]
    assert gateways == [(), ((ip_address("198.51.100.2"), 15443),)]
    mesh.say("networks", "")
    assert mesh.table().hosts["a.example"] == before


def test_a_change_that_is_none_of_ours_leaves_the_hosts_alone() -> None:
    mesh = Mesh(hosts=HOSTS)
    mesh.table()
    mesh.say("other", SIDECAR.replace("namespace: vm", "namespace: shop"))
    assert not mesh._inventory.build()[1]
