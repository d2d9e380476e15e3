"""What systemd is about to do with this service: a restart is not a stop."""

from __future__ import annotations

import os
from collections.abc import Mapping

from interceptor.host import cgroup, command

ASK_S = 2.0  # systemd stops us meanwhile; an answer that is late is none


def decode_unit(path: str) -> str:
    """The service whose cgroup ``path`` is, or lies in; empty for any other."""
    names = [name for name in path.split("/") if name.endswith(".service")]
    return names[-1] if names else ""


def decode_job(listing: str, unit: str) -> str:
    """What kind of job `systemctl list-jobs --no-legend` shows for ``unit``; empty: none.

    A line is ``NUMBER UNIT TYPE STATE``. A restart is of type restart until the stop that
    it begins with is over, whoever asked for it: systemctl, a package's script, PartOf=.
    """
    for line in listing.splitlines():
        words = line.split()
        if len(words) == 4 and words[1] == unit:
            return words[2]
    return ""


def is_restarting(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether we are a service that systemd stops only to start it again."""
    if "INVOCATION_ID" not in environment:
        return False
    unit = decode_unit(cgroup.of())
    if not unit:
        return False
    argv = ["systemctl", "list-jobs", "--no-legend", "--no-pager", "--plain"]
    done = command.run(argv, timeout_s=ASK_S, check=False)
    return decode_job(done.stdout, unit) in ("restart", "try-restart")
