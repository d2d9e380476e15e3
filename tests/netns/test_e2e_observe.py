"""A VM that is in no mesh is watched; by what was written it then is in one, and calls the same."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from interceptor.cli import main
from interceptor.lab import agent as lab_agent
from interceptor.lab import description, snapshot
from interceptor.lab.agent import UNPRIVILEGED, Agent, interceptor_argv
from interceptor.lab.description import World
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab
from tests.netns.test_e2e_untouched import SENDER, query, read_pcap, without_identification

pytestmark = [pytest.mark.root, pytest.mark.envoy]

RECORDS = (
    "host-record=db.corp.example,10.77.0.31,fd77::31",
    "host-record=secure.corp.example,10.77.0.31,fd77::31",
    "host-record=six.corp.example,fd77::42",
)
GREETING = b"\x4a\0\0\0\x0a8.0.36-lab\0\x08\0\0\0" + bytes(62)
# A server that greets as MySQL's does, and one that listens where the mesh's readiness will.
MYSQL = f"""
import socket
with socket.create_server(("::", 3306), family=socket.AF_INET6, dualstack_ipv6=True) as server:
    while True:
        peer = server.accept()[0]
        peer.sendall({GREETING!r})
        peer.recv(100)
        peer.close()
"""
HEARD = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as one:
    print(one.recv(100)[5:15].decode())
"""
TLS = """
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 \
  -subj /CN=secure.corp.example 2>openssl.log
exec openssl s_server -accept 8443 -key key.pem -cert cert.pem -www -quiet
"""
KEPT = """
import socket, time
with socket.create_connection(("10.77.0.41", 9080)) as one:
    time.sleep(60)
"""
BOUND = """
import socket, time
with socket.socket() as one:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    one.connect(("10.77.0.54", 8080))
    time.sleep(60)
"""
PYTHON = "/usr/bin/python3"


def world() -> World:
    """The demo's, with names for a database, a TLS server and a host without IPv4."""
    made = description.default()
    hosts = tuple(
        replace(host, records=(*host.records, *RECORDS)) if host.name == "dns" else host
        for host in made.hosts
    )
    return replace(made, hosts=hosts)


@dataclass
class Seen:
    """A lab whose VM has been watched, and what came of it."""

    lab: Lab
    folder: Path
    told: dict[str, Any]
    bare: snapshot.Snapshot
    during: snapshot.Snapshot
    after: snapshot.Snapshot
    wires: tuple[list[bytes], list[bytes]]
    capture: Path

    def documents(self, name: str) -> list[dict[str, Any]]:
        return [one for one in yaml.safe_load_all((self.folder / name).read_text()) if one]

    def entry(self, host: str) -> dict[str, Any]:
        found = self.documents("serviceentries.yaml")
        return next(one["spec"] for one in found if one["spec"]["hosts"] == [host])

    def concern(self, topic: str) -> str:
        """Its cases, as one text; empty without the concern."""
        rows = [one for one in self.told["concerns"] if one["topic"] == topic]
        return "\n".join(rows[0]["cases"]) if rows else ""


def serve(lab: Lab) -> None:
    """What the VM calls, what it serves, and what stands in a mesh's way."""
    lab.start("svc1", [PYTHON, "-c", MYSQL], "mysql", detached=True)
    folder = lab.host_folder("svc1")
    lab.start("svc1", ["sh", "-euc", f"cd {folder}; {TLS}"], "tls", detached=True)
    lab.start("vm", [PYTHON, "-m", "http.server", "8080", "--bind", "::"], "web", detached=True)
    lab.start("vm", [PYTHON, "-m", "http.server", "15021"], "taken", detached=True)
    lab.start("vm", ["setpriv", "--reuid=1337", "--clear-groups", "sleep", "60"], "like")
    lab.start("vm", [PYTHON, "-c", KEPT], "kept", detached=True)
    for host, port in (("svc1", 3306), ("svc1", 8443), ("vm", 8080), ("vm", 15021)):
        words = ["ss", "-Hltn", f"sport = :{port}"]
        wait_until(lambda h=host, w=words: bool(lab.run(h, w).stdout), f"{host}:{port}")  # type: ignore[misc]
    wait_until(lambda: "9080" in lab.run("vm", ["ss", "-Htn"]).stdout, "the kept connection")


def ask(lab: Lab, wire: Path) -> list[bytes]:
    """Queries from fixed ports, as they come to the server."""
    log = wire.stem
    words = ["tcpdump", "-i", "eth0", "-U", "-n", "-w", str(wire), "udp dst port 53"]
    tcpdump = lab.start("dns", words, log)
    wait_until(lambda: "listening on" in lab.log("dns", log), "tcpdump")
    names = ("www.corp.example", "db.corp.example", "nobody.example")
    queries = [f"10.77.0.53={query(name).hex()}" for name in names]
    lab.run("vm", [PYTHON, "-c", SENDER, *queries])
    wait_until(lambda: len(read_pcap(wire)) >= len(queries), "all queries at the server")
    tcpdump.stop()
    return [without_identification(packet) for packet in read_pcap(wire)]


def calls(lab: Lab) -> dict[str, str]:
    """Everything that the VM does in its day, and what it hears."""

    def say(host: str, *argv: str) -> str:
        return lab.run(host, argv, check=False).stdout.strip()

    curl = ("curl", "-ksS", "--max-time", "5")
    heard = {
        "http": say("vm", *curl, "http://www.corp.example/"),
        "tls": say(
            "vm", *curl, "-o/dev/null", "-w%{http_code}", "https://secure.corp.example:8443/"
        ),
        "mysql": say("vm", PYTHON, "-c", HEARD, "db.corp.example", "3306"),
        "six": say("vm", *curl, "http://six.corp.example:9080/"),
        "address": say("vm", *curl, "http://10.77.0.44:8080/"),
        "served": say("svc1", *curl, "-o/dev/null", "-w%{http_code}", "http://10.77.0.10:8080/"),
    }
    say("vm", *curl, "https://10.77.0.53:853/")
    return heard


EXPECTED = {
    "http": "www.corp.example",
    "tls": "200",
    "mysql": "8.0.36-lab",
    "six": "ratings-v1",
    "address": "web-0",
    "served": "200",
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    wires = tmp_path_factory.mktemp("wires")
    wires.chmod(0o777)
    with Lab.open(world()) as lab:
        serve(lab)
        bare, without = snapshot.observe(lab, "vm"), ask(lab, wires / "without.pcap")
        folder = lab.host_folder("vm")
        config = folder / "before.yaml"
        config.write_text("node: {name: till, namespace: shop}\nmesh: {files: []}\n")
        out = folder / "out"
        words = ("observe", "--duration", "10m", "--json", "-o", str(out), "--config", str(config))
        watch = lab.start("vm", [*interceptor_argv(), *words], "observe")
        sockets = ["sh", "-c", "tail -n +2 /proc/net/packet"]
        wait_until(lambda: bool(lab.run("vm", sockets).stdout), "the watch", 20)
        during, with_it = snapshot.observe(lab, "vm"), ask(lab, wires / "with.pcap")
        capture = wires / "vm.pcap"
        tcpdump = lab.start(
            "vm", ["tcpdump", "-i", "any", "--immediate-mode", "-w", str(capture)], "tcpdump"
        )
        wait_until(lambda: "listening on" in lab.log("vm", "tcpdump"), "tcpdump")
        lab.start("vm", [PYTHON, "-c", BOUND], "bound", detached=True)
        for _ in range(2):
            assert calls(lab) == EXPECTED
        watch.signal(signal.SIGINT)
        assert watch.wait(15) == 0, lab.log("vm", "observe")
        tcpdump.stop()
        told = json.loads(lab.log("vm", "observe"))
        assert lab.run("vm", sockets).stdout == ""
        after = snapshot.observe(lab, "vm")
        wired = (without, with_it)
        yield Seen(lab, out, told, bare, during, after, wired, capture)


def test_watching_changes_nothing_of_the_host(seen: Seen) -> None:
    assert snapshot.diff(seen.bare, seen.during) == ""
    assert snapshot.diff(seen.bare, seen.after) == ""


def test_watching_changes_no_packet(seen: Seen) -> None:
    assert len(seen.wires[0]) == 3
    assert seen.wires[0] == seen.wires[1]


@pytest.mark.parametrize(
    ("host", "number", "name", "protocol"),
    [
        ("www.corp.example", 80, "http-80", "HTTP"),
        ("secure.corp.example", 8443, "https-8443", "HTTPS"),
        ("db.corp.example", 3306, "tcp-mysql-3306", "TCP"),
        ("six.corp.example", 9080, "http-9080", "HTTP"),
    ],
)
def test_each_host_that_was_called_is_an_entry_with_what_it_speaks(
    seen: Seen, host: str, number: int, name: str, protocol: str
) -> None:
    spec = seen.entry(host)
    assert spec["ports"] == [{"number": number, "name": name, "protocol": protocol}]
    assert spec["resolution"] == "DNS"


def test_calls_are_counted_with_whose_they_are(seen: Seen) -> None:
    found = {service["host"]: service for service in seen.told["services"]}
    assert found["db.corp.example"]["count"] == 2
    assert found["db.corp.example"]["answered"] == 2
    owners = {owner for service in found.values() for owner, _ in service["owners"]}
    assert owners & {"curl", "python3"}, owners


def test_what_is_served_is_told_with_its_callers(seen: Seen) -> None:
    (served,) = seen.told["served"]
    assert (served["port"]["number"], served["port"]["protocol"]) == (8080, "HTTP")
    assert served["owner"] == "python3"
    assert ["10.77.0.31", 2] in served["peers"]
    group = seen.documents("workloadgroup.yaml")[0]
    assert group["spec"]["template"]["ports"] == {"http-8080": 8080}


@pytest.mark.parametrize(
    ("topic", "case"),
    [
        ("literal-address", "10.77.0.44:8080 http"),
        ("encrypted-dns", "10.77.0.53:853"),
        ("sidecar-uid", "sleep"),
        ("ports-taken", "15021 (readiness) is python3's"),
        ("bound-device", "10.77.0.54:8080 by python3, bound to eth0"),
        ("open-before", "1 to 10.77.0.41:9080 by python3"),
        ("server-first", "db.corp.example:3306 is mysql"),
        ("ipv6-only", "six.corp.example (fd77::42)"),
        ("wildcards", "*.corp.example"),
    ],
)
def test_what_would_break_is_named(seen: Seen, topic: str, case: str) -> None:
    assert case in seen.concern(topic), seen.told["concerns"]
    assert case in (seen.folder / "report.md").read_text()


def test_what_is_as_it_should_be_is_no_concern(seen: Seen) -> None:
    for topic in ("illegal-names", "quic", "ftp", "known-already", "incomplete", "containers"):
        assert seen.concern(topic) == "", topic


def test_tcpdumps_capture_of_the_same_time_tells_the_same_services(seen: Seen) -> None:
    config = str(seen.folder / ".." / "before.yaml")
    words = ("observe", "-r", str(seen.capture), "--json", "--config", config)
    done = seen.lab.run("vm", [*interceptor_argv(), *words], check=False)
    assert done, done
    again = json.loads(done.stdout)

    def services(told: dict[str, Any]) -> list[tuple[object, ...]]:
        keys = ("host", "ports", "addresses", "count", "answered")
        return [tuple(service[key] for key in keys) for service in told["services"]]

    assert services(again) == services(seen.told)
    assert [served["port"] for served in again["served"]] == [
        served["port"] for served in seen.told["served"]
    ]


def test_a_watch_ends_by_itself_and_knows_what_nobody_called(seen: Seen) -> None:
    words = ("observe", "--duration", "1s", "--json")
    told = json.loads(seen.lab.run("vm2", [*interceptor_argv(), *words]).stdout)
    assert 1 <= told["seconds"] < 5
    (served,) = told["served"]
    assert (served["port"]["number"], served["port"]["protocol"], served["peers"]) == (
        3306,
        "TCP",
        [],
    )


def test_without_the_right_to_see_packets_it_says_what_is_needed(seen: Seen) -> None:
    argv = [*UNPRIVILEGED, *interceptor_argv(), "observe", "--duration", "1s"]
    done = seen.lab.run("vm2", argv, check=False)
    assert (done.code, done.stdout) == (main.UNSUPPORTED, "")
    assert "CAP_NET_RAW" in done.stderr


@pytest.fixture(scope="module")
def moved(seen: Seen) -> Iterator[Agent]:
    """Our daemon on the same VM, with what was written; what stood in its way has gone."""
    lab = seen.lab
    lab.run("vm", ["sh", "-c", "kill $(ss -Hltnp 'sport = :15021' | sed 's/.*pid=//; s/,.*//')"])
    over = cast("dict[str, object]", seen.documents("config.yaml")[0])
    agent = lab_agent.prepare(lab, "vm", over, seen.folder)
    agent.start()
    yield agent
    agent.stop()


def test_the_files_are_legal(seen: Seen) -> None:
    argv = [*interceptor_argv(), "config", "check", "--config", str(seen.folder / "config.yaml")]
    assert seen.lab.run("vm", argv).stdout == "the configuration is legal\n"
    argv[-4:-2] = ["mesh", "check"]
    done = seen.lab.run("vm", argv)
    assert (done.stdout, done.stderr) == ("5 hosts, 0 warnings\n", "")


def test_the_same_calls_work_in_the_mesh(moved: Agent) -> None:
    assert calls(moved.lab) == EXPECTED


def test_they_go_through_the_sidecar_by_name(moved: Agent) -> None:
    began = len(moved.access_log())
    assert calls(moved.lab) == EXPECTED
    hosts = ("www", "secure", "db", "six")
    wait_until(
        lambda: all(
            f"{host}.corp.example" in "".join(moved.access_log()[began:]) for host in hosts
        ),
        "every call in the access log",
    )
    log = "".join(moved.access_log()[began:])
    assert "till.shop.svc.cluster.local" in log, "the served port, inbound"
    answer = moved.lab.run("vm", ["dig", "+short", "db.corp.example"]).stdout
    assert answer.startswith("240.240.")


def test_a_name_that_was_not_observed_stays_outside(moved: Agent) -> None:
    began = len(moved.access_log())
    argv = ["curl", "-sS", "--max-time", "5", "http://only4.corp.example/"]
    assert moved.lab.run("vm", argv).stdout == "www.corp.example\n"
    assert "only4" not in "".join(moved.access_log()[began:])
    assert moved.lab.run("vm", ["dig", "+short", "only4.corp.example"]).stdout == "10.77.0.61\n"


def test_a_watch_beside_the_agent_says_so_and_asks_for_nothing_that_is_there(moved: Agent) -> None:
    watch = moved.lab.start("vm", moved.argv("observe", "--duration", "10m", "--json"), "beside")
    sockets = ["sh", "-c", "tail -n +2 /proc/net/packet"]
    wait_until(lambda: bool(moved.lab.run("vm", sockets).stdout), "the watch", 20)
    assert calls(moved.lab) == EXPECTED
    watch.signal(signal.SIGTERM)
    assert watch.wait(15) == 0
    told = json.loads(moved.lab.log("vm", "beside"))
    topics = {one["topic"]: one["cases"] for one in told["concerns"]}
    assert topics["agent-at-work"]
    assert told["services"] == []
