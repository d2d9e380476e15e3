"""Names through the real daemon: every resolver gets right answers, and others' names go by."""

from __future__ import annotations

import json
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from interceptor.lab.agent import Agent

pytestmark = pytest.mark.root

REVIEWS = "reviews.bookinfo.svc.cluster.local"
SERVERS = ("10.77.0.53", "fd77::53")

MUSL = r"""
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv) {
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
    int error = getaddrinfo(argv[argc - 1], 0, &hints, &found);
    if (error) { puts(gai_strerror(error)); return 1; }
    for (; found; found = found->ai_next) {
        char text[64];
        void *at = found->ai_family == AF_INET
            ? (void *)&((struct sockaddr_in *)found->ai_addr)->sin_addr
            : (void *)&((struct sockaddr_in6 *)found->ai_addr)->sin6_addr;
        puts(inet_ntop(found->ai_family, at, text, sizeof text));
    }
    return 0;
}
"""


def dig(agent: Agent, *words: str) -> str:
    argv = ["dig", "+tries=2", "+timeout=2", *words]
    return agent.lab.run(agent.host, argv, check=False).stdout


def short(agent: Agent, *words: str) -> list[str]:
    return sorted(dig(agent, "+short", *words).split("\n")[:-1])


def status_of(text: str) -> str:
    return text.split("status: ")[1].split(",")[0]


def upstream_count(agent: Agent, name: str) -> int:
    """How often the real DNS server was asked for a name."""
    return agent.lab.log("dns", "dnsmasq").count(f"] {name} from")


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_a_and_aaaa_of_a_mesh_name(member: Agent, server: str, transport: str) -> None:
    before = upstream_count(member, REVIEWS)
    assert short(member, f"@{server}", transport, REVIEWS, "A") == ["10.96.0.11"]
    assert short(member, f"@{server}", transport, REVIEWS, "AAAA") == ["fd96::11"]
    assert upstream_count(member, REVIEWS) == before


@pytest.mark.parametrize(
    "name", ["reviews", "reviews.bookinfo", "reviews.bookinfo.svc", REVIEWS, REVIEWS.upper()]
)
def test_every_form_of_a_service_name_is_answered(member: Agent, name: str) -> None:
    assert short(member, f"@{SERVERS[0]}", name, "A")[0] == "10.96.0.11"


def test_the_question_keeps_the_case_that_the_client_chose(member: Agent) -> None:
    name = "rEvIeWs.BooKinfo.sVc.cluster.LOCAL"
    text = dig(member, f"@{SERVERS[0]}", "+noall", "+question", "+answer", name, "A")
    assert text.count(name + ".") == 2


def test_an_expansion_by_the_search_list_leads_to_the_host(member: Agent) -> None:
    lines = short(member, f"@{SERVERS[0]}", f"{REVIEWS}.corp.example", "A")
    assert lines == ["10.96.0.11", f"{REVIEWS}."]


def test_srv_gives_port_and_host(member: Agent) -> None:
    lines = short(member, f"@{SERVERS[0]}", f"_http._tcp.{REVIEWS}", "SRV")
    assert len(lines) == 1
    assert lines[0].split()[2:] == ["9080", f"{REVIEWS}."]


@pytest.mark.parametrize("address", ["10.96.0.11", "fd96::11"])
def test_ptr_of_a_service_address_gives_the_full_name(member: Agent, address: str) -> None:
    assert short(member, f"@{SERVERS[0]}", "-x", address) == [f"{REVIEWS}."]


@pytest.mark.parametrize("kind", ["HTTPS", "SVCB", "TXT", "MX", "CAA", "TYPE999"])
def test_unknown_types_of_a_mesh_name_are_nodata(member: Agent, kind: str) -> None:
    text = dig(member, f"@{SERVERS[0]}", REVIEWS, kind)
    assert status_of(text) == "NOERROR"
    assert "ANSWER: 0, AUTHORITY: 1" in text
    assert "\tSOA\t" in text


def test_a_missing_family_is_nodata_and_never_nxdomain(member: Agent) -> None:
    name = "mysql-only4.corp.example"  # of nobody: the real server's NXDOMAIN comes through
    assert status_of(dig(member, f"@{SERVERS[0]}", name, "AAAA")) == "NXDOMAIN"
    text = dig(member, f"@{SERVERS[0]}", "web-0.web.bookinfo.svc.cluster.local", "SRV")
    assert status_of(text) == "NOERROR"


def test_a_headless_service_gives_its_endpoints(member: Agent) -> None:
    assert short(member, f"@{SERVERS[0]}", "web.bookinfo.svc.cluster.local", "A") == [
        "10.77.0.44",
        "10.77.0.54",
    ]
    assert short(member, f"@{SERVERS[0]}", "web-1.web.bookinfo.svc.cluster.local", "AAAA") == [
        "fd77::54"
    ]


def test_a_host_without_an_address_has_one_of_the_vip_range(member: Agent) -> None:
    (v4,) = short(member, f"@{SERVERS[0]}", "ratings.mesh.internal", "A")
    (v6,) = short(member, f"@{SERVERS[0]}", "ratings.mesh.internal", "AAAA")
    assert v4.startswith("240.240.")
    assert v6.startswith("2001:2:")


def test_wildcards_answer_under_the_name_that_was_asked(member: Agent) -> None:
    text = dig(member, f"@{SERVERS[0]}", "+noall", "+answer", "a.b.wild.example", "A")
    assert text.split()[0] == "a.b.wild.example."
    assert "*" not in text


def test_an_external_name_leads_to_its_target(member: Agent) -> None:
    lines = short(member, f"@{SERVERS[0]}", "partner.bookinfo.svc.cluster.local", "A")
    assert lines == ["192.0.2.80", "api.partner.example."]


def test_edns_is_mirrored(member: Agent) -> None:
    text = dig(member, f"@{SERVERS[0]}", "+dnssec", "+nsid", REVIEWS, "A")
    assert "EDNS: version: 0, flags: do" in text
    assert "NSID" not in text
    assert "OPT" not in dig(member, f"@{SERVERS[0]}", "+noedns", REVIEWS, "A")
    text = dig(member, f"@{SERVERS[0]}", "+edns=7", "+noednsneg", REVIEWS, "A")
    assert status_of(text) == "BADVERS"


@pytest.mark.parametrize("database", ["ahosts", "ahostsv4", "ahostsv6", "hosts"])
def test_getent(member: Agent, database: str) -> None:
    got = member.lab.run(member.host, ["getent", database, REVIEWS]).stdout
    addresses = {line.split()[0] for line in got.splitlines()}
    wanted = {"ahosts": {"10.96.0.11", "fd96::11"}, "ahostsv4": {"10.96.0.11"}}
    assert addresses == wanted.get(database, {"fd96::11"})


@pytest.mark.parametrize("name", [REVIEWS, "reviews", "www.corp.example"])
def test_pythons_resolver(member: Agent, name: str) -> None:
    code = (
        "import socket, json, sys; "
        "print(json.dumps([a[4][0] for a in socket.getaddrinfo(sys.argv[1], 80, type=1)]))"
    )
    got = json.loads(member.lab.run(member.host, ["/usr/bin/python3", "-c", code, name]).stdout)
    mesh = {"10.96.0.11", "fd96::11"}
    assert set(got) == ({"10.77.0.61", "fd77::61"} if "corp" in name else mesh)


@pytest.fixture(scope="module")
def musl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """getaddrinfo of musl, which asks A and AAAA at once from one unconnected socket."""
    folder = tmp_path_factory.mktemp("musl")
    (folder / "resolve.c").write_text(MUSL)
    program = folder / "resolve"
    argv = ["musl-gcc", "-static", "-o", str(program), str(folder / "resolve.c")]
    subprocess.run(argv, check=True)
    return program


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        (REVIEWS, {"10.96.0.11", "fd96::11"}),
        ("only4.corp.example", {"10.77.0.61"}),
        ("www.corp.example", {"10.77.0.61", "fd77::61"}),
        ("a.wild.example", {"192.0.2.90", "2001:db8::90"}),
    ],
)
def test_musls_resolver(member: Agent, musl: Path, name: str, addresses: set[str]) -> None:
    got = member.lab.run(member.host, [str(musl), name]).stdout.split()
    assert set(got) == addresses


@pytest.mark.parametrize("family", [4, 6])
def test_curl_reaches_an_endpoint(member: Agent, family: int) -> None:
    argv = ["curl", f"-{family}", "-sS", "-m", "5", "-w", "%{remote_ip}", f"http://{REVIEWS}:9080/"]
    answer, peer = member.lab.run(member.host, argv).stdout.split("\n")
    assert answer in ("reviews-v1", "reviews-v2")
    assert ip_address(peer) in (ip_address("10.96.0.11"), ip_address("fd96::11"))


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize("server", SERVERS)
def test_other_names_are_answered_by_the_server_that_was_asked(
    member: Agent, server: str, transport: str
) -> None:
    before = upstream_count(member, "www.corp.example")
    got = short(member, f"@{server}", transport, "www.corp.example", "A")
    assert got == ["10.77.0.61"]
    assert upstream_count(member, "www.corp.example") == before + 1


def test_a_long_answer_of_others_comes_back_over_tcp(member: Agent) -> None:
    assert len(short(member, "+noedns", f"@{SERVERS[0]}", "big.corp.example", "TXT")) == 6


def test_mesh_and_other_names_share_one_tcp_connection(member: Agent) -> None:
    words = ["+tcp", "+keepopen", "+short", f"@{SERVERS[0]}"]
    got = dig(member, *words, REVIEWS, "A", *words, "www.corp.example", "A", *words, REVIEWS, "A")
    assert got.split() == ["10.96.0.11", "10.77.0.61", "10.96.0.11"]


def test_names_below_the_cluster_domain_that_nobody_bears_are_the_upstreams(member: Agent) -> None:
    name = "nobody.bookinfo.svc.cluster.local"
    assert status_of(dig(member, f"@{SERVERS[0]}", name, "A")) == "NXDOMAIN"
    assert upstream_count(member, name) == 1
