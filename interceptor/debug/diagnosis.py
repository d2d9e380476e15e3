"""From what is known of a call to what is wrong with it. Pure."""

from __future__ import annotations

from interceptor.debug import naming, serving, steering
from interceptor.debug.case import Case
from interceptor.debug.finding import Finding, Step

ORDER = {step: at for at, step in enumerate(Step)}


def diagnose(case: Case) -> tuple[Finding, ...]:
    """Every cause that breaks this call, in the order of the chain: the first is the one to mend
    first, for what stands behind it may only follow from it."""
    found = [*naming.diagnose(case), *steering.diagnose(case), *serving.diagnose(case)]
    return tuple(sorted(found, key=lambda finding: ORDER[finding.step]))
