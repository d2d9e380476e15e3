"""The ebpf back end on a host of its own: namespace, cgroups and bpffs. The kernel is the oracle.

What the programs do is told elsewhere; here it matters which of them hang where.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from interceptor.capture import clean, fact, placement, policy, route, tally
from interceptor.capture.attachment import FILTERS, LINKS
from interceptor.capture.ebpf import Ebpf, remains
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.joined import Joined, Part, Routes
from interceptor.capture.journal import Journal
from interceptor.capture.plan import Plan, Plane, build
from interceptor.capture.program import Programs
from interceptor.config import Config
from interceptor.errors import Unsupported
from interceptor.host import bpf, bpflink, bpfmap, cgroup, command, netlink, pin, probe, tc
from interceptor.host.bpf import AttachType, ProgramType
from interceptor.host.bytecode import SOURCE, Bytecode, Program
from interceptor.host.layout import SPECS, Map, Network

pytestmark = pytest.mark.root

PASS = bytes.fromhex("b7000000ffffffff9500000000000000")  # r0 = -1; exit
MESH = (ip_address("192.0.2.7"), ip_network("192.0.2.128/25"))
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


class Host:
    """A namespace with a captured and an agent's cgroup, and a folder for pins."""

    def __init__(self, vm: Any, sites: Sites, code: Bytecode, folder: Path) -> None:
        self.vm, self.sites, self.code = vm, sites, code
        self.journal = Journal(folder / "journal")

    def backend(self, code: Bytecode | None = None) -> Ebpf:
        """As a process that has just been started has it."""
        used = code or self.code
        return Ebpf(self.journal, self.sites, Programs(lambda: used))

    def plan(self, **groups: Any) -> Plan:
        config = Config.model_validate(groups)
        return build(config, self.vm.call(fact.facts, config), MESH)

    def sh(self, script: str) -> str:
        found: str = self.vm.sh(script)
        return found

    def snapshot(self) -> str:
        """Everything that the back end may touch, in the words of others' tools."""
        pins = sorted(str(path) for path in self.sites.bpf_dir.parent.rglob("*"))
        listed = "for d in $(ls /sys/class/net); do :; done; tc qdisc show; ip -o link"
        text = self.sh(f"{listed}; ip route show table all; ip -6 route show table all")
        names = re.findall(r"^\d+: ([^:@]+)", self.sh("ip -o link"), re.MULTILINE)
        for name in names:
            text += self.sh(f"tc filter show dev {name} egress; tc filter show dev {name} ingress")
        return text + "\n".join(pins)

    def hooks(self) -> dict[str, tuple[int, int]]:
        """Each link and filter: its own number, its program's."""
        found = {}
        for name in pin.links(self.sites.bpf_dir):
            descriptor = pin.adopt_link(self.sites.bpf_dir, name)
            assert descriptor is not None
            info = bpflink.info(descriptor)
            os.close(descriptor)
            found[name] = (info.id, info.program_id)
        for each in self.vm.call(tc.ours):
            found[f"{each.index} {each.hook.name}"] = (each.handle, each.program_id)
        return found


@pytest.fixture(scope="module")
def code(compiled: Any) -> Bytecode:
    """What there is of C files; a program that passes everything where there is none."""
    programs = {}
    for name in (*LINKS, *FILTERS):
        if name in FILTERS and not (SOURCE / "dns.c").exists():
            programs[name] = Program(name, ProgramType.SCHED_CLS, AttachType.NONE, PASS)
        else:
            programs[name] = compiled[name]
    return Bytecode("", "", programs)


def changed(code: Bytecode) -> Bytecode:
    """The next version: each program with one instruction more, which does nothing."""
    nothing = bytes.fromhex("bf11000000000000")  # r1 = r1
    programs = {
        name: replace(program, instructions=nothing + program.instructions)
        for name, program in code.programs.items()
    }
    return replace(code, programs=programs)


@pytest.fixture
def host(namespaces: Callable[[str], Any], code: Bytecode, tmp_path: Path) -> Iterator[Host]:
    vm = namespaces("ebpf")
    vm.sh(
        "ip link add d0 type veth peer name d1; ip link set d0 addrgenmode none;"
        "ip link set d1 addrgenmode none up; ip link set d0 up;"
        "ip addr add 10.0.0.2/24 dev d0; ip addr add fd10::2/64 dev d0 nodad"
    )
    mount = tmp_path / "bpffs"
    mount.mkdir()
    top = Path(probe.cgroup_mount(), f"itest-{os.getpid()}-ebpf")
    sites = Sites(mount / "interceptor", top / "app", top / "agent")
    command.run(["mount", "-t", "bpf", "bpf", str(mount)])
    try:
        for folder in (sites.capture, sites.agent):
            cgroup.create(folder)
        yield Host(vm, sites, code, tmp_path)
    finally:
        vm.call(Ebpf(Journal(), sites).revert)
        command.run(["umount", str(mount)])
        for folder in (sites.capture, sites.agent, top):
            assert cgroup.remove(folder)


def test_what_is_expected_is_observed_and_twice_changes_nothing(host: Host) -> None:
    one, plan = host.backend(), host.plan()
    host.vm.call(one.apply, plan)
    assert host.vm.call(one.observe) == host.vm.call(one.expected, plan)
    before = host.hooks()
    assert len(before) == len(LINKS) + 3  # lo, d0, d1
    host.vm.call(one.apply, plan)
    host.vm.call(host.backend().apply, plan)
    assert host.hooks() == before


def test_the_programs_hang_where_they_should(host: Host) -> None:
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
    assert "interceptor_dns_lo" in host.sh("tc filter show dev lo egress")
    assert "interceptor_dns_egress" in host.sh("tc filter show dev d0 egress")


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


def test_a_device_that_comes_later_gets_its_filter_and_one_that_goes_is_no_harm(
    host: Host,
) -> None:
    one, plan = host.backend(), host.plan()
    host.vm.call(one.apply, plan)
    host.sh("ip link add e0 type veth peer name e1")
    later = host.plan()
    assert host.vm.call(one.observe) != host.vm.call(one.expected, later)
    host.vm.call(one.apply, later)
    assert "interceptor_dns_egress" in host.sh("tc filter show dev e0 egress")
    host.sh("ip link del e0")
    assert host.vm.call(one.observe) == host.vm.call(one.expected, later)
    host.vm.call(one.apply, later)


def test_ports_of_bridges_and_spared_devices_have_no_filter(host: Host) -> None:
    host.sh(
        "ip link add br0 type bridge; ip link set d1 master br0;"
        "ip link add x0 type veth peer name x1"
    )
    interfaces = {"exclude": ["x0"], "bridges": ["br0"]}
    plan = host.plan(capture={"interfaces": interfaces, "enabled": False})
    host.vm.call(host.backend().apply, plan)
    assert host.sh("tc filter show dev d1 egress; tc filter show dev x0 egress") == ""
    assert "interceptor_dns_bridge" in host.sh("tc filter show dev br0 ingress")
    assert "interceptor_dns_egress" in host.sh("tc filter show dev br0 egress")


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
    nothing = host.plan(dns={"enabled": False}, capture={"enabled": False})
    host.vm.call(one.apply, nothing)
    assert host.vm.call(one.observe) == host.vm.call(one.expected, nothing) == ""


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


def test_pins_that_somebody_removed_come_back_over_the_same_maps(host: Host) -> None:
    one, plan = host.backend(), host.plan()
    host.vm.call(one.apply, plan)
    before, programs = identities(host), host.hooks()
    command.run(["sh", "-c", f"rm -rf {host.sites.bpf_dir}/*"])
    host.vm.call(one.update, MESH[:1])
    host.vm.call(one.apply, plan.exchange(MESH[:1]))
    assert identities(host) == before
    assert host.vm.call(one.observe) == host.vm.call(one.expected, plan.exchange(MESH[:1]))
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
    counted = tally.observe_programs(host.sites.bpf_dir)
    met = json.loads(stop.read_text())
    host.vm.call(joined.revert)
    print(met)
    assert counted == {"outbound": met["sidecar"], "inbound": 0}
    assert tally.observe_programs(host.sites.bpf_dir) == {}
    assert set(met) == {"sidecar"}
    assert met["sidecar"] > 50
    assert placement.gaps(plans[1]) == ()
