"""The ebpf back end on a host of its own: namespace, cgroups and bpffs. The kernel is the oracle.

What the programs do is told elsewhere; here it matters which of them hang where.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from interceptor.capture import clean, neighbour, placement, policy, route, tally
from interceptor.capture.attachment import LINKS
from interceptor.capture.ebpf import Ebpf, remains
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.joined import Joined, Part, Routes
from interceptor.capture.journal import Journal
from interceptor.capture.plan import Plane
from interceptor.capture.program import Programs
from interceptor.errors import Unsupported
from interceptor.host import bpf, bpflink, bpfmap, cgroup, command, netlink, pin, tc, tcx
from interceptor.host.bpf import AttachType, Command, ProgramType
from interceptor.host.layout import SPECS, Map, Network
from tests.netns.bpf.ebpf_host import MESH, Host, changed

pytestmark = pytest.mark.root

ACCEPT = bytes.fromhex("b7000000000000009500000000000000")  # return TC_ACT_OK
ONE_WAY = pytest.mark.parametrize("kind", ["tcx"], indirect=True)
"""Of what has nothing to do with how programs get on devices."""
RESCUE = Path(__file__).parents[3] / "scripts/rescue"

DIAL = """
import json, os, socket, sys
met = {}
while not os.path.exists(sys.argv[2]):
    try:
        with socket.create_connection((sys.argv[1], 80), 1) as one:
            word = one.recv(10).decode()
    except OSError as error:
        word = str(error)
    met[word] = met.get(word, 0) + 1
with open(sys.argv[2], "w") as file:
    json.dump(met, file)
"""
"""Connects to an address until a file is there, then writes into it what it met."""


def detach_only(folder: Path, name: str) -> None:
    """As BPF_LINK_DETACH does it: the pin stays."""
    link = pin.adopt_link(folder, name)
    assert link is not None
    bpflink.detach(link)
    os.close(link)


def test_what_is_expected_is_observed_and_twice_changes_nothing(host: Host) -> None:
    one, plan = host.backend(), host.plan()
    host.vm.call(one.apply, plan)
    assert host.vm.call(one.observe) == host.vm.call(one.expected, plan)
    before = host.hooks()
    assert len(before) == len(LINKS) + 3  # lo, d0, d1
    host.vm.call(one.apply, plan)
    host.vm.call(host.backend().apply, plan)
    assert host.hooks() == before


def test_the_programs_hang_where_they_should(host: Host, kind: str) -> None:
    host.vm.call(host.backend().apply, host.plan())
    folders = {host.sites.capture: 0, host.sites.agent: 0}
    for name in pin.links(host.sites.bpf_dir):
        descriptor = pin.adopt_link(host.sites.bpf_dir, name)
        assert descriptor is not None
        target = bpflink.info(descriptor).target
        os.close(descriptor)
        for folder in folders:
            folders[folder] += folder.stat().st_ino == target
    assert folders == {host.sites.capture: 5, host.sites.agent: 2}
    assert (host.runs("lo"), host.runs("d0")) == (["dns_lo"], ["dns_egre"])
    assert ("clsact" in host.sh("tc qdisc show")) == (kind == "clsact")


def test_revert_leaves_the_host_as_it_was(host: Host) -> None:
    before = host.snapshot()
    one = host.backend()
    host.vm.call(one.apply, host.plan())
    assert host.snapshot() != before
    host.vm.call(one.revert)
    assert host.snapshot() == before
    assert host.vm.call(remains, host.sites.bpf_dir) == ""


def test_revert_needs_nothing_but_the_folder(host: Host) -> None:
    before = host.snapshot()
    host.vm.call(host.backend().apply, host.plan())
    host.vm.call(Ebpf(Journal(), Sites(host.sites.bpf_dir)).revert)
    assert host.snapshot() == before


def test_the_journal_undoes_what_a_crash_left(host: Host) -> None:
    before = host.snapshot()
    host.vm.call(host.backend().apply, host.plan())
    host.vm.call(host.journal.replay)
    # Qdiscs of ours are known by their marks, which the journal leaves alone.
    host.vm.call(Ebpf(Journal(), host.sites).revert)
    assert host.snapshot() == before


def test_rescue_needs_no_python(host: Host) -> None:
    before = host.snapshot()
    both = [Part(Routes(host.journal), lambda p: route.aliased(p, with_vips=False))]
    both.append(Part(host.backend(), lambda p: p))
    host.vm.call(Joined("ebpf", both, host.sites).apply, host.plan())
    host.sh(f"INTERCEPTOR_BPF_DIR={host.sites.bpf_dir} INTERCEPTOR_RUN_DIR=/none {RESCUE}")
    assert host.snapshot() == before


def test_clean_and_the_sweep_know_of_programs(host: Host) -> None:
    folder, before = host.sites.bpf_dir, host.snapshot()
    host.vm.call(host.backend().apply, host.plan())
    assert "ebpf link connect4" in host.vm.call(clean.observe, folder)
    host.vm.call(clean.sweep, ("routes", "nftables", "ebpf"), folder)
    assert "ebpf link connect4" in host.vm.call(clean.observe, folder)
    host.vm.call(clean.sweep, ("routes", "nftables"), folder)
    assert host.vm.call(clean.observe, folder) == ""
    host.vm.call(host.backend().apply, host.plan())
    host.vm.call(clean.revert, host.journal, folder)
    assert host.snapshot() == before


def test_filters_of_others_stay_and_keep_their_qdisc(host: Host) -> None:
    foreign = "tc filter add dev d0 egress protocol all pref 7 handle 1 u32 match u32 0 0"
    host.sh(f"tc qdisc add dev d0 clsact; {foreign} || {foreign.replace(' handle 1', '')}")
    before = host.snapshot()
    one = host.backend()
    host.vm.call(one.apply, host.plan())
    assert "u32" in host.sh("tc filter show dev d0 egress")
    host.vm.call(one.revert)
    assert host.snapshot() == before


def test_a_tcx_program_of_somebody_else_s_stays_behind_ours(host: Host, kind: str) -> None:
    descriptor = bpf.load_program("theirs", ProgramType.SCHED_CLS, AttachType.NONE, ACCEPT)
    index = host.vm.call(socket.if_nametoindex, "d0")
    wanted = struct.pack("=IIII", descriptor, index, AttachType.TCX_EGRESS, 0)
    theirs = host.vm.call(bpf.call, Command.LINK_CREATE, wanted)
    try:
        before = host.snapshot()
        assert "d0 egress theirs" in host.tcx()
        one = host.backend()
        host.vm.call(one.apply, host.plan())
        there = [line for line in host.tcx().splitlines() if line.startswith("d0 egress")]
        assert there[-1] == "d0 egress theirs"
        assert len(there) == (2 if kind == "tcx" else 1)
        others = host.vm.call(neighbour.observe, ["ebpf"], host.sites.capture)
        told = [each.text() for each in others]
        side = "after" if kind == "tcx" else "before"
        assert f"somebody: program theirs (tcx d0 egress, {side} ours)" in told
        assert not any("dns_" in line for line in told), told
        host.vm.call(one.revert)
        assert host.snapshot() == before
    finally:
        os.close(theirs)
        os.close(descriptor)


def test_a_device_that_comes_later_gets_its_filter_and_one_that_goes_is_no_harm(
    host: Host,
) -> None:
    one, plan = host.backend(), host.plan()
    host.vm.call(one.apply, plan)
    host.sh("ip link add e0 type veth peer name e1")
    later = host.plan()
    assert host.vm.call(one.observe) != host.vm.call(one.expected, later)
    host.vm.call(one.apply, later)
    assert host.runs("e0") == ["dns_egre"]
    host.sh("ip link del e0")
    assert host.vm.call(one.observe) == host.vm.call(one.expected, later)
    host.vm.call(one.apply, later)
    pinned = {each.index for each in host.vm.call(tcx.places, host.sites.bpf_dir)}
    assert pinned <= {index for index, _ in host.vm.call(socket.if_nameindex)}


def test_ports_of_bridges_and_spared_devices_have_no_filter(host: Host) -> None:
    host.sh(
        "ip link add br0 type bridge; ip link set d1 master br0;"
        "ip link add x0 type veth peer name x1"
    )
    interfaces = {"exclude": ["x0"], "bridges": ["br0"]}
    plan = host.plan(capture={"interfaces": interfaces, "enabled": False})
    host.vm.call(host.backend().apply, plan)
    assert host.runs("d1") == host.runs("x0") == []
    assert (host.runs("br0", "ingress"), host.runs("br0")) == (["dns_brid"], ["dns_egre"])


@pytest.mark.parametrize("kind", ["clsact"], indirect=True)
def test_a_removed_filter_is_an_event_and_apply_mends_it(host: Host) -> None:
    one, plan = host.backend(), host.plan()
    host.vm.call(one.apply, plan)
    events = host.vm.call(one.events)
    try:
        netlink.drain(events)
        host.sh("tc qdisc del dev d0 clsact")
        assert select.select([events], [], [], 5)[0]
    finally:
        os.close(events)
    pin.remove_link(host.sites.bpf_dir, "connect4")
    assert host.vm.call(one.observe) != host.vm.call(one.expected, plan)
    host.vm.call(one.apply, plan)
    assert host.vm.call(one.observe) == host.vm.call(one.expected, plan)


@pytest.mark.parametrize("kind", ["tcx"], indirect=True)
@pytest.mark.parametrize("remove", [pin.remove_link, pin.detach_link, detach_only])
def test_a_detached_link_of_a_device_is_seen_at_the_next_look_and_apply_mends_it(
    host: Host, remove: Callable[[Path, str], object]
) -> None:
    one, plan = host.backend(), host.plan()
    host.vm.call(one.apply, plan)
    assert not host.vm.call(one.is_amiss)
    index = host.vm.call(socket.if_nametoindex, "d0")
    remove(host.sites.bpf_dir, host.vm.call(tcx.place, index, tc.Hook.EGRESS).name)
    assert host.runs("d0") == []
    assert host.vm.call(one.is_amiss)
    assert host.vm.call(one.observe) != host.vm.call(one.expected, plan)
    host.vm.call(one.apply, plan)
    assert host.runs("d0") == ["dns_egre"]
    assert not host.vm.call(one.is_amiss)
    assert host.vm.call(one.observe) == host.vm.call(one.expected, plan)


@pytest.mark.parametrize("kind", ["tcx"], indirect=True)
def test_whoever_changes_from_clsact_to_tcx_or_back_leaves_nothing_of_the_other(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, before = host.plan(), host.snapshot()
    host.sh("tc qdisc add dev d1 clsact")
    theirs = host.sh("tc qdisc show")
    for switch in ("no", "", "no", ""):
        monkeypatch.setenv(tcx.SWITCH, switch)
        one = host.backend()
        assert host.vm.call(one.observe) != host.vm.call(one.expected, plan)
        host.vm.call(one.apply, plan)
        assert host.vm.call(one.observe) == host.vm.call(one.expected, plan)
        assert host.runs("d0") == ["dns_egre"]
        assert bool(host.tcx()) == (switch == "")
        assert (host.sh("tc qdisc show") == theirs) == (switch == "")
    host.sh("tc qdisc del dev d1 clsact")
    host.vm.call(host.backend().revert)
    assert host.snapshot() == before


def test_a_new_version_swaps_every_program_and_keeps_every_link(host: Host) -> None:
    plan = host.plan()
    host.vm.call(host.backend().apply, plan)
    before = host.hooks()
    newer = host.backend(changed(host.code))
    assert "another program" in host.vm.call(newer.observe)
    host.vm.call(newer.apply, plan)
    after = host.hooks()
    assert {name: link for name, (link, _) in after.items()} == {
        name: link for name, (link, _) in before.items()
    }
    assert not {program for _, program in after.values()} & {p for _, p in before.values()}
    assert host.vm.call(newer.observe) == host.vm.call(newer.expected, plan)


def test_pins_of_another_layout_go_once_ours_are_in(host: Host) -> None:
    plan = host.plan()
    pin.prepare(host.sites.bpf_dir)
    old = host.sites.bpf_dir / "v0"
    old.mkdir()
    leftover = bpfmap.create(SPECS[Map.STATE])
    bpf.pin(leftover.fd, str(old / "state"))
    leftover.close()
    one = host.backend()
    host.vm.call(one.apply, plan)
    assert not old.exists()
    assert host.vm.call(one.observe) == host.vm.call(one.expected, plan)


@ONE_WAY
def test_a_link_on_another_cgroup_is_made_anew(host: Host) -> None:
    plan = host.plan()
    there = replace(host.sites, capture=host.sites.agent)
    host.vm.call(Ebpf(Journal(), there, Programs(lambda: host.code)).apply, plan)
    one = host.backend()
    host.vm.call(one.apply, plan)
    assert host.vm.call(one.observe) == host.vm.call(one.expected, plan)


def test_planes_may_be_this_back_end_s_one_by_one(host: Host) -> None:
    one, plan = host.backend(), host.plan()
    for share in (plan.only(Plane.TCP), plan.only(Plane.DNS), plan, plan.released()):
        host.vm.call(one.apply, share)
        assert host.vm.call(one.observe) == host.vm.call(one.expected, share)
    host.vm.call(one.apply, plan.only(Plane.TCP))
    assert host.vm.call(tc.ours) == []
    assert host.tcx() == ""
    nothing = host.plan(dns={"enabled": False}, capture={"enabled": False})
    host.vm.call(one.apply, nothing)
    assert host.vm.call(one.observe) == host.vm.call(one.expected, nothing) == ""


@ONE_WAY
def test_a_plan_with_a_gap_is_refused_before_anything_is_touched(host: Host) -> None:
    before = host.snapshot()
    plan = host.plan(capture={"inbound": {"mode": "tproxy", "ports": "*"}})
    with pytest.raises(Unsupported, match="tproxy"):
        host.vm.call(host.backend().apply, plan)
    assert host.snapshot() == before


def networks(host: Host) -> set[bytes]:
    """What the map has of rule 7, whatever its generation."""
    found = pin.adopt_map(host.sites.bpf_dir, Map.NETWORKS)
    assert found is not None
    try:
        return {key[8:] for key in found.items() if key[4] == Network.OUTBOUND}
    finally:
        found.close()


@ONE_WAY
def test_one_address_more_is_one_write(host: Host) -> None:
    many = [ip_address(0x0B000000 + 3 * number) for number in range(10_000)]
    one, plan = host.backend(), host.plan().exchange(many)
    began = time.perf_counter()
    host.vm.call(one.apply, plan)
    applied_ms = (time.perf_counter() - began) * 1000
    programs = host.hooks()
    more = [*many[1:], ip_address("192.0.2.99")]
    began = time.perf_counter()
    host.vm.call(one.update, more)
    updated_ms = (time.perf_counter() - began) * 1000
    wanted = plan.exchange(more)
    began = time.perf_counter()
    observed = host.vm.call(one.observe)
    observed_ms = (time.perf_counter() - began) * 1000
    print(f"apply {applied_ms:.0f} ms, update {updated_ms:.0f} ms, observe {observed_ms:.1f} ms")
    assert observed == host.vm.call(one.expected, wanted) != host.vm.call(one.expected, plan)
    there = networks(host)
    assert policy.encode_network((Network.OUTBOUND, ip_network("192.0.2.99")), 0)[8:] in there
    assert policy.encode_network((Network.OUTBOUND, ip_network("11.0.0.0")), 0)[8:] not in there
    assert host.hooks() == programs
    # A process that has just come knows the same from the maps alone.
    assert host.vm.call(host.backend().observe) == observed
    again = host.backend()
    host.vm.call(again.apply, wanted)
    host.vm.call(again.apply, plan)
    assert policy.encode_network((Network.OUTBOUND, ip_network("11.0.0.0")), 0)[8:] in networks(
        host
    )


@ONE_WAY
def test_a_crash_between_two_writes_is_seen_and_mended(host: Host) -> None:
    one, plan = host.backend(), host.plan()
    host.vm.call(one.apply, plan)
    policies = pin.adopt_map(host.sites.bpf_dir, Map.POLICY)
    assert policies is not None
    for generation in (0, 1):
        raw = policies.lookup(generation.to_bytes(4, sys.byteorder)) or b""
        policies.update(generation.to_bytes(4, sys.byteorder), raw[:16] + b"\0" * 8 + raw[24:])
    policies.close()
    again = host.backend()
    assert host.vm.call(again.observe) != host.vm.call(again.expected, plan)
    host.vm.call(again.apply, plan)
    assert host.vm.call(again.observe) == host.vm.call(again.expected, plan)


def identities(host: Host) -> dict[str, int]:
    """The kernel's numbers of the maps that are pinned."""
    found = {}
    for number in SPECS:
        opened = pin.adopt_map(host.sites.bpf_dir, number)
        assert opened is not None
        found[number.name] = bpfmap.map_id(opened.fd)
        opened.close()
    return found


def test_pins_that_somebody_removed_come_back_over_the_same_maps(host: Host, kind: str) -> None:
    one, plan = host.backend(), host.plan()
    host.vm.call(one.apply, plan)
    before, programs = identities(host), host.hooks()
    command.run(["sh", "-c", f"rm -rf {host.sites.bpf_dir}/*"])
    host.vm.call(one.update, MESH[:1])
    host.vm.call(one.apply, plan.exchange(MESH[:1]))
    assert identities(host) == before
    assert host.vm.call(one.observe) == host.vm.call(one.expected, plan.exchange(MESH[:1]))
    if kind == "clsact":  # without its pin a link is gone, a filter is not
        filters = {name: each for name, each in programs.items() if name not in LINKS}
        assert filters.items() <= host.hooks().items()


def test_after_a_crash_without_pins_programs_are_loaded_over_new_maps(host: Host) -> None:
    plan = host.plan()
    host.vm.call(host.backend().apply, plan)
    before = host.hooks()
    command.run(["sh", "-c", f"rm -rf {host.sites.bpf_dir}/*"])
    again = host.backend()
    host.vm.call(again.apply, plan)
    assert host.vm.call(again.observe) == host.vm.call(again.expected, plan)
    assert not {p for _, p in host.hooks().values()} & {p for _, p in before.values()}


@ONE_WAY
def test_no_connection_escapes_while_plans_addresses_and_programs_change(host: Host) -> None:
    plans = [host.plan(), host.plan(capture={"outbound": {"cidrs": "*"}})]
    routes = Part(Routes(host.journal), lambda p: route.aliased(p, with_vips=False))
    joined = Joined("ebpf", [routes, Part(host.backend(), lambda p: p)], host.sites)
    listener = host.vm.call(socket.create_server, ("127.0.0.1", 15001), backlog=128)
    host.vm.call(joined.apply, plans[0])
    ended, closed = threading.Event(), threading.Event()

    def serve() -> None:
        while not ended.is_set():
            if select.select([listener], [], [], 0.1)[0]:
                with listener.accept()[0] as child, contextlib.suppress(OSError):
                    child.sendall(b"sidecar")
        listener.close()
        closed.set()

    host.vm.thread(serve)
    stop = Path(f"{host.journal.path}.stop")
    dial = [sys.executable, "-c", DIAL, "240.240.1.1", str(stop)]
    caller = host.vm.call(command.start, cgroup.join_argv(host.sites.capture, dial))
    versions = [host.code, changed(host.code)]
    for turn in range(6):
        mine = Part(host.backend(versions[turn % 2]), lambda p: p)
        newer = Joined("ebpf", [routes, mine], host.sites)
        host.vm.call(newer.apply, plans[turn % 2])
        host.vm.call(newer.update, MESH[: turn % 2])
    stop.touch()
    assert caller.wait(10) == 0
    caller.close()
    ended.set()
    assert closed.wait(5)
    counted = tally.steered(tally.observe_decisions(host.sites.bpf_dir))
    met = json.loads(stop.read_text())
    host.vm.call(joined.revert)
    print(met)
    assert counted == {"outbound": met["sidecar"], "inbound": 0}
    assert tally.observe_decisions(host.sites.bpf_dir) == {}
    assert set(met) == {"sidecar"}
    assert met["sidecar"] > 50
    assert placement.gaps(plans[1]) == ()
