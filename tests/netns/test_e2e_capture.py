"""What a capture of a real mesh tells, read by Wireshark's own tools."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from interceptor.errors import CommandFailed
from interceptor.host import command
from interceptor.lab.agent import Agent
from interceptor.lab.removal import wait_until
from interceptor.lab.world import PACKAGE_ROOT

pytestmark = [pytest.mark.root, pytest.mark.envoy]

HOST = "reviews.bookinfo.svc.cluster.local"
OTHER = "www.corp.example"
VIP, VM, SERVER = "10.96.0.11", "10.77.0.10", "10.77.0.53"
WHO = r"(; [^;]+\[\d+\])?(; uid 0)?"  # a process that has ended meanwhile cannot be told
ENDPOINTS = {"10.77.0.41", "10.77.0.51"}
FIELDS = (
    *("frame.interface_name", "frame.comment", "ip.src", "ip.dst"),
    *("tcp.dstport", "dns.qry.name", "dns.flags.response", "dns.a", "tcp.flags.str"),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One packet, as tshark tells of it."""

    interface: str
    comment: str
    source: str
    destination: str
    port: str
    name: str
    is_answer: bool
    address: str
    flags: str


def dig(agent: Agent, *words: str) -> str:
    argv = ["dig", "+short", "+tries=2", "+timeout=2", *words]
    return agent.lab.run(agent.host, argv, check=False).stdout.strip()


def curl(agent: Agent, url: str) -> str:
    return agent.lab.run(agent.host, ["curl", "-4sS", "-m", "5", url], check=False).stdout.strip()


def call(agent: Agent) -> None:
    """A mesh name and another's, each over UDP and TCP, a service, and a place of nobody's."""
    assert dig(agent, HOST) == VIP
    assert dig(agent, OTHER) == "10.77.0.61"
    assert dig(agent, "+tcp", HOST) == VIP
    assert dig(agent, "+tcp", OTHER) == "10.77.0.61"
    assert curl(agent, f"http://{HOST}:9080/").startswith("reviews")
    assert curl(agent, "http://10.77.0.31:1/") == ""


def read(file: Path) -> list[Seen]:
    words = [word for field in FIELDS for word in ("-e", field)]
    out = command.run(["tshark", "-r", str(file), "-T", "fields", *words]).stdout
    return [decode(line.split("\t")) for line in out.splitlines()]


def decode(row: list[str]) -> Seen:
    interface, comment, source, destination, port, name, is_answer, address, flags = row
    answered = is_answer in ("1", "True")
    return Seen(interface, comment, source, destination, port, name, answered, address, flags)


@pytest.fixture(scope="module")
def report(member: Agent, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A capture of all the calls, ended by SIGTERM: what it said of itself."""
    file = tmp_path_factory.mktemp("capture") / "a.pcapng"
    argv = ["env", f"PYTHONPATH={PACKAGE_ROOT}", *member.argv("capture", "-w", str(file), "--json")]
    process = member.lab.start("vm", argv, f"capture-{file.parent.name}")
    wait_until(lambda: file.exists() and file.stat().st_size > 0, "the capture", 30)
    call(member)
    late = "ip link add late0 type veth peer name late1; ip link set late0 up; ip link set late1 up"
    member.lab.run("vm", ["sh", "-euc", late])
    wait_until(lambda: is_listened_to(member, "late0"), "a socket on a link that came later", 20)
    member.lab.run("vm", ["ip", "link", "del", "late0"])
    wait_until(lambda: b"endpoint of" in file.read_bytes(), "the last packet's being written", 20)
    assert process.stop(10) == 0
    told: dict[str, object] = json.loads(member.lab.log("vm", f"capture-{file.parent.name}"))
    return told


def is_listened_to(agent: Agent, link: str) -> bool:
    """Whether a packet socket hangs on the link, by the kernel's word."""
    script = f"ip -oneline link show {link}; tail -n +2 /proc/net/packet"
    first, *rows = agent.lab.run("vm", ["sh", "-euc", script]).stdout.splitlines()
    return first.split(":")[0] in {row.split()[4] for row in rows}


@pytest.fixture(scope="module")
def packets(report: dict[str, object]) -> list[Seen]:
    files = report["files"]
    assert isinstance(files, list)
    return read(Path(files[0]))


def test_a_mesh_name_is_seen_asked_and_answered_though_no_link_shows_the_query(
    packets: list[Seen],
) -> None:
    found = [each for each in packets if each.interface == "answered" and each.name == HOST]
    asked = [each for each in found if not each.is_answer and each.destination == SERVER]
    told = [each for each in found if each.is_answer and each.address == VIP]
    assert asked
    assert told
    assert all(f"answered from mesh table: {HOST} → {VIP}" in each.comment for each in told)
    assert all("rebuilt from its answer" in each.comment for each in asked)
    links = [each for each in packets if each.interface.startswith(("uplink", "local"))]
    assert not [each for each in links if each.name == HOST]


def test_another_s_name_has_no_answer_of_ours(packets: list[Seen]) -> None:
    found = [each for each in packets if each.name == OTHER]
    assert {each.is_answer for each in found} == {True, False}
    assert not [each for each in found if "answered" in each.interface + each.comment]
    sent = [each for each in found if each.interface == "uplink eth0" and not each.port]
    assert sent[0].comment.startswith("passed on untouched")


def test_a_captured_connection_is_seen_before_and_after_its_redirection(
    packets: list[Seen],
) -> None:
    before = [each for each in packets if each.interface == "app" and each.port == "9080"]
    after = [each for each in packets if each.interface == "to-sidecar"]
    assert {(each.source, each.destination) for each in before} == {(VM, VIP)}
    assert {each.destination.split(".")[0] for each in after} == {"127", VM.split(".")[0]}
    forth = [each for each in after if each.destination.startswith("127.")]
    assert len(forth) == len(before)
    rule = rf"outbound rule 7: VIP of {re.escape(HOST)} → (127\.0\.0\.1:)?15001{WHO}"
    assert all(re.fullmatch(rule, each.comment) for each in before + after), before[0].comment
    assert any("S" in each.flags for each in before)


def test_the_sidecar_s_own_connection_is_told_with_its_endpoint(packets: list[Seen]) -> None:
    found = [each for each in packets if each.interface == "sidecar out eth0"]
    assert {each.destination for each in found} - {VM} <= ENDPOINTS
    assert all(f"endpoint of {HOST}" in each.comment for each in found)
    assert found


def test_dns_over_tcp_is_seen_on_its_way_to_the_agent(packets: list[Seen]) -> None:
    found = [each for each in packets if each.interface == "app" and each.name == HOST]
    told = [each for each in found if each.is_answer and each.port]
    assert len(told) == 1
    assert re.fullmatch(rf"answered from mesh table: {HOST} → {VIP}{WHO}", told[0].comment)
    assert any(each.interface == "to-agent" for each in packets)


def test_what_is_nobody_s_is_left_out(packets: list[Seen]) -> None:
    assert not [each for each in packets if "10.77.0.31" in (each.source, each.destination)]


def test_a_rebuilt_packet_is_whole_by_wireshark_s_judgement(report: dict[str, object]) -> None:
    files = report["files"]
    assert isinstance(files, list)
    prefs = ("ip.check_checksum", "tcp.check_checksum", "udp.check_checksum")
    words = [word for pref in prefs for word in ("-o", f"{pref}:TRUE")]
    wrong = "ip.checksum.status == 0 or tcp.checksum.status == 0 or udp.checksum.status == 0"
    shown = f'frame.comment contains "rebuilt" and ({wrong} or _ws.malformed)'
    assert command.run(["tshark", "-r", files[0], *words, "-Y", shown]).stdout == ""
    shown = 'frame.comment contains "rebuilt"'
    assert command.run(["tshark", "-r", files[0], *words, "-Y", shown]).stdout


def test_the_file_is_whole_and_nothing_was_lost(report: dict[str, object]) -> None:
    files = report["files"]
    assert isinstance(files, list)
    text = command.run(["capinfos", files[0]]).stdout
    assert f"Number of packets:   {report['packets']}\n" in text
    assert "Strict time order:   True" in text
    assert report["dropped"] == 0
    assert report["notes"] == []
    assert Path(files[0]).stat().st_mode & 0o777 == 0o600


def test_links_that_come_later_are_listened_to(report: dict[str, object]) -> None:
    links = report["links"]
    assert isinstance(links, dict)
    assert links.keys() == {"lo", "eth0", "late0", "late1"}


def test_the_daemon_s_decisions_were_heard(report: dict[str, object]) -> None:
    decisions = report["decisions"]
    assert isinstance(decisions, dict)
    assert decisions["heard"] >= 2


def test_who_may_not_see_packets_is_told_what_it_takes(member: Agent, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="run as root, or with CAP_NET_RAW") as caught:
        member.run_unprivileged("capture", "-w", str(tmp_path / "a"))
    assert caught.value.code == 1


@pytest.mark.parametrize("member", ["nftables"], indirect=True)
def test_wireshark_captures_through_us(member: Agent, tmp_path: Path) -> None:
    """tshark finds `interceptor` among its interfaces, captures from it, and shows comments."""
    home = f"HOME={tmp_path}"
    env = ["env", f"PYTHONPATH={PACKAGE_ROOT}", home, f"XDG_CONFIG_HOME={tmp_path}/.config"]
    member.lab.run("vm", [*env, *member.argv("extcap", "--install")])
    listed = member.lab.run("vm", [*env, "tshark", "-D"]).stdout
    assert "interceptor (interceptor: packets with decisions)" in listed
    file = tmp_path / "a.pcapng"
    option = f"extcap.interceptor.config:{member.config}"
    argv = ["tshark", "-i", "interceptor", "-o", option, "-w", str(file), "-a", "duration:60"]
    process = member.lab.start("vm", [*env, *argv], f"tshark-{tmp_path.name}")
    try:
        wait_until(lambda: asked(member, file), "a packet with its comment", 45)
    finally:
        process.stop(10)
    found = [each for each in read(file) if each.interface == "answered" and each.is_answer]
    assert f"answered from mesh table: {HOST} → {VIP}" in found[0].comment


def asked(agent: Agent, file: Path) -> bool:
    assert dig(agent, HOST) == VIP
    return file.exists() and b"answered from mesh table" in file.read_bytes()
