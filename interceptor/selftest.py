"""The self-tests of `interceptor doctor`: run in a lab, judged by the doctor."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator

from interceptor.capture.backend import Choice
from interceptor.debug.doctor import trial
from interceptor.debug.doctor.check import Check
from interceptor.errors import InterceptorError
from interceptor.host import probe
from interceptor.lab.selftest import session


def run(choice: Choice | None, tell: Callable[[str], None]) -> Generator[Check, None, None]:
    """A check for each test. ``tell`` is given what is tried next. Closing takes the stage down."""
    if choice is None:
        yield trial.refuse("no back end can run on this host")
    elif os.geteuid() != 0:
        yield trial.refuse("they need root, for network namespaces")
    elif not probe.cgroup_mount():
        yield trial.refuse("their hosts are cgroups, and no cgroup2 is mounted")
    else:
        yield from _run(choice, tell)


def _run(choice: Choice, tell: Callable[[str], None]) -> Generator[Check, None, None]:
    tell("self-tests: namespaces, a daemon")
    try:
        for number, each in enumerate(session.run(choice.tcp, choice.dns), 1):
            backend = choice.dns if each.name.startswith("DNS") else choice.tcp
            yield trial.decide(each.name, each.result, each.detail, each.took_s, backend)
            tell(f"self-tests: {number} of {session.COUNT}")
    except (InterceptorError, OSError) as error:
        yield trial.fail(str(error).splitlines()[0])
