"""Routes and policy rules."""

from __future__ import annotations

import json
from typing import Any

from interceptor.capture import route
from interceptor.capture.plan import Plan


def test_steps_are_commands_of_ip(make: Any) -> None:
    lines = [" ".join(step.do.argv) for step in route.render(make("tproxy_all_outbound"))]
    assert lines == [
        "ip -4 route add unicast 240.240.0.0/16 dev lo src 10.0.0.2 proto 157",
        "ip -6 route add unicast 2001:2::/48 dev lo src fd10::2 proto 157",
        "ip -6 route add local ::6/128 dev lo proto 157",
        "ip -4 route add local 0.0.0.0/0 dev lo table 15006 proto 157",
        "ip -6 route add local ::/0 dev lo table 15006 proto 157",
        "ip -4 rule add fwmark 0x1dc2 lookup 15006 protocol 157",
        "ip -6 rule add fwmark 0x1dc2 lookup 15006 protocol 157",
    ]


def test_ours_are_told_from_others_by_their_protocol() -> None:
    ours = {"dst": "::6", "type": "local", "dev": "lo", "table": "local", "protocol": "157"}
    routes = [
        ours,
        {"dst": "default", "type": "local", "dev": "lo", "table": "15006", "protocol": "157"},
        {"dst": "240.240.0.0/16", "dev": "lo", "protocol": "157", "prefsrc": "10.0.0.2"},
        {"dst": "10.0.0.0/8", "dev": "eth0", "protocol": "kernel"},
        {"dst": "203.0.113.0/24", "type": "unreachable", "protocol": "157"},
    ]
    rules = [
        {"priority": 0, "src": "all", "table": "local"},
        {"priority": 5, "src": "all", "fwmark": "0x1dc2", "table": "15006", "protocol": "157"},
    ]
    assert route.parse(6, json.dumps(routes[:2]), json.dumps(rules)) == (
        "-6 route local ::/0 dev lo table 15006 proto 157",
        "-6 route local ::6/128 dev lo proto 157",
        "-6 rule fwmark 0x1dc2 lookup 15006 protocol 157",
    )
    assert route.parse(4, json.dumps(routes[2:]), "") == (
        "-4 route unicast 240.240.0.0/16 dev lo src 10.0.0.2 proto 157",
        "-4 route unreachable 203.0.113.0/24 proto 157",
    )


def test_a_plan_without_routes_expects_none() -> None:
    assert route.expected(Plan()) == ""
