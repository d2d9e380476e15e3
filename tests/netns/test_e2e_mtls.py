"""Two VMs with certificates of the authority on one of them: real daemons, Envoys, handshakes."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from interceptor.lab import agent as lab_agent
from interceptor.lab import description, snapshot
from interceptor.lab.agent import Agent
from interceptor.lab.demo_call import GREETED
from interceptor.lab.description import Speech, World
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab
from interceptor.workload import certificate, signing

pytestmark = [pytest.mark.root, pytest.mark.envoy]

DOMAIN, TTL_S, COUNT = "lab.example", 8, 2000
CALLER, CALLEE = (str(description.pair(number)[0].ip) for number in (10, 20))
AUTHORITY = f"{CALLER}:15012"
MYSQL = "mysql.vm.svc.cluster.local"
CALLEE_ID = f"spiffe://{DOMAIN}/ns/vm/sa/mysql"
STRANGER = "dns"  # a host without an agent

MESH = """
apiVersion: v1
kind: Service
metadata: {name: mysql, namespace: vm}
spec:
  clusterIPs: [10.96.0.33, "fd96::33"]
  ports: [{name: tcp-mysql, port: 3306}]
  selector: {app: mysql}
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: vm}
spec:
  clusterIPs: [10.96.0.34]
  ports: [{name: http, port: 80, targetPort: 8080}]
  selector: {app: mysql}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm2, namespace: vm}
spec:
  address: 10.77.0.20
  labels: {app: mysql, security.istio.io/tlsMode: istio}
  serviceAccount: mysql
"""

PERMISSIVE = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: vm}
spec: {mtls: {mode: PERMISSIVE}}
"""

# Calls again and again: each connection is a handshake of its own. Says what failed, and how many.
LOAD = """
import collections, os, socket, sys, urllib.request
found = collections.Counter()
while not os.path.exists(sys.argv[1]) or sum(found.values()) < int(sys.argv[2]):
    try:
        with socket.create_connection(("10.96.0.33", 3306), 20) as s:
            said = s.makefile().readline()
        found["served" if said.startswith("mysql-vm2 ready") else f"said {said!r}"] += 1
        if sum(found.values()) % 10 == 0:
            with urllib.request.urlopen("http://10.96.0.34/", timeout=20) as reply:
                found["served" if b"shop-vm2" in reply.read() else "another"] += 1
    except OSError as error:
        found[str(error)] += 1
for what, times in found.items():
    print(times, what)
"""


@dataclass
class Place:
    lab: Lab
    mesh: Path
    caller: Agent
    callee: Agent
    papers: Path

    def greeting(self, host: str, target: str, port: int = 3306) -> str:
        argv = ["/usr/bin/python3", "-c", GREETED, target, str(port), "4"]
        done = self.lab.run(host, argv, check=False)
        return (done.stdout + done.stderr).strip()

    def openssl(self, *options: str) -> str:
        """What openssl hears when a stranger calls the second VM's service by TLS."""
        argv = ["timeout", "4", "openssl", "s_client", "-connect", f"{CALLEE}:3306", *options]
        done = self.lab.run(STRANGER, argv, stdin="", check=False)
        return done.stdout + done.stderr

    def fetched(self) -> bool:
        """Whether a stranger gets the second VM's web page in plain text."""
        argv = ["curl", "-sS", "-m", "5", f"http://{CALLEE}:8080/"]
        return "shop-vm2" in self.lab.run(STRANGER, argv, check=False).stdout

    def identity(self, agent: Agent) -> dict[str, object]:
        found = agent.read("status")["identity"]
        assert isinstance(found, dict)
        return found

    def failures(self) -> set[str]:
        """Why Envoy of either VM could not go on, as far as it says."""
        lines = (*self.caller.access_log(), *self.callee.access_log())
        told = (json.loads(line) for line in lines)
        return {f"{line['direction']} {line['flags']} {line['failure']}" for line in told}

    def is_of_another_root(self, agent: Agent, issuer: object) -> bool:
        return self.identity(agent)["issuer"] != issuer

    def write(self, old: str = "", new: str = "") -> None:
        """The mesh, with one word of it another."""
        text = MESH.replace(old, new) if old else MESH
        draft = self.mesh / ".draft"
        draft.write_text(text)
        draft.rename(self.mesh / "mesh.yaml")


def world() -> World:
    """The second VM has a web shop beside its database."""
    made = description.default()
    hosts = []
    for host in made.hosts:
        if host.name == "vm2":
            shop = replace(description.local("shop-vm2", 8080), speech=Speech.HTTP)
            ports = (3306, 8080)
            host = replace(host, services=(*host.services, shop), inbound_ports=ports)
        hosts.append(host)
    return replace(made, hosts=tuple(hosts))


def settings(lab: Lab) -> tuple[dict[str, object], dict[str, object]]:
    papers = lab.folder / "papers"
    own = {"trust_domain": DOMAIN, "ttl_s": TTL_S}
    caller = {
        "capture": {"backend": "nftables"},
        "identity": {"provider": "local", **own, "dir": str(lab.host_folder("vm") / "identity")},
        "authority": {"dir": str(papers / "ca"), "listen": AUTHORITY, "ttl_s": TTL_S},
        "sidecar": {"mtls": "strict", "connect_timeout_ms": 30000},
    }
    callee = {
        "capture": {"backend": "ebpf"},
        "node": {"service_account": "mysql"},
        "identity": {
            "provider": "istiod",
            "addresses": [AUTHORITY],
            **own,
            "dir": str(lab.host_folder("vm2") / "identity"),
        },
        "mesh": {"istiod": {"token": str(papers / "token"), "root_cert": str(papers / "root")}},
        "sidecar": {"mtls": "strict", "connect_timeout_ms": 30000},
    }
    return caller, callee


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """An authority on the first VM, both VMs members and strict; what the one sends by rules the
    other takes by programs."""
    with Lab.open(world()) as lab:
        papers, mesh = lab.folder / "papers", lab.folder / "mesh"
        papers.mkdir(mode=0o700)
        mesh.mkdir()
        caller, callee = (
            lab_agent.prepare(lab, host, over, mesh)
            for host, over in zip(("vm", "vm2"), settings(lab), strict=True)
        )
        made = Place(lab, mesh, caller, callee, papers)
        made.write()
        before = {host: snapshot.observe(lab, host) for host in ("vm", "vm2")}
        caller.run("authority", "init")
        words = ("-n", "vm", "-s", "mysql", "--lifetime", "10m", "-o", str(papers / "token"))
        caller.run("authority", "token", *words)
        shutil.copy(papers / "ca" / "root-cert.pem", papers / "root")
        caller.start(timeout_s=120)
        callee.start(timeout_s=120)
        yield made
        for agent in (callee, caller):
            assert agent.stop() == 0, agent.log()
        after = {host: snapshot.observe(lab, host) for host in ("vm", "vm2")}
        assert [snapshot.diff(before[host], after[host]) for host in after] == ["", ""]


def served(place: Place) -> bool:
    return place.greeting("vm", MYSQL).startswith("mysql-vm2 ready")


def test_a_member_is_served_and_nobody_else(place: Place) -> None:
    wait_until(lambda: served(place), "the first call by mutual TLS", 20)
    assert place.identity(place.callee)["who"] == CALLEE_ID
    said = place.openssl("-showcerts")
    (leaf, *_) = certificate.read(said.encode())
    assert leaf.spiffe == CALLEE_ID
    assert "mysql-vm2 ready" not in said, "without a certificate"
    assert not place.fetched(), "in plain text"
    now = certificate.now_s()
    rival = signing.make_root("ecdsa-p256", "rival", now - 60, now + 600)
    key = signing.make_key("ecdsa-p256")
    public = signing.read_request(signing.build_csr(key, CALLEE_ID)).public_key
    forged = signing.issue(signing.Leaf(public, (CALLEE_ID,), now - 60, now + 60), rival)
    (place.papers / "forged").write_bytes(key + forged)
    forgery = str(place.papers / "forged")
    assert "mysql-vm2 ready" not in place.openssl("-cert", forgery, "-key", forgery)


def test_a_server_of_another_name_is_not_called(place: Place) -> None:
    wait_until(lambda: served(place), "the first call by mutual TLS", 20)
    place.write("serviceAccount: mysql", "serviceAccount: somebody")
    try:
        wait_until(lambda: not served(place), "the name that nobody has", 15)
        assert not served(place)
    finally:
        place.write()
    wait_until(lambda: served(place), "the right name", 15)


def test_certificates_and_roots_change_under_load_without_a_failed_request(place: Place) -> None:
    """Both ends have a new certificate each 4 s, and after 8 s it is the new root's."""
    wait_until(lambda: served(place), "the first call by mutual TLS", 20)
    agents = {"vm": place.caller, "vm2": place.callee}
    before = {host: place.identity(agent)["issuer"] for host, agent in agents.items()}
    enough = place.papers / "enough"
    argv = ["/usr/bin/python3", "-c", LOAD, str(enough), str(COUNT)]
    child = place.lab.start("vm", argv, "load")
    place.caller.run("authority", "rotate")
    for host, agent in agents.items():
        wait_until(partial(place.is_of_another_root, agent, before[host]), "the new root", 60)
    time.sleep(1)  # calls between two VMs that both have it
    enough.touch()
    assert child.wait(120) == 0, place.lab.log("vm", "load")
    counts = dict(line.split(" ", 1)[::-1] for line in place.lab.log("vm", "load").splitlines())
    assert set(counts) == {"served"}, (counts, place.failures())
    assert int(counts["served"]) >= COUNT
    for agent in agents.values():
        assert not place.identity(agent)["alarms"]


def test_a_document_lets_strangers_in_and_its_end_keeps_them_out_again(place: Place) -> None:
    wait_until(lambda: served(place), "the first call by mutual TLS", 20)
    assert not place.fetched()
    document = place.mesh / "peers.yaml"
    document.write_text(PERMISSIVE)
    try:
        wait_until(place.fetched, "a page in plain text", 15)
        assert served(place), "and members by their certificates"
    finally:
        document.unlink()
    wait_until(lambda: not place.fetched(), "strict again", 15)
    assert served(place)
