"""Self-tests of DNS: what is asked of the far resolver, and who answers."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from interceptor.lab.selftest import server, stage, wire
from interceptor.lab.selftest.channel import Wrong, exactly, open_socket

FAR4, FAR6 = (str(each.ip) for each in stage.FAR)


def _ask(resolver: str, packet: bytes) -> wire.Reply:
    family = socket.AF_INET6 if ":" in resolver else socket.AF_INET
    with open_socket(family, socket.SOCK_DGRAM) as one:
        one.connect((resolver, stage.DNS))
        one.send(packet)
        return wire.parse(one.recv(4096))


def _ask_tcp(resolver: str, packet: bytes) -> wire.Reply:
    with open_socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.connect((resolver, stage.DNS))
        one.sendall(len(packet).to_bytes(2) + packet)
        size = int.from_bytes(exactly(one, 2))
        return wire.parse(exactly(one, size))


def _is_ours(reply: wire.Reply, wanted: str) -> str:
    """Say that it is the mesh's answer."""
    if reply.addresses == (wanted,):
        return wanted
    if set(reply.addresses) & set(stage.UPSTREAM.values()):
        raise Wrong("the resolver answered, nobody did on the way")
    raise Wrong(f"rcode {reply.rcode}, addresses {', '.join(reply.addresses) or 'none'}")


def mesh_name() -> str:
    return _is_ours(_ask(FAR4, wire.query(stage.NAMES[0], wire.A)), stage.VIPS[0][0])


def mesh_name6() -> str:
    return _is_ours(_ask(FAR6, wire.query(stage.NAMES[0], wire.AAAA)), stage.VIPS[0][1])


def stub() -> str:
    return _is_ours(_ask(stage.STUB, wire.query(stage.NAMES[1], wire.A)), stage.VIPS[1][0])


def other_name() -> str:
    packet = wire.query(stage.OTHER, wire.A, 4711, 1232)
    reply = _ask(FAR4, packet)
    if reply.addresses != (str(ip_address(server.checksum(packet))),):
        raise Wrong("the query arrived changed")
    return "arrived byte for byte"


def mixed_case() -> str:
    name = "oNe.dOcToR.eXaMpLe"
    reply = _ask(FAR4, wire.query(name, wire.A))
    _is_ours(reply, stage.VIPS[0][0])
    if reply.question != wire.encode_name(name):
        raise Wrong("the question in the reply has another case")
    return name


def edns() -> str:
    reply = _ask(FAR4, wire.query(stage.NAMES[0], wire.A, 2, 1232))
    _is_ours(reply, stage.VIPS[0][0])
    if reply.udp_size < 512 or not reply.wants_dnssec:
        raise Wrong("no OPT record in the reply" if reply.udp_size < 0 else "DO was not copied")
    return f"OPT with size {reply.udp_size}, DO copied"


def tcp_mesh_name() -> str:
    return _is_ours(_ask_tcp(FAR4, wire.query(stage.NAMES[0], wire.A)), stage.VIPS[0][0])


def tcp_other_name() -> str:
    packet = wire.query(stage.OTHER, wire.A, 99)
    if _ask_tcp(FAR4, packet).addresses != (str(ip_address(server.checksum(packet))),):
        raise Wrong("the query arrived changed")
    return "arrived byte for byte"
