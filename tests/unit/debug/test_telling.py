"""Records as events: which belong together, whose they are, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from interceptor.capture.plan import Facts, Plan, build
from interceptor.config import Config
from interceptor.debug.flows import Flows
from interceptor.debug.judging import View
from interceptor.debug.telling import Teller
from interceptor.host.bpfevent import Record
from interceptor.host.layout import EventKind
from interceptor.host.process import NOBODY, Finder, Process
from interceptor.host.socketdiag import Socket
from interceptor.mesh.outcome import Answer, Resolution, Verdict

ME, VIP, FAR = (ip_address(text) for text in ("10.0.0.2", "240.240.0.7", "8.8.8.8"))
CURL = Process(7, "curl", "a.service", 1000, 1000, "/system.slice/a.service")
CALL = Record(
    *(10**9, EventKind.CONNECT, "outbound", 1000, 0, 7, "curl", 88, 5),
    *(None, 0, VIP, 9080, "", 0),
)
REACHED = replace(CALL, kind=EventKind.ALIAS, uid=None, pid=0, comm="", source=ME, source_port=4000)
QUERY = Record(
    *(10**9, EventKind.DNS, "answer", 1000, 2, 0, "", 88, 99),
    *(ME, 4000, ip_address("192.0.2.53"), 0, "reviews.bookinfo", 1),
)
RESOLUTION = Resolution(
    *("reviews.bookinfo", "A", Verdict.ANSWER, "NOERROR"),
    (Answer("reviews.bookinfo", "A", 30, "240.240.0.7"),),
    *("reviews.bookinfo.svc.cluster.local", "alias of reviews"),
)


class Host(Finder):
    """A host whose processes are made up: pid 7 is curl, and 53 holds every UDP socket."""

    def process(self, pid: int, comm: str = "") -> Process:
        return CURL if pid == 7 else Process(pid, comm)

    def cgroup(self, inode: int) -> str:
        return "/system.slice/a.service" if inode == 88 else ""

    def ask(self, protocol: str, *_: object) -> Socket | None:
        return Socket(1000, 530) if protocol == "udp" else None

    def of(self, one: Socket) -> Process:
        return Process(53, "old", uid=1000) if one.inode == 530 else NOBODY


MADE = replace(QUERY, kind=EventKind.SOCKET, result="outbound", pid=7, comm="curl")


def plan_of(**capture: object) -> Plan:
    return build(Config.model_validate({"capture": capture}), Facts(own_addresses=(ME,)))


class Bench:
    def __init__(self) -> None:
        self.plan: Plan | None = plan_of()
        self.resolution: Resolution | None = RESOLUTION
        self.flows = Flows()
        view = View(
            lambda: self.plan, lambda *_: "reviews", lambda _: "v0", lambda *_: self.resolution
        )
        self.teller = Teller(view, Host(), self.flows)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_call_and_its_arrival_at_the_sidecar_are_one_event(bench: Bench) -> None:
    assert bench.teller.take(CALL) == []
    assert bench.teller.is_waiting
    (event,) = bench.teller.take(REACHED)
    assert not bench.teller.is_waiting
    assert (event.plane, event.verdict, event.rule) == ("ebpf", "outbound", 7)
    assert (event.source, event.source_port) == ("10.0.0.2", 4000)
    assert (event.destination, event.port, event.to) == ("240.240.0.7", 9080, "127.0.0.1:15001")
    assert (event.pid, event.comm, event.unit, event.uid) == (7, "curl", "a.service", 1000)
    assert event.host == "reviews"
    known = bench.flows.find(("10.0.0.2", 4000), ("240.240.0.7", 9080))
    assert (known.pid, known.unit) == (7, "a.service")


def test_a_call_that_does_not_arrive_is_told_all_the_same(bench: Bench) -> None:
    assert bench.teller.take(CALL) == []
    assert bench.teller.rest() == []
    (event,) = bench.teller.rest()
    assert (event.verdict, event.source, event.pid) == ("outbound", "", 7)
    assert bench.teller.take(REACHED) == [], "too late"


def test_nobody_is_guessed_where_two_processes_call_the_same(bench: Bench) -> None:
    bench.teller.take(CALL)
    bench.teller.take(replace(CALL, pid=8))
    assert bench.teller.take(REACHED) == []
    bench.teller.rest()
    assert [event.source for event in bench.teller.rest()] == ["", ""]


def test_a_call_that_the_sidecar_does_not_take_is_told_as_refused(bench: Bench) -> None:
    bench.teller.take(CALL)
    (event,) = bench.teller.take(replace(REACHED, result="refused"))
    assert event.verdict == "outbound"
    assert event.why.endswith("refused: nobody listens on the sidecar's port")


@pytest.mark.parametrize(
    ("result", "destination", "verdict", "rule", "why"),
    [
        ("pass", FAR, "pass", 9, "nothing asks for its capture"),
        ("exempt", VIP, "pass", 0, "exempt: an owner"),
        ("bypass", VIP, "pass", 0, "captured, but nobody listens"),
        ("lease", VIP, "pass", 0, "captured, but the agent has been silent"),
        ("pass", VIP, "pass", 0, "not as planned: rule 7"),
    ],
)
def test_a_rule_is_told_where_the_plan_says_what_happened(
    bench: Bench, result: str, destination, verdict: str, rule: int, why: str
) -> None:
    (event,) = bench.teller.take(replace(CALL, result=result, address=destination))
    assert (event.verdict, event.rule) == (verdict, rule)
    assert event.why.startswith(why)
    assert event.to == f"{destination}:9080"


def test_dns_that_the_responder_has_is_its_own_to_tell(bench: Bench) -> None:
    bench.teller.take(replace(CALL, result="dns"))
    assert bench.teller.take(replace(REACHED, result="dns")) == []
    assert not bench.teller.is_waiting


def test_an_answer_is_told_with_its_addresses_and_why(bench: Bench) -> None:
    assert bench.teller.take(MADE) == []
    (event,) = bench.teller.take(QUERY)
    assert (event.plane, event.verdict, event.qtype) == ("kernel", "answer", "A")
    assert (event.name, event.answers) == ("reviews.bookinfo", ("240.240.0.7",))
    assert (event.host, event.why) == (RESOLUTION.host, RESOLUTION.why)
    assert (event.pid, event.comm) == (7, "curl")


def test_what_the_table_no_longer_says_is_not_told_for_it(bench: Bench) -> None:
    (event,) = bench.teller.take(replace(QUERY, result="nodata"))
    assert (event.verdict, event.answers) == ("nodata", ())
    assert event.why == "the table has changed since"
    bench.resolution = None
    (event,) = bench.teller.take(QUERY)
    assert event.why == "by the kernel's table"


def test_what_is_handed_over_the_worker_tells(bench: Bench) -> None:
    assert bench.teller.take(replace(QUERY, result="handover")) == []


def test_a_socket_older_than_the_trace_is_looked_for(bench: Bench) -> None:
    (event,) = bench.teller.take(QUERY)
    assert (event.pid, event.comm, event.unit) == (53, "old", "a.service")


def test_a_query_without_a_socket_here_is_nobody_s(bench: Bench) -> None:
    (event,) = bench.teller.take(replace(QUERY, cookie=0))
    assert (event.pid, event.uid, event.unit) == (0, None, "")


def test_an_arrival_is_told_by_its_ends(bench: Bench) -> None:
    bench.plan = plan_of(inbound={"ports": "*"})
    arrival = replace(REACHED, kind=EventKind.LOOKUP, source=FAR, address=ME, port=80)
    (event,) = bench.teller.take(replace(arrival, result="inbound"))
    assert (event.verdict, event.rule, event.to) == ("inbound", 8, "127.0.0.1:15006")
    (event,) = bench.teller.take(replace(arrival, result="refused"))
    assert (event.verdict, event.rule) == ("inbound", 8)
    assert event.why.endswith("; refused: nobody listens on the sidecar's port")


def test_without_a_plan_the_program_s_own_word_is_told(bench: Bench) -> None:
    bench.plan = None
    (event,) = bench.teller.take(replace(CALL, result="bypass"))
    assert (event.verdict, event.rule) == ("pass", 0)
    assert event.why.startswith("captured, but nobody listens")
