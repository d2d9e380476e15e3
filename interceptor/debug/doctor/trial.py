"""What the outcome of a self-test means."""

from __future__ import annotations

from collections.abc import Mapping

from interceptor.debug.doctor.check import Check, Group, State

VITAL = ("the daemon starts", "DNS: mesh name", "DNS: another's name", "steering", "not captured")
"""Without these nothing is right. They are named as the tests are (lab.selftest)."""

LIMITS: Mapping[tuple[str, str], str] = {
    ("bound device", "nftables"): "a redirected socket that is bound to a device reaches nobody",
    ("bound device", "iptables"): "a redirected socket that is bound to a device reaches nobody",
}
"""Test and back end → what is known not to work there."""

WHYS: Mapping[str, str] = {
    "the daemon starts": "no test can be made",
    "DNS: mesh name": "names of the mesh are not found",
    "DNS: another's name": "names of others do not reach their resolver as they were asked",
    "steering": "calls to the mesh do not reach the sidecar",
    "not captured": "connections that are none of ours do not go as without us",
    "inbound": "calls from others do not reach the sidecar",
    "a clean stop leaves nothing": "this host would not be as it was before",
}


def decide(name: str, result: str, detail: str, took_s: float, backend: str) -> Check:
    """``result``: passed, failed or absent; ``backend`` the one that it was about."""
    if result == "passed":
        return Check(Group.SELF_TEST, name, State.OK, detail, took_s=took_s)
    if result == "absent":
        why = "programs of this host cannot use it either"
        return Check(Group.SELF_TEST, name, State.NOTE, f"not here: {detail}", why, took_s=took_s)
    limit = LIMITS.get((name, backend))
    if limit is not None:
        cure = "capture.backend: ebpf, for programs with CAP_NET_RAW"
        return Check(Group.SELF_TEST, name, State.NOTE, detail, limit, cure, took_s)
    state = State.FAULT if name in VITAL else State.WARNING
    why = WHYS.get(name, "programs that do this do not work with the mesh here")
    cure = f"another back end (doctor --backend ...; now {backend}), and a report with --bundle"
    return Check(Group.SELF_TEST, name, state, detail, why, cure, took_s)


def refuse(why: str) -> Check:
    """There were no self-tests."""
    reason = "what works here was not tried"
    return Check(Group.SELF_TEST, "self-tests", State.NOTE, why, reason, "sudo interceptor doctor")


def fail(error: str) -> Check:
    """The stage of the self-tests did not come up, or fell."""
    reason = "nothing is known of what works here"
    cure = "interceptor lab down; a report with --bundle"
    return Check(Group.SELF_TEST, "self-tests", State.WARNING, error, reason, cure)
