"""What `explain` and `resolve` say offline, without root, is what the kernel then does."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import cast

import pytest

from interceptor.capture.ground import AGENT
from interceptor.lab import removal
from interceptor.lab.agent import Agent

pytestmark = [pytest.mark.root, pytest.mark.envoy]

TARGETS = (
    ("10.96.0.11:9080", "outbound"),
    ("[fd96::11]:9080", "outbound"),
    ("10.96.0.11:81", "outbound"),
    ("10.77.0.44:8080", "outbound"),
    ("192.0.2.80:80", "outbound"),
    ("[2001:db8::90]:80", "outbound"),
    ("240.240.200.200:80", "outbound"),
    ("10.77.0.61:80", "pass"),
    ("[fd77::61]:80", "pass"),
    ("10.77.0.41:9080", "pass"),
    ("10.77.0.10:22", "pass"),
    ("127.0.0.1:80", "pass"),
    ("[::1]:80", "pass"),
)

ALIASES = (ip_network("127.64.0.0/10"), ip_network("fdc8:3d1f:62a7:1::/64"))

# Opens a connection as a user, and prints what the kernel's socket table says of it.
CONNECT = """
import os, socket, subprocess, sys
if sys.argv[4]: open(sys.argv[4], "w").write("0")
os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[3]))
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.4) as one:
        port = one.getsockname()[1]
        subprocess.run(["ss", "--no-header", "--tcp", "--numeric", f"sport = :{port}"])
except OSError:
    pass
"""


def explain(agent: Agent, target: str, *words: str) -> dict[str, object]:
    done = agent.run_unprivileged("explain", "tcp", target, "--json", *words)
    return cast("dict[str, object]", json.loads(done.stdout))


def is_redirected(agent: Agent, target: str, uid: int, procs: str = "") -> bool:
    """By the kernel's own books: whether the connection's replies come from port 15001 (NAT),
    or its peer is another one than the program called (a loopback alias)."""
    host, _, port = target.rpartition(":")
    address = host.strip("[]")
    lab = agent.lab
    family = "ipv6" if ":" in address else "ipv4"
    lab.run(agent.host, ["conntrack", "-F"], check=False)
    table = lab.run(
        agent.host, ["/usr/bin/python3", "-c", CONNECT, address, port, str(uid), procs]
    ).stdout
    peer = table.split()[4].rpartition(":")[0].strip("[]") if table else address
    if any(ip_address(peer) in network for network in ALIASES):
        return True
    argv = ["conntrack", "-L", "-f", family, "-p", "tcp", "--orig-dst", address, "--dport", port]
    return "sport=15001" in lab.run(agent.host, argv, check=False).stdout


@pytest.mark.parametrize(("target", "verdict"), TARGETS)
def test_explain_agrees_with_the_kernels_books(member: Agent, target: str, verdict: str) -> None:
    told = explain(member, target, "--uid", "1000", "--gid", "1000")
    assert told["verdict"] == verdict
    assert is_redirected(member, target, 1000) == (verdict == "outbound")


@pytest.mark.parametrize("target", ["10.96.0.11:9080", "[fd96::11]:9080"])
def test_the_sidecars_own_traffic_passes(member: Agent, target: str) -> None:
    told = explain(member, target, "--uid", "1337", "--gid", "1337")
    assert (told["verdict"], told["rule"]) == ("pass", 2)
    group = removal.cgroup(member.lab.token, member.host) / AGENT
    is_confined = group.is_dir()  # with ebpf it is the sidecar's in its cgroup, and only there
    procs = str(group / "cgroup.procs") if is_confined else ""
    assert not is_redirected(member, target, 1337, procs)
    assert is_redirected(member, target, 1337) == is_confined


def test_explain_by_name_tells_host_and_endpoints(member: Agent) -> None:
    told = explain(member, "reviews.bookinfo.svc.cluster.local:9080")
    assert told["verdict"] == "outbound"
    assert told["host"] == "reviews.bookinfo.svc.cluster.local"
    endpoints = cast("list[str]", told["endpoints"])
    assert sorted(endpoints) == ["10.77.0.41:9080", "10.77.0.51:9080"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("reviews.bookinfo.svc.cluster.local", "A"),
        ("reviews.bookinfo", "AAAA"),
        ("reviews", "A"),
        ("ratings.mesh.internal", "A"),
        ("ratings.mesh.internal", "AAAA"),
        ("web-1.web.bookinfo.svc.cluster.local", "A"),
        ("any.wild.example", "A"),
        ("partner.bookinfo.svc.cluster.local", "CNAME"),
    ],
)
def test_resolve_offline_says_what_dig_then_gets(member: Agent, name: str, kind: str) -> None:
    done = member.run_unprivileged("resolve", name, "--type", kind, "--json")
    told = json.loads(done.stdout)
    assert told["verdict"] == "answer"
    argv = ["dig", "+short", "@10.77.0.53", name, kind]
    got = [line.rstrip(".") for line in member.lab.run(member.host, argv).stdout.split()]
    assert sorted(got) == sorted(answer["data"] for answer in told["answers"])


def test_resolve_says_of_anothers_name_that_it_passes(member: Agent) -> None:
    done = member.run_unprivileged("resolve", "www.corp.example", "--json")
    assert json.loads(done.stdout)["verdict"] == "pass"
