"""New connections as ctnetlink tells them, held against conntrack(8)."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from interceptor.host import conntrack
from interceptor.host.conntrack import Listening

pytestmark = pytest.mark.root

RULES = """nft -f - <<'X'
table inet t {
  chain out {
    type nat hook output priority -100;
    tcp dport 8080 redirect to :15001
    tcp dport 9090 accept
  }
}
X
"""


@pytest.fixture(scope="module")
def vm(namespaces: Callable[[str], Any]) -> Any:
    made = namespaces("conntrack")
    made.sh("ip addr add 10.9.0.1/24 dev lo; ip addr add fd09::1/64 dev lo nodad")
    made.sh(RULES)
    return made


@pytest.fixture
def listening(vm: Any) -> Iterator[Listening]:
    opened = vm.call(Listening)
    yield opened
    opened.close()


def connect(address: str, port: int) -> tuple[str, int]:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as one:
        one.settimeout(2)
        one.connect_ex((address, port))
        return one.getsockname()[:2]


def serve(vm: Any, address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return vm.call(socket.create_server, (address, port), family=family)


@pytest.mark.parametrize(("address", "lo"), [("10.9.0.1", "127.0.0.1"), ("fd09::1", "::1")])
def test_a_redirected_connection_is_told_with_where_it_went(
    vm: Any, listening: Listening, address: str, lo: str
) -> None:
    with serve(vm, lo, 15001):
        client = vm.call(connect, address, 8080)
        (told,) = listening.read()
        listed = vm.sh(f"conntrack -L -p tcp --orig-port-dst 8080 -f ipv{6 if ':' in lo else 4}")
    assert told.client[1] == client[1]
    assert told.server == (address, 8080)
    assert (str(told.reached), told.reached_port) == (lo, 15001)
    assert told.is_redirected
    words = re.findall(r" (?:src|dst|sport|dport)=(\S+)", listed)
    assert words[:4] == [*map(str, (told.source, told.destination, told.source_port, told.port))]
    assert (words[4], words[6]) == (str(told.reached), str(told.reached_port))


def test_one_that_no_rule_redirects_went_where_it_was_sent(vm: Any, listening: Listening) -> None:
    with serve(vm, "10.9.0.1", 9090):
        vm.call(connect, "10.9.0.1", 9090)
    (told,) = listening.read()
    assert not told.is_redirected
    assert told.server == ("10.9.0.1", 9090)


def test_other_protocols_are_not_told(vm: Any, listening: Listening) -> None:
    vm.sh("echo x >/dev/udp/10.9.0.1/99 || true; ping -c 1 10.9.0.1 >/dev/null || true")
    assert list(listening.read()) == []


def test_what_overflows_is_counted(vm: Any, listening: Listening) -> None:
    assert listening.dropped == 0
    listening._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(200):
        vm.call(connect, "10.9.0.1", 9090)
    seen = 0
    while found := list(listening.read()):
        seen += len(found)
    assert 0 < seen < 200
    assert seen + listening.dropped == 200


def test_with_nobody_listening_nothing_is_prepared(vm: Any) -> None:
    """The kernel's own word: without a listener a new entry gets no place for events."""
    assert conntrack.is_told()
    vm.call(connect, "10.9.0.1", 9090)
    assert vm.call(lambda: list(_listeners())) == []


def _listeners() -> Iterator[str]:
    with open("/proc/thread-self/net/netlink") as file:
        for line in file.read().splitlines()[1:]:
            words = line.split()
            if words[1] == "12" and int(words[3], 16):
                yield line


def test_what_is_cut_short_says_nothing() -> None:
    assert list(conntrack.decode(b"\xff" * 40)) == []
    assert list(conntrack.decode(b"")) == []
