"""Lines of the sidecar's access log (fields: ``sidecar/accesslog.py``) as events. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson

from interceptor.debug.event import Event, Kind
from interceptor.host.process import NOBODY, Process

FLAGS: Mapping[str, str] = {
    "UF": "the endpoint could not be connected to",
    "UO": "too many connections or requests at once",
    "UH": "no endpoint is healthy",
    "NR": "no route for this request",
    "NC": "there is no such cluster",
    "URX": "tried again as often as allowed",
    "UC": "the endpoint closed the connection",
    "UT": "the endpoint was too slow",
    "UR": "the endpoint reset the stream",
    "DC": "the client closed the connection",
    "DPE": "the client does not speak this protocol",
    "UPE": "the endpoint does not speak this protocol",
    "LR": "the sidecar reset it",
    "SI": "idle for too long",
    "OM": "the sidecar is overloaded",
    "DF": "the endpoint's name could not be resolved",
}
"""Envoy's documentation of %RESPONSE_FLAGS%: those that an operator meets."""


@dataclass(frozen=True, slots=True)
class End:
    address: str = ""
    port: int = 0


def parse(line: bytes) -> Mapping[str, object] | None:
    """The fields of a line; None for what is none of ours."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    is_ours = isinstance(found, dict) and {"direction", "start_time"} <= found.keys()
    return found if is_ours else None


def parse_end(text: object) -> End:
    """``10.0.0.1:80`` or ``[fd00::1]:80``; of an internal or missing address nothing."""
    address, colon, port = str(text or "").rpartition(":")
    if not colon or not port.isdigit():
        return End()
    return End(address.removeprefix("[").removesuffix("]"), int(port))


def client(line: Mapping[str, object]) -> tuple[End, End]:
    """Who called, and what it dialled."""
    return parse_end(line.get("client")), parse_end(line.get("original_destination"))


def build(line: Mapping[str, object], whose: Process = NOBODY) -> Event:
    """The event of one finished connection or request. Raises ValueError: its time is none."""
    source, destination = client(line)
    start_s = datetime.fromisoformat(_text(line, "start_time")).timestamp()
    took_ms = line.get("duration_ms")
    service = _text(line, "service")
    return Event(
        time_s=start_s,
        kind=Kind.CONNECTION,
        plane="sidecar",
        verdict=_text(line, "direction"),
        protocol=_text(line, "protocol") or "tcp",
        source=source.address,
        source_port=source.port,
        destination=destination.address,
        port=destination.port,
        host=service if service != "-" else "",
        why=why(line),
        to=" ".join(filter(None, (_text(line, "upstream_cluster"), _text(line, "upstream_host")))),
        took_s=took_ms / 1000 if isinstance(took_ms, int | float) else None,
        uid=whose.uid,
        pid=whose.pid,
        comm=whose.comm,
        unit=whose.unit,
    )


def why(line: Mapping[str, object]) -> str:
    """How it ended: request and status of HTTP, bytes of TCP, and what was wrong."""
    parts = []
    if method := _text(line, "method"):
        parts.append(f"{method} {_text(line, 'path')} {_text(line, 'status')}")
    else:
        received, sent = _text(line, "bytes_received"), _text(line, "bytes_sent")
        parts.append(f"{received or 0} bytes there, {sent or 0} back")
    for flag in filter(None, _text(line, "flags").split(",")):
        parts.append(f"{flag}: {FLAGS[flag]}" if flag in FLAGS else flag)
    if failure := _text(line, "failure"):
        parts.append(failure)
    return "; ".join(parts)


def _text(line: Mapping[str, object], field: str) -> str:
    """Empty for what Envoy has no value for: null, or a dash."""
    value = line.get(field)
    return "" if value in (None, "-") else str(value)
