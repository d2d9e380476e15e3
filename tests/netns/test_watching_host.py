"""The host changes around us: links, routes, resolv.conf. Somebody fights, others live quietly."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from interceptor.lab import agent as lab_agent
from interceptor.lab import snapshot
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from interceptor.lab.world import Lab
from tests.netns.watched import NAME, Fault, Watched, watched

pytestmark = [pytest.mark.root, pytest.mark.envoy]

UPLINK = """
ip link add up1 type veth peer name up2
ip link set up2 up
ip addr add 198.51.100.2/24 dev up1
ip link set up1 up
ip route replace default via 198.51.100.1 dev up1 src 198.51.100.2
"""
FLAP = """
ip link set eth0 down
sleep 0.5
ip link set eth0 up
ip -6 address replace fd77::10/64 dev eth0 nodad
ip route replace default via 10.77.0.1 dev eth0 src 10.77.0.10
ip -6 route replace default via fd77::1 dev eth0 src fd77::10
"""
FIREWALL = """
nft add table inet firewalld
nft add chain inet firewalld nat_OUTPUT '{ type nat hook output priority -90; }'
"""
FIGHT = """
for i in $(seq 30); do nft delete table inet interceptor; sleep 0.1; done 2>/dev/null
echo over
"""


def test_an_uplink_that_appears_is_followed_within_two_seconds() -> None:
    over = {"capture": {"backend": "ebpf"}, "node": {"addresses": []}}
    with watched("vm", over) as host:
        filters = f"python3 -c {shlex.quote(snapshot.TCX)} | grep -q '^up1 egress dns_'"
        source = "ip route show table local | grep -q '^local 127.64.0.0/10 .*src 198.51.100.2'"
        host.suffer(Fault("an uplink", UPLINK, until=f"{filters} && {source}", asks=""))
        gone = "ip link del up1; ip route replace default via 10.77.0.1 dev eth0 src 10.77.0.10"
        back = "ip route show table local | grep -q '^local 127.64.0.0/10 .*src 10.77.0.10'"
        host.suffer(Fault("it is gone", gone, until=back))


def test_without_a_default_route_virtual_addresses_get_one_within_two_seconds() -> None:
    with watched("vm", {"capture": {"backend": "nftables"}}) as host:
        route = "ip route show 240.240.0.0/16 | grep -q 'proto 157'"
        host.suffer(Fault("no default route", "ip route del default", until=route))
        again = "ip route add default via 10.77.0.1 dev eth0 src 10.77.0.10"
        host.suffer(Fault("one again", again, until=f"! {route}"))


@pytest.mark.parametrize("backend", ["nftables", "ebpf"])
def test_a_link_that_flaps_leaves_everything_as_it_was(backend: str) -> None:
    with watched("vm", {"capture": {"backend": backend}}) as host:
        whole = host.observe()
        host.sh(FLAP)
        ended_s = time.monotonic()
        wait_until(lambda: host.dig() == "10.96.0.11", "a mesh name", 5)
        assert time.monotonic() - ended_s < 2
        wait_until(lambda: not snapshot.diff(whole, host.observe()), "all as before", 5)


@contextmanager
def resolving(backend: str, resolv_conf: str) -> Iterator[tuple[Watched, Path]]:
    """A daemon that captures queries to resolv.conf's servers; its resolv.conf is in a folder of
    its own, and so is what it takes for /run/systemd."""
    with Lab.open() as lab:
        folder = lab.host_folder("vm") / "etc"
        (folder / "systemd" / "resolve").mkdir(parents=True)
        path = folder / "resolv.conf"
        over = {
            "dns": {"servers": "resolv.conf", "resolv_conf": str(path)},
            "capture": {"backend": backend},
        }
        bare = lab_agent.prepare(lab, "vm", over)
        agent = Resolving(bare.lab, bare.host, bare.config, bare.mesh)
        agent.systemd = folder / "systemd"
        (folder / "first").write_text(resolv_conf)
        path.symlink_to(folder / "first")
        agent.start()
        yield Watched(agent), folder
        assert agent.stop() == 0


class Resolving(Agent):
    """An agent that sees a /run/systemd of the test's."""

    systemd: Path

    def argv(self, *words: str) -> tuple[str, ...]:
        mount = 'mount --bind "$0" /run/systemd; exec "$@"'
        return ("sh", "-euc", mount, str(self.systemd), *super().argv(*words))


@pytest.mark.parametrize("backend", ["nftables", "iptables", "ebpf"])
def test_resolv_conf_is_followed_within_two_seconds_whatever_it_is_a_link_to(backend: str) -> None:
    # None of these serves names: only who is captured gets an answer.
    one, two, three, four = "10.77.0.31", "10.77.0.32", "10.77.0.20", "10.77.0.1"
    with resolving(backend, "nameserver 10.77.0.53\n") as (host, folder):
        path, later = folder / "resolv.conf", folder / "later" / "resolv.conf"
        upstream = folder / "systemd" / "resolve" / "resolv.conf"

        def change(name: str, script: str, server: str, asked: str = NAME) -> None:
            host.suffer(Fault(name, script, asks=server, asked=asked))

        change("its target", f"echo nameserver {one} >{folder}/first", one)
        script = f"echo nameserver {two} >{folder}/second; ln -sfn {folder}/second {path}"
        change("the link", script, two)
        gone = host.sh(f"dig +short +tries=1 +time=1 @{one} {NAME} || :")
        assert "10.96" not in gone, "whom nobody asks any more is not captured"
        host.sh(f"ln -sfn {later} {path}")
        told = "resolv.conf has changed"
        wait_until(lambda: host.agent.log().count(told) == 3, "a dangling link", 3)
        script = f"mkdir {later.parent}; echo nameserver {three} >{later}"
        change("its folder, later", script, three)
        script = f"echo nameserver {four} >{upstream}; echo nameserver 127.0.0.53 >{later}"
        change("the stub of resolved", script, four)
        change("whom resolved asks", f"echo nameserver {one} >{upstream}", one)
        script = f"echo search new.example >>{later}"
        change("the search list", script, one, f"{NAME}.new.example")
        print({fault: round(took_s, 2) for fault, took_s in host.took_s.items()})


def test_somebody_who_insists_is_not_fought_and_is_told_by_name() -> None:
    with watched("vm", {"capture": {"backend": "nftables"}}, FIREWALL) as host:
        host.agent.lab.start("vm", ["sh", "-uc", FIGHT], "fighter", detached=True)
        wait_until(lambda: bool(insisted(host)), "that somebody insists", 4)
        status = host.status()
        assert status["drift"] is True
        assert cast("dict[str, float]", status["reassert_waits_s"]).keys() >= {"rules"}
        assert cast("dict[str, int]", status["reasserted"])["rules"] == 3, "and then no more"
        told = "firewalld: nft table inet firewalld, chain nat_OUTPUT"
        assert any(told in line for line in cast("list[str]", status["neighbours"]))
        assert [told in line for line in insisted(host)] == [True]
        assert host.dig("www.corp.example") == "10.77.0.61", "nobody else is hurt"
        wait_until(lambda: "over" in host.agent.lab.log("vm", "fighter"), "the end of it", 6)
        wait_until(lambda: host.status()["drift"] is False, "the last repair", 8)
        assert host.dig() == "10.96.0.11"
        assert host.counts()["rules"] == 4


def insisted(host: Watched) -> list[str]:
    """The lines of the log that say that somebody removes what is ours again and again."""
    return [line for line in host.agent.log().splitlines() if "again and again" in line]


QUIET = """
for i in $(seq 30); do
    nft add table inet other; nft add chain inet other x
    nft delete table inet other
    ip route add 203.0.113.$i dev lo; ip route del 203.0.113.$i dev lo
    sleep 0.02
done
"""


@pytest.mark.parametrize("backend", ["nftables", "iptables", "ebpf"])
def test_what_others_do_for_themselves_repairs_nothing_and_idleness_costs_nothing(
    backend: str,
) -> None:
    with watched("vm", {"capture": {"backend": backend}}) as host:
        entry = host.agent.mesh / "more.yaml"
        for number in range(3):  # our own changes are no news either
            entry.write_text(ENTRY.format(number=number))
            wait_until(lambda: host.dig("more.example") == f"198.51.100.{number}", "the mesh", 5)  # noqa: B023
        host.sh(QUIET)
        wait_until(lambda: host.status()["drift"] is False, "a look", 3)
        assert not any(host.counts().values()), host.counts()
        assert host.counts(), "each cause is told from the beginning"
        assert "put back" not in host.agent.log()
        time.sleep(1)  # the last look, for the last change
        process = host.agent.process
        assert process is not None
        before = faults_of_children(daemon_of(process.pid))
        time.sleep(3)
        assert faults_of_children(daemon_of(process.pid)) == before, "no program was run"


ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: more, namespace: bookinfo}}
spec:
  hosts: [more.example]
  addresses: [198.51.100.{number}]
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: 10.77.0.41}}]
"""


def daemon_of(pid: int) -> int:
    """The daemon: the child of whoever looks after it, or the process itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    names = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    ours = [child for child, name in names.items() if b"\0run\0" in name]
    return ours[0] if ours else pid


def faults_of_children(pid: int) -> int:
    """Minor page faults of the children that have ended (proc(5), cminflt): each makes some."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat.rpartition(")")[2].split()[8])
