"""What a server of Envoy's configuration can tell of itself: values, for status and figures."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Refusal:
    """A response that Envoy did not take. ``kind`` is CLUSTER, LISTENER, ...; ``names`` are the
    resources that its message names, or all of the response's where it names none; the others
    were taken. ``cure``: what to do, where that is known."""

    kind: str
    names: tuple[str, ...]
    reason: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Uplink:
    """The way from Envoy's stream to the control plane. ``since_s``: how long it is as it is;
    ``ends`` are streams that the control plane ended, ``failures`` those that never began."""

    is_up: bool
    since_s: float
    address: str = ""
    ends: int = 0
    failures: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """``latencies_s``: from sending to Envoy's answer, the newest last. ``counts`` by what
    (``asked``, ``sent``, ``acked``, ``refused``) and kind. ``ended``: streams of Envoy's that are
    over. ``uplink``: None where we are the control plane ourselves."""

    streams: int
    is_configured: bool
    counts: dict[tuple[str, str], int]
    refusals: tuple[Refusal, ...] = ()
    latencies_s: tuple[float, ...] = ()
    ended: int = 0
    uplink: Uplink | None = field(default=None)
