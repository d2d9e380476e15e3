"""One VM without any neighbour, foreign rules on it, and a listener where the sidecar would be."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interceptor.capture import backend, joined
from interceptor.capture.journal import Journal

CHOICES = {
    "nftables": backend.Choice("nftables", "nftables", "nft", True, True),
    "iptables-nft": backend.Choice("iptables", "iptables", "nft", True),
    "iptables-nft-without-ipset": backend.Choice("iptables", "iptables", "nft", False),
    "iptables-legacy": backend.Choice("iptables", "iptables", "legacy", True),
    "apart": backend.Choice("nftables", "iptables", "nft", True),
}

VM = """
ip link add d0 type veth peer name d1
ip link set d0 addrgenmode none; ip link set d1 addrgenmode none up
ip addr add 10.0.0.2/24 dev d0; ip addr add fd10::2/64 dev d0 nodad
ip link set d0 up
"""
FOREIGN = """
iptables-nft -t nat -N DOCKER
iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables-nft -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
iptables-nft -A INPUT -p tcp --dport 9 -m comment --comment "it's \\"quoted\\"" -j DROP
ip6tables-nft -t mangle -A POSTROUTING -p udp --dport 9 -j MARK --set-mark 5
nft -f - <<'X'
table inet firewalld { set s { type ipv4_addr; elements = { 192.0.2.1 } }
  chain c { type filter hook input priority 10; ip saddr @s counter drop
  }
}
X
ipset create others hash:ip; ipset add others 192.0.2.7
ip rule add fwmark 7 lookup 77; ip route add 192.0.2.0/24 dev d0 table 77 proto 99
"""
COMMANDS = (
    *("iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"),
    *("nft list ruleset", "ip rule", "ip -6 rule", "ip route show table all"),
    *("ip -6 route show table all", "ipset list"),
)


def snapshot(vm: Any) -> str:
    """Everything that a back end may touch, counters at zero."""
    return "".join(f"== {line}\n{_still(line, vm.sh(line))}" for line in COMMANDS)


def _still(command: str, text: str) -> str:
    text = re.sub(r"counter packets \d+ bytes \d+", "counter", text)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    text = "".join(re.sub(r" \[\d+:\d+\]$", "", line) + "\n" for line in lines)
    if "legacy" in command:
        # A legacy table cannot be unregistered; empty, it does nothing.
        text = re.sub(r"\*\w+\n(:\w+ ACCEPT\n)+COMMIT\n", "", text)
    return text


class Sidecar:
    """Accepts on 15001 and 15006, says which port it was, then echoes."""

    def __init__(self, vm: Any) -> None:
        self.stop = threading.Event()
        ready = threading.Event()
        vm.thread(lambda: self._serve(ready))
        assert ready.wait(10)

    def _serve(self, ready: threading.Event) -> None:
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
            for port in (15001, 15006, 7000):
                listener = stack.enter_context(
                    socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
                )
                selector.register(listener, selectors.EVENT_READ, port)
            ready.set()
            while not self.stop.is_set():
                for key, _ in selector.select(0.1):
                    one: Any = key.fileobj
                    if key.data:
                        child, _ = one.accept()
                        stack.enter_context(child)
                        child.sendall(str(key.data).encode())
                        selector.register(child, selectors.EVENT_READ, None)
                        continue
                    try:
                        data = one.recv(100)
                        one.sendall(data)
                    except OSError:  # reset by a client that has seen enough
                        data = b""
                    if not data:
                        selector.unregister(one)
                        one.close()


def connect(destination: str, port: int, timeout_s: float = 2) -> tuple[socket.socket | None, str]:
    """A connection and the port at which it really arrived; or why there is none."""
    one = socket.socket(socket.AF_INET6 if ":" in destination else socket.AF_INET)
    one.settimeout(timeout_s)
    try:
        one.connect((destination, port))
        return one, one.recv(10).decode()
    except OSError as error:
        one.close()
        return None, type(error).__name__


@pytest.fixture(scope="module")
def vm(namespaces: Callable[[str], Any]) -> Iterator[Any]:
    """The VM, with a sidecar and other people's rules."""
    namespace = namespaces("vm")
    namespace.sh(VM)
    namespace.sh(FOREIGN)
    sidecar = Sidecar(namespace)
    yield namespace
    sidecar.stop.set()


@pytest.fixture
def bare(namespaces: Callable[[str], Any]) -> Any:
    """A VM without any rules at all."""
    namespace = namespaces("bare")
    namespace.sh(VM)
    return namespace


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run" / "journal")


@pytest.fixture(params=CHOICES)
def mechanism(request: pytest.FixtureRequest, journal: Journal) -> joined.Joined:
    """Each back end in turn."""
    return joined.build(CHOICES[request.param], journal)


@pytest.fixture
def look() -> Callable[[Any], str]:
    return snapshot


@pytest.fixture
def dial() -> Callable[..., tuple[socket.socket | None, str]]:
    return connect
