"""Word to systemd: ready, still alive, stopping (sd_notify(3), sd_watchdog_enabled(3))."""

from __future__ import annotations

import os
from collections.abc import Mapping

BEATS = 4  # in the time after which systemd takes us for hung: one that is late harms nothing


def send(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send ``READY=1``, ``WATCHDOG=1``, ``STATUS=...``. False where nobody listens."""
    path = environment.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    import socket  # a megabyte that the supervisor, which imports this, can do without

    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as channel:
        try:
            channel.sendto(state.encode(), address)
        except OSError:
            return False
    return True


def watchdog_interval_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often to send ``WATCHDOG=1``; None where nobody waits for ours."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(environment["WATCHDOG_USEC"]) / 1e6 / BEATS
    except (KeyError, ValueError):
        return None
