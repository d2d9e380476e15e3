"""With TPROXY an application sees who really called it, though a real Envoy stands between."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from interceptor.lab import agent as lab_agent
from interceptor.lab import description, snapshot
from interceptor.lab.agent import Agent
from interceptor.lab.demo_call import GREETED
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab

pytestmark = [pytest.mark.root, pytest.mark.envoy]

PORT, SILENT_PORT = 3306, 3307
CLOSED = "Connection reset by peer"
VM2, CLIENT = description.pair(20), description.pair(53)
CLIENT_HOST = "dns"  # has no other address that IPv6 might choose to call from

# Talks for longer than one packet, in both directions, and says what came back.
LONG = """
import socket, sys
line = b"x" * 60000 + b"\\n"
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as s:
    f = s.makefile("rb")
    f.readline()
    for _ in range(10):
        s.sendall(line)
        print(len(f.readline()))
"""

# Opens connections from two ports, and uses them when all is said and done: in 6 s.
TAKEN_PORTS = (40000, 40001)
TAKEN = f"""
import socket, sys, time
found = []
for port in {TAKEN_PORTS}:
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5, ("", port))
    found.append(s.makefile("rw"))
    found[-1].readline()
print("open", flush=True)
time.sleep(6)
for f in found:
    f.write("still\\n")
    f.flush()
    print(f.readline(), end="", flush=True)
"""


@pytest.fixture(scope="module", params=["nftables", "iptables"])
def called(request: pytest.FixtureRequest) -> Iterator[Agent]:
    """An agent on the VM whose application is called; its clients have none."""
    inbound = {"mode": "tproxy", "ports": [PORT, SILENT_PORT]}
    over = {"capture": {"backend": request.param, "inbound": inbound}}
    with Lab.open() as lab:
        before = snapshot.observe(lab, "vm2")
        agent = lab_agent.prepare(lab, "vm2", over)
        agent.start()
        yield agent
        assert agent.stop() == 0, agent.log()
        assert snapshot.diff(before, snapshot.observe(lab, "vm2")) == ""


def greeting(agent: Agent, host: str, target: str, family: int, port: int = PORT) -> str:
    """What the application on vm2 says first to a client on ``host``."""
    argv = ["/usr/bin/python3", "-c", GREETED, target, str(port), str(family)]
    done = agent.lab.run(host, argv, check=False)
    return (done.stdout + done.stderr).strip()


def of_client(agent: Agent, address: object, seen: int) -> list[dict[str, str]]:
    """What the sidecar logged of inbound connections from one address, after ``seen`` lines."""
    lines: list[dict[str, str]] = [json.loads(line) for line in agent.access_log()[seen:]]
    inbound = (line for line in lines if line["direction"] == "inbound")
    return [line for line in inbound if str(address) in line["client"]]


@pytest.mark.parametrize("number", [0, 1], ids=["IPv4", "IPv6"])
def test_the_application_sees_the_address_of_the_client(called: Agent, number: int) -> None:
    seen = len(called.access_log())
    target, client = VM2[number].ip, CLIENT[number].ip
    heard = greeting(called, CLIENT_HOST, str(target), target.version)
    assert heard == f"mysql-vm2 ready, you are {client}"
    wait_until(lambda: bool(of_client(called, client, seen)), "Envoy's word for it", 5)


@pytest.mark.parametrize("number", [0, 1], ids=["IPv4", "IPv6"])
def test_much_data_goes_both_ways(called: Agent, number: int) -> None:
    argv = ["/usr/bin/python3", "-c", LONG, str(VM2[number].ip), str(PORT)]
    found = called.lab.run(CLIENT_HOST, argv).stdout.split()
    assert found == [str(60001 + len("mysql-vm2: "))] * 10


@pytest.mark.parametrize("number", [0, 1], ids=["IPv4", "IPv6"])
def test_where_no_application_listens_the_call_ends_at_once(called: Agent, number: int) -> None:
    """Its kernel's reset has to find Envoy too, which would wait 2 s for an answer otherwise."""
    target, start = VM2[number].ip, time.monotonic()
    heard = greeting(called, CLIENT_HOST, str(target), target.version, SILENT_PORT)
    assert heard == "" or heard.endswith(CLOSED)
    assert time.monotonic() - start < 1.8


@pytest.mark.parametrize("family", [4, 6])
def test_calling_oneself_by_name_goes_through_both_listeners_once(
    called: Agent, family: int
) -> None:
    seen = len(called.access_log())
    heard = greeting(called, "vm2", "mysql.vm.svc.cluster.local", family)
    own = heard.removeprefix("mysql-vm2 ready, you are ")
    assert own in {str(each.ip) for each in VM2}, "of either family, as the endpoint is chosen"
    wait_until(lambda: bool(of_client(called, own, seen)), "Envoy's word for it", 5)
    time.sleep(1.2)  # Envoy writes once a second
    assert len(of_client(called, own, seen)) == 1


def test_a_port_that_the_client_has_taken_already_harms_no_open_connection(called: Agent) -> None:
    """Envoy knows none of the client's ports; by chance it comes by one that is in use."""
    process = called.lab.start(
        CLIENT_HOST, ["/usr/bin/python3", "-c", TAKEN, str(VM2[0].ip), str(PORT)], "taken"
    )
    ports = "/proc/sys/net/ipv4/ip_local_port_range"
    wait_until(lambda: "open" in called.lab.log(CLIENT_HOST, "taken"), "the open ones", 5)
    called.lab.run("vm2", ["sh", "-c", f"echo {TAKEN_PORTS[0]} {TAKEN_PORTS[1]} > {ports}"])
    try:
        for _ in range(2):
            greeting(called, CLIENT_HOST, str(VM2[0].ip), 4)
    finally:
        called.lab.run("vm2", ["sh", "-c", f"echo 32768 60999 > {ports}"])
    process.wait(20)
    assert called.lab.log(CLIENT_HOST, "taken").splitlines()[1:] == ["mysql-vm2: still"] * 2


def test_what_is_not_captured_answers_its_client_directly(called: Agent) -> None:
    seen = len(called.access_log())
    argv = ["/usr/bin/python3", "-m", "http.server", "8099", "--bind", "0.0.0.0"]
    called.lab.start("vm2", argv, "plain")
    curl = ["curl", "-sS", "-m", "2", "-I", f"http://{VM2[0].ip}:8099/"]
    wait_until(
        lambda: "200" in called.lab.run(CLIENT_HOST, curl, check=False).stdout,
        "the plain server",
        10,
    )
    assert len(called.access_log()) == seen
