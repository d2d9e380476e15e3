"""The ebpf back end's host for tests: namespace, cgroups, bpffs, and who stands where on it."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from interceptor.capture import fact
from interceptor.capture.ebpf import Ebpf
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.journal import Journal
from interceptor.capture.plan import Plan, build
from interceptor.capture.program import Programs
from interceptor.config import Config
from interceptor.host import bpflink, command, pin, tc
from interceptor.host.bytecode import Bytecode
from interceptor.lab import snapshot

MESH = (ip_address("192.0.2.7"), ip_network("192.0.2.128/25"))


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
        return text + self.tcx() + "\n".join(pins)

    def tcx(self) -> str:
        """Programs of tcx: device, hook, name; one a line."""
        told: str = self.vm.call(command.run, ["python3", "-c", snapshot.TCX]).stdout
        return told

    def runs(self, device: str, hook: str = "egress") -> list[str]:
        """Our programs on one side of a device, as tc and tcx tell, each by the letters that both
        have of it."""
        filters = self.sh(f"tc filter show dev {device} {hook}")
        found: list[str] = re.findall(r"interceptor_(\w+)", filters)
        found += re.findall(rf"^{device} {hook} (dns_\w+)_[0-9a-f]{{6}}$", self.tcx(), re.MULTILINE)
        return [each[:8] for each in found]

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


def changed(code: Bytecode) -> Bytecode:
    """The next version: each program with one instruction more, which does nothing."""
    nothing = bytes.fromhex("bf11000000000000")  # r1 = r1
    programs = {
        name: replace(program, instructions=nothing + program.instructions)
        for name, program in code.programs.items()
    }
    return replace(code, programs=programs)
