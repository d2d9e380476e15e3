"""Records of the programs as events: who, which rule and answer, where to.

A call is told by the process that makes it before it has a source port, and once more, with both
its ends, when it reaches the sidecar's listener. The two are told as one event, where it is
certain that they belong together.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from ipaddress import ip_address
from time import monotonic

from interceptor.capture.plan import Flow, Hook, Steering, Verdict
from interceptor.debug import event as events
from interceptor.debug import judging, sentence
from interceptor.debug.event import Event, Kind
from interceptor.debug.flows import Flows
from interceptor.debug.judging import Judge, View
from interceptor.host import clock
from interceptor.host.bpfevent import Record
from interceptor.host.layout import EventKind
from interceptor.host.process import NOBODY, Finder, Process, unit_of
from interceptor.mesh.model import Address
from interceptor.mesh.outcome import type_name

ANYWHERE = {4: ip_address("0.0.0.0"), 6: ip_address("::")}
CAPTURED = ("outbound", "self", "dns", "full")  # results of a call that is sent to an alias
PATIENCE = 2  # turns that a call waits to be told of again
WAITING = 1000  # calls
MAKERS = 4096  # sockets


class Teller:
    """One at a time; asks the host by ``finder``."""

    def __init__(self, view: View, finder: Finder, flows: Flows) -> None:
        self._view = view
        self._finder = finder
        self._flows = flows
        self._judge = Judge()
        self._calls: deque[tuple[int, Record]] = deque()  # turn, call; oldest first
        self._turn = 0
        self._makers: OrderedDict[int, Process] = OrderedDict()  # by their sockets' cookies

    @property
    def is_waiting(self) -> bool:
        """Whether a call has not been told yet: ask for the `rest` in a while."""
        return bool(self._calls)

    def forget(self) -> None:
        self._calls.clear()
        self._makers.clear()
        self._judge.forget()

    def take(self, record: Record) -> list[Event]:
        """The events that can be told now."""
        match record.kind:
            case EventKind.SOCKET:
                self._made(record)
                return []
            case EventKind.DNS:
                return [] if record.result == "handover" else [self._query(record)]
            case EventKind.CONNECT if record.result in CAPTURED and len(self._calls) < WAITING:
                self._calls.append((self._turn, record))
                return []
            case EventKind.CONNECT:
                return self._call(record, None)
            case EventKind.ALIAS:
                call = self._match(record)
                return [] if call is None else self._call(call, record)
            case EventKind.LOOKUP:
                return self._arrival(record)

    def rest(self) -> list[Event]:
        """Calls that nobody has told of again in time. To be asked for once a turn."""
        self._turn += 1
        found: list[Event] = []
        while self._calls and self._turn - self._calls[0][0] >= PATIENCE:
            found += self._call(self._calls.popleft()[1], None)
        return found

    def _match(self, reached: Record) -> Record | None:
        """The call that has reached its alias; None where it may be one of several processes'."""
        wanted = reached.address, reached.port
        alike = [each for _, each in self._calls if (each.address, each.port) == wanted]
        if not alike or any(each.pid != alike[0].pid for each in alike):
            return None
        kept = ((turn, each) for turn, each in self._calls if each is not alike[0])
        self._calls = deque(kept)
        return alike[0]

    def _query(self, record: Record) -> Event:
        whose = self._asker(record)
        verdict = sentence.DNS_VERDICTS.get(record.result, Verdict.PASS.value)
        why, host = sentence.DNS_WHY.get(record.result, ""), ""
        answers: tuple[str, ...] = ()
        found = self._view.resolve(record.name, record.qtype) if not why else None
        if found is not None and found.verdict.value == verdict:
            answers = tuple(answer.data for answer in found.answers)
            why, host = found.why, found.host
        elif not why:
            why = "by the kernel's table" if found is None else "the table has changed since"
        return Event(
            time_s=_date(record),
            kind=Kind.DNS,
            plane="kernel",
            verdict=verdict,
            protocol="udp",
            source=_text(record.source),
            source_port=record.source_port,
            destination=_text(record.address),
            port=53 if record.address else 0,
            name=record.name,
            qtype=type_name(record.qtype) if record.qtype else "",
            answers=answers,
            host=host,
            why=why,
            uid=whose.uid,
            pid=whose.pid,
            comm=whose.comm,
            unit=whose.unit,
        )

    def _made(self, record: Record) -> None:
        """Who makes a socket is looked at now, while it is there."""
        self._makers[record.cookie] = self._finder.process(record.pid, record.comm)
        if len(self._makers) > MAKERS:
            self._makers.popitem(last=False)

    def _asker(self, record: Record) -> Process:
        """Who has made the socket; of one that is older than the trace, by looking."""
        if not record.cookie:
            return NOBODY
        found = self._makers.get(record.cookie, NOBODY)
        if not found.pid and record.source and record.address:
            ends = (str(record.source), record.source_port), (str(record.address), 53)
            found = self._finder.find("udp", *ends)
        path = self._finder.cgroup(record.cgroup) or found.cgroup
        unit = found.unit or unit_of(path)
        return Process(found.pid, found.comm, unit, record.uid, found.gid, path)

    def _process(self, record: Record) -> Process:
        whose = self._finder.process(record.pid, record.comm) if record.pid else NOBODY
        path = self._finder.cgroup(record.cgroup) or whose.cgroup
        unit = whose.unit or unit_of(path)
        return Process(whose.pid, whose.comm, unit, record.uid, whose.gid, path)

    def _call(self, record: Record, reached: Record | None) -> list[Event]:
        """Nothing for DNS over TCP that the responder has: it tells of the queries."""
        done = sentence.verdict_of(record.result)
        if done is Verdict.DNS or record.address is None:
            return []
        whose, source = self._process(record), reached.source if reached else None
        rule, why = self._reason(record, done, whose, source)
        port = reached.source_port if reached else 0
        if reached is not None:
            self._flows.note((_text(source), port), (_text(record.address), record.port), whose)
            why += f"; {sentence.REFUSED}" if reached.result == "refused" else ""
        return [self._event(record, done, (_text(source), port), (rule, why), whose)]

    def _arrival(self, record: Record) -> list[Event]:
        if record.address is None:
            return []
        is_refused = record.result == "refused"
        done = Verdict.INBOUND if is_refused else sentence.verdict_of(record.result)
        rule, why = self._reason(record, done, NOBODY, record.source)
        if is_refused:
            why = f"{why}; {sentence.REFUSED}" if rule else sentence.REFUSED
        plan = self._view.plan()
        at = plan.steering.inbound_port if plan and done is Verdict.INBOUND else record.port
        listening = self._finder.ask("tcp", (str(record.address), at))
        whose = NOBODY if listening is None else self._finder.of(listening)
        source = _text(record.source), record.source_port
        return [self._event(record, done, source, (rule, why), whose)]

    def _reason(
        self, record: Record, done: Verdict, whose: Process, source: Address | None
    ) -> tuple[int, str]:
        """The plan's rule; the program's own word where the plan says another thing."""
        plan, to = self._view.plan(), record.address
        if plan is None or to is None:
            return 0, sentence.CALL_WHY.get(record.result, "")
        arrives = record.kind is EventKind.LOOKUP
        far = source or ANYWHERE[to.version]
        flow = Flow(
            hook=Hook.PREROUTING if arrives else Hook.OUTPUT,
            protocol="tcp",
            source=far,
            destination=to,
            port=record.port,
            interface=judging.interface(plan, far if arrives else to, self._view.device),
            uid=record.uid,
            gid=whose.gid,
            cgroup=whose.cgroup,
        )
        rule, why = judging.reason(done, self._judge.decide(plan, flow), is_known=True)
        return (rule, why) if rule else (0, sentence.CALL_WHY.get(record.result, why))

    def _event(
        self,
        record: Record,
        done: Verdict,
        source: tuple[str, int],
        reason: tuple[int, str],
        whose: Process,
    ) -> Event:
        assert record.address is not None
        plan, arrives = self._view.plan(), record.kind is EventKind.LOOKUP
        return Event(
            time_s=_date(record),
            kind=Kind.CONNECTION,
            plane="ebpf",
            verdict=done.value,
            protocol="tcp",
            source=source[0],
            source_port=source[1],
            destination=str(record.address),
            port=record.port,
            host=self._view.host(record.address, record.port, arrives),
            rule=reason[0],
            why=reason[1],
            to=_to(record, done, plan.steering if plan else Steering()),
            uid=whose.uid,
            pid=whose.pid,
            comm=whose.comm,
            unit=whose.unit,
        )


def _to(record: Record, done: Verdict, steering: Steering) -> str:
    ports = {Verdict.OUTBOUND: steering.outbound_port, Verdict.INBOUND: steering.inbound_port}
    if done in ports and record.address is not None:
        return events.end("127.0.0.1" if record.address.version == 4 else "::1", ports[done])
    return events.end(_text(record.address), record.port)


def _text(address: Address | None) -> str:
    return "" if address is None else str(address)


def _date(record: Record) -> float:
    """By the age of the record: in a time namespace the two clocks differ."""
    age_ns = clock.kernel_ns() - record.time_ns
    return events.observe_date(monotonic() - age_ns / 1e9)
