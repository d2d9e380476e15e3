"""Alert rules are told apart, say what to do, and fire when they have to, as promtool says."""

from __future__ import annotations

from pathlib import Path

import yaml

from interceptor.debug.dashboard import alert
from interceptor.debug.dashboard.alert import ALERTS, Severity
from interceptor.host import command

ROOT = Path(__file__).parents[4]


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


def test_the_rules_are_legal_to_prometheus() -> None:
    command.run(["promtool", "check", "rules", str(ROOT / "docs" / "alerts.yaml")])


def test_each_rule_fires_where_it_has_to_and_nowhere_else() -> None:
    file = ROOT / "tests" / "data" / "alerts_test.yaml"
    command.run(["promtool", "test", "rules", str(file)])
    tried = {
        case["alertname"]
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert tried == {each.name for each in ALERTS}
