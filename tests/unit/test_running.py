"""Whether a daemon is ready, and how old what it knows is."""

from __future__ import annotations

import socket
from time import monotonic

from interceptor import running
from interceptor.capture import plan
from interceptor.capture.backend import Choice
from interceptor.capture.plan import Facts
from interceptor.config import Config, parse
from interceptor.source.event import Standing
from tests.unit.told import Told


def test_a_daemon_at_its_start_says_what_is_missing() -> None:
    assert running.ready(Told()) == (
        False,
        "rules are not installed; no table has been loaded",
    )


def test_rules_and_table_and_the_end_of_the_start_make_it_ready() -> None:
    told = Told(has_table=True)
    told.guard.plan = plan.build(Config(), Facts())
    assert running.ready(told) == (False, "the start is not over")
    told.is_started = True
    assert running.ready(told) == (True, "ready")


def test_a_table_that_its_source_holds_up_has_no_age() -> None:
    told = Told(has_table=True, told_s=monotonic() - 5)
    assert running.good_age_s(told) == 0.0
    told.standing = Standing(held=2, recalled=0, age_s=60.0)
    assert 65 <= running.good_age_s(told) < 75


def test_one_plane_of_programs_is_enough_to_have_some() -> None:
    assert not running.has_programs(Told())
    assert running.has_programs(Told(choice=Choice("nftables", "ebpf")))
    assert running.has_programs(Told(choice=Choice("ebpf", "nftables")))


def test_an_envoy_without_the_listener_that_is_captured_for_is_told() -> None:
    """A control plane's mesh may have other ports, and Envoy may refuse its listeners."""
    with socket.create_server(("127.0.0.1", 0)) as there, socket.socket() as away:
        away.bind(("127.0.0.1", 0))
        ports = (
            f"{{outbound_port: {there.getsockname()[1]}, inbound_port: {away.getsockname()[1]}}}"
        )
        capture = "capture: {inbound: {ports: '*'}}"
        config = parse(f"mesh: {{source: istiod}}\nsidecar: {ports}\n{capture}\n")
        (missing,) = running.unbound(config)
        assert f"no listener at port {away.getsockname()[1]}" in missing
        assert running.unbound(parse(f"sidecar: {ports}\n{capture}\n")) == []
