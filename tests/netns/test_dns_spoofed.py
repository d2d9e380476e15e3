"""Other hosts get no answer, and nobody gets a longer one than DNS allows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from interceptor.lab import agent as lab_agent
from interceptor.lab.agent import Agent
from interceptor.lab.world import Lab

pytestmark = [pytest.mark.root]

VM4, VM6, PEER4, PEER6 = "10.77.0.10", "fd77::10", "10.77.0.61", "fd77::61"

# Sends queries to the VM and prints every DNS answer that comes back, and how many were sent.
SPOOF = """
import json, sys
from scapy.all import AsyncSniffer, DNS, DNSQR, DNSRR, DNSRROPT, Ether, IP, IPv6, Raw, TCP, UDP
from scapy.all import conf, sendp, srp1
conf.verb = 0
vm4, vm6, mac, ours = sys.argv[1:5]
name = "reviews.bookinfo.svc.cluster.local"
queries = [
    DNS(rd=1, qd=DNSQR(qname=name)),
    DNS(rd=1, qd=DNSQR(qname=name, qtype=255), ar=DNSRROPT(rclass=65535)),
    DNS(rd=1, qr=1, qd=DNSQR(qname=name), an=DNSRR(rrname=name, rdata="192.0.2.66")),
    DNS(rd=1, opcode=4, qd=DNSQR(qname=name)),
    DNS(rd=1, opcode=5, qd=DNSQR(qname=name)),
    Raw(b""), Raw(b"\\xff" * 600), Raw(bytes(12)),
]
sources = {4: ("10.77.0.61", "10.77.0.10", "127.0.0.1", "192.0.2.66"),
           6: ("fd77::61", "fd77::10", "::1", "2001:db8::66")}
sniffer = AsyncSniffer(iface="eth0", filter="udp and src port 53 or icmp or icmp6")
sniffer.start()
import time; time.sleep(0.5)
sent = 0
for query in queries:
    for family, layer, to in ((4, IP, vm4), (6, IPv6, vm6)):
        for source in sources[family]:
            for sport in (40000, 53):
                packet = Ether(dst=mac) / layer(src=source, dst=to) / UDP(sport=sport, dport=53)
                sendp(packet / query, iface="eth0"); sent += 1
time.sleep(1)
found = sniffer.stop()
answers = [p.summary() for p in found if p.haslayer(UDP) and p[UDP].sport == 53 and p.src == mac
           and not p.haslayer("ICMP") and not p.haslayer("ICMPv6DestUnreach")]
syn = srp1(Ether(dst=mac) / IP(dst=vm4) / TCP(dport=53, flags="S"), iface="eth0", timeout=2)
relay = srp1(Ether(dst=mac) / IP(dst=vm4) / TCP(dport=15053, flags="S"), iface="eth0", timeout=2)
flags = [str(p[TCP].flags) if p is not None else "" for p in (syn, relay)]
print(json.dumps({"sent": sent, "answers": answers, "tcp": flags}))
"""

# Asks from the VM itself, with sizes and flags of all kinds; prints what came back.
ASK = """
import json, socket, struct, sys
name = b"".join(bytes([len(l)]) + l for l in sys.argv[2].encode().split(b".")) + b"\\0"
def ask(flags, counts, tail=b"", size=None):
    opt = b"" if size is None else struct.pack("!BHHIH", 0, 41, size, 0, 0)
    counts = (*counts[:3], counts[3] + (size is not None))
    message = struct.pack("!6H", 0x1234, flags, *counts) + name + struct.pack("!HH", 1, 1)
    message += tail + opt
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(1)
        one.connect((sys.argv[1], 53))
        one.send(message)
        try:
            data = one.recv(65535)
        except (TimeoutError, OSError):
            return None
        ours = len(data) >= 4 and bool(data[2] & 4)
        return {"asked": len(message), "size": len(data), "tc": bool(data[2] & 2), "aa": ours}
out = {}
for size in (None, 0, 100, 511, 512, 513, 1231, 1232, 1233, 4096, 65535):
    out[f"size {size}"] = ask(0x0100, (1, 0, 0, 0), size=size)
second = name + struct.pack("!HH", 1, 1)
out["two questions"] = ask(0x0100, (2, 0, 0, 0), second)
out["no question"] = ask(0x0100, (0, 0, 0, 0))
out["a response"] = ask(0x8180, (1, 0, 0, 0))
for opcode in (1, 2, 4, 5, 15):
    out[f"opcode {opcode}"] = ask(0x0100 | opcode << 11, (1, 0, 0, 0))
out["trailing"] = ask(0x0100, (1, 0, 0, 0), b"trailing")
out["cut"] = ask(0x0100, (1, 0, 0, 7))
print(json.dumps(out))
"""

MANY = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: many, namespace: bookinfo}}
spec:
  hosts: [many.mesh.internal]
  addresses: [{addresses}]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 10.77.0.61}}]
"""


@pytest.fixture(scope="module", params=["nftables", "iptables", "ebpf"])
def asked(request: pytest.FixtureRequest) -> Iterator[Agent]:
    with Lab.open() as lab:
        over = {
            "capture": {"backend": request.param, "enabled": False},
            "sidecar": {"mode": "none"},
        }
        one = lab_agent.prepare(lab, "vm", over)
        addresses = ", ".join(f"192.0.2.{n}" for n in range(1, 201))
        (one.mesh / "many.yaml").write_text(MANY.format(addresses=addresses))
        one.start()
        yield one
        one.stop()


def python(agent: Agent, host: str, script: str, *words: str) -> dict[str, object]:
    done = agent.lab.run(host, [sys.executable, "-c", script, *words], timeout_s=60)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def owner(lab: Lab, address: str) -> str:
    """The host of the lab that has an address."""
    for host in lab.world.hosts:
        if f" {address}/" in lab.run(host.name, ["ip", "-o", "address"]).stdout:
            return host.name
    raise LookupError(address)


def test_queries_of_another_host_get_no_answer_whatever_their_source(asked: Agent) -> None:
    lab = asked.lab
    (link,) = json.loads(lab.run("vm", ["ip", "-json", "link", "show", "eth0"]).stdout)
    told = python(asked, owner(lab, PEER4), SPOOF, VM4, VM6, link["address"], PEER4)
    assert told["sent"] == 128
    assert told["answers"] == []
    assert all("S" not in flags for flags in told["tcp"])  # type: ignore[union-attr,attr-defined]
    argv = ["dig", "+short", "@10.77.0.53", "reviews.bookinfo.svc.cluster.local"]
    assert lab.run("vm", argv).stdout == "10.96.0.11\n", "the agent does not answer at all"


def test_no_answer_is_longer_than_its_client_takes(asked: Agent) -> None:
    told = python(asked, "vm", ASK, "10.77.0.53", "many.mesh.internal")
    for name, answer in told.items():
        if not name.startswith("size "):
            continue
        assert isinstance(answer, dict), f"{name} was not answered"
        offered = name.removeprefix("size ")
        limit = 512 if offered == "None" else max(512, int(offered))
        assert answer["aa"], f"{name} is not our answer"
        assert answer["size"] <= limit, (name, answer)
        assert answer["tc"] == (limit < 3200), (name, answer)


@pytest.mark.parametrize("name", ["reviews.bookinfo", "many.mesh.internal"])
def test_what_is_no_plain_query_is_not_answered_by_us(asked: Agent, name: str) -> None:
    told = python(asked, "vm", ASK, "10.77.0.53", name)
    odd = {key: answer for key, answer in told.items() if not key.startswith("size ")}
    assert len(odd) == 10
    for key, answer in odd.items():
        assert answer is None or not answer["aa"], (key, answer)  # type: ignore[index,call-overload]
