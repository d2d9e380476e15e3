"""Beside systemd-resolved: its stub on 127.0.0.53, and nss-resolve, whose queries are messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from interceptor.lab.removal import wait_until
from tests.systemd import signed
from tests.systemd.load import MESH, MESH_ADDRESS, OTHER, OTHER_ADDRESS, SERVER
from tests.systemd.machine import Image, Machine

pytestmark = [pytest.mark.root, pytest.mark.envoy, pytest.mark.slow]

UNIT = "systemd-resolved.service"
DROP_IN = "/etc/systemd/resolved.conf.d/lab.conf"
STUB = "../run/systemd/resolve/stub-resolv.conf"
NSSWITCH = "passwd: files\ngroup: files\nhosts: files resolve\n"
"""No `dns` behind: what is found was found by resolved."""
ALIASES = ("reviews", "reviews.bookinfo", MESH)
CNAME_FREE = ("ratings.mesh.internal", "api.partner.example")


def drop_in(*lines: str, server: str = SERVER, domains: str = "corp.example ~cluster.local") -> str:
    words = ("[Resolve]", f"DNS={server}", f"Domains={domains}", "LLMNR=yes", *lines)
    return "".join(f"{word}\n" for word in words)


@pytest.fixture(scope="module", params=["nftables", "ebpf"])
def machine(request: pytest.FixtureRequest, image: Image) -> Iterator[Machine]:
    """resolved runs since the boot, the agent since then; both as a test found them."""
    settings = {"capture": {"backend": request.param}}
    files = {DROP_IN: drop_in(), "/etc/nsswitch.conf": NSSWITCH}
    whole = replace(image.unmasked(UNIT), settings=settings, files=files)
    with Machine.open(whole.linked("/etc/resolv.conf", STUB)) as opened:
        assert found(opened, MESH) == set(), "an oracle that knows mesh names is none"
        assert found(opened, OTHER) == {OTHER_ADDRESS}
        opened.start()
        yield opened


@pytest.fixture(scope="module")
def anchored(machine: Machine) -> None:
    """A server whose whole tree is signed, and resolved believes its key."""
    machine.sh("mkdir -p /etc/dnssec-trust-anchors.d")
    machine.write(signed.ANCHOR, signed.serve(machine))


@pytest.fixture
def configured(machine: Machine) -> Iterator[Machine]:
    """For tests that configure resolved anew."""
    yield machine
    machine.sh("resolvectl revert eth0")
    configure(machine, drop_in())


def configure(machine: Machine, text: str) -> None:
    machine.write(DROP_IN, text)
    machine.systemctl("reset-failed", UNIT)
    machine.systemctl("restart", UNIT)


def found(machine: Machine, name: str) -> set[str]:
    """IPv4 addresses by libc, which asks resolved over its socket."""
    said = machine.sh(f"getent ahostsv4 {name}", check=False)
    return {line.split()[0] for line in said.splitlines()}


def dug(machine: Machine, name: str, server: str = "127.0.0.53") -> str:
    return machine.sh(f"dig +short +time=1 +tries=1 @{server} {name} | tail -n 1", check=False)


def test_resolved_finds_mesh_names_for_libc_and_others_as_before(machine: Machine) -> None:
    machine.sh("resolvectl flush-caches")
    for _ in range(2):  # the second time from resolved's cache
        for name in ALIASES:
            assert found(machine, name) == {MESH_ADDRESS}, name
        for name in CNAME_FREE:
            assert found(machine, name), name
        assert found(machine, OTHER) == found(machine, "www") == {OTHER_ADDRESS}
    assert machine.sh(f"curl -s -m 5 http://{MESH}:9080/").startswith("reviews-v")
    upstream = machine.lab.log("dns", "dnsmasq")
    asked = [line for line in upstream.splitlines() if "query[A] ratings.mesh.internal" in line]
    assert not asked, "resolved's query was answered on its way"


def test_the_stub_is_asked_for_other_names_only(machine: Machine) -> None:
    assert dug(machine, MESH).strip() == MESH_ADDRESS
    assert dug(machine, OTHER).strip() == OTHER_ADDRESS
    machine.systemctl("stop", UNIT)
    assert dug(machine, MESH).strip() == MESH_ADDRESS, "answered before it reaches the stub"
    machine.systemctl("start", UNIT)
    assert dug(machine, OTHER).strip() == OTHER_ADDRESS


def test_another_upstream_changes_nothing_for_the_mesh(configured: Machine) -> None:
    configure(configured, drop_in(server="10.77.0.63"))
    assert found(configured, MESH) == {MESH_ADDRESS}
    assert found(configured, "only4.corp.example") == {OTHER_ADDRESS}
    assert "only4.corp.example" in configured.lab.log("dns2", "dnsmasq")


MODES = {
    "stub": STUB,
    "uplink": "../run/systemd/resolve/resolv.conf",
    "static": "../usr/lib/systemd/resolv.conf",
    "foreign": "",
}


@pytest.mark.parametrize("mode", MODES)
def test_in_each_mode_of_resolv_conf_names_resolve_by_libc_alone(
    machine: Machine, mode: str
) -> None:
    machine.write("/etc/nsswitch.conf", NSSWITCH.replace("resolve", "dns"))
    machine.sh("rm /etc/resolv.conf")
    if MODES[mode]:
        machine.sh(f"ln -s {MODES[mode]} /etc/resolv.conf")
    else:
        machine.write("/etc/resolv.conf", "nameserver 10.77.0.63\nsearch corp.example\n")
    try:
        assert found(machine, OTHER) == {OTHER_ADDRESS}
        wait_until(lambda: found(machine, "reviews.bookinfo") == {MESH_ADDRESS}, "mesh name", 5)
        if mode != "static":  # the file with no search list
            wait_until(lambda: found(machine, "reviews") == {MESH_ADDRESS}, "short name", 5)
    finally:
        machine.sh(f"ln -sf {STUB} /etc/resolv.conf")
        machine.write("/etc/nsswitch.conf", NSSWITCH)


def test_names_below_local_need_a_routing_domain_and_no_others_do(configured: Machine) -> None:
    """resolved leaves `.local` to multicast DNS unless it is told otherwise: docs/NEIGHBOURS.md."""
    configure(configured, drop_in(domains="corp.example"))
    assert found(configured, MESH) == set()
    assert found(configured, "reviews.bookinfo") == {MESH_ADDRESS}
    assert found(configured, "ratings.mesh.internal")
    configured.sh("resolvectl domain eth0 '~cluster.local'; resolvectl dns eth0 10.77.0.53")
    assert found(configured, MESH) == {MESH_ADDRESS}


def test_multicast_dns_and_llmnr_do_not_come_between(configured: Machine) -> None:
    configure(configured, drop_in("MulticastDNS=yes"))
    configured.sh("resolvectl mdns eth0 yes; resolvectl llmnr eth0 yes")
    for name in ALIASES:
        assert found(configured, name) == {MESH_ADDRESS}, name


def test_dns_over_tls_hides_names_from_us_and_says_so_by_their_absence(
    configured: Machine,
) -> None:
    configure(configured, drop_in("DNSOverTLS=opportunistic"))
    assert found(configured, MESH) == {MESH_ADDRESS}, "the server has no TLS: asked in the clear"
    configure(configured, drop_in("DNSOverTLS=yes"))
    assert found(configured, MESH) == set()
    assert dug(configured, MESH).strip() == MESH_ADDRESS, "the stub's clients are seen all the same"


@pytest.mark.parametrize("mode", ["allow-downgrade", "yes"])
def test_with_dnssec_others_stay_authenticated_and_mesh_names_are_found(
    configured: Machine, anchored: None, mode: str
) -> None:
    """Our answers bear no signatures, also for a name that the signed tree has, too."""
    configure(configured, drop_in(f"DNSSEC={mode}", server=signed.ADDRESS))
    told = configured.sh(f"resolvectl query -4 {OTHER}")
    assert OTHER_ADDRESS in told
    assert "authenticated: yes" in told
    assert found(configured, MESH) == {MESH_ADDRESS}
    assert found(configured, "api.partner.example") == {"192.0.2.80"}
    assert found(configured, "ratings.mesh.internal")
    assert "authenticated: yes" in configured.sh(f"resolvectl query -4 {OTHER}")
    told = configured.sh("resolvectl query -4 no.such.example 2>&1", check=False)
    assert "not found" in told, "a denial is proved as before"
