"""Every metric of dashboard and alerts is one that the agent (or its Envoy) has, with the labels
that are asked of it."""

from __future__ import annotations

import json
import re

import pytest

from interceptor.debug import metrics
from interceptor.debug.dashboard import alert, form, proxy, query

OWN = {each.page_name: {*each.labels, "instance", "job"} for each in metrics.FAMILIES} | {
    f"{metrics.ANSWER_SECONDS}_bucket": {"le", "instance", "job"},
}
PROCESS = re.compile(r"(interceptor_(dns_worker|sidecar)_)?process_[a-z_]+")
ENVOY = re.compile(r"envoy_cluster_[a-z_]+")
ISTIO = re.compile(r"istio_agent_dns_[a-z_]+_total")
NAME = re.compile(r"\b(?:interceptor|istio|envoy|process)_[a-z0-9_]+\b")
MATCHER = re.compile(r'([a-z_]+)(?:=~|!=|=|!~)"')
GROUPED = re.compile(r"\bby \(([^)]*)\)")

EXPRESSIONS = [
    *(
        target["expr"]
        for panel in json.loads(form.render(proxy.ROWS))["panels"]
        for target in panel.get("targets", ())
    ),
    *(each.expression for each in alert.ALERTS),
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_name_is_a_metric_with_the_labels_that_are_asked_for(expression: str) -> None:
    bare = re.sub(r"(by|on) \([^)]*\)|\{[^}]*\}", "", expression)
    names = NAME.findall(bare)
    assert names or "up{" in expression
    asked = set(MATCHER.findall(expression))
    for group in GROUPED.findall(expression):
        asked |= {label.strip() for label in group.split(",")}
    for name in names:
        if name in OWN:
            assert asked <= OWN[name], name
        else:
            assert PROCESS.fullmatch(name) or ENVOY.fullmatch(name) or ISTIO.fullmatch(name), name


def test_counters_are_never_shown_as_they_are() -> None:
    for expression in EXPRESSIONS:
        for found in re.finditer(r"\w+_total\b", expression):
            before = expression[: found.start()]
            assert re.search(r"(rate|increase)\($", before), expression


def test_expressions_are_over_the_chosen_hosts() -> None:
    assert query.of("a", 'b="c"') == 'a{instance=~"$host(:[0-9]+)?", b="c"}'
    assert (
        query.rate("a_total", "x") == f"sum by (x) (rate({query.of('a_total')}[$__rate_interval]))"
    )
    assert query.busiest("a") == "topk(10, a)"
