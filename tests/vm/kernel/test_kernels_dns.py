"""Queries become answers on Debian's kernels: by BPF_PROG_TEST_RUN, and between real sockets."""

from __future__ import annotations

import errno
from ipaddress import ip_address

import pytest
from scapy.layers.dns import DNS
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from tests.vm.kernel import question
from tests.vm.kernel.machine import Report
from tests.vm.kernel.question import ELSEWHERE, NAMES, SHOP, TTL_S
from tests.vm.kernel.scene import DNS_PROGRAMS, SERVERS

pytestmark = [pytest.mark.vm, pytest.mark.timeout(180)]

# linux/pkt_cls.h: TC_ACT_UNSPEC, TC_ACT_OK, TC_ACT_REDIRECT
UNTOUCHED, ANSWERED_IN_PLACE, SENT_BACK = -1, 0, 7
SOA = 6  # RFC 1035

each_program = pytest.mark.parametrize("program", DNS_PROGRAMS)
each_device = pytest.mark.parametrize("program", SERVERS)
each_family = pytest.mark.parametrize("version", [4, 6])
each_name = pytest.mark.parametrize("name", NAMES)
each_type = pytest.mark.parametrize("kind", ["A", "AAAA"])


def check_head(message: DNS, name: str, kind: str) -> None:
    assert (message.id, message.qr, message.aa, message.rcode) == (question.ID, 1, 1, 0)
    assert message.qd[0].qname == f"{name}.".encode(), "as it was asked, not in lower case"
    assert len(message.ar) == len(question.message(name, kind).ar)


def check_addresses(message: DNS, name: str, kind: str) -> None:
    check_head(message, name, kind)
    wanted = NAMES[name][kind == "AAAA"]
    assert len(message.an) == len(wanted)
    assert {ip_address(record.rdata) for record in message.an} == set(wanted)
    assert {record.ttl for record in message.an} == {TTL_S}


def check_no_data(message: DNS, name: str, kind: str) -> None:
    check_head(message, name, kind)
    assert (message.ancount, message.nscount) == (0, 1)
    assert message.ns[0].type == SOA


def ran(report: Report, program: str, name: str, kind: str) -> DNS:
    """The answer that a packet has become, when all around it has been looked at."""
    said = report.said["run", f"{program}-{name}-{kind}"]
    wanted = ANSWERED_IN_PLACE if program == "dns_lo" else SENT_BACK
    assert int(said.values["result"]) == wanted
    packet = question.decode(program, bytes.fromhex(said.values["data"]))
    asked = question.decode(program, question.packet(program, name, kind))
    assert question.with_checksums(program, packet) == bytes(packet)
    ip = IPv6 if kind == "AAAA" else IP
    assert (packet[ip].src, packet[ip].dst) == (asked[ip].dst, asked[ip].src)
    assert (packet[UDP].sport, packet[UDP].dport) == (asked[UDP].dport, asked[UDP].sport)
    message: DNS = packet[DNS]
    return message


def received(report: Report, program: str, version: int, name: str, kind: str) -> DNS:
    """What a socket of the guest got for its query."""
    said = report.said["ask", f"{program}-{version}-{name}-{kind}"]
    assert "data" in said.values, said
    return DNS(bytes.fromhex(said.values["data"]))


@each_type
@each_name
@each_program
def test_a_name_of_the_mesh_is_answered_in_the_kernel(
    report: Report, program: str, name: str, kind: str
) -> None:
    check_addresses(ran(report, program, name, kind), name, kind)


@each_program
def test_a_type_that_a_name_does_not_have_is_no_data(report: Report, program: str) -> None:
    check_no_data(ran(report, program, SHOP, "TXT"), SHOP, "TXT")


@each_program
def test_an_unknown_name_passes_untouched(report: Report, program: str) -> None:
    said = report.said["run", f"{program}-{ELSEWHERE}-A"]
    assert int(said.values["result"]) == UNTOUCHED
    assert bytes.fromhex(said.values["data"]) == question.packet(program, ELSEWHERE, "A")


def test_devices_take_the_programs(report: Report) -> None:
    """The guest speaks of what the kernel refuses only."""
    assert not [key for key in report.said if key[0] in ("module", "netlink")]


@each_type
@each_name
@each_family
@each_device
def test_a_socket_gets_the_answer(
    report: Report, program: str, version: int, name: str, kind: str
) -> None:
    check_addresses(received(report, program, version, name, kind), name, kind)


@each_family
@each_device
def test_a_socket_gets_no_data(report: Report, program: str, version: int) -> None:
    check_no_data(received(report, program, version, SHOP, "TXT"), SHOP, "TXT")


@each_family
def test_a_query_for_an_unknown_name_goes_where_it_was_sent(report: Report, version: int) -> None:
    """Where nobody listens: the answers above were no server's."""
    said = report.said["ask", f"dns_lo-{version}-{ELSEWHERE}-A"]
    assert said.values == {"errno": str(errno.ECONNREFUSED)}
