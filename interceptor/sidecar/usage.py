"""How much each cluster of an Envoy is used, by its own statistics. Pure.

The text of ``/stats`` has a line a figure: ``cluster.NAME.FIGURE: VALUE``, NAME with the
``;`` that bootstraps of Istio and ours put behind it. Of a histogram the value is
``P50(INTERVAL,ALL) P99(...)``: over the last flush interval (5 s), ``nan`` where nothing
happened in it, and over all time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

FIGURES = {
    "upstream_rq_total": "requests",
    "upstream_rq_5xx": "errors",
    "upstream_rq_active": "pending",
    "upstream_cx_total": "connections",
    "upstream_cx_active": "active",
    "upstream_cx_connect_fail": "failed",
    "upstream_cx_none_healthy": "unplaced",
}
"""Envoy's figure → the field that it is."""
TIMES = {"upstream_rq_time": "request", "upstream_cx_connect_ms": "connect"}
PATTERN = rf"^cluster\..*\.({'|'.join((*FIGURES, *TIMES))})$"

PARTS = (".external", ".internal", ".canary")
"""Ends of what looks like a cluster's name: a part of its requests, counted once more."""

_LINE = re.compile(rf"cluster\.([^;]+?);?\.({'|'.join((*FIGURES, *TIMES))}): (.*)")
_SHARE = re.compile(r"P(50|99)\(([^,]+),([^)]+)\)")


@dataclass(frozen=True, slots=True)
class Usage:
    """One cluster. Counters grow since Envoy began; ``active`` connections and ``pending``
    requests are of now. ``failed`` connections were refused or timed out, ``unplaced`` found no
    healthy endpoint. Times in ms, None where none was taken."""

    cluster: str
    requests: int = 0
    errors: int = 0
    pending: int = 0
    connections: int = 0
    active: int = 0
    failed: int = 0
    unplaced: int = 0
    request_p50_ms: float | None = None
    request_p99_ms: float | None = None
    connect_p50_ms: float | None = None
    connect_p99_ms: float | None = None


def decode(text: str) -> list[Usage]:
    """Every cluster of which ``/stats`` tells, in its order; other lines are left out."""
    found: dict[str, Usage] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None or match[1].endswith(PARTS):
            continue
        cluster, figure, value = match.groups()
        usage = found.get(cluster) or Usage(cluster)
        if figure in TIMES:
            fields = _times(TIMES[figure], value)
            found[cluster] = replace(usage, **fields)  # type: ignore[arg-type]
        elif value.isdigit():
            found[cluster] = replace(usage, **{FIGURES[figure]: int(value)})  # type: ignore[arg-type]
    return list(found.values())


def _times(name: str, value: str) -> dict[str, float]:
    """The lately taken ones where there are some, else those of all time."""
    found = {}
    for share, lately, ever in _SHARE.findall(value):
        told = lately if lately != "nan" else ever
        if told != "nan":
            found[f"{name}_p{share}_ms"] = float(told)
    return found
