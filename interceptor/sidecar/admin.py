"""Questions to Envoy's admin interface, each with a short time limit."""

from __future__ import annotations

import http.client
import json
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from interceptor.errors import InterceptorError
from interceptor.sidecar import usage
from interceptor.sidecar.usage import Usage

LIVE = "LIVE"
TIMEOUT_S = 2.0


class Unreachable(InterceptorError):
    """Nobody answers at the admin port, or not as Envoy would."""


@dataclass(frozen=True, slots=True)
class EndpointState:
    """What Envoy knows of one endpoint: its weight, its health, how much it was used.

    ``opened`` are the connections that were tried so far, ``failed`` those that came to nothing.
    """

    address: str
    port: int
    weight: int
    is_healthy: bool
    connections: int
    requests: int
    opened: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Admin:
    """The admin interface at a Unix socket, or at a port of 127.0.0.1. Every method blocks for
    at most ``timeout_s``."""

    place: Path | int
    timeout_s: float = TIMEOUT_S

    def state(self) -> str:
        """LIVE once Envoy serves; PRE_INITIALIZING, INITIALIZING, DRAINING, or empty: not there."""
        try:
            return self._ask("GET", "/ready", any_status=True).strip()
        except Unreachable:
            return ""

    def endpoints(self, cluster: str) -> list[EndpointState]:
        """The endpoints of one cluster, empty where Envoy does not have it."""
        text = self._ask("GET", f"/clusters?format=json&filter=^{quote(re.escape(cluster))}$")
        return decode_endpoints(text, cluster)

    def clusters(self, host: str, port: int) -> list[str]:
        """The clusters for calls of a host and port, as istiod names them: with and without
        subset."""
        pattern = rf"^outbound\|{port}\|[^|]*\|{re.escape(host)}$"
        tree = json.loads(self._ask("GET", f"/clusters?format=json&filter={quote(pattern)}"))
        return [item["name"] for item in tree.get("cluster_statuses", [])]

    def listeners(self) -> list[str]:
        """Names of the listeners in force."""
        tree = json.loads(self._ask("GET", "/listeners?format=json"))
        return [item["name"] for item in tree.get("listener_statuses", [])]

    def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose whole name has a match of ``pattern`` (RE2)."""
        text = self._ask("GET", f"/stats?filter={quote(pattern)}")
        return decode_stats(text)

    def usage(self) -> list[Usage]:
        """How much each cluster is used that was used at all."""
        return usage.decode(self._ask("GET", f"/stats?usedonly&filter={quote(usage.PATTERN)}"))

    def active_connections(self) -> int:
        """Connections from applications and clients that are open now."""
        stats = self.stats(r"^listener\..*downstream_cx_active$")
        return sum(
            value
            for name, value in stats.items()
            if ".worker_" not in name and not name.startswith("listener.admin.")
        )

    def read(self, page: str) -> str:
        """A page as it is, such as ``/config_dump``; it may have secrets. Raises Unreachable."""
        return self._ask("GET", page)

    def drain(self) -> None:
        """Ask Envoy to let its connections end. It goes on accepting meanwhile."""
        self._ask("POST", "/drain_listeners?graceful&skip_exit")

    def reopen_logs(self) -> None:
        """After the access log was rotated."""
        self._ask("POST", "/reopen_logs")

    def _ask(self, method: str, path: str, *, any_status: bool = False) -> str:
        connection = _connection(self.place, self.timeout_s)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"no answer from Envoy's admin interface at {self.place}: {error}"
            ) from error
        finally:
            connection.close()
        if response.status != http.client.OK and not any_status:
            raise Unreachable(f"Envoy answered {response.status} to {method} {path}: {text}")
        return text


class _OverSocket(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _connection(place: Path | int, timeout_s: float) -> http.client.HTTPConnection:
    if isinstance(place, int):
        return http.client.HTTPConnection("127.0.0.1", place, timeout=timeout_s)
    return _OverSocket(place, timeout_s)


def decode_endpoints(text: str, cluster: str) -> list[EndpointState]:
    """The endpoints of ``cluster`` in the JSON that /clusters gives."""
    states = []
    for status in json.loads(text).get("cluster_statuses", []):
        if status.get("name") != cluster:
            continue
        for host in status.get("host_statuses", []):
            place = host["address"].get("socket_address", {})
            stats = {item["name"]: int(item.get("value", 0)) for item in host.get("stats", [])}
            states.append(
                EndpointState(
                    place.get("address", ""),
                    place.get("port_value", 0),
                    host.get("weight", 1),
                    host.get("health_status", {}).get("eds_health_status") == "HEALTHY",
                    stats.get("cx_active", 0),
                    stats.get("rq_total", 0) or stats.get("cx_total", 0),
                    stats.get("cx_total", 0),
                    stats.get("cx_connect_fail", 0),
                )
            )
    return states


def decode_stats(text: str) -> dict[str, int]:
    """``name: value`` lines; histograms, whose values are no integers, are left out."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(": ")
        if name and value.isdigit():
            found[name] = int(value)
    return found
