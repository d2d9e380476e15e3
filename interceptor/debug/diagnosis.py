"""From what is known of a call to what is wrong with it. Pure."""

from __future__ import annotations

from interceptor.debug import hindrance, naming, serving, steering
from interceptor.debug.case import Case
from interceptor.debug.finding import Cause, Finding, Step

ORDER = {step: at for at, step in enumerate(Step)}


def diagnose(case: Case) -> tuple[Finding, ...]:
    """Every cause that breaks this call, in the order of the chain: the first is the one to mend
    first, for what stands behind it may only follow from it."""
    looks = (naming, steering, hindrance, serving)
    found = [finding for look in looks for finding in look.diagnose(case)]
    if not found and (finding := _unexplained(case)) is not None:
        found.append(finding)
    return tuple(sorted(found, key=lambda finding: ORDER[finding.step]))


def _unexplained(case: Case) -> Finding | None:
    """A probe that failed though everything that was looked at is well."""
    tried = case.probe.connection if case.probe is not None else None
    if tried is None or (tried.result == "connected" and "HTTP/1.1 5" not in tried.reply):
        return None
    ended = tried.reply or " ".join(filter(None, (tried.result, tried.detail)))
    direct = case.probe.direct if case.probe is not None else ()
    return Finding(
        Cause.NOT_ANSWERED,
        Step.PROBE,
        f"the probe ended with {ended!r}, and nothing that was looked at explains it",
        tuple(f"past the sidecar: {each.to}: {each.result}" for each in direct),
        "watch the call from inside: the trace tells where it went",
        "interceptor trace",
    )
