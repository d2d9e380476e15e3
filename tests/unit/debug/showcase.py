"""Two looks at a daemon and what was told between them, for the tests of what is shown."""

from __future__ import annotations

from functools import cache

from interceptor.debug import event as events
from interceptor.debug import reading, top
from interceptor.debug.event import Event, Kind
from interceptor.debug.metrics import Snapshot, render
from interceptor.debug.ranking import Ranking
from interceptor.debug.reading import Reading
from interceptor.debug.top import View

STATUS: dict[str, object] = {
    "ready": True,
    "why": "ready",
    "version": "1.2.3",
    "backend": "ebpf",
    "uptime_s": 3723.0,
    "drift": False,
    "lease": {"age_s": 0.31, "limit_s": 10.0},
    "table": {
        "source": "files",
        "hosts": 14,
        "from": "source",
        "good_age_s": 0.0,
        "held": 0,
        "age_s": 61.0,
        "rejected": [],
    },
    "dns": {"enabled": True, "alive": True, "restarts": 1},
    "capture": {"installed": True, "planes": ["dns", "tcp"], "families": [4, 6]},
    "sidecar": {
        "mode": "managed",
        "state": "live",
        "pid": 77,
        "restarts": 0,
        "hangs": 0,
        "refused": [],
        "conflicts": [],
        "ack_p50_ms": 1.5,
    },
    "reasserted": {"rules": 2},
    "reassert_waits_s": {},
    "neighbours": ["nft table inet filter"],
    "looked_after": {"restarts": 0},
}
CLUSTER = "outbound|9080||reviews.bookinfo.svc.cluster.local"


def look(at_s: float, times: int) -> Reading:
    """A daemon that has answered and captured so many times."""
    figures = {
        "interceptor_dns_queries": {
            ("ebpf", "answer", "A"): times * 10.0,
            ("ebpf", "answer", "AAAA"): times * 10.0,
            ("ebpf", "pass", "A"): times * 2.0,
        },
        "interceptor_captured_connections": {
            ("ebpf", "outbound"): times * 4.0,
            ("ebpf", "inbound"): 0.0,
        },
    }
    buckets = ((1e-5, times), (float("inf"), times))
    cluster = {
        "cluster": CLUSTER,
        "requests": times * 6,
        "connections": times * 2,
        "active": 3,
        "failed": times,
        "unplaced": 0,
        "errors": 0,
        "request_p50_ms": 1.5,
        "request_p99_ms": 20.0,
    }
    page = render(Snapshot(figures, buckets)).decode()
    return Reading(at_s, STATUS, reading.parse_figures(page), (cluster,))


def query(name: str, verdict: str = "answer", took_s: float = 1e-5) -> dict[str, object]:
    why = "Service bookinfo/reviews" if verdict == "answer" else "no name of the mesh"
    event = Event(1.0, Kind.DNS, "ebpf", verdict, name=name, took_s=took_s, why=why, comm="curl")
    return events.encode(event)


def told() -> Ranking:
    found = Ranking()
    for _ in range(20):
        found.take(query("reviews.bookinfo.svc.cluster.local"))
    for number in range(30):
        found.take(query(f"host{number:02}.example", "pass", number / 1000))
    return found


@cache
def view() -> View:
    return top.build(look(10, 100), look(12, 200), told())
