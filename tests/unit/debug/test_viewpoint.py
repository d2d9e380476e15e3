"""Names of vantage points in files."""

from __future__ import annotations

import pytest

from interceptor.debug import viewpoint
from interceptor.debug.viewpoint import DESCRIPTIONS, Role, Viewpoint


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("device", ["", "eth0"])
def test_a_name_is_parsed_to_what_it_was_rendered_from(role: Role, device: str) -> None:
    view = Viewpoint(role, device)
    assert viewpoint.parse(view.name) == view
    assert DESCRIPTIONS[role]


@pytest.mark.parametrize("name", ["", "eth0", "uplinks", "any", "application"])
def test_other_programs_names_mean_none(name: str) -> None:
    assert viewpoint.parse(name) is None
