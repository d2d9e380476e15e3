"""A service of another network, called through that network's gateway: two real daemons with
certificates, their Envoys, and an Envoy of nobody's that passes TLS through by its SNI."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interceptor.lab import agent as lab_agent
from interceptor.lab import description
from interceptor.lab.agent import Agent
from interceptor.lab.demo_call import GREETED
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab
from interceptor.sidecar import binary

pytestmark = [pytest.mark.root, pytest.mark.envoy]

CALLER, CALLEE, GATEWAY = (str(description.pair(number)[0].ip) for number in (10, 20, 53))
AUTHORITY, PORT = f"{CALLER}:15012", 15443
MYSQL = "mysql.vm.svc.cluster.local"
TLS = ", security.istio.io/tlsMode: istio"
MESH = f"""
apiVersion: v1
kind: Service
metadata: {{name: mysql, namespace: vm}}
spec:
  clusterIPs: [10.96.0.33]
  ports: [{{name: tcp-mysql, port: 3306}}]
  selector: {{app: mysql}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: vm2, namespace: vm}}
spec:
  address: {CALLEE}
  network: far
  labels: {{app: mysql{TLS}}}
  serviceAccount: mysql
---
apiVersion: mesh.istio.io/v1alpha1
kind: MeshNetworks
metadata: {{name: default}}
networks: {{far: {{gateways: [{{address: {GATEWAY}, port: {PORT}}}]}}}}
"""
DROP = f"""
table inet apart {{ chain out {{ type filter hook output priority 0;
  ip daddr {CALLEE} tcp dport 3306 counter drop
}}
}}
"""
"""The two networks do not reach each other but through the gateway."""


def passing() -> dict[str, object]:
    """The gateway: one chain, for the SNI by which Istio's AUTO_PASSTHROUGH tells the service."""
    kind = "type.googleapis.com/envoy.extensions.filters"
    proxy = {
        "@type": f"{kind}.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "gateway",
        "cluster": "inner",
    }
    listener = {
        "name": "gateway",
        "address": {"socket_address": {"address": GATEWAY, "port_value": PORT}},
        "listener_filters": [
            {
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {"@type": f"{kind}.listener.tls_inspector.v3.TlsInspector"},
            }
        ],
        "filter_chains": [
            {
                "filter_chain_match": {"server_names": [f"outbound_.3306_._.{MYSQL}"]},
                "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": proxy}],
            }
        ],
    }
    place = {"address": {"socket_address": {"address": CALLEE, "port_value": 3306}}}
    cluster = {
        "name": "inner",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": "inner",
            "endpoints": [{"lb_endpoints": [{"endpoint": place}]}],
        },
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


@dataclass
class Place:
    lab: Lab
    mesh: Path
    caller: Agent

    def greeting(self) -> str:
        argv = ["/usr/bin/python3", "-c", GREETED, MYSQL, "3306", "4"]
        done = self.lab.run("vm", argv, check=False)
        return (done.stdout + done.stderr).strip()

    def is_served(self) -> bool:
        return self.greeting().startswith("mysql-vm2 ready")

    def explain(self) -> str:
        return self.caller.run("explain", "tcp", f"{MYSQL}:3306").stdout

    def write(self, text: str = MESH) -> None:
        draft = self.mesh / ".draft"
        draft.write_text(text)
        draft.rename(self.mesh / "mesh.yaml")


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with Lab.open(description.default()) as lab:
        papers, mesh = lab.folder / "papers", lab.folder / "mesh"
        papers.mkdir(mode=0o700)
        mesh.mkdir()
        caller = lab_agent.prepare(
            lab,
            "vm",
            {
                "node": {"network": "near"},
                "identity": {"provider": "local", "dir": str(lab.host_folder("vm") / "identity")},
                "authority": {"dir": str(papers / "ca"), "listen": AUTHORITY},
            },
            mesh,
        )
        callee = lab_agent.prepare(
            lab,
            "vm2",
            {
                "node": {"network": "far", "service_account": "mysql"},
                "identity": {
                    "provider": "istiod",
                    "addresses": [AUTHORITY],
                    "dir": str(lab.host_folder("vm2") / "identity"),
                },
                "mesh": {
                    "istiod": {"token": str(papers / "token"), "root_cert": str(papers / "root")}
                },
                "sidecar": {"mtls": "strict"},
            },
            mesh,
        )
        made = Place(lab, mesh, caller)
        made.write()
        caller.run("authority", "init")
        words = ("-n", "vm", "-s", "mysql", "--lifetime", "10m", "-o", str(papers / "token"))
        caller.run("authority", "token", *words)
        shutil.copy(papers / "ca" / "root-cert.pem", papers / "root")
        lab.run("vm", ["nft", "-f", "-"], stdin=DROP)
        file = lab.host_folder("dns") / "gateway.json"
        file.write_text(json.dumps(passing()))
        argv = [str(binary.find(None)), "-c", str(file), "--disable-hot-restart"]
        lab.start("dns", [*argv, "--concurrency", "1"], "gateway", detached=True)
        caller.start()
        callee.start()
        yield made
        for agent in (callee, caller):
            assert agent.stop() == 0, agent.log()


def test_a_service_of_another_network_is_called_through_its_gateway(place: Place) -> None:
    wait_until(place.is_served, "the first call through the gateway", 30)
    told = place.explain()
    assert f"in network far behind {GATEWAY}:{PORT}" in told, told
    dropped = place.lab.run("vm", ["nft", "list", "table", "inet", "apart"]).stdout
    assert "packets 0 " in dropped, "called directly, too"


def test_a_service_without_mutual_tls_is_not_called_through_a_gateway(place: Place) -> None:
    wait_until(place.is_served, "a call through the gateway", 30)
    place.write(MESH.replace(TLS, ""))
    try:
        wait_until(lambda: not place.is_served(), "the endpoint left out", 15)
        assert "in another network, and none speaks mutual TLS" in place.explain()
    finally:
        place.write()
    wait_until(place.is_served, "the endpoint back", 15)


def test_without_a_gateway_the_endpoint_is_called_itself(place: Place) -> None:
    """The other side of the first: then the firewall between the networks shows."""
    place.write(MESH.partition("---\napiVersion: mesh")[0])
    try:
        wait_until(lambda: not place.is_served(), "the call that is dropped", 15)
        dropped = place.lab.run("vm", ["nft", "list", "table", "inet", "apart"]).stdout
        assert "packets 0 " not in dropped
    finally:
        place.write()
