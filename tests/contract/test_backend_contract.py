"""What every back end keeps: twice is once, revert is exact, updates break nothing."""

from __future__ import annotations

import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from interceptor.capture import clean, fact
from interceptor.capture.joined import Joined
from interceptor.capture.journal import Journal
from interceptor.capture.plan import Plan, build
from interceptor.config import Config
from interceptor.host import netlink

pytestmark = pytest.mark.root

RESCUE = Path(__file__).parents[2] / "scripts" / "rescue"
SHAPES = {
    "default": {},
    "everything": {
        "capture": {
            "outbound": {
                "cidrs": ["10.50.0.0/16", "fd50::/32"],
                "exclude_cidrs": ["10.50.9.0/24", "fd50:0:9::/48"],
                "ports": list(range(100, 120)),
                "exclude_ports": [25],
            },
            "inbound": {"ports": "*"},
            "owners": {"exclude_uids": [5, 6], "exclude_gids": [7], "include_uids": [0, 1000]},
            "interfaces": {"exclude": ["eth7"], "bridges": ["docker0", "br-1"]},
        },
        "dns": {"servers": ["1.1.1.1", "127.0.0.53", "2606::1"]},
    },
    "tproxy": {
        "capture": {"inbound": {"mode": "tproxy", "ports": [80, 443]}, "outbound": {"cidrs": "*"}}
    },
    "dns only": {"sidecar": {"mode": "none"}, "dns": {"servers": "resolv.conf"}},
    "tcp only": {"dns": {"enabled": False}, "capture": {"ipv6": False}},
    "nothing": {"dns": {"enabled": False}, "capture": {"enabled": False}},
}
MESH = tuple(map(ip_address, ("192.0.2.200", "fd20::1")))


def plan_of(vm: Any, shape: str, places: tuple[Any, ...] = MESH) -> Plan:
    config = Config.model_validate(SHAPES[shape])
    return build(config, vm.call(fact.facts, config), places)


@pytest.fixture(params=SHAPES)
def plan(request: pytest.FixtureRequest, vm: Any) -> Plan:
    return plan_of(vm, request.param)


@pytest.fixture(autouse=True)
def _leaves_nothing(vm: Any, look: Any) -> Iterator[None]:
    before = look(vm)
    yield
    vm.call(clean.revert, Journal())
    assert look(vm) == before


def test_the_host_shows_what_was_rendered(vm: Any, mechanism: Joined, plan: Plan) -> None:
    vm.call(mechanism.apply, plan)
    assert vm.call(mechanism.observe) == mechanism.expected(plan)
    if plan.rules:
        assert "interceptor" in vm.sh("nft list ruleset; iptables-legacy-save").lower()


def test_applying_twice_changes_nothing(vm: Any, mechanism: Joined, plan: Plan, look: Any) -> None:
    vm.call(mechanism.apply, plan)
    handles, once = vm.sh("nft -a list ruleset"), look(vm)
    vm.call(mechanism.apply, plan)
    assert look(vm) == once
    assert vm.sh("nft -a list ruleset") == handles


def test_revert_leaves_the_host_as_it_was(
    vm: Any, mechanism: Joined, plan: Plan, look: Any
) -> None:
    before = look(vm)
    vm.call(mechanism.apply, plan)
    assert (look(vm) != before) is bool(plan.rules)
    vm.call(mechanism.revert)
    assert look(vm) == before


def test_clean_undoes_it_by_its_journal_and_forgets_that(
    vm: Any, mechanism: Joined, plan: Plan, look: Any, journal: Journal
) -> None:
    before = look(vm)
    vm.call(mechanism.apply, plan)
    vm.call(clean.revert, journal)
    assert look(vm) == before
    assert journal.read() == ()


def test_the_rescue_script_needs_nothing_of_ours(
    vm: Any, mechanism: Joined, plan: Plan, look: Any
) -> None:
    before = look(vm)
    vm.call(mechanism.apply, plan)
    vm.call(subprocess.run, ["sh", str(RESCUE)], check=True, stdout=subprocess.DEVNULL)
    assert look(vm) == before


def test_one_plan_after_another_leaves_nothing_of_the_first(
    vm: Any, mechanism: Joined, look: Any
) -> None:
    for shape in ("everything", "tproxy", "dns only", "tcp only", "nothing", "default"):
        plan = plan_of(vm, shape)
        vm.call(mechanism.apply, plan)
        assert vm.call(mechanism.observe) == mechanism.expected(plan)


def test_a_host_without_any_rules_has_none_afterwards(
    bare: Any, mechanism: Joined, look: Any, journal: Journal
) -> None:
    before = look(bare)
    bare.call(mechanism.apply, plan_of(bare, "everything"))
    bare.call(clean.revert, Journal())
    assert look(bare) == before


def test_what_others_put_into_a_table_of_ours_stays(bare: Any, mechanism: Joined) -> None:
    bare.call(mechanism.apply, plan_of(bare, "default"))
    bare.sh("iptables-nft -t nat -A OUTPUT -p tcp --dport 9 -j ACCEPT; iptables-nft -t mangle -N X")
    bare.call(clean.revert, Journal())
    assert (
        bare.sh("iptables-nft-save -t nat | grep ^-A")
        == "-A OUTPUT -p tcp -m tcp --dport 9 -j ACCEPT\n"
    )
    assert ":X - " in bare.sh("iptables-nft-save -t mangle")
    assert "INTERCEPTOR" not in bare.sh("nft list ruleset")


def test_what_another_version_left_is_removed(vm: Any, look: Any) -> None:
    before = look(vm)
    vm.sh("""
        nft add table ip interceptor; nft add chain ip interceptor x
        for tables in iptables-nft iptables-legacy ip6tables-nft; do
            old="$tables -t raw"
            $old -N INTERCEPTOR_OLD; $old -A INTERCEPTOR_OLD -j RETURN
            $old -N INTERCEPTOR_OLDER; $old -A INTERCEPTOR_OLD -j INTERCEPTOR_OLDER
            for twice in 1 2; do
                $old -A OUTPUT -p udp -m comment --comment "it's old" -g INTERCEPTOR_OLD
            done
            $old -N INTERCEPTOR_NEW_TABLE; $old -N INTERCEPTOR_NEW_OUTPUT
        done
        ipset create interceptor_older hash:ip; ip rule add fwmark 9 lookup 9 protocol 157
        ip -6 route add local fd99::/64 dev lo proto 157 table 99
        ip route add unreachable 203.0.113.0/24 proto 157
    """)
    vm.call(clean.revert, Journal())
    assert look(vm) == before


@pytest.mark.parametrize("destination", ["240.240.1.1", "192.0.2.200", "2001:2::5", "fd20::1"])
def test_a_mesh_address_goes_to_the_sidecar_without_any_route_to_it(
    vm: Any, mechanism: Joined, destination: str, dial: Any
) -> None:
    if destination in ("192.0.2.200", "fd20::1"):
        vm.sh("ip route add default dev d0; ip -6 route add default dev d0")
    try:
        vm.call(mechanism.apply, plan_of(vm, "default"))
        one, place = vm.call(dial, destination, 80)
        assert place == "15001"
        one.close()
    finally:
        vm.sh("ip route del default; ip -6 route del default", check=False)


def test_an_update_moves_new_connections_and_leaves_the_open_ones(
    vm: Any, mechanism: Joined, dial: Any
) -> None:
    first, second = ip_address("10.0.0.77"), ip_address("10.0.0.78")
    plan = plan_of(vm, "default", (first,))
    vm.call(mechanism.apply, plan)
    handles = vm.sh("nft -a list chains")
    one, place = vm.call(dial, str(first), 80)
    assert place == "15001"
    vm.call(mechanism.update, [second, ip_network("10.0.0.128/30")])
    one.sendall(b"still here")
    assert one.recv(100) == b"still here"
    one.close()
    assert vm.call(dial, str(first), 80, 0.2)[0] is None
    for destination in (str(second), "10.0.0.130", "240.240.3.3"):
        again, place = vm.call(dial, destination, 80)
        assert place == "15001"
        again.close()
    assert vm.sh("nft -a list chains") == handles
    exchanged = plan.exchange([second, ip_network("10.0.0.128/30")])
    assert vm.call(mechanism.observe) == mechanism.expected(exchanged)


def test_a_released_plan_captures_nothing_new_and_breaks_nothing_old(
    vm: Any, mechanism: Joined, dial: Any
) -> None:
    plan = plan_of(vm, "default")
    vm.call(mechanism.apply, plan)
    one, place = vm.call(dial, "240.240.1.1", 80)
    assert place == "15001"
    vm.call(mechanism.apply, plan.released())
    one.sendall(b"on")
    assert one.recv(10) == b"on"
    one.close()
    # Another VIP: this half-open entry of conntrack would stick to its source port for 120 s,
    # and the busy caller further down comes by every port.
    assert vm.call(dial, "240.240.9.9", 80, 0.2)[0] is None


def test_a_connection_older_than_the_rules_goes_on(vm: Any, mechanism: Joined, dial: Any) -> None:
    one, place = vm.call(dial, "10.0.0.2", 7000)
    assert place == "7000"
    vm.call(mechanism.apply, plan_of(vm, "everything"))
    for _ in range(3):
        one.sendall(b"on")
        assert one.recv(10) == b"on"
    one.close()


def test_there_is_no_moment_without_capture_while_plans_change(
    vm: Any, mechanism: Joined, dial: Any
) -> None:
    plans = [plan_of(vm, shape) for shape in ("default", "everything", "tproxy")]
    vm.call(mechanism.apply, plans[0])
    stop, calls = threading.Event(), []

    def call_often() -> None:
        while not stop.is_set():
            start = time.monotonic()
            one, place = dial("240.240.1.1", 80)
            calls.append((place, time.monotonic() - start < 0.9))
            if one is not None:
                one.close()

    vm.thread(call_often)
    for turn in range(12):
        vm.call(mechanism.apply, plans[turn % 3])
        vm.call(mechanism.update, MESH[: turn % 2])
    stop.set()
    time.sleep(0.1)
    assert len(calls) > 10
    # A first packet that no rule saw would be sent again after a second, in vain.
    assert set(calls) == {("15001", True)}


def test_a_flush_by_others_is_an_event_and_apply_mends_it(vm: Any, mechanism: Joined) -> None:
    plan = plan_of(vm, "default")
    vm.call(mechanism.apply, plan)
    events = vm.call(mechanism.events)
    assert events, "each tells somehow, legacy iptables by its lock"
    is_legacy = mechanism.names[-1] == "iptables-legacy"
    variant = "legacy" if is_legacy else "nft"
    flush = f"iptables-{variant} -t mangle -F; iptables-{variant} -t nat -F"
    try:
        for each in events:
            netlink.drain(each)
        vm.sh(f"{flush}; nft flush table inet interceptor", check=False)
        told = select.select(events, [], [], 5)[0]
        assert told
        for each in events:
            netlink.drain(each)
            assert netlink.drain(each) == 0
    finally:
        for each in events:
            os.close(each)
    flushed = vm.call(mechanism.observe)
    # What others lost by the same flush is not ours to restore.
    if not is_legacy:
        vm.sh(
            "iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER;"
            "iptables-nft -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER"
        )
    assert flushed != mechanism.expected(plan)
    vm.call(mechanism.apply, plan)
    assert vm.call(mechanism.observe) == mechanism.expected(plan)


def test_another_s_rule_before_ours_is_overtaken(vm: Any, mechanism: Joined) -> None:
    plan = plan_of(vm, "default")
    vm.call(mechanism.apply, plan)
    vm.sh("iptables-nft -t nat -I OUTPUT 1 -d 192.0.2.99 -j ACCEPT")
    vm.call(mechanism.apply, plan)
    if "iptables" in mechanism.name and "-A OUTPUT" in vm.sh("iptables-nft-save -t nat"):
        lines = vm.sh("iptables-nft-save -t nat | grep '^-A OUTPUT'").splitlines()
        ours = [number for number, line in enumerate(lines) if "INTERCEPTOR" in line]
        assert ours in ([], [0])
    vm.sh("iptables-nft -t nat -D OUTPUT -d 192.0.2.99 -j ACCEPT")


def test_a_step_that_a_crash_cut_short_is_undone(
    bare: Any, mechanism: Joined, journal: Journal, look: Callable[[Any], str]
) -> None:
    before = look(bare)
    steps = mechanism.render(plan_of(bare, "everything"))
    for taken in range(1, len(steps) + 1):
        bare.call(journal.take, steps[:taken])
        bare.call(clean.revert, journal)
        assert look(bare) == before
