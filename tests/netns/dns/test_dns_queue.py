"""UDP/53 through a real queue, seen by dig, tcpdump and sockets of every kind."""

from __future__ import annotations

import re
import signal
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from scapy.layers.dns import DNS
from scapy.layers.inet import UDP
from scapy.utils import rdpcap

from interceptor.mesh.model import Host, Kind

if TYPE_CHECKING:
    from tests.netns.dns.conftest import Running, World

pytestmark = pytest.mark.root
SERVER4, SERVER6 = "10.99.0.1", "fd99::1"

DOMAIN = "bookinfo.svc.cluster.local"
BOTH = pytest.mark.parametrize("server", [SERVER4, SERVER6, "127.0.0.53"])


@pytest.fixture(scope="module")
def stub(world: World) -> None:
    """A resolver on 127.0.0.53 that forwards, as systemd-resolved does."""
    config = world.folder / "stub.conf"
    config.write_text(
        f"no-resolv\nno-hosts\nno-daemon\npid-file=\nbind-interfaces\n"
        f"listen-address=127.0.0.53\nserver={SERVER4}\ncache-size=0\n"
    )
    world.start(world.vm, f"dnsmasq --conf-file={config}")
    ask = "dig +tries=1 +time=1 @127.0.0.53 www.other.test"
    world.wait(lambda: world.inside(world.vm, ask).returncode == 0)


@BOTH
@pytest.mark.usefixtures("stub")
def test_dig_gets_mesh_answers_from_whatever_server_it_asks(
    world: World, plane: Running, server: str
) -> None:
    short = [f"reviews.{DOMAIN}", "reviews.bookinfo.svc", "reviews.bookinfo", "ReViews.BookInfo"]
    for name in short:
        assert sorted(world.short(name, server=server)) == ["10.0.0.1", "10.0.0.2"]
    assert world.short("reviews.bookinfo", "AAAA", server=server) == ["fd00::1"]
    expanded = world.short("reviews.bookinfo.corp.test", "AAAA", server=server)
    assert expanded == [f"reviews.{DOMAIN}.", "fd00::1"]
    assert world.short("x.y.wild.test", server=server) == ["240.240.0.9"]
    assert world.short("-x", "10.0.0.4", server=server) == [f"v4.{DOMAIN}."]
    assert world.short("-x", "fd00::1", server=server) == [f"reviews.{DOMAIN}."]
    service = world.short("_sql._tcp.db.bookinfo", "SRV", server=server)
    assert sorted(service) == [f"0 100 3307 db-0.db.{DOMAIN}.", f"0 100 3307 db.{DOMAIN}."]
    assert world.short("ext.bookinfo", server=server) == ["a.wild.test.", "240.240.0.9"]


@BOTH
@pytest.mark.usefixtures("stub")
def test_other_names_are_answered_by_the_server_that_was_asked(
    world: World, plane: Running, server: str
) -> None:
    assert world.short("www.other.test", server=server) == ["192.0.2.1"]
    assert world.short("www.other.test", "AAAA", server=server) == ["2001:db8::1"]


@pytest.mark.parametrize("kind", ["AAAA", "HTTPS", "SVCB", "TXT", "MX", "TYPE99"])
def test_data_that_is_not_there_is_nodata_with_a_soa(
    world: World, plane: Running, kind: str
) -> None:
    said = world.dig(f"v4.{DOMAIN}", kind)
    assert "status: NOERROR" in said
    assert "flags: qr aa rd ra; QUERY: 1, ANSWER: 0, AUTHORITY: 1" in said
    assert re.search(r"cluster\.local\.\s+30\s+IN\s+SOA\s+ns\.dns\.cluster\.local\.", said)


def test_dig_has_nothing_to_complain_about(world: World, plane: Running) -> None:
    for words in (
        ["reviews.bookinfo", "A"],
        ["reviews.bookinfo", "ANY", "+notcp"],
        ["v4.bookinfo.corp.test", "AAAA"],
        ["many.bookinfo", "A", "+bufsize=4096"],
        ["reviews.bookinfo", "A", "+noedns"],
        ["reviews.bookinfo", "A", "+cookie", "+nsid", "+dnssec", "+cdflag"],
    ):
        said = world.dig(*words)
        assert "status: NOERROR" in said
        assert "WARNING" not in said.upper()
        assert "malformed" not in said.lower()


def test_edns_is_mirrored_and_other_versions_refused(world: World, plane: Running) -> None:
    said = world.dig("reviews.bookinfo", "+dnssec", "+bufsize=4096")
    assert "EDNS: version: 0, flags: do; udp: 1232" in said
    assert "OPT PSEUDOSECTION" not in world.dig("reviews.bookinfo", "+noedns")
    assert "BADVERS" in world.dig("reviews.bookinfo", "+edns=1", "+noednsnegotiation")


def test_too_large_an_answer_is_truncated_and_whole_over_tcp(world: World, plane: Running) -> None:
    cut = world.dig("many.bookinfo", "+noedns", "+ignore")
    assert " tc " in cut.replace(";", " ")
    assert len(world.short("many.bookinfo", "+noedns")) == 100
    assert len(world.short("many.bookinfo", "+bufsize=4096", "+ignore")) == 100


def test_the_order_changes(world: World, plane: Running) -> None:
    firsts = {world.short("many.bookinfo", "+bufsize=4096")[0] for _ in range(10)}
    assert len(firsts) > 2


SOCKETS = """
import socket, sys
kind, family, server, query = sys.argv[1:5]
sock = socket.socket(getattr(socket, family), socket.SOCK_DGRAM)
sock.settimeout(2)
if kind == "connected":
    sock.connect((server, 53))
    sock.send(bytes.fromhex(query))
else:
    sock.sendto(bytes.fromhex(query), (server, 53))
data, source = sock.recvfrom(4096)
assert source[:2] == (server, 53), source
print(data.hex())
"""
# id 0x4711, RD; v4.bookinfo in mixed case, A, IN
QUERY = "471101000001000000000000" + b"\2V4\x08bOOkinFo\0".hex() + "00010001"


@pytest.mark.parametrize("kind", ["connected", "unconnected"])
@pytest.mark.parametrize(("family", "server"), [("AF_INET", SERVER4), ("AF_INET6", SERVER6)])
def test_connected_and_unconnected_sockets_get_the_answer_from_the_asked_address(
    world: World, plane: Running, kind: str, family: str, server: str
) -> None:
    done = world.inside(world.vm, ["python3", "-c", SOCKETS, kind, family, server, QUERY])
    assert done.returncode == 0, done.stderr
    answer = bytes.fromhex(done.stdout)
    assert answer[:2] == b"\x47\x11"
    assert answer[12 : len(QUERY) // 2] == bytes.fromhex(QUERY)[12:]  # 0x20 kept
    assert answer[-4:] == ip_address("10.0.0.4").packed


def test_queries_for_other_names_reach_their_server_byte_for_byte(
    world: World, plane: Running
) -> None:
    file, dump = world.capture(world.server, "udp dst port 53")
    queries = [
        "471101000001000000000001" + b"\3wWw\5other\4test\0".hex() + "00010001"
        "0000291000000080000c000a00080102030405060708",
        "4712000000010000000000000161046e6f6e650000ff0001",
        "4713ffff0001000000000000" + b"\2v4\x08bookinfo\0".hex() + "00010001",
        "471401000002000000000000" + b"\2v4\x08bookinfo\0".hex() + "00010001" + "c00c00010001",
        "471501000001000000000000" + b"\2v4\xc0\x0c".hex() + "00010001",
        "471601000001000000000000" + b"\2v4\x08bookinfo\0".hex() + "00010003",
        "471701000001000000000000" + b"\2v4\x08bookinfo\0".hex() + "0001000100",
        "4718" + "ff" * 30,
    ]
    send = (
        "import socket, sys\n"
        "for family, server in ((socket.AF_INET, sys.argv[1]), (socket.AF_INET6, sys.argv[2])):\n"
        "    sock = socket.socket(family, socket.SOCK_DGRAM)\n"
        "    for query in sys.argv[3:]: sock.sendto(bytes.fromhex(query), (server, 53))\n"
    )
    done = world.inside(world.vm, ["python3", "-c", send, SERVER4, SERVER6, *queries])
    assert done.returncode == 0, done.stderr
    assert world.short("v4.bookinfo") == ["10.0.0.4"]  # the mesh's own never get there
    wanted = sorted(queries * 2)

    def seen() -> list[str]:
        return sorted(bytes(packet[UDP].payload).hex() for packet in rdpcap(str(file)))

    world.wait(lambda: len(seen()) >= len(wanted))
    dump.send_signal(signal.SIGINT)
    dump.wait(5)
    assert seen() == wanted


def test_mesh_queries_never_leave_the_vm(world: World, plane: Running) -> None:
    file, dump = world.capture(world.vm, "udp port 53")
    assert world.short("v4.bookinfo") == ["10.0.0.4"]
    assert world.short("www.other.test") == ["192.0.2.1"]
    world.wait(lambda: len(rdpcap(str(file))) >= 2)
    dump.send_signal(signal.SIGINT)
    dump.wait(5)
    names = {bytes(packet[DNS].qd[0].qname) for packet in rdpcap(str(file))}
    assert names == {b"www.other.test."}


def test_a_change_is_answered_within_milliseconds(world: World, plane: Running) -> None:
    host = Host("new.test", "x", Kind.SERVICE_ENTRY, (ip_address("10.9.9.9"),))
    assert world.short("new.test") == []
    plane.put(host)
    world.wait(lambda: world.short("new.test") == ["10.9.9.9"], 1)
    plane.remove("new.test")
    world.wait(lambda: world.short("new.test") == [], 1)


def test_everything_is_counted_and_timed(world: World, plane: Running) -> None:
    for _ in range(20):
        world.short("v4.bookinfo")
    world.short("www.other.test")
    world.short("+tcp", "v4.bookinfo")

    def counted() -> bool:
        now = plane.plane.counters
        return (
            now.queries.get(("nfqueue", "answer", "A"), 0) >= 20
            and now.queries.get(("nfqueue", "pass", "A"), 0) >= 1
            and now.queries.get(("tcp", "answer", "A"), 0) >= 1
            and now.events.get("tcp-steered", 0) >= 1
            and now.buckets[-1][1] >= 16
        )

    world.wait(counted, 3)
    assert not any(key.startswith("error") for key in plane.plane.counters.events)
