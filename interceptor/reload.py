"""SIGHUP: another configuration is taken over without taking anything back.

It is read and checked by the daemon that runs. One that is wrong changes
nothing, and its problems stand in the status. For a good one this daemon makes
room for a successor, as in a restart: rules, programs and Envoy stay, and the
successor applies what differs. So every key can change, except for the places
where what stays is kept.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from time import monotonic

import structlog

from interceptor.config import Config
from interceptor.errors import ConfigError
from interceptor.host.lifeline import AGAIN, WATCHDOG, Lifeline

log = structlog.get_logger(__name__)

PLACES = ("agent.run_dir", "agent.cgroup", "capture.bpf_dir", "capture.cgroup", "mesh.state_dir")
START_USEC = 60_000_000  # until the successor's loop runs and gives signs again
UNCONFIRMED = "`run --confirm` waits for its confirmation"


def moved(before: Config, after: Config) -> list[str]:
    """Places that are others now. Pure."""
    return [key for key in PLACES if _value(before, key) != _value(after, key)]


def _value(config: Config, key: str) -> object:
    group, name = key.split(".")
    return getattr(getattr(config, group), name)


def confirmed_argv(argv: Sequence[str]) -> list[str]:
    """A command line without `--confirm DURATION`: it is confirmed, and not to be asked again."""
    found, words = [], iter(argv)
    for word in words:
        if word == "--confirm":
            next(words, None)
        elif not word.startswith("--confirm="):
            found.append(word)
    return found


class Reload:
    """``is_pending``: whether a confirmation is awaited still. ``taken_s``: since when the
    configuration is in force, ``refused_s``: when one was refused last; by `monotonic`."""

    def __init__(
        self, config: Config, stopping: asyncio.Event, is_pending: Callable[[], bool]
    ) -> None:
        self.is_due = False
        self.refused: tuple[str, ...] = ()
        self.taken_s = monotonic()
        self.refused_s: float | None = None
        self._config, self._stopping, self._is_pending = config, stopping, is_pending

    def ask(self, reread: Callable[[], Config]) -> None:
        """Look at the configuration, and make room if it is another one. ``reread`` gives it as
        it would be now, or raises ConfigError."""
        try:
            wanted = reread()
        except ConfigError as error:
            self.refused = tuple(map(str, error.problems))
        else:
            places = moved(self._config, wanted)
            self.refused = tuple(f"{key}: needs a stop and a start" for key in places)
            if self._is_pending():
                self.refused += (UNCONFIRMED,)
            self.is_due = not self.refused and wanted != self._config
        for problem in self.refused:
            log.error("not reloaded; the configuration in force stays", problem=problem)
        if self.refused:
            self.refused_s = monotonic()
        if self.is_due:
            log.info("reloading: the next daemon has another configuration")
            self._stopping.set()
        elif not self.refused:
            self.taken_s = monotonic()
            log.info("reloaded: the configuration is the same")


def hand_over(lifeline: Lifeline) -> int:
    """Have a successor started: by the supervisor, or as this very process, which systemd goes
    on knowing. Returns the exit code, to the supervisor alone."""
    if lifeline.who == "supervisor":
        lifeline.tell(AGAIN)
        return 0
    lifeline.tell(f"{WATCHDOG}{START_USEC}")
    argv = [sys.executable, *confirmed_argv(sys.orig_argv[1:])]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, argv)
