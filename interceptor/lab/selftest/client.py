"""The self-tests, in a process on a host of the stage: `python -m ... client vm` or `far`.

Each test is a function that says what it saw, raises `Wrong` where that is not right, and
`Absent` where this host has not what it is about. A line of JSON goes out for each.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping

from interceptor.lab.selftest import call, question
from interceptor.lab.selftest.channel import LIMIT_S, Absent, Wrong
from interceptor.lab.selftest.outcome import Outcome, encode

WHOLE_S = 8.0
"""For all tests of a process together."""

Tests = Mapping[str, Callable[[], str]]
ON_VM: Tests = {
    "DNS: mesh name": question.mesh_name,
    "DNS: mesh name, IPv6": question.mesh_name6,
    "DNS: another's name": question.other_name,
    "DNS: stub on loopback": question.stub,
    "DNS: 0x20": question.mixed_case,
    "DNS: EDNS": question.edns,
    "DNS: TCP, mesh name": question.tcp_mesh_name,
    "DNS: TCP, another's name": question.tcp_other_name,
    "steering": call.steering,
    "steering, IPv6": call.steering6,
    "getpeername": call.peer_name,
    "MPTCP": call.mptcp,
    "TCP Fast Open": call.fast_open,
    "IPv4-mapped IPv6": call.mapped,
    "one source port, two VIPs": call.same_port,
    "bound device": call.bound_device,
    "not captured": call.direct,
}
ON_FAR: Tests = {"inbound": call.inbound}


def run(name: str, test: Callable[[], str]) -> Outcome:
    """One test, its time and what came of it."""
    start = time.monotonic()
    try:
        said = test()
    except Absent as why:
        return Outcome(name, "absent", str(why), time.monotonic() - start)
    except (Wrong, OSError, ValueError) as error:
        said = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            said = f"no answer within {LIMIT_S:g} s"
        return Outcome(name, "failed", said, time.monotonic() - start)
    return Outcome(name, "passed", said, time.monotonic() - start)


def run_all(tests: Tests, *, ipv6: bool) -> None:
    """Each in turn, until the time for all is over."""
    end = time.monotonic() + WHOLE_S
    for name, test in tests.items():
        if "IPv6" in name and not ipv6:
            outcome = Outcome(name, "absent", "the kernel has no IPv6")
        elif time.monotonic() > end:
            outcome = Outcome(name, "failed", "not tried: too many waited in vain before")
        else:
            outcome = run(name, test)
        print(encode(outcome), flush=True)


if __name__ == "__main__":
    run_all(ON_FAR if sys.argv[1] == "far" else ON_VM, ipv6=os.path.exists("/proc/net/if_inet6"))
