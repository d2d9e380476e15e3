"""What `interceptor top` shows: two looks at a daemon and what was told between them. Pure.

Names and reasons are of the stream of live decisions, services of the sidecar's own
counters, everything else of the daemon's figures. Rates are per second over the time
between the two looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from interceptor.debug import metrics, reading
from interceptor.debug.ranking import Entry, Ranking
from interceptor.debug.reading import Reading


@dataclass(frozen=True, slots=True)
class NameRow:
    """A name that was asked for, or a destination that was called. Times in seconds."""

    name: str
    rate: float
    verdicts: Mapping[str, int]
    p50_s: float | None
    p99_s: float | None
    plane: str
    why: str
    callers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One of the sidecar's clusters. Rates of requests, new connections, connections that
    failed (refused, timed out, or without an endpoint) and answers of 5xx; connections that are
    open; times in seconds of requests, or of connecting where it has no requests."""

    name: str
    requests: float
    connections: float
    failed: float
    errors: float
    active: int
    p50_s: float | None
    p99_s: float | None


@dataclass(frozen=True, slots=True)
class CountRow:
    """Something that is counted, in words: its rate, and its total where there is one."""

    what: tuple[str, ...]
    rate: float
    total: float | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """A process: cores that it keeps busy (1.0 is one), resident bytes."""

    name: str
    cores: float
    resident: float


@dataclass(frozen=True, slots=True)
class View:
    """One interval. ``status`` is the daemon's own tree; ``problem`` says why there is none."""

    span_s: float
    problem: str = ""
    status: Mapping[str, object] = field(default_factory=dict)
    names: tuple[NameRow, ...] = ()
    calls: tuple[NameRow, ...] = ()
    services: tuple[ServiceRow, ...] = ()
    reasons: tuple[CountRow, ...] = ()
    queries: tuple[CountRow, ...] = ()
    connections: tuple[CountRow, ...] = ()
    loads: tuple[Load, ...] = ()
    answer_p50_s: float | None = None
    answer_p99_s: float | None = None
    dropped: float = 0.0
    seen: int = 0
    left_out: int = 0
    crowded_out: int = 0
    notes: tuple[str, ...] = ()


PROCESSES = {"agent": "", "dns worker": "interceptor_dns_worker_", "envoy": "interceptor_sidecar_"}


def build(before: Reading, now: Reading, told: Ranking) -> View:
    """The view of the time between two readings; rows in the order of their rates."""
    span_s = now.at_s - before.at_s
    return View(
        span_s=span_s,
        problem=now.problem,
        status=now.status,
        names=_ranked(told.names, span_s),
        calls=_ranked(told.services, span_s),
        services=_services(before, now),
        reasons=_sorted(CountRow(what, count / span_s) for what, count in told.reasons.items()),
        queries=_counted(before, now, "interceptor_dns_queries_total", "plane", "result"),
        connections=_counted(
            before, now, "interceptor_captured_connections_total", "plane", "direction"
        ),
        loads=tuple(_loads(before, now)),
        answer_p50_s=reading.quantile(before, now, metrics.ANSWER_SECONDS, 0.5),
        answer_p99_s=reading.quantile(before, now, metrics.ANSWER_SECONDS, 0.99),
        dropped=reading.figure(now, "interceptor_dns_queue_dropped_total"),
        seen=told.seen,
        left_out=told.left_out,
        crowded_out=told.crowded_out,
        notes=tuple(told.notes),
    )


def _sorted(rows: Iterable[CountRow]) -> tuple[CountRow, ...]:
    return tuple(sorted(rows, key=lambda row: (-row.rate, -(row.total or 0), row.what)))


def _ranked(entries: Mapping[str, Entry], span_s: float) -> tuple[NameRow, ...]:
    rows = [
        NameRow(
            name=name,
            rate=entry.count / span_s,
            verdicts=dict(entry.verdicts.most_common()),
            p50_s=entry.quantile(0.5),
            p99_s=entry.quantile(0.99),
            plane=entry.plane,
            why=entry.why,
            callers=tuple(caller for caller, _ in entry.callers.most_common(3)),
        )
        for name, entry in entries.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.rate, row.name)))


def _counted(before: Reading, now: Reading, name: str, *labels: str) -> tuple[CountRow, ...]:
    """A counter by these of its labels, the others summed up."""
    summed: dict[tuple[str, ...], tuple[float, float]] = {}
    for found, speed, count in reading.rates(before, now, name):
        key = tuple(found.get(label, "") for label in labels)
        known_speed, known_count = summed.get(key, (0.0, 0.0))
        summed[key] = known_speed + speed, known_count + count
    return _sorted(CountRow(what, speed, count) for what, (speed, count) in summed.items())


def _services(before: Reading, now: Reading) -> tuple[ServiceRow, ...]:
    earlier = {reading.text(each, "cluster"): each for each in before.clusters}
    span_s = now.at_s - before.at_s
    rows = [
        _service(earlier.get(reading.text(each, "cluster"), {}), each, span_s)
        for each in now.clusters
    ]
    return tuple(sorted(rows, key=lambda row: (-row.requests, -row.connections, row.name)))


def _service(was: object, now: object, span_s: float) -> ServiceRow:
    def grown(*names: str) -> float:
        pairs = ((reading.number(was, name), reading.number(now, name)) for name in names)
        return sum(reading.rate(before, after, span_s) for before, after in pairs)

    kind = "connect" if reading.at(now, "request_p50_ms") is None else "request"
    return ServiceRow(
        name=service_name(reading.text(now, "cluster")),
        requests=grown("requests"),
        connections=grown("connections"),
        failed=grown("failed", "unplaced"),
        errors=grown("errors"),
        active=int(reading.number(now, "active")),
        p50_s=_seconds(reading.at(now, f"{kind}_p50_ms")),
        p99_s=_seconds(reading.at(now, f"{kind}_p99_ms")),
    )


def _seconds(value_ms: object) -> float | None:
    return value_ms / 1000 if isinstance(value_ms, int | float) else None


def service_name(cluster: str) -> str:
    """``outbound|9080||host`` as people say it: ``host:9080``; others as they are."""
    words = cluster.split("|")
    if len(words) != 4:
        return cluster
    way, port, subset, host = words
    name = f"{host}:{port}" if host else f"{way} :{port}"
    return f"{name} ({subset})" if subset else name


def _loads(before: Reading, now: Reading) -> Iterable[Load]:
    span_s = now.at_s - before.at_s
    for name, prefix in PROCESSES.items():
        resident = reading.figure(now, f"{prefix}process_resident_memory_bytes")
        if resident:
            used = f"{prefix}process_cpu_seconds_total"
            was, is_now = reading.figure(before, used), reading.figure(now, used)
            yield Load(name, reading.rate(was, is_now, span_s), resident)


def encode(view: View) -> dict[str, object]:
    """The view as JSON has it."""
    return asdict(view)
