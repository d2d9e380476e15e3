"""Resolvers where they may be, and the sockets and libraries that ask them."""

from __future__ import annotations

import json

from tests.contract.conformance import message, question
from tests.contract.conformance.case import Case, Group
from tests.contract.conformance.question import CONNECTED, Socket
from tests.contract.conformance.stage import Stage
from tests.contract.conformance.world import (
    FAR_SERVERS,
    LOST_SERVERS,
    ONE,
    SECOND_SERVERS,
    SERVERS,
    STUB,
    TUNNEL_SERVERS,
    VIPS,
    VM,
    WWW,
)

NAMES = {ONE: set(VIPS[ONE]), "www.corp.example": set(WWW), "one": set(VIPS[ONE])}
PYTHON = """
import json, socket, sys
print(json.dumps([a[4][0] for a in socket.getaddrinfo(sys.argv[1], 80, type=1)]))
"""


def both_sorts(stage: Stage, server: str, how: Socket = CONNECTED) -> None:
    """A mesh name and one of others, of the server's family."""
    number = int(":" in server)
    assert stage.addresses(server, ONE, how=how) == [VIPS[ONE][number]]
    assert stage.addresses(server, "www.corp.example", how=how) == [WWW[number]]


def on_link(stage: Stage) -> None:
    for server in SERVERS:
        both_sorts(stage, server)


def behind_gateway(stage: Stage) -> None:
    for server in FAR_SERVERS:
        both_sorts(stage, server)


def second_uplink(stage: Stage) -> None:
    for server in SECOND_SERVERS:
        both_sorts(stage, server)


def tunnelled(stage: Stage) -> None:
    for server in TUNNEL_SERVERS:
        both_sorts(stage, server)
        both_sorts(stage, server, Socket(device="tun0"))


def link_local(stage: Stage) -> None:
    """As router advertisements name resolvers (RFC 8106)."""
    argv = ["ip", "-json", "-6", "address", "show", "dev", "eth0", "scope", "link"]
    told = json.loads(stage.lab.run("dns", argv).stdout)
    (address,) = (info["local"] for info in told[0]["addr_info"] if "local" in info)
    server = f"{address}%eth0"
    for is_connected in (True, False):
        both_sorts(stage, server, Socket(is_connected))


def mapped(stage: Stage) -> None:
    """Java and others ask IPv4 servers by IPv6 sockets."""
    for is_connected in (True, False):
        reply = stage.ask(f"::ffff:{SERVERS[0]}", message.query(ONE), Socket(is_connected))
        assert reply.addresses == [VIPS[ONE][0]]
        query = message.query("www.corp.example")
        reply = stage.ask(f"::ffff:{SERVERS[0]}", query, Socket(is_connected))
        assert reply.addresses == [WWW[0]]


def nowhere(stage: Stage) -> None:
    for number, server in enumerate(LOST_SERVERS):
        assert stage.addresses(server, ONE) == [VIPS[ONE][number]]


def stub(stage: Stage) -> None:
    both_sorts(stage, STUB)
    assert stage.short(f"@{STUB}", ONE, "AAAA") == [VIPS[ONE][1]]
    assert stage.short(f"@{STUB}", f"{ONE}.corp.example") == [f"{ONE}.", VIPS[ONE][0]]
    assert stage.short("+tcp", f"@{STUB}", ONE) == [VIPS[ONE][0]]
    assert stage.short("+tcp", f"@{STUB}", "www.corp.example") == [WWW[0]]


def own_address(stage: Stage) -> None:
    """A resolver of this VM that is asked by the VM's own address goes over lo too."""
    answers = [stage.ask("127.0.0.1", message.query(ONE)).addresses, stage.addresses(VM[0], ONE)]
    assert answers == [[VIPS[ONE][0]]] * 2
    assert stage.addresses("::1", ONE) == [VIPS[ONE][1]]


def unconnected(stage: Stage) -> None:
    for server in SERVERS:
        both_sorts(stage, server, Socket(is_connected=False))


def source_bound(stage: Stage) -> None:
    for server, source in zip(SERVERS, VM, strict=True):
        for is_connected in (True, False):
            both_sorts(stage, server, Socket(is_connected, source=source))


def device_bound(stage: Stage) -> None:
    for servers, device in ((SERVERS, "eth0"), (SECOND_SERVERS, "eth1"), ((STUB,), "lo")):
        for server in servers:
            both_sorts(stage, server, Socket(device=device))


def in_parallel(stage: Stage) -> None:
    """A and AAAA from one port, as every libc asks, and a burst of names."""
    for server in SERVERS:
        pairs = (message.query(ONE, number=1), message.query(ONE, message.AAAA, number=2))
        names = tuple(message.query(f"{n}.numbered.example", number=100 + n) for n in range(40))
        ours = tuple(message.query(f"n{n}.wild.example", number=200 + n) for n in range(40))
        for is_connected in (True, False):
            how = Socket(is_connected)
            replies = stage.call(question.ask, server, pairs + names + ours, how)
            found = {reply.number: reply.addresses for reply in map(message.parse, replies)}
            assert len(found) == 82
            assert (found[1], found[2]) == ([VIPS[ONE][0]], [VIPS[ONE][1]])
            assert all(found[number] for number in (*range(100, 140), *range(200, 240)))


def glibc(stage: Stage) -> None:
    for name, wanted in NAMES.items():
        found = {line.split()[0] for line in stage.vm("getent", "ahosts", name).splitlines()}
        assert found == wanted, name


def musl(stage: Stage) -> None:
    for name, wanted in {**NAMES, "only4.corp.example": {WWW[0]}}.items():
        assert set(stage.vm(str(stage.musl), name).split()) == wanted, name


def python(stage: Stage) -> None:
    for name, wanted in NAMES.items():
        found = json.loads(stage.vm("/usr/bin/python3", "-c", PYTHON, name))
        assert set(found) == wanted, name


def curl(stage: Stage) -> None:
    for name in ("reviews.bookinfo.svc.cluster.local", "reviews"):
        for family, address in ((4, "10.96.0.11"), (6, "fd96::11")):
            words = ["-w", "%{remote_ip}", f"http://{name}:9080/"]
            told = stage.vm("curl", f"-{family}", "-sS", "-m", "5", *words)
            assert told == f"reviews\n{address}"


CASES = tuple(
    Case(name, Group.RESOLVER, run)
    for name, run in {
        "a resolver on the link": on_link,
        "a resolver behind the gateway": behind_gateway,
        "a resolver on a second uplink": second_uplink,
        "a resolver through a tunnel (no link-layer header)": tunnelled,
        "a link-local resolver": link_local,
        "a resolver that is gone, behind the gateway: mesh names go on": nowhere,
        "a stub resolver on 127.0.0.53, UDP and TCP": stub,
        "nobody on 127.0.0.1, ::1 and the own address: mesh names go on": own_address,
        "unconnected sockets": unconnected,
        "IPv4-mapped sockets": mapped,
        "sockets bound to a source address": source_bound,
        "sockets bound to a device": device_bound,
        "A and AAAA at once from one socket, and bursts": in_parallel,
        "glibc": glibc,
        "musl, static": musl,
        "Python": python,
        "curl by name, to its end": curl,
    }.items()
)
