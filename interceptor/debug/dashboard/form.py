"""The Grafana dashboard as JSON: rows of panels, each with its queries. Pure.

`render` gives the form that Grafana imports (dashboard schema 39, of Grafana 10.4 and
later, which migrate older ones). A host is an instance of the agent
without its port, so that Envoy's own statistics, scraped at port 15090 of the same host,
are found beside it. Printed by `interceptor dashboard`; docs/grafana.json is a copy, and
a test holds the two together.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SCHEMA = 39
COLUMNS = 24  # of Grafana's grid
HEIGHTS = {"row": 1, "stat": 4, "timeseries": 8}

SCOPE = 'instance=~"$host(:[0-9]+)?"'
RATE = "$__rate_interval"
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

JSON = Mapping[str, object]


class Unit(enum.Enum):
    """Grafana's names of units."""

    NUMBER = "short"
    SECONDS = "s"
    PER_SECOND = "ops"
    SHARE = "percentunit"
    BYTES = "bytes"
    STATE = "bool_yes_no"


@dataclass(frozen=True, slots=True)
class Panel:
    """``queries``: expression → legend. ``wanted`` is the value of a state that is well."""

    title: str
    text: str
    queries: Mapping[str, str]
    unit: Unit = Unit.NUMBER
    is_stat: bool = False
    width: int = 8
    wanted: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


def render(rows: Sequence[Row]) -> str:
    """The whole dashboard as text."""
    panels: list[JSON] = []
    top = 0
    for row in rows:
        panels.append(_row(row.title, top, len(panels) + 1))
        top = _lay(row.panels, top + 1, panels)
    tree = {
        "title": "interceptor",
        "uid": "interceptor",
        "description": "The agent that makes a virtual machine a member of a service mesh.",
        "tags": ["interceptor", "service mesh", "dns"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables()},
        "annotations": {"list": [_restarts()]},
        "panels": panels,
        "links": [],
    }
    return json.dumps(tree, indent=1) + "\n"


def _lay(row: Sequence[Panel], top: int, panels: list[JSON]) -> int:
    """Put panels side by side, in lines; those of a line are equally high. Where it ends."""
    left, height = 0, 0
    for panel in row:
        own = HEIGHTS[_kind(panel)]
        if left and (left + panel.width > COLUMNS or own != height):
            left, top = 0, top + height
        panels.append(_panel(panel, left, top, len(panels) + 1))
        left, height = left + panel.width, own
    return top + height


def _kind(panel: Panel) -> str:
    return "stat" if panel.is_stat else "timeseries"


def _place(left: int, top: int, width: int, kind: str) -> JSON:
    return {"x": left, "y": top, "w": width, "h": HEIGHTS[kind]}


def _row(title: str, top: int, number: int) -> JSON:
    return {
        "id": number,
        "type": "row",
        "title": title,
        "collapsed": False,
        "gridPos": _place(0, top, COLUMNS, "row"),
        "panels": [],
    }


def _panel(panel: Panel, left: int, top: int, number: int) -> JSON:
    kind = _kind(panel)
    return {
        "id": number,
        "type": kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _DATASOURCE,
        "gridPos": _place(left, top, panel.width, kind),
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": _DATASOURCE,
                "expr": expression,
                "legendFormat": legend,
                "range": not panel.is_stat,
                "instant": panel.is_stat,
            }
            for place, (expression, legend) in enumerate(panel.queries.items())
        ],
    }


def _defaults(panel: Panel) -> JSON:
    steps: list[JSON] = [{"color": "blue" if panel.is_stat else "green", "value": None}]
    if panel.wanted is not None:
        colors = ("red", "green") if panel.wanted else ("green", "red")
        steps = [{"color": colors[0], "value": None}, {"color": colors[1], "value": 1}]
    found: dict[str, object] = {
        "unit": panel.unit.value,
        "min": 0,
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if not panel.is_stat:
        found["custom"] = {"drawStyle": "line", "fillOpacity": 10, "showPoints": "never"}
    return found


def _options(panel: Panel) -> JSON:
    if panel.is_stat:
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background",
            "textMode": "auto",
        }
    return {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _variables() -> list[JSON]:
    return [
        {
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
            "hide": 0,
            "refresh": 1,
        },
        {
            "name": "host",
            "label": "Host",
            "type": "query",
            "datasource": _DATASOURCE,
            "query": {"query": "label_values(interceptor_build_info, instance)", "refId": "host"},
            "definition": "label_values(interceptor_build_info, instance)",
            "regex": "/^(.+?)(?::[0-9]+)?$/",
            "multi": True,
            "includeAll": True,
            "allValue": ".+",
            "refresh": 2,
            "sort": 1,
            "hide": 0,
        },
    ]


def _restarts() -> JSON:
    """A mark in each panel where a daemon began."""
    return {
        "name": "agent started",
        "enable": True,
        "hide": False,
        "iconColor": "orange",
        "datasource": _DATASOURCE,
        "expr": f"changes(interceptor_config_last_reload_success_timestamp_seconds{{{SCOPE}}}[2m])"
        " > 0",
        "titleFormat": "agent started or reloaded",
        "textFormat": "{{instance}}",
    }
