"""Connections of the netfilter back ends, as a source of events.

No rule is installed for it. The kernel's connection tracking tells each new connection with what
became of it: where it was redirected to stands in the ends of its reply, so that the verdict told
is what happened. Which rule that was the plan says, asked about the same flow with the socket's
own user, group, mark and cgroup; where it says something else than what happened, that is told
instead of a rule.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from time import monotonic

from interceptor.capture.plan import Flow, Hook, Plan, Steering, Verdict
from interceptor.debug import event as events
from interceptor.debug import judging
from interceptor.debug.allowance import Allowance
from interceptor.debug.event import Event, Kind, Sink
from interceptor.debug.flows import Flows
from interceptor.debug.judging import Judge, View
from interceptor.errors import InterceptorError
from interceptor.host import conntrack, socketdiag
from interceptor.host.conntrack import Listening, Tracked
from interceptor.host.process import NOBODY, Finder, Process
from interceptor.host.socketdiag import Socket

EACH_S = 1000  # connections told in a second: each takes about 0.2 ms
SETTLE_S = 0.05  # until a listener has accepted what arrived
UNSEEN = " (so planned; TPROXY leaves nothing to see it by)"


def hook_of(tracked: Tracked, plan: Plan) -> Hook:
    """Whether this host calls, or is called. What the sidecar sends in the name of a client
    (TPROXY) bears the mark by which its connection is known."""
    if plan.steering.tproxy and tracked.mark == plan.steering.tproxy_mark:
        return Hook.OUTPUT
    return Hook.OUTPUT if judging.is_own(tracked.source, plan) else Hook.PREROUTING


def happened(tracked: Tracked, steering: Steering) -> Verdict:
    """What NAT made of it. A redirection that is another's is none of ours."""
    if not tracked.is_redirected:
        return Verdict.PASS
    ports = {
        steering.outbound_port: Verdict.OUTBOUND,
        steering.inbound_port: Verdict.INBOUND,
        steering.dns_port: Verdict.DNS,
    }
    return ports.get(tracked.reached_port, Verdict.PASS)


def _uid(found: Socket) -> int | None:
    """0 of a socket that nobody holds is not root's."""
    return found.uid if found.inode else None


def _reached(tracked: Tracked, done: Verdict, steering: Steering) -> str:
    if done is Verdict.INBOUND and not tracked.is_redirected:  # TPROXY
        local = "127.0.0.1" if tracked.destination.version == 4 else "::1"
        return events.end(local, steering.inbound_port)
    return events.end(str(tracked.reached), tracked.reached_port)


class Netfilter:
    """A `Source`. ``finder`` and ``flows`` are shared with others of the same loop."""

    def __init__(self, view: View, finder: Finder, flows: Flows) -> None:
        self._view = view
        self._finder = finder
        self._flows = flows
        self._allowance = Allowance(EACH_S)
        self._judge = Judge()
        self._listening: Listening | None = None
        self._sink: Sink | None = None
        self._dropped = 0

    @property
    def left_out(self) -> int:
        """Also what the kernel dropped, where it may be of other protocols."""
        here = 0 if self._listening is None else self._listening.dropped
        return self._allowance.refused + self._dropped + here

    async def open(self, sink: Sink) -> None:
        if self._listening is None:
            self._listening = Listening()
            asyncio.get_running_loop().add_reader(self._listening.fd, self._read)
        self._sink = sink
        if not conntrack.is_told():
            raise InterceptorError(
                f"connections are not told: write 2 to {conntrack.EVENTS}, and trace again"
            )

    async def close(self) -> None:
        opened, self._listening = self._listening, None
        self._sink = None
        self._judge.forget()
        self._finder.close()
        if opened is not None:
            asyncio.get_running_loop().remove_reader(opened.fd)
            self._dropped += opened.dropped
            opened.close()

    def _read(self) -> None:
        plan, listening = self._view.plan(), self._listening
        if listening is None:
            return
        at_s = monotonic()
        for tracked in listening.read():
            if plan is None or not self._allowance.take():
                continue
            if plan.steering.tproxy and hook_of(tracked, plan) is Hook.PREROUTING:
                loop = asyncio.get_running_loop()
                loop.call_later(SETTLE_S, self._tell, tracked, plan, at_s)
            else:
                self._tell(tracked, plan, at_s)

    def _tell(self, tracked: Tracked, plan: Plan, at_s: float) -> None:
        if self._sink is not None and (event := self._build(tracked, plan)) is not None:
            self._sink(replace(event, time_s=events.observe_date(at_s)))

    def _build(self, tracked: Tracked, plan: Plan) -> Event | None:
        """None for DNS over TCP that the responder has: it tells of the queries."""
        hook = hook_of(tracked, plan)
        found = self._socket(tracked, hook)
        whose = NOBODY if found is None else replace(self._finder.of(found), uid=_uid(found))
        decided = self._judge.decide(plan, self._flow(tracked, plan, hook, found, whose))
        done, note = happened(tracked, plan.steering), ""
        if plan.steering.tproxy and (hook, decided.verdict) == (Hook.PREROUTING, Verdict.INBOUND):
            done, note = self._transparent(tracked, plan)
        if done is Verdict.DNS:
            return None
        if hook is Hook.OUTPUT:
            self._flows.note(tracked.client, tracked.server, whose)
        rule, why = judging.reason(done, decided, is_known=whose.uid is not None)
        return Event(
            time_s=0.0,
            kind=Kind.CONNECTION,
            plane="netfilter",
            verdict=done.value,
            protocol="tcp",
            source=tracked.client[0],
            source_port=tracked.source_port,
            destination=tracked.server[0],
            port=tracked.port,
            host=self._view.host(tracked.destination, tracked.port, hook is Hook.PREROUTING),
            rule=rule,
            why=why + note,
            to=_reached(tracked, done, plan.steering),
            uid=whose.uid,
            pid=whose.pid,
            comm=whose.comm,
            unit=whose.unit,
        )

    def _socket(self, tracked: Tracked, hook: Hook) -> Socket | None:
        """Of who calls; of who listens where it arrived."""
        if hook is Hook.OUTPUT:
            found = self._finder.ask("tcp", tracked.client, tracked.server)
            return None if found is None or found.state == socketdiag.LISTEN else found
        return self._finder.ask("tcp", (str(tracked.reached), tracked.reached_port))

    def _flow(
        self, tracked: Tracked, plan: Plan, hook: Hook, found: Socket | None, whose: Process
    ) -> Flow:
        """As the rules saw it."""
        outgoing = hook is Hook.OUTPUT
        to = tracked.destination if outgoing else tracked.source
        mark = found.mark if found is not None and outgoing else 0
        return Flow(
            hook=hook,
            protocol="tcp",
            source=tracked.source,
            destination=tracked.destination,
            port=tracked.port,
            interface=judging.interface(plan, to, self._view.device),
            uid=whose.uid if outgoing else None,
            gid=whose.gid if outgoing else None,
            cgroup=whose.cgroup if outgoing else "",
            mark=mark or (tracked.mark if outgoing else 0),
        )

    def _transparent(self, tracked: Tracked, plan: Plan) -> tuple[Verdict, str]:
        """What became of an arrival with TPROXY, which leaves its ends as they are: whoever has
        accepted it also listens on the inbound port, or does not."""
        local = "127.0.0.1" if tracked.destination.version == 4 else "::1"
        listening = self._finder.ask("tcp", (local, plan.steering.inbound_port))
        accepted = self._finder.ask("tcp", tracked.server, tracked.client)
        if listening is None or accepted is None or not accepted.inode:
            return Verdict.INBOUND, UNSEEN
        is_sidecar = self._finder.of(listening).pid == self._finder.of(accepted).pid
        return (Verdict.INBOUND if is_sidecar else Verdict.PASS), ""
