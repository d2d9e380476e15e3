"""`replay` of a capture gives the verdicts that the live agent gave, one for one.

Thousands of generated queries and connections of every kind are sent on a VM with a running
agent, and what was sent is written down as a pcapng. What really happened is told by who
answered: the agent's DNS in its own words, a recorder in the sidecar's place, or the peer.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from dnslib import QTYPE, RCODE, DNSRecord

from interceptor.cli.main import main
from interceptor.debug import pcap
from interceptor.lab.removal import wait_until
from tests.contract.conformance import client
from tests.contract.conformance.client import Owner
from tests.netns import replay_call, replay_flow, replay_world
from tests.netns.replay_flow import EXEMPT, Book, Fate, Sent
from tests.netns.replay_world import Place

pytestmark = pytest.mark.root

FLOWS = max(2000, int(os.environ.get("REPLAY_FLOWS", "2000")))  # fewer lack some kinds
SEED = int(os.environ.get("REPLAY_SEED", "5"))
STEP = 400  # flows that one process sends


class Traffic:
    """Everything that was sent in one world, with what became of it and its capture."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.flows = replay_flow.flows(FLOWS, SEED)
        self.fates: dict[int, Fate] = {}
        self.book = Book(SEED)
        self.path = place.folder / "sent.pcapng"
        self.rows: Any = []

    def send(self) -> None:
        """Everything once; and what fared otherwise than judged once more, as long as that is
        little: an agent that a busy machine starves lets queries pass, by design."""
        self._send(range(len(self.flows)))
        late = [number for number, _ in differences(self, self.rows)]
        if 0 < len(late) <= FLOWS / 100:
            self._send(late)

    def _send(self, numbers: Iterable[int]) -> None:
        groups: dict[tuple[int, bool], list[int]] = {}
        for number in numbers:
            flow = self.flows[number]
            groups.setdefault((flow.uid, flow.arrives), []).append(number)
        for (uid, arrives), members in groups.items():
            for at in range(0, len(members), STEP):
                some = members[at : at + STEP]
                sent = [self.flows[number] for number in some]
                host, owner = "peer" if arrives else "vm", Owner(uid, uid)
                lab = self.place.lab
                fates = client.run(lab, host, replay_call.send, sent, owner=owner)
                self.fates.update(zip(some, fates, strict=True))
        self.book = Book(SEED)
        for number, flow in enumerate(self.flows):
            self.book.write(flow, self.fates[number])
        self.path.write_bytes(self.book.encode())
        self.rows = self.place.replay(self.path)


@pytest.fixture(scope="module", params=["nftables", "ebpf"])
def traffic(request: pytest.FixtureRequest) -> Iterator[Traffic]:
    with replay_world.opened(request.param) as place:
        made = Traffic(place)
        dump = ["tcpdump", "-i", "vm", "-U", "-w", str(place.folder / "outside.pcap")]
        outside = replay_world.switch(place.lab, [*dump, "--immediate-mode", "-B", "16384"])
        try:
            time.sleep(0.5)  # tcpdump listens before it says so
            made.send()
            time.sleep(0.3)
        finally:
            outside.stop()
        yield made


def told(reply: bytes) -> tuple[str, frozenset[str], bool]:
    """The verdict that a reply shows, its data, and whether it was cut short."""
    if reply[2:7] == b"peer ":
        return "pass", frozenset(), False
    message = DNSRecord.parse(reply)
    data = frozenset(plain(str(row.rdata)) for row in message.rr)
    kinds = {row.rtype for row in message.auth}
    if message.header.rcode == RCODE.NXDOMAIN:
        return "nxdomain", data, False
    return "nodata" if QTYPE.SOA in kinds else "answer", data, bool(message.header.tc)


def plain(data: str) -> str:
    """One spelling of record data."""
    try:
        return str(ip_address(data))
    except ValueError:
        return data.rstrip(".").lower()


def live(flow: Sent, fate: Fate) -> list[tuple[str, frozenset[str], bool]]:
    """What happened, for each packet that is judged."""
    replies = [told(reply) for reply in fate.replies]
    if flow.protocol == "udp":
        return replies or [(fate.end, frozenset(), False)]
    if flow.messages:
        # Whoever brought the last query to the peer had a port of its own.
        port = int(fate.replies[-1][7:]) if replies else 0
        return [("pass" if port == fate.source_port else "dns", frozenset(), False), *replies]
    where, _, dialled = fate.end.partition(" ")
    if where == "refused":
        is_here = flow.arrives or flow.destination in (*replay_flow.VM, "::1")
        return [("pass" if is_here or flow.destination.startswith("127.") else where, *NOTHING)]
    assert dialled == f"{flow.destination} {flow.port}", (flow, fate)
    return [("pass" if where == "peer" else where, *NOTHING)]


NOTHING: tuple[frozenset[str], bool] = (frozenset(), False)


def differences(traffic: Traffic, rows: list[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    """The flows of which a replay does not say what happened, and how."""
    judged = {row["packet"]: row for row in rows}
    for number, flow in enumerate(traffic.flows):
        fate, packets = traffic.fates[number], traffic.book.numbers[number]
        for packet, (verdict, data, is_cut) in zip(packets, live(flow, fate), strict=True):
            row = judged.pop(packet, None)
            if row is None:
                yield number, f"{flow}: not judged, was {verdict}"
                continue
            answers = frozenset(map(plain, row["answers"]))
            if row["verdict"] != verdict:
                yield (
                    number,
                    f"{flow}: judged {row['verdict']} ({row['why']}), was {verdict}: {fate}",
                )
            elif not (data <= answers if is_cut else data == answers) and verdict != "pass":
                yield number, f"{flow}: judged {answers}, was {data}"
    assert not judged, "judged, but never sent"


def test_each_flow_is_judged_as_it_fared(traffic: Traffic) -> None:
    rows = traffic.rows
    assert list(differences(traffic, rows)) == []
    counts = Counter((row["kind"], row["protocol"], row["verdict"]) for row in rows)
    for kind in (("dns", "udp"), ("dns", "tcp")):
        for verdict in ("answer", "nodata", "nxdomain", "pass"):
            assert counts[*kind, verdict] > FLOWS / 1000, counts
    for verdict in ("outbound", "inbound", "pass", "dns"):
        assert counts["connection", "tcp", verdict] > FLOWS / 1000, counts
    assert {row["rule"] for row in rows} == {2, 4, 5, 6, 7, 8, 9}
    versions = Counter(ip_address(row["destination"]).version for row in rows)
    assert min(versions[4], versions[6]) > FLOWS / 4


def test_a_judgement_of_other_settings_is_noticed(traffic: Traffic) -> None:
    """The comparison above can fail: this one is of a configuration that was not live."""
    other = traffic.place.folder / "other.yaml"
    tree = yaml.safe_load(traffic.place.agent.config.read_text())
    tree["capture"]["outbound"] |= replay_world.OTHER["outbound"]
    other.write_text(yaml.safe_dump(tree))
    every: Any = traffic.place.replay(traffic.path, "--against", str(other), "--all", code=4)
    rows = [row for row in every if row["differs"]]
    flows = dict(_packets(traffic))
    assert {flows[row["packet"]].port for row in rows} == {443, 9080}
    for row in rows:
        verdicts = row["left"]["verdict"], row["right"]["verdict"]
        was = {443: ("pass", "outbound"), 9080: ("outbound", "pass")}
        assert verdicts == was[flows[row["packet"]].port]
    right = [row | row["right"] for row in every]
    assert len(list(differences(traffic, right))) == len(rows)


def _packets(traffic: Traffic) -> Iterator[tuple[int, Sent]]:
    for numbers, flow in zip(traffic.book.numbers, traffic.flows, strict=True):
        yield from ((number, flow) for number in numbers)


def test_another_machine_judges_the_same_by_saved_facts(
    traffic: Traffic, capsys: pytest.CaptureFixture[str]
) -> None:
    place = traffic.place
    facts = place.folder / "facts.json"
    facts.write_text(place.agent.run("plan", "--facts", timeout_s=120).stdout)
    argv = ["replay", str(traffic.path), "--json", "--facts", str(facts)]
    with pytest.raises(SystemExit) as ended:
        main([*argv, "--config", str(place.agent.config)])
    assert ended.value.code == 0
    here = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert here == traffic.rows


def test_what_a_plain_tcpdump_saw_outside_is_judged_to_pass(traffic: Traffic) -> None:
    """Outside is only what the agent left alone, and its own relayed queries."""
    place = traffic.place
    path = place.folder / "outside.pcap"
    rows: Any = place.replay(path)
    seen = {_ends(row): row["verdict"] for row in rows if row["hook"] == "output"}
    expected = {
        (flow.protocol, fate.source, fate.source_port, flow.destination, flow.port)
        for number, flow in enumerate(traffic.flows)
        if not flow.arrives and (flow.uid not in EXEMPT or flow.messages == ())
        for fate in (traffic.fates[number],)
        if live(flow, fate)[0][0] == "pass" and fate.end != "refused"
    }
    missing = expected - seen.keys()
    assert len(missing) <= len(expected) / 100, sorted(missing)[:5]
    assert _records(path) > FLOWS
    exempt = set(_sent(traffic, lambda flow: flow.uid in EXEMPT))
    # Of TCP/53 only the agent's relayed connections are outside, from ports of their own.
    ordinary = set(_sent(traffic, lambda flow: flow.protocol == "udp" or not flow.messages))
    ordinary -= exempt
    judged = Counter(verdict for ends, verdict in seen.items() if ends in ordinary)
    assert set(judged) == {"pass"}, judged


def test_our_own_capture_of_a_running_agent_is_judged_as_it_fared(traffic: Traffic) -> None:
    """Queries that the kernel answers are in it, and connections as the application has them."""
    place = traffic.place
    path = place.folder / "own.pcapng"
    flows = [flow for flow in replay_flow.flows(600, SEED + 1) if flow.uid == 1000]
    capture = place.lab.start("vm", place.agent.argv("capture", "-w", str(path)), "capture")
    try:
        wait_until(lambda: path.exists() and path.stat().st_size > 0, "the capture", 30)
        time.sleep(1)
        sent = client.run(place.lab, "vm", replay_call.send, flows, owner=Owner(1000, 1000))
        time.sleep(1)
        capture.signal(signal.SIGINT)
        assert capture.wait(10) == 0, place.lab.log("vm", "capture")
    finally:
        capture.stop()
    rows: Any = place.replay(path)
    judged = defaultdict(set)
    for row in rows:
        judged[row["kind"], *_ends(row)].add(row["verdict"])
    counts, missing = Counter[str](), 0
    for flow, fate in zip(flows, sent, strict=True):
        verdict = live(flow, fate)[0][0]
        if _is_untold(flow, fate, verdict):
            continue
        kind = "dns" if flow.protocol == "udp" else "connection"
        ends = (flow.protocol, fate.source, fate.source_port, flow.destination, flow.port)
        counts[verdict] += 1
        # A busy machine loses packets of a capture; what is there is right.
        missing += (kind, *ends) not in judged
        assert verdict in judged.get((kind, *ends), {verdict}), (flow, fate)
    assert missing <= counts.total() / 20, (missing, place.lab.log("vm", "capture"))
    assert min(counts[word] for word in ("answer", "nodata", "pass", "outbound", "dns")) > 5


def _is_untold(flow: Sent, fate: Fate, verdict: str) -> bool:
    """What such a capture does not have: connections that are left alone, and which version of
    EDNS a query had that is known by its answer only (BADVERS)."""
    if flow.protocol == "tcp" or verdict == "pass":
        return flow.protocol == "tcp" and verdict == "pass"
    rows = DNSRecord.parse(fate.replies[0]).ar
    return any(row.rtype == QTYPE.OPT and row.ttl >> 24 for row in rows)


def _sent(traffic: Traffic, wanted: Callable[[Sent], bool]) -> Iterator[tuple[Any, ...]]:
    """The ends of what the VM sent."""
    for number, flow in enumerate(traffic.flows):
        fate = traffic.fates[number]
        if not flow.arrives and wanted(flow):
            yield flow.protocol, fate.source, fate.source_port, flow.destination, flow.port


def _ends(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("protocol", "source", "source_port", "destination", "port")
    return tuple(row[name] for name in names)


def _records(path: Path) -> int:
    return sum(1 for _ in pcap.read(path))
