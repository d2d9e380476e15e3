"""The status for people shows every figure that the JSON has."""

from __future__ import annotations

from interceptor.debug.status import render


def test_groups_are_indented_and_what_is_empty_is_left_out() -> None:
    tree = {
        "ready": True,
        "why": "",
        "table": {"hosts": 3, "age_s": 1.234, "good_age_s": None},
        "rejected": [],
    }
    assert (
        render(tree)
        == "ready     yes\ntable\n  hosts       3\n  age_s       1.2\n  good_age_s  -\n"
    )


def test_short_words_stand_beside_each_other_and_long_ones_below() -> None:
    tree = {"planes": ["dns", "tcp"], "families": [4, 6], "backend_why": ["w" * 40, "x"]}
    assert render(tree) == (
        f"planes       dns, tcp\nfamilies     4, 6\nbackend_why\n  {'w' * 40}\n  x\n"
    )


def test_a_list_of_records_is_a_table() -> None:
    tree = {"queries": [{"result": "answer", "count": 2}, {"result": "pass", "count": 1, "x": 9}]}
    assert render(tree) == ("queries\n  result  count  x\n  answer  2\n  pass    1      9\n")
