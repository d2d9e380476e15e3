"""What will go wrong with this VM's identity, in time to do something about it. PURE."""

from __future__ import annotations

from dataclasses import dataclass

from interceptor.workload.certificate import date
from interceptor.workload.credential import SKEW_S, Credential

TOKEN_LIFE = 0.8  # of a token's life: Kubernetes replaces them then


@dataclass(frozen=True, slots=True)
class Outlook:
    """How it stands. ``renewal_s`` is when another certificate is due, ``why`` the reason why the
    last attempt failed ("" where it did not); the token's times are 0 and inf where unknown."""

    current: Credential | None
    renewal_s: float
    why: str
    token_begins_s: float = 0.0
    token_ends_s: float = float("inf")
    has_token: bool = False


def decide(outlook: Outlook, alarm_s: float, now_s: float) -> tuple[str, ...]:
    """A sentence for each thing that somebody should look at. The same as long as it is."""
    found = []
    current, why = outlook.current, outlook.why
    because = f": {why}" if why else ""
    if current is None:
        if why:
            found.append(f"this VM has no certificate{because}")
    elif now_s < current.not_before_s - SKEW_S:
        begins = date(current.not_before_s)
        found.append(f"the certificate is not valid before {begins}: is this host's clock right?")
    elif now_s >= current.not_after:
        found.append(f"the certificate ended at {date(current.not_after)}{because}")
    elif why and now_s >= max(outlook.renewal_s, current.not_after - alarm_s):
        ends = date(current.not_after)
        found.append(f"the certificate ends at {ends} and has not been replaced{because}")
    is_held = current is not None and current.is_valid(now_s)
    if not is_held and outlook.has_token and now_s >= _token_alarm_s(outlook, alarm_s):
        ends, is_over = date(outlook.token_ends_s), now_s >= outlook.token_ends_s
        verb = "ended" if is_over else "ends"
        found.append(f"the token {verb} at {ends}, and no certificate stands in for it")
    return tuple(found)


def _token_alarm_s(outlook: Outlook, alarm_s: float) -> float:
    """When a token should have been replaced, and has not long to live."""
    ends_s, begins_s = outlook.token_ends_s, outlook.token_begins_s
    if begins_s <= 0 or ends_s == float("inf"):
        return ends_s - alarm_s
    return max(ends_s - alarm_s, begins_s + TOKEN_LIFE * (ends_s - begins_s))
