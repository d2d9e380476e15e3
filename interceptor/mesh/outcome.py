"""What is answered to one question: the words that the answer table and the wire share."""

from __future__ import annotations

import enum
from dataclasses import dataclass

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV = 1, 2, 5, 6, 12, 15, 16, 28, 33
SVCB, HTTPS, ANY = 64, 65, 255
IXFR, AXFR = 251, 252
TYPES = {
    "A": A,
    "NS": NS,
    "CNAME": CNAME,
    "SOA": SOA,
    "PTR": PTR,
    "MX": MX,
    "TXT": TXT,
    "AAAA": AAAA,
    "SRV": SRV,
    "SVCB": SVCB,
    "HTTPS": HTTPS,
    "ANY": ANY,
}
_TYPE_NAMES = {number: name for name, number in TYPES.items()}

NOERROR, NXDOMAIN = 0, 3
# Kubernetes' DNS specification leaves both open; these are what its servers give.
SRV_PRIORITY, SRV_WEIGHT = 0, 100


class Verdict(enum.Enum):
    """The fate of a query. The values are what ``resolve --json`` prints."""

    ANSWER = "answer"
    NODATA = "nodata"
    NXDOMAIN = "nxdomain"
    PASS = "pass"
    FORWARD = "forward"  # to the servers of a forward zone


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to answer, close to the wire. ``v4`` and ``v6`` are packed addresses to show,
    ``srv`` holds (port, target), ``ptr`` targets; all are owned by ``owner``, the end of
    the chain ``cnames`` of (owner, target). ``zone`` is the SOA's for negative answers, and
    the forward zone's whose ``servers`` are asked."""

    verdict: Verdict
    owner: str
    cnames: tuple[tuple[str, str], ...] = ()
    v4: bytes = b""
    v6: bytes = b""
    srv: tuple[tuple[int, str], ...] = ()
    ptr: tuple[str, ...] = ()
    zone: str = ""
    host: str = ""
    why: str = ""
    servers: tuple[str, ...] = ()

    @property
    def has_data(self) -> bool:
        return bool(self.v4 or self.v6 or self.srv or self.ptr)


@dataclass(frozen=True, slots=True)
class Answer:
    """One record as people read it."""

    name: str
    type: str
    ttl_s: int
    data: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """What ``resolve`` prints. ``rcode`` is empty where we do not answer ourselves."""

    name: str
    type: str
    verdict: Verdict
    rcode: str
    answers: tuple[Answer, ...]
    host: str
    why: str


def type_name(number: int) -> str:
    """``A`` for 1; ``TYPE99`` (RFC 3597) for types without a name here."""
    return _TYPE_NAMES.get(number, f"TYPE{number}")


def parse_type(text: str) -> int:
    """The number of ``A`` or ``TYPE99``. ValueError for anything else."""
    upper = text.upper()
    number = TYPES.get(upper)
    if number is None and upper.startswith("TYPE") and upper[4:].isdigit():
        number = int(upper[4:])
    if number is None or not 0 < number < 65536:
        raise ValueError(f"{text}: not a record type; legal: {', '.join(TYPES)}, TYPEnnn")
    return number
