"""The dashboard has the form that Grafana imports; what its queries give, tests/netns tells."""

from __future__ import annotations

import json
import re
from itertools import combinations, pairwise
from typing import Any

from interceptor.debug.dashboard import form, proxy
from interceptor.debug.dashboard.form import COLUMNS, Panel, Row, Unit

TREE: dict[str, Any] = json.loads(form.render(proxy.ROWS))


def test_the_five_rows_are_there_and_each_has_panels() -> None:
    kinds = [panel["type"] for panel in TREE["panels"]]
    titles = [panel["title"] for panel in TREE["panels"] if panel["type"] == "row"]
    assert titles == ["Health", "DNS", "Capture", "Table", "Sidecar"]
    assert set(kinds) == {"row", "stat", "timeseries"}
    assert "row" not in [first for first, second in pairwise(kinds) if second == "row"]


def test_no_panel_covers_another_or_leaves_the_grid() -> None:
    def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
        place = panel["gridPos"]
        return {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }

    covered = [cells(panel) for panel in TREE["panels"]]
    assert all(0 <= x < COLUMNS for each in covered for x, _ in each)
    assert not any(one & other for one, other in combinations(covered, 2))


def test_panels_and_queries_can_be_told_apart() -> None:
    numbers = [panel["id"] for panel in TREE["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in TREE["panels"]:
        letters = [target["refId"] for target in panel.get("targets", ())]
        assert letters == sorted(set(letters))


def test_the_data_source_and_the_host_are_the_users_choice() -> None:
    source, host = TREE["templating"]["list"]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    assert (host["type"], host["multi"], host["includeAll"]) == ("query", True, True)
    pattern = re.compile(host["regex"].strip("/"))
    for instance in ("vm1:15020", "vm1:15090", "vm1", "10.0.0.7:15020"):
        found = pattern.match(instance)
        assert found is not None
        assert found[1] == instance.partition(":")[0]
    for panel in TREE["panels"]:
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'instance=~"$host(:[0-9]+)?"' in target["expr"]


def test_a_state_is_green_when_it_is_as_wanted() -> None:
    def color(wanted: int) -> str:
        panel = Panel("a", "", {"up": "b"}, Unit.STATE, is_stat=True, wanted=wanted)
        tree = json.loads(form.render([Row("r", (panel,))]))
        steps = tree["panels"][1]["fieldConfig"]["defaults"]["thresholds"]["steps"]
        return str(next(step["color"] for step in steps if (step["value"] or 0) == wanted))

    assert color(0) == color(1) == "green"


def test_panels_that_do_not_fit_beside_each_other_stand_below() -> None:
    wide = tuple(Panel(str(number), "", {}, width=10) for number in range(3))
    tree = json.loads(form.render([Row("r", wide)]))
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in tree["panels"][1:]]
    assert places == [(0, 1), (10, 1), (0, 9)]
