"""Which rules stand in which chain: the layout that the netfilter back ends share.

UDP queries and the first packet of a TCP/53 connection go to the DNS worker's
queue before anything is translated; connections are redirected by their first
packet alone (a SYN), so that one which is older than the rules is left alone:
conntrack would take its next packet for a new connection.
"""

from __future__ import annotations

import enum

from interceptor.capture.plan import Plan
from interceptor.capture.rule import Hook, Port, Rule, Verdict

KEEP_WHY = "Envoy calls the application from the address of the client: replies must find Envoy"
REPLY_WHY = "replies to what Envoy sent in the name of a client go to Envoy, not out to the client"


class Section(enum.Enum):
    """One chain of ours; the value is its name in nftables."""

    QUEUE_OUTPUT = "queue_output"
    QUEUE_PREROUTING = "queue_prerouting"
    NAT_OUTPUT = "nat_output"
    NAT_PREROUTING = "nat_prerouting"
    TPROXY = "tproxy_prerouting"
    REPLY = "reply_output"

    @property
    def hook(self) -> Hook:
        return Hook.OUTPUT if self.value.endswith("_output") else Hook.PREROUTING

    @property
    def is_queue(self) -> bool:
        return self in (Section.QUEUE_OUTPUT, Section.QUEUE_PREROUTING)


def sections(plan: Plan) -> tuple[Section, ...]:
    """The chains that the plan needs, whether or not rules stand in them."""
    return tuple(section for section in Section if _wanted(section, plan))


def _wanted(section: Section, plan: Plan) -> bool:
    if section in (Section.TPROXY, Section.REPLY):
        return plan.steering.tproxy and _has_inbound(plan)
    verdicts = {rule.verdict for rule in plan.shape if rule.hook is section.hook}
    if section.is_queue:
        return Verdict.DNS in verdicts
    if section is Section.NAT_PREROUTING and plan.steering.tproxy:
        return bool(verdicts - {Verdict.PASS, Verdict.INBOUND})
    return bool(verdicts - {Verdict.PASS})


def _has_inbound(plan: Plan) -> bool:
    """Whether what arrives by a link is captured."""
    arriving = (rule for rule in plan.shape if rule.hook is Hook.PREROUTING)
    return any(rule.verdict is Verdict.INBOUND for rule in arriving)


def rules(section: Section, plan: Plan) -> tuple[Rule, ...]:
    """The rules of one chain, in order. Those that cannot decide there are left out."""
    if section is Section.REPLY:
        return ()
    here = [rule for rule in plan.rules if rule.hook is section.hook]
    if section.is_queue:
        return _queue_rules(here)
    here = [rule for rule in here if rule.protocol in ("", "tcp")]
    if section is Section.TPROXY:
        # What a container sends out is REDIRECT's; it passes here by not being local.
        # So does a container's DNS to this VM itself, which is the DNS plane's.
        return tuple(rule for rule in here if rule.number in (1, 5, 8, 9))
    if section is Section.NAT_PREROUTING and plan.steering.tproxy:
        return tuple(rule for rule in here if rule.number != 8)
    return tuple(here)


def _queue_rules(here: list[Rule]) -> tuple[Rule, ...]:
    """Up to the last rule that says DNS; a rule that spares port 53 says nothing there."""
    last = max((i for i, rule in enumerate(here) if rule.verdict is Verdict.DNS), default=-1)
    wanted = (Verdict.PASS, Verdict.DNS)
    return tuple(
        rule for rule in here[: last + 1] if rule.verdict in wanted and not _spares_dns(rule)
    )


def _spares_dns(rule: Rule) -> bool:
    ports = (condition for condition in rule.conditions if isinstance(condition, Port))
    return any((53 in port.ports) is port.negate for port in ports)
