"""lookup: what arrives for this host is the sidecar's where the plan says so, and only there."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from interceptor.host import bpflink
from interceptor.host.bpf import AttachType
from interceptor.host.layout import Number, PolicyFlag, State

pytestmark = pytest.mark.root

BOTH = PolicyFlag.IPV4 | PolicyFlag.IPV6
IN = BOTH | PolicyFlag.INBOUND
ALL = IN | PolicyFlag.INBOUND_ALL
VM = {"v4": "10.0.0.2", "v6": "fd10::2"}
PEER = {"v4": "10.0.0.1", "v6": "fd10::1"}


@pytest.fixture(params=VM)
def vm(request: pytest.FixtureRequest) -> str:
    return VM[request.param]


def dial(destination: str, port: int, source: str = "") -> dict[str, Any] | str:
    """What the listener says: the stand-in's JSON, or a word; ``refused``, ``lost``."""
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with socket.socket(family) as one:
        one.settimeout(1)
        try:
            if source:
                one.bind((source, 0))
            one.connect((destination, port))
            line = one.recv(4096)
            return json.loads(line) | {"client_own": list(one.getsockname()[:2])}
        except ConnectionRefusedError:
            return "refused"
        except TimeoutError:
            return "connected, and nothing said"


@contextlib.contextmanager
def application(steered: Any, address: str, port: int) -> Any:
    """Somebody who listens on the port, and says nothing."""

    def listen() -> socket.socket:
        one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((address, port))
        one.listen()
        return one

    with steered.vm.call(listen) as one:
        yield one


@pytest.fixture
def arrive(on: Any, vm: str) -> Callable[..., Any]:
    """A connection of the peer to the VM's port, where an application listens."""

    def go(port: int) -> Any:
        with application(on, vm, port):
            told = on.peer.call(dial, vm, port)
        return told if isinstance(told, str) else int(told["place"].split(":")[0])

    return go


SILENT = "connected, and nothing said"


def test_every_port_is_the_sidecars_but_the_spared(on, arrive) -> None:
    on.policy(ALL)
    on.numbers(Number.IN_PORT_SPARED, 22)
    assert arrive(8080) == 15006
    assert arrive(22) == SILENT
    assert on.counted() == {"inbound": 1, "inbound-pass": 1}


def test_named_ports_are_the_sidecars_but_the_spared(on, arrive) -> None:
    on.policy(IN)
    on.numbers(Number.IN_PORT, 8080, 22)
    on.numbers(Number.IN_PORT_SPARED, 22)
    assert arrive(8080) == 15006
    assert arrive(8081) == SILENT
    assert arrive(22) == SILENT


def test_nothing_is_the_sidecars_without_inbound(on, arrive) -> None:
    on.policy(BOTH)
    assert arrive(8080) == SILENT
    assert on.counted() == {}


def test_the_sidecar_sees_client_and_destination(on, vm) -> None:
    on.policy(ALL)
    told = on.peer.call(dial, vm, 8080)
    assert told["peer"] == told["client_own"]
    assert told["own"] == [vm, 8080]
    answer = told["ipv6" if ":" in vm else "ip"]
    assert answer[:2] == [vm, 8080]
    assert answer[2] == (28 if ":" in vm else 16)


def test_a_port_where_no_application_listens_is_the_sidecars_too(on, vm) -> None:
    on.policy(ALL)
    assert on.peer.call(dial, vm, 4)["own"] == [vm, 4]


def test_calls_of_this_host_itself_are_not_inbound(on, vm) -> None:
    on.policy(ALL)
    loopback = "::1" if ":" in vm else "127.0.0.1"
    with application(on, "::" if ":" in vm else "", 8080):
        assert on.vm.call(dial, vm, 8080) == SILENT
        assert on.vm.call(dial, loopback, 8080) == SILENT
        assert on.vm.call(dial, vm, 8080, loopback) == SILENT


def test_what_has_been_through_inbound_does_not_go_there_again(on, vm) -> None:
    """The sidecar's call of the application, which it binds to its passthrough address."""
    on.policy(ALL)
    on.vm.sh("ip -6 addr add ::6/128 dev lo nodad")
    with application(on, vm, 8080):
        assert on.vm.call(dial, vm, 8080, "::6" if ":" in vm else "127.0.0.6") == SILENT


def test_what_is_not_addressed_to_this_host_is_not_inbound(on, vm) -> None:
    """An address that is local but not one of those that the plan calls our own."""
    on.policy(ALL)
    strange = "fd99::9" if ":" in vm else "10.99.0.9"
    on.vm.sh(f"ip route add local {strange} dev lo")
    on.peer.sh(f"ip route add {strange} via {vm}")
    with application(on, "::" if ":" in vm else "", 8080):
        assert on.peer.call(dial, strange, 8080) == SILENT


def test_no_sidecar_means_refused_at_once(on, arrive) -> None:
    on.policy(ALL)
    on.kill(on.standins[0])
    began = time.perf_counter()
    assert arrive(8080) == "refused"
    assert time.perf_counter() - began < 0.1
    assert on.counted() == {"refused": 1}


def test_under_bypass_the_application_answers_without_a_sidecar(on, arrive) -> None:
    on.policy(ALL | PolicyFlag.BYPASS)
    on.kill(on.standins[0])
    assert arrive(8080) == SILENT
    assert on.counted() == {"inbound-pass": 1}


def test_an_expired_lease_leaves_inbound_to_the_application(on, arrive) -> None:
    on.policy(ALL | PolicyFlag.RELEASE, lease_ns=10**9)
    on.state(State.BEAT_NS, time.monotonic_ns())
    assert arrive(8080) == 15006
    on.state(State.BEAT_NS, time.monotonic_ns() - 10**9)
    assert arrive(8081) == SILENT
    assert on.counted() == {"inbound": 1, "lease": 1}


def test_a_family_that_is_off_is_the_applications(on, arrive, vm) -> None:
    on.policy(ALL & ~(PolicyFlag.IPV6 if ":" in vm else PolicyFlag.IPV4))
    assert arrive(8080) == SILENT


def test_an_excluded_interface_is_the_applications(on, arrive) -> None:
    index = on.vm.call(socket.if_nametoindex, "v0")
    on.policy(ALL | PolicyFlag.INTERFACES)
    on.numbers(Number.IN_INTERFACE_SPARED, index + 1)
    assert arrive(8080) == 15006
    on.numbers(Number.IN_INTERFACE_SPARED, index)
    assert arrive(8081) == SILENT


def test_the_workers_of_a_sidecar_share_what_arrives(steered, vm) -> None:
    """Two listeners of one SO_REUSEPORT group; the kernel chooses between them by hash."""
    steered.attach()
    address = "::1" if ":" in vm else "127.0.0.1"
    pids = {steered.sidecar(f"15006:reuse:{address}").pid for _ in range(2)}
    steered.policy(ALL)
    assert {steered.peer.call(dial, vm, 8080)["pid"] for _ in range(40)} == pids


def test_without_the_packets_interface_local_means_by_address(steered, client, vm) -> None:
    """lookup_plain: for kernels before 5.17."""
    steered.attach("listen", "original", "lookup_plain", "connect4", "connect6")
    steered.sidecar()
    steered.policy(ALL | PolicyFlag.OUTBOUND)
    service = "2001:2::7" if ":" in vm else "10.96.0.7"
    told = steered.run(client, service, 80)
    assert told["place"].startswith("15001")
    assert steered.peer.call(dial, vm, 8080)["place"].startswith("15006")
    steered.peer.sh("ip -6 route add fdc8:3d1f:62a7::/48 via fd10::2")
    if ":" in vm:
        assert steered.peer.call(dial, told["own"][0], 80) == "refused"


def test_a_programs_successor_takes_over_with_a_connection_open(on, vm) -> None:
    on.policy(ALL)
    family = socket.AF_INET6 if ":" in vm else socket.AF_INET
    with on.peer.call(socket.socket, family) as one:
        one.settimeout(2)
        one.connect((vm, 8080))
        assert one.recv(4096)
        fresh = on.kernel.load("lookup_plain")
        bpflink.update(on.links["lookup"], fresh)
        assert bpflink.info(on.links["lookup"]).attach == AttachType.SK_LOOKUP
        one.sendall(b"still here")
        assert one.recv(100) == b"still here"
        assert on.peer.call(dial, vm, 8081)["own"] == [vm, 8081]


def test_udp_to_a_captured_port_is_the_applications(on, vm) -> None:
    on.policy(ALL)

    def receive() -> socket.socket:
        one = socket.socket(socket.AF_INET6 if ":" in vm else socket.AF_INET, socket.SOCK_DGRAM)
        one.settimeout(2)
        one.bind((vm, 8080))
        return one

    def send() -> None:
        family = socket.AF_INET6 if ":" in vm else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.sendto(b"datagram", (vm, 8080))

    with on.vm.call(receive) as one:
        on.peer.call(send)
        assert one.recv(100) == b"datagram"
