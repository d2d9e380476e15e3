"""The state of a host that interceptor may change, as the host's own tools print it.

Two observations are equal exactly when nothing was left behind.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence

from interceptor.host import command
from interceptor.lab.world import Lab

FILTERS = """
for link in $(ip -o link | cut -d: -f2 | cut -d@ -f1); do
    tc qdisc show dev "$link"
    for hook in ingress egress; do tc filter show dev "$link" "$hook"; done
done
"""
TCX = """
import ctypes, os, platform, socket, struct
libc, number = ctypes.CDLL(None), {"x86_64": 321, "aarch64": 280}[platform.machine()]

def bpf(command, *attributes):
    buffer = ctypes.create_string_buffer(struct.pack(*attributes))
    return libc.syscall(number, command, buffer, len(buffer) - 1), buffer.raw

def name(program):
    descriptor = bpf(13, "=III", program, 0, 0)[0]  # BPF_PROG_GET_FD_BY_ID
    info = ctypes.create_string_buffer(80)  # struct bpf_prog_info, up to its name
    bpf(15, "=IIQ", descriptor, 80, ctypes.addressof(info))  # BPF_OBJ_GET_INFO_BY_FD
    os.close(descriptor)
    return info.raw[64:].rstrip(bytes(1)).decode()

for index, device in socket.if_nameindex():
    for hook, attach in (("ingress", 46), ("egress", 47)):  # BPF_TCX_INGRESS, BPF_TCX_EGRESS
        found = (ctypes.c_uint32 * 64)()
        query = (index, attach, 0, 0, ctypes.addressof(found), 64, 0)
        result, told = bpf(16, "=IIIIQII32x", *query)  # BPF_PROG_QUERY; of tcx since Linux 6.6
        for each in found[: struct.unpack_from("=I", told, 24)[0] if result == 0 else 0]:
            print(device, hook, name(each))
"""
"""Programs on devices without a qdisc, which Debian's `tc` does not tell of."""
CGROUPS = """
mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
find "$mount$(sed -n s/^0:://p /proc/self/cgroup)" -type d
"""

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "iptables-save": ("iptables-save",),
    "ip6tables-save": ("ip6tables-save",),
    "iptables-legacy-save": ("iptables-legacy-save",),
    "ip6tables-legacy-save": ("ip6tables-legacy-save",),
    "nft list ruleset": ("nft", "list", "ruleset"),
    "ip rule": ("ip", "rule"),
    "ip -6 rule": ("ip", "-6", "rule"),
    "ip route show table all": ("ip", "route", "show", "table", "all"),
    "ip -6 route show table all": ("ip", "-6", "route", "show", "table", "all"),
    "ip address": ("ip", "-o", "address"),
    "ipset list": ("ipset", "list"),
    "tc qdisc and tc filter": ("sh", "-euc", FILTERS),
    "tcx": ("python3", "-c", TCX),
    "pins": ("find", "/sys/fs/bpf"),
    "cgroups": ("sh", "-euc", CGROUPS),
}

# What moves without anybody's doing: the hour in comments, and packet counters.
_CLOCK = re.compile(r"^# (Generated|Completed) .*\n", re.MULTILINE)
_COUNTER = re.compile(r"\[\d+:\d+\]$", re.MULTILINE)

Snapshot = Mapping[str, str]


def normalise(text: str) -> str:
    """``text`` without the hour and without packet counters."""
    return _COUNTER.sub("[0:0]", _CLOCK.sub("", text))


def observe(lab: Lab, host: str) -> Snapshot:
    """What each of the tools prints on ``host``. Raises CommandFailed where one fails."""
    return observe_by(lambda argv: lab.run(host, argv))


def observe_by(run: Callable[[Sequence[str]], command.Completed]) -> Snapshot:
    """As `observe`, by any way to run a command."""
    return {title: normalise(run(argv).stdout) for title, argv in COMMANDS.items()}


def diff(before: Snapshot, after: Snapshot) -> str:
    """What is different, as a unified diff; empty when nothing is."""
    out: list[str] = []
    for title in before:
        out += difflib.unified_diff(
            before[title].splitlines(),
            after[title].splitlines(),
            f"{title} (before)",
            f"{title} (after)",
            lineterm="",
        )
    return "\n".join(out)
