"""What `interceptor doctor` says of hosts that are broken in known ways, and what it collects."""

from __future__ import annotations

import json
import socket
import sys
import tarfile
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from interceptor import checkup, config
from interceptor.config import Config
from interceptor.debug.doctor import packet
from interceptor.debug.doctor.check import Check, Group, State
from interceptor.debug.doctor.packet import Packet
from interceptor.host import command
from interceptor.lab import agent as lab_agent
from interceptor.lab.world import Lab
from tests.conftest import Namespace

pytestmark = pytest.mark.root

HOST = """
ip link add eth0 type veth peer name far0
ip link set far0 up
ip link set eth0 up
ip address add 10.9.0.1/24 dev eth0
ip address add fd09::1/64 dev eth0 nodad
ip route add default via 10.9.0.254
ip route add default via fd09::fe
"""
OWN, FAR = ip_address("10.9.0.1"), ip_address("10.9.0.53")


@pytest.fixture
def host(namespaces: Callable[[str], Namespace]) -> Iterator[Namespace]:
    made = namespaces("doctor")
    made.sh(HOST)
    yield made
    made.close()


def settings(tmp_path: Path, **over: dict[str, object]) -> Config:
    """A configuration whose files are a test's own."""
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text(f"nameserver {FAR}\n")
    tree: dict[str, dict[str, object]] = {
        "mesh": {"files": [str(tmp_path / "none")], "state_dir": str(tmp_path)},
        "agent": {"run_dir": str(tmp_path / "run")},
        "dns": {"resolv_conf": str(resolv_conf)},
        "capture": {"backend": "nftables"},
    }
    for group, keys in over.items():
        tree[group] = {**tree.get(group, {}), **keys}
    return config.parse(json.dumps(tree))


def look(host: Namespace, settings: Config) -> dict[str, Check]:
    """What is not as it should be, by name."""
    seen = host.call(checkup.observe, settings)
    found = checkup.judge(seen, settings, frozenset(Group))
    return {each.name: each for each in found if each.state is not State.OK}


def test_a_host_that_is_broken_in_five_ways_is_told_of_each(
    host: Namespace, tmp_path: Path
) -> None:
    good = look(host, settings(tmp_path))
    assert not {name for name in good if good[name].state is State.FAULT}
    host.sh("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv6.conf.all.disable_ipv6=1")
    host.sh("ip rule add fwmark 7 lookup 77")
    with (
        host.call(socket.create_server, ("127.0.0.1", 15006)),
        host.call(socket.create_server, ("127.0.0.1", 853)),
        host.call(socket.create_connection, ("127.0.0.1", 853)),
    ):
        found = look(host, settings(tmp_path))
        took = host.sh("ss -Hltnp sport = :15006")
    assert found["rp_filter"].state is State.WARNING
    assert found["IPv6"].state is State.NOTE
    assert found["port 15006"].state is State.FAULT
    pid = took.partition("pid=")[2].partition(",")[0]
    assert f"pid {pid}," in found["port 15006"].seen, "ss names another process"
    assert found["DNS over TLS"].state is State.WARNING
    assert "fwmark 0x7" in found["policy routing"].seen
    assert not set(good) & {"rp_filter", "IPv6", "port 15006", "DNS over TLS", "policy routing"}


TWO_WAYS = """
ip link add eth1 type veth peer name eth1 netns {far}
ip link set eth1 up
ip address add 10.8.0.1/24 dev eth1
ip rule add fwmark 7 lookup 77
ip route add default via 10.8.0.2 table 77
"""
ANSWERING = """
ip link set eth1 up
ip address add 10.8.0.2/24 dev eth1
ip address add 198.51.100.53/32 dev lo
"""


def test_strict_source_validation_that_drops_answers_is_named_and_its_cure_cures(
    host: Namespace, namespaces: Callable[[str], Namespace], tmp_path: Path
) -> None:
    far = namespaces("doctor-far")
    host.sh(TWO_WAYS.format(far=far.name))
    far.sh(ANSWERING)
    server = far.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("198.51.100.53", 53))

    def is_answered() -> bool:
        with host.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 7)
            one.settimeout(0.5)
            server.settimeout(0.5)
            one.sendto(b"question", ("198.51.100.53", 53))
            server.sendto(b"answer", server.recvfrom(100)[1])
            try:
                return one.recv(100) == b"answer"
            except TimeoutError:
                return False

    with server:
        assert is_answered()
        assert "rp_filter" not in look(host, settings(tmp_path))
        host.sh("sysctl -qw net.ipv4.conf.all.rp_filter=1")
        assert not is_answered(), "the kernel does not mind"
        check = look(host, settings(tmp_path))["rp_filter"]
        assert check.state is State.WARNING
        host.sh(check.cure.partition(" (")[0])
        assert is_answered()
        assert "rp_filter" not in look(host, settings(tmp_path))


def connects(host: Namespace, port: int) -> bool:
    """Whether a call to a VIP reaches who listens on ``port`` of this host."""

    def call() -> bool:
        with socket.create_server(("127.0.0.1", port)) as server:
            server.settimeout(0.3)
            with socket.socket() as one:
                one.settimeout(0.3)
                try:
                    one.connect(("240.240.0.1", 80))
                    server.accept()[0].close()
                except OSError:
                    return False
            return True

    return host.call(call)


OURS = """
nft -f - <<'X'
table ip redirecting { chain out { type nat hook output priority -101;
  ip daddr 240.240.0.0/16 tcp dport 80 redirect to :15001
}
}
X
"""
"""What ours would do to a call, under another name: ours is passed over."""
DENY = """
nft -f - <<'X'
table inet deny { chain out { type filter hook output priority 0; policy drop;
  oifname lo accept
  udp dport 53 accept
  ct state established,related accept
  tcp dport 80 accept
}
}
X
"""
EARLY = """
nft -f - <<'X'
table ip early { chain out { type nat hook output priority -110; tcp dport 80 redirect to :9; }
}
X
"""


def test_a_firewall_that_denies_what_was_redirected_is_named(
    host: Namespace, tmp_path: Path
) -> None:
    host.sh(OURS)
    assert connects(host, 15001)
    host.sh(DENY)
    assert not connects(host, 15001), "the kernel lets it through"
    host.sh("nft delete table ip redirecting")
    check = look(host, settings(tmp_path))["redirected call (IPv4)"]
    assert check.state is State.FAULT
    assert "nft inet deny out" in check.seen
    assert "15001" in check.cure
    host.sh("nft add rule inet deny out ip daddr 127.0.0.1 tcp dport 15001 accept")
    assert "redirected call (IPv4)" not in look(host, settings(tmp_path))
    host.sh(OURS)
    assert connects(host, 15001), "the cure does not cure"


def test_a_redirect_before_ours_is_named(host: Namespace, tmp_path: Path) -> None:
    host.sh(OURS)
    host.sh(EARLY)
    assert connects(host, 9)
    assert not connects(host, 15001)
    host.sh("nft delete table ip redirecting")
    check = look(host, settings(tmp_path))["call to a VIP (IPv4)"]
    assert check.state is State.FAULT
    assert "nft ip early out, output priority -110" in check.seen


JUDGED = (
    "udp dport 80 drop",
    "udp dport { 53, 80-90 } reject",
    "udp dport != 53 drop",
    "ip daddr 10.9.0.0/26 drop",
    "ip daddr != { 10.9.0.53, 10.9.0.54 } drop",
    "meta skuid 0 udp dport 53 reject",
    "meta skuid != 0 drop",
    "oifname lo accept; udp dport vmap { 53 : drop, 80 : accept }; drop",
    "meta l4proto tcp drop",
    "ct state established accept; th dport 81-99 drop",
    "oifname eth* udp sport 40000 accept; drop",
    "jump sub; udp dport 80 drop",
)
SAVED = (
    "-p udp --dport 80 -j DROP",
    "-p udp -m multiport --dports 53,80:90 -j REJECT",
    "! -d 10.9.0.53/32 -j DROP",
    "-o lo -j DROP",
    "-o eth+ -p udp -m udp ! --dport 53 -j DROP",
    "-m owner --uid-owner 0 -p udp --dport 53 -j DROP",
    "-p tcp -j DROP",
    "-m conntrack --ctstate NEW -p udp -j REJECT",
)
PACKETS = ((FAR, 53), (FAR, 80), (ip_address("10.9.0.100"), 85), (ip_address("127.0.0.1"), 80))


def refused(host: Namespace) -> list[bool]:
    """Whether the kernel lets each of the packets go."""

    def send(address: str, port: int) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind(("0.0.0.0", 40000))
            try:
                one.sendto(b"x", (address, port))
            except PermissionError:
                return True
            return False

    return [host.call(send, str(address), port) for address, port in PACKETS]


def foretold(host: Namespace) -> list[bool]:
    """The same by the reading of the rules."""
    ruleset = host.call(checkup.observe_rules)
    found = []
    for address, port in PACKETS:
        device, source = ("lo", address) if address.is_loopback else ("eth0", OWN)
        one = Packet("udp", source, address, 40000, port, device)
        fates = [
            fate.verdict
            for base in ruleset.bases("output", 4)
            for fate in packet.judge(ruleset, base, one)
        ]
        assert all(fates), "a rule was not understood"
        found.append(bool({"drop", "reject"} & set(fates)))
    return found


def test_rules_are_read_as_the_kernel_reads_them(host: Namespace) -> None:
    host.sh("ip neighbour add 10.9.0.53 lladdr 02:00:00:00:00:35 dev eth0 nud permanent")
    seen = set()
    for rules in JUDGED:
        lines = "\n".join(rules.split("; "))
        sub = "chain sub { udp dport 53 return; accept; }"
        hook = "type filter hook output priority 0;"
        text = f"table inet f {{\n{sub}\nchain out {{ {hook}\n{lines}\n}}\n}}"
        host.call(command.run, ["nft", "-f", "-"], text)
        assert foretold(host) == refused(host), rules
        seen.update(refused(host))
        host.sh("nft delete table inet f")
    for words in SAVED:
        host.sh(f"iptables-nft -A OUTPUT {words}")
        assert foretold(host) == refused(host), words
        host.sh("iptables-nft -F OUTPUT")
    assert seen == {True, False}


RESOLVED = """
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/resolve /run/systemd/resolved.conf.d
touch /run/systemd/resolve/io.systemd.Resolve
printf '[Resolve]\\nDNSOverTLS=%s\\n' "$1" >/run/systemd/resolved.conf.d/tls.conf
printf 'hosts: files resolve [!UNAVAIL=return] dns\\n' >/run/nsswitch.conf
mount --bind /run/nsswitch.conf /etc/nsswitch.conf
shift
exec "$@"
"""


@pytest.mark.parametrize(("word", "state"), [("yes", "fault"), ("no", "ok")])
def test_a_resolver_that_encrypts_is_named(
    host: Namespace, tmp_path: Path, word: str, state: str
) -> None:
    file = tmp_path / "interceptor.yaml"
    plain = settings(tmp_path, node={"domain": "mesh.example"}).model_dump_json()
    file.write_text(plain)
    doctor = [sys.executable, "-m", "interceptor", "doctor", "--json", "--no-self-test"]
    argv = ["unshare", "--mount", "sh", "-euc", RESOLVED, "sh", word, *doctor]
    argv += ["--only", "resolver", "--config", str(file)]
    done = host.call(command.run, argv, check=False)
    found = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    name = "DNS over TLS" if word == "yes" else "systemd-resolved"
    assert found[name]["state"] == state
    assert f"DNSOverTLS={word}" in found[name]["seen"]
    assert done.code == (1 if state == "fault" else 0)


PLANTED = "Planted0Secret"


@pytest.mark.envoy
def test_a_bundle_has_the_whole_host_and_none_of_its_secrets(lab: Lab, tmp_path: Path) -> None:
    over = {
        "node": {"labels": {"db_password": PLANTED, "app": "web"}},
        "capture": {"backend": "nftables"},
    }
    one = lab_agent.prepare(lab, "vm", over)
    one.start()
    comment = f"nft 'add table inet foreign {{ comment \"token={PLANTED}\"; }}'"
    lab.run("vm", ["sh", "-euc", comment])
    with (lab.host_folder("vm") / "run" / "sidecar.log").open("a") as file:
        file.write(f"[warning] Authorization: Bearer {PLANTED}\n")
    path = tmp_path / "report.tar.gz"
    words = ("doctor", "--no-self-test", "--with-mesh", "--bundle", str(path))
    done = one.run(*words, timeout_s=120, check=False)
    one.stop()
    assert "secrets removed" in done.stderr, done.stderr
    texts = _texts(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not [name for name, text in texts.items() if PLANTED in text]
    assert json.loads(texts["status.json"])["backend"] == "nftables"
    assert "interceptor_table_hosts" in texts["metrics.txt"]
    assert "table inet interceptor" in texts["rules/nft.txt"]
    assert "table inet foreign" in texts["rules/nft.txt"]
    assert "reviews.bookinfo" in texts["mesh.json"]
    assert "outbound|9080||reviews" in texts["envoy/config_dump.json"]
    assert "Linux version" in texts["host/kernel.txt"]
    checks = {each["name"]: each for each in json.loads(texts["doctor.json"])["checks"]}
    assert not [name for name, each in checks.items() if each["state"] == "fault"], checks
    assert checks["ports"]["seen"].endswith("are ours")
    assert done.code == 0
    assert "app: web" in texts["config.yaml"]
    assert "undo" in texts["journal.txt"] or texts["journal.txt"].strip()


def _texts(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        found = {}
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            found[member.name.partition("/")[2]] = file.read().decode()
        return found
