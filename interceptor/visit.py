"""The doctor's rounds: every host of the mesh is asked about as `explain` would, offline.

The plan is built once, nothing is sent, and the number of calls looked at is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from interceptor import assembly, inquiry
from interceptor.capture import fact, plan, scope
from interceptor.capture.plan import Verdict
from interceptor.config import Config
from interceptor.debug import diagnosis
from interceptor.debug.case import Asked, Case
from interceptor.debug.doctor.fact import Ailment
from interceptor.inquiry import Question
from interceptor.mesh.model import Address, AppProtocol, Host, Port

MOST_CALLS = 500
MOST_COMPARED = 4_000_000
"""Each call is held against every host of the table, for addresses that two of them have."""


def examine(config: Config) -> tuple[Case, tuple[Ailment, ...]]:
    """The table as it can be had, and what is wrong with calls to its hosts. Raises ConfigError
    where there is no table at all."""
    table, problems = inquiry.load(config)
    facts = fact.facts(config)
    asked = Asked("", "tcp", 0)
    start = Case(config, asked, assembly.locale(config), table, problems, facts=facts)
    built = plan.build(config, facts, assembly.places(table))
    judge = scope.Scope(built)
    found: list[Ailment] = []
    most = min(MOST_CALLS, MOST_COMPARED // max(1, len(table)))
    for host, port, address in islice(calls(start), most):
        case = _case(replace(start, plan=built), judge, (host, port), address)
        found += (
            Ailment(case.asked.text, each.cause.value, each.why, each.cure, each.next)
            for each in diagnosis.diagnose(case)
        )
    return start, tuple(dict.fromkeys(found))


def calls(case: Case) -> Iterator[tuple[Host, Port, Address]]:
    """One call to each TCP port of each host, at its first address."""
    for host in case.table.hosts.values():
        if host.is_wildcard or not host.addresses:
            continue
        for port in host.ports:
            if port.protocol is not AppProtocol.UDP:
                yield host, port, host.addresses[0]


def _case(case: Case, judge: scope.Scope, called: tuple[Host, Port], address: Address) -> Case:
    host, port = called
    text = f"{host.name}:{port.number}"
    flow = inquiry.flow(Question("tcp", text, uid=0, gid=0), case.facts, address, port.number, None)
    decision = judge.decide(flow)
    # To find the rule costs a look at every address of the mesh: where it is of interest.
    is_captured = decision.verdict is Verdict.OUTBOUND
    return replace(
        case,
        asked=Asked(text, "tcp", port.number),
        flow=flow,
        decision=decision,
        rule=None if is_captured else scope.match(case.plan, flow),
        called=called,
    )
