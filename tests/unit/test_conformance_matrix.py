"""The published matrix is that of the list as it is: nobody can add a case and forget it."""

from __future__ import annotations

import pytest

from tests.contract.conformance import matrix
from tests.contract.conformance.case import BACKENDS
from tests.contract.conformance.setting import SETTINGS
from tests.contract.conformance.table import BY_NAME, CASES, UNSUPPORTED


def test_names_are_unique_and_settings_exist() -> None:
    assert len(BY_NAME) == len(CASES)
    assert {case.setting for case in CASES} <= SETTINGS.keys()


def test_every_unsupported_cell_is_a_cell() -> None:
    for backend, name in UNSUPPORTED:
        assert backend in BACKENDS
        assert name in BY_NAME


def test_the_whole_table_is_that_of_the_list() -> None:
    assert matrix.WHOLE.read_text() == matrix.render_whole(matrix.expected()), "run scripts/matrix"


def test_the_readme_shows_the_groups_of_the_list() -> None:
    text = matrix.README.read_text()
    table = matrix.render_groups(matrix.expected())
    assert matrix.insert(text, table) == text, "run scripts/matrix"
    assert text.count("\n") < 150


def test_a_run_that_was_not_whole_or_not_green_makes_no_matrix() -> None:
    results = {backend: dict(cells) for backend, cells in matrix.expected().items()}
    name = CASES[0].name
    results[BACKENDS[0]][name] = False
    with pytest.raises(ValueError, match="green"):
        matrix.render_whole(results)
    del results[BACKENDS[0]][name]
    with pytest.raises(ValueError, match="whole"):
        matrix.render_whole(results)


def test_a_readme_without_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="no <!-- matrix -->"):
        matrix.insert("# title\n", "table")
