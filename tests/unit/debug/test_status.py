"""The status for people shows every figure that the JSON has."""

from __future__ import annotations

from interceptor.debug.status import render


def test_groups_are_indented_and_empty_ones_left_out() -> None:
    tree = {"ready": True, "table": {"hosts": 3, "age_s": 1.234}, "rejected": [], "nacks": ["a"]}
    assert render(tree) == "ready     yes\ntable\n  hosts  3\n  age_s  1.2\nnacks\n  a\n"


def test_a_list_of_records_is_a_line_each() -> None:
    tree = {"queries": [{"result": "answer", "count": 2}, {"result": "pass", "count": 1}]}
    assert render(tree) == "queries\n  result=answer  count=2\n  result=pass  count=1\n"
