"""One list of cases over every back end: each passes, or fails for a reason that has a name."""

from __future__ import annotations

import re

import pytest

from interceptor.lab.removal import LabFailed
from tests.contract.conformance.case import BACKENDS, Case, Results
from tests.contract.conformance.setting import SETTINGS
from tests.contract.conformance.stage import Stage
from tests.contract.conformance.table import CASES, UNSUPPORTED

pytestmark = [pytest.mark.root, pytest.mark.envoy]

# A change of setting costs a start of the agent; so they come in the order of settings.
ORDERED = sorted(CASES, key=lambda case: list(SETTINGS).index(case.setting))
BOTH = pytest.mark.parametrize("stage", BACKENDS, indirect=True, scope="module")


@BOTH
@pytest.mark.parametrize("case", ORDERED, ids=lambda case: case.name)
def test_case(stage: Stage, case: Case, results: Results) -> None:
    row = results.setdefault(stage.backend, {})
    row[case.name] = False
    known = UNSUPPORTED.get((stage.backend, case.name))
    try:
        stage.enter(case.setting)
        case.run(stage)
    except (AssertionError, LabFailed, OSError) as error:
        if known is None:
            raise
        assert re.search(known.symptom, f"{type(error).__name__}: {error}"), "another failure"
        return
    row[case.name] = True
    if known is not None:
        pytest.fail(f"passes on {stage.backend}: remove it from UNSUPPORTED ({known.reason})")


@BOTH
def test_an_agent_that_has_gone_has_left_nothing(stage: Stage) -> None:
    assert stage.left_behind() == ""
