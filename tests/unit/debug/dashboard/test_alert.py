"""Alert rules are told apart and say what to do; that they fire, promtool tells (tests/netns)."""

from __future__ import annotations

import yaml

from interceptor.debug.dashboard import alert
from interceptor.debug.dashboard.alert import ALERTS, Severity


def test_the_file_is_one_group_of_all_rules() -> None:
    (group,) = yaml.safe_load(alert.render(ALERTS))["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert names == [each.name for each in ALERTS]
    assert len(set(names)) == len(names)


def test_each_rule_says_where_it_is_and_what_to_do() -> None:
    for each in ALERTS:
        assert "{{ $labels.instance }}" in each.summary, each.name
        assert "interceptor" in each.action or "journalctl" in each.action, each.name
        assert each.severity in Severity
