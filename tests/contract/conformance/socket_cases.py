"""Connections of every sort through a real Envoy to a real endpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from interceptor.lab.removal import wait_until
from tests.contract.conformance import connection
from tests.contract.conformance.case import Case, Group
from tests.contract.conformance.connection import IPPROTO_MPTCP, Dial, Seen
from tests.contract.conformance.stage import Stage
from tests.contract.conformance.world import ENDPOINT, ONE, PEER, POD, TWO, VIPS, VM

MUCH = 4 << 20


def is_right(seen: Seen, vip: str, own: str = "") -> None:
    """Assert that a call went through the sidecar, and that its client cannot tell."""
    assert seen.way == "sidecar", seen
    assert seen.peer == (vip, 7000), seen
    assert seen.own[0] == (own or VM[int(":" in vip)]), seen
    assert seen.server[1] == 7000, seen


def through(how: Dial) -> Callable[[Stage], None]:
    """A VIP of each family is called by a socket of some sort."""

    def run(stage: Stage) -> None:
        for vip in VIPS[ONE]:
            is_right(stage.dial(vip, how=how), vip)
        is_right(stage.dial(VIPS[TWO][0], how=how), VIPS[TWO][0])

    return run


def names(stage: Stage) -> None:
    for vip in (*VIPS[ONE], *POD):
        seen = stage.dial(vip)
        assert (seen.way, seen.peer) == ("sidecar", (vip, 7000))
    for address in ENDPOINT:
        seen = stage.dial(address)
        assert (seen.way, seen.peer) == ("direct", (address, 7000))


def own_names(stage: Stage) -> None:
    for vip, own in zip(VIPS[ONE], VM, strict=True):
        assert stage.dial(vip).own[0] == own


def fast_open_again(stage: Stage) -> None:
    """With data in the first packet even without a cookie (ip-sysctl, tcp_fastopen 0x4)."""
    setting = "net.ipv4.tcp_fastopen"
    was = stage.vm("sysctl", "-n", setting).strip()
    with stage.changed(f"sysctl -qw {setting}=5", f"sysctl -qw {setting}={was}"):
        through(Dial(fast_open="sendto"))(stage)
        through(Dial(fast_open="connect"))(stage)
        for address in ENDPOINT:
            assert stage.dial(address, how=Dial(fast_open="sendto")).way == "direct"


def mapped(stage: Stage) -> None:
    vip, own = f"::ffff:{VIPS[ONE][0]}", f"::ffff:{VM[0]}"
    is_right(stage.dial(VIPS[ONE][0], how=Dial(is_mapped=True)), vip, own)
    seen = stage.dial(ENDPOINT[0], how=Dial(is_mapped=True))
    assert (seen.way, seen.peer) == ("direct", (f"::ffff:{ENDPOINT[0]}", 7000))


def source_bound(stage: Stage) -> None:
    for vip, source in zip(VIPS[ONE], VM, strict=True):
        is_right(stage.dial(vip, how=Dial(source=source)), vip)
        is_right(stage.dial(vip, how=Dial(source=source, source_port=21000)), vip)
    second = "10.88.0.10"
    is_right(stage.dial(VIPS[ONE][0], how=Dial(source=second)), VIPS[ONE][0], second)


def loopback_bound(stage: Stage) -> None:
    """IPv4 only: what is bound to ::1 cannot connect to another host's address at all."""
    stage.assert_at_work()
    vip, source = VIPS[ONE][0], "127.0.0.1"
    is_right(stage.dial(vip, how=Dial(source=source)), vip, source)


def same_port(stage: Stage) -> None:
    for number in (0, 1):
        vips = VIPS[ONE][number], VIPS[TWO][number]
        for source in ("", VM[number]):
            # None that the kernel gives to others; the one before lingers in TIME_WAIT.
            port = 22000 + 2 * number + bool(source)
            first, second = (Dial(vip, 7000, source, port) for vip in vips)
            seen = stage.call(connection.dial_twice, first, second)
            assert [each.way for each in seen] == ["sidecar", "sidecar"]
            assert [each.peer[0] for each in seen] == list(vips)
            assert {each.own[1] for each in seen} == {port}
            assert seen[0].server[0] != seen[1].server[0], "both reached one endpoint"


def device_bound(stage: Stage) -> None:
    stage.assert_at_work()
    for vip in VIPS[ONE]:
        is_right(stage.dial(vip, how=Dial(device="eth0")), vip)


def copies(stage: Stage) -> None:
    for vip in VIPS[ONE]:
        assert stage.call(connection.peers_of_copies, Dial(vip, 7000)) == [(vip, 7000)] * 3


def reconnect(stage: Stage) -> None:
    for number in (0, 1):
        one, two = (Dial(VIPS[name][number], 7000) for name in (ONE, TWO))
        direct = Dial(ENDPOINT[number], 7000)
        first, second = stage.call(connection.dial_again, one, two)
        is_right(first, one.address)
        is_right(second, two.address)
        first, second = stage.call(connection.dial_again, one, direct)
        is_right(first, one.address)
        assert (second.way, second.peer) == ("direct", (direct.address, 7000))
        first, second = stage.call(connection.dial_again, direct, one)
        assert first.way == "direct"
        is_right(second, one.address)


def much(stage: Stage) -> None:
    for how in (Dial(), Dial(protocol=IPPROTO_MPTCP)):
        for vip in VIPS[ONE]:
            assert stage.call(connection.echo_much, replace(how, address=vip, port=7000)) == MUCH


def crowd(stage: Stage) -> None:
    """Alternately to two services, all open at the same time."""
    places = tuple(Dial(VIPS[name][n % 2], 7000) for n in range(100) for name in (ONE, TWO))
    seen = stage.call(connection.dial_all, places)
    for how, each in zip(places, seen, strict=True):
        is_right(each, how.address)
        assert (each.server[0] == ENDPOINT[0]) is (how.address in VIPS[ONE]), each


def client_seen(stage: Stage) -> None:
    """With TPROXY the application sees its client, though Envoy stands between."""
    for address, client in zip(VM, PEER, strict=True):
        seen = stage.dial(address, 3306, host="peer")
        assert (seen.error, seen.caller[0]) == ("", client), seen
        place = f":{seen.own[1]}"
        wait_until(lambda place=place: stage.is_logged("inbound", place), "the log", 5)  # type: ignore[misc]


MAIN = {
    "plain, IPv4 and IPv6": through(Dial()),
    "getpeername is the VIP and its port": names,
    "getsockname is the VM's address": own_names,
    "non-blocking": through(Dial(is_blocking=False)),
    "MPTCP": through(Dial(protocol=IPPROTO_MPTCP)),
    "TCP Fast Open by sendto": through(Dial(fast_open="sendto")),
    "TCP Fast Open by option": through(Dial(fast_open="connect")),
    "TCP Fast Open with data in the SYN": fast_open_again,
    "IPv4-mapped IPv6": mapped,
    "bound to the VM's address and port": source_bound,
    "bound to a loopback address": loopback_bound,
    "one source port, two VIPs at once": same_port,
    "bound to a device": device_bound,
    "getpeername after dup and fork": copies,
    "connected again after AF_UNSPEC": reconnect,
    "two hundred at once, to two services": crowd,
    "four megabytes both ways": much,
}
CASES = (
    *(Case(name, Group.SOCKET, run) for name, run in MAIN.items()),
    Case("TPROXY: the application sees its client", Group.SOCKET, client_seen, "tproxy"),
)
