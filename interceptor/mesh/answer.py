"""The answer table: what the mesh answers to a name and type, and why.

`Answers.decide` is the one decision that the name server, `resolve` and
`explain` share. Which host a name means is ``directory``'s business; here it
becomes records, "this name has no such data", "no such name", or "not ours".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from interceptor.mesh import record
from interceptor.mesh.directory import Directory, Match
from interceptor.mesh.model import Host, Locale
from interceptor.mesh.name import is_within, reversed_address, zone_of
from interceptor.mesh.outcome import (
    AAAA,
    ANY,
    AXFR,
    CNAME,
    IXFR,
    PTR,
    SRV,
    SRV_PRIORITY,
    SRV_WEIGHT,
    A,
    Answer,
    Outcome,
    Resolution,
    Verdict,
    parse_type,
    type_name,
)
from interceptor.mesh.table import Difference

MAXIMUM_CHAIN = 8  # CNAMEs in one answer; a longer chain is a mistake or a loop


def normal(name: str) -> str:
    """``name`` as the table writes it."""
    return name.rstrip(".").lower()


class Answers:
    """The answer table of one mesh table, seen from one locale.

    ``describe`` turns a host's name into words for ``why``, such as ``Service
    bookinfo/reviews``; the name server has no use for it.
    """

    __slots__ = ("_describe", "directory")

    def __init__(self, locale: Locale, describe: Callable[[str], str] | None = None) -> None:
        self.directory = Directory(locale)
        self._describe = describe

    @classmethod
    def build(
        cls, hosts: Iterable[Host], locale: Locale, describe: Callable[[str], str] | None = None
    ) -> Answers:
        answers = cls(locale, describe)
        for host in hosts:
            answers.directory.put(host.name, record.encode(host))
        return answers

    @property
    def locale(self) -> Locale:
        return self.directory.locale

    def __len__(self) -> int:
        return len(self.directory)

    def apply(self, difference: Difference) -> None:
        """Follow the mesh table."""
        for name in difference.removed:
            self.directory.drop(name)
        for host in difference.upserted:
            self.directory.put(host.name, record.encode(host))

    def decide(self, name: str, qtype: int) -> Outcome:
        """The fate of a query for ``name`` (lower case, no final dot)."""
        outcome = self._decide(name, qtype)
        if self.locale.forward_zones and qtype not in (AXFR, IXFR):  # a transfer is no look-up
            return self._forwarded(name, outcome) or outcome
        return outcome

    def _forwarded(self, name: str, outcome: Outcome) -> Outcome | None:
        """Where a forward zone has more to say of ``name`` than the mesh has. None: it has not."""
        zone, servers = zone_of(name, self.locale.forward_zones)
        ours = name  # down to where the mesh has a say
        if not outcome.host:
            ours = outcome.zone  # an own zone
        elif outcome.host.startswith("*.") and is_within(name, outcome.host[2:]):
            ours = outcome.host[2:]
        if not zone or (outcome.verdict is not Verdict.PASS and len(ours) >= len(zone)):
            return None
        why = f"in forward zone {zone}, sent to {' or '.join(servers)}"
        return Outcome(Verdict.FORWARD, name, zone=zone, why=why, servers=servers)

    def _decide(self, name: str, qtype: int) -> Outcome:
        match = self.directory.find(name)
        if match is not None and not _is_service_port(name):
            return self._about_host(name, qtype, match)
        service = self._about_service_port(name, qtype)
        if service is not None:
            return service
        if match is not None:
            return self._about_host(name, qtype, match)
        packed = reversed_address(name)
        if packed is not None and (targets := self.directory.pointed(packed)):
            return self._about_address(name, qtype, targets)
        return self._about_nobody(name)

    def resolve(self, name: str, qtype: str) -> Resolution:
        """The reference for people and programs: `decide` with everything spelled out."""
        return self.spell(normal(name), parse_type(qtype), qtype.upper())

    def spell(self, asked: str, number: int, qtype: str) -> Resolution:
        """`resolve` of any type that a packet may bear, 0 among them, under a name for it."""
        outcome = self.decide(asked, number)
        rcode = {Verdict.PASS: "", Verdict.FORWARD: "", Verdict.NXDOMAIN: "NXDOMAIN"}.get(
            outcome.verdict, "NOERROR"
        )
        return Resolution(
            asked,
            qtype,
            outcome.verdict,
            rcode,
            self._records(outcome),
            outcome.host,
            outcome.why,
        )

    def _about_host(self, name: str, qtype: int, match: Match) -> Outcome:
        why = self._way(name, match)
        if not match.record.is_answered:
            return Outcome(Verdict.PASS, name, host=match.host, why=f"{why}, without address")
        cnames, owner, end = self._chain(name, match)
        verdict = Verdict.ANSWER
        if end is None or qtype == CNAME:
            if not cnames:
                verdict, why = Verdict.NODATA, f"{why}, which is no CNAME"
            elif qtype == CNAME:
                cnames, owner = cnames[:1], cnames[0][1]
            zone = self._zone(match.host, owner)
            return Outcome(verdict, owner, cnames, zone=zone, host=match.host, why=why)
        outcome = Outcome(
            Verdict.ANSWER,
            owner,
            cnames,
            v4=end.record.v4 if qtype in (A, ANY) else b"",
            v6=end.record.v6 if qtype in (AAAA, ANY) else b"",
            zone=self._zone(end.host, owner),
            host=match.host,
            why=why,
        )
        return outcome if outcome.has_data else _without_data(outcome, qtype)

    def _chain(
        self, name: str, match: Match
    ) -> tuple[tuple[tuple[str, str], ...], str, Match | None]:
        """The CNAMEs from ``name`` on, the owner at their end, and the host there if the
        mesh knows one that has addresses of its own."""
        cnames: list[tuple[str, str]] = []
        owner = name
        if match.search:
            cnames.append((owner, match.canonical))
            owner = match.canonical
        here: Match | None = match
        while here is not None and here.record.external_name:
            target = here.record.external_name
            if len(cnames) == MAXIMUM_CHAIN or target in (owner, *(seen for seen, _ in cnames)):
                return tuple(cnames), owner, None
            cnames.append((owner, target))
            owner = target
            here = self.directory.target(owner)
        if here is not None and not here.record.is_answered:
            here = None
        return tuple(cnames), owner, here

    def _about_service_port(self, name: str, qtype: int) -> Outcome | None:
        """``_port._proto.host`` (RFC 2782), and the inner name ``_proto.host``."""
        first, _, rest = name.partition(".")
        if first in ("_tcp", "_udp"):
            match = self.directory.find(rest)
            if match is None or not any(port[2] == first[1:] for port in match.record.ports):
                return None
            return self._no_data_at(name, match)
        second, _, host_name = rest.partition(".")
        if second not in ("_tcp", "_udp") or not first.startswith("_") or not host_name:
            return None
        match = self.directory.find(host_name)
        if match is None or not match.record.is_answered or match.record.external_name:
            return None
        targets = self._targets(match, first[1:], second[1:])
        if not targets:
            return None
        owner = f"{first}.{second}.{match.canonical}" if match.search else name
        return Outcome(
            Verdict.ANSWER if qtype in (SRV, ANY) else Verdict.NODATA,
            owner,
            ((name, owner),) if match.search else (),
            srv=targets if qtype in (SRV, ANY) else (),
            zone=self._zone(match.host, owner),
            host=match.host,
            why=f"port {first[1:]} of {self._way(host_name, match)}",
        )

    def _targets(self, match: Match, port: str, transport: str) -> tuple[tuple[int, str], ...]:
        """(port, target) of a service port. A headless Service has one for each ready
        endpoint, by pod name where it bears one, at the port that the endpoint listens on."""
        number = next(
            (n for name, n, proto in match.record.ports if (name, proto) == (port, transport)), None
        )
        if number is None:
            return ()
        if not match.record.members:
            return ((number, match.canonical),)
        targets = (
            (dict(ports).get(port, number), self.directory.pod(packed, match.host))
            for packed, ports in match.record.members
        )
        return tuple(dict.fromkeys((at, pod or match.canonical) for at, pod in targets))

    def _no_data_at(self, name: str, match: Match) -> Outcome:
        why = f"stands above the ports of {match.host}"
        return Outcome(
            Verdict.NODATA, name, zone=self._zone(match.host, name), host=match.host, why=why
        )

    def _about_address(self, name: str, qtype: int, targets: tuple[str, ...]) -> Outcome:
        why = f"reverse name of an address of {self._told(targets[0])}"
        if qtype in (PTR, ANY):
            return Outcome(Verdict.ANSWER, name, ptr=targets, zone=name, host=targets[0], why=why)
        why += ", which has PTR only"
        return Outcome(Verdict.NODATA, name, zone=name, host=targets[0], why=why)

    def _about_nobody(self, name: str) -> Outcome:
        zone = self._own_zone(name)
        if zone is None:
            return Outcome(Verdict.PASS, name, why="no host of the mesh bears this name")
        if name == zone or self.directory.is_inner(name):
            why = f"stands above hosts in our own zone {zone}"
            return Outcome(Verdict.NODATA, name, zone=zone, why=why)
        why = f"no host bears this name, and {zone} is our own zone"
        return Outcome(Verdict.NXDOMAIN, name, zone=zone, why=why)

    def _own_zone(self, name: str) -> str | None:
        zones = (zone for zone in self.locale.own_zones if is_within(name, zone))
        return max(zones, key=len, default=None)

    def _zone(self, host: str, owner: str) -> str:
        """The zone whose SOA says for how long ``owner`` has no data: our own one, the
        cluster domain, else the name itself, since its parent is somebody else's."""
        own = self._own_zone(owner)
        if own is not None:
            return own
        return self.locale.domain if is_within(owner, self.locale.domain) else owner

    def _told(self, host: str) -> str:
        words = self._describe(host) if self._describe else ""
        return f"{host} ({words})" if words else host

    def _way(self, name: str, match: Match) -> str:
        parts = [f"search domain {match.search} stripped → "] if match.search else []
        if match.host.startswith("*."):
            parts.append("longest wildcard ")
        elif match.alias:
            parts.append("alias of ")
        else:
            parts.append("host ")
        return "".join(parts) + self._told(match.host)

    def _records(self, outcome: Outcome) -> tuple[Answer, ...]:
        ttl_s, owner = self.locale.ttl_s, outcome.owner
        rows = [(name, "CNAME", target) for name, target in outcome.cnames]
        rows += [(owner, "A", text) for text in record.addresses(outcome.v4, 4)]
        rows += [(owner, "AAAA", text) for text in record.addresses(outcome.v6, 16)]
        rows += [
            (owner, "SRV", f"{SRV_PRIORITY} {SRV_WEIGHT} {port} {target}")
            for port, target in outcome.srv
        ]
        rows += [(owner, "PTR", target) for target in outcome.ptr]
        return tuple(Answer(name, kind, ttl_s, data) for name, kind, data in rows)


def _is_service_port(name: str) -> bool:
    return name.startswith("_")


def _without_data(outcome: Outcome, qtype: int) -> Outcome:
    return Outcome(
        Verdict.NODATA,
        outcome.owner,
        outcome.cnames,
        zone=outcome.zone,
        host=outcome.host,
        why=f"{outcome.why}, which has no {type_name(qtype)}",
    )
