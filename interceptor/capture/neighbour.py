"""Who else stands at the hooks that we use, by name where it is somebody known.

Told where somebody removes what is ours again and again, and in the status: with a firewall
that reloads, an orchestrator or another mesh, the first question is who was there.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from interceptor.capture import restore
from interceptor.capture.program import is_mark
from interceptor.capture.ruleset import TABLE
from interceptor.host import bpf, bpflink, command, tc, tcx
from interceptor.host.bpf import AttachType
from interceptor.host.tc import Filter, Hook

HOOKS = ("prerouting", "output")
TABLES = ("raw", "mangle", "nat", "filter")  # of iptables, in the order of their priorities
LEGACY_TABLES = Path("/proc/self/net/ip_tables_names"), Path("/proc/self/net/ip6_tables_names")

CONNECT: Mapping[AttachType, str] = {
    AttachType.CGROUP_INET4_CONNECT: "connect4",
    AttachType.CGROUP_INET6_CONNECT: "connect6",
}
"""Where connections are steered, and our program there; in the kernel its name is longer."""

OWNERS: tuple[tuple[str, str], ...] = (
    (r"firewalld|.*_direct$|(PRE|POST|FWD|IN|OUT)_\w+", "firewalld"),
    (r"ufw6?-.*", "ufw"),
    (r"DOCKER.*|docker.*", "Docker"),
    (r"KUBE-.*|kube-.*", "Kubernetes"),
    (r"cali[-:_].*|calico.*", "Calico"),
    (r"CILIUM_.*|cilium.*|cil_.*", "Cilium"),
    (r"LIBVIRT_.*|libvirt.*", "libvirt"),
    (r"ISTIO_.*|istio.*", "Istio"),
    (r"NETAVARK.*|netavark.*", "Podman"),
    (r"CNI-.*", "CNI plugins"),
    (r"FLANNEL.*|flannel.*", "flannel"),
    (r"ts-.*", "Tailscale"),
    (r"f2b-.*", "fail2ban"),
    (r"wg-quick-.*", "wg-quick"),
    (r"nm-.*", "NetworkManager"),
    (r"lxd|incus|lxc", "LXD or Incus"),
    (r"warp.*|cloudflare-warp", "Cloudflare WARP"),
    (r"PROXY_INIT_.*", "Linkerd"),
    (r"KUMA_.*|kuma.*", "Kuma"),
    (r"miniupnpd|MINIUPNPD.*", "miniupnpd"),
)
"""Names of tables, chains and filters, and whose they are; the first that fits."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Somebody's doing at one hook. ``owner`` is empty where the name says nothing; ``place`` is
    where it stands to ours: before, after, among, or empty where nothing of ours is at that hook.
    """

    hook: str
    what: str
    owner: str = ""
    place: str = ""

    def text(self) -> str:
        """A few words."""
        place = f", {self.place} ours" if self.place else ""
        return f"{self.owner or 'somebody'}: {self.what} ({self.hook}{place})"


def owner(*names: str) -> str:
    """Whose something is, by its names; empty where nobody knows."""
    for name in names:
        for pattern, known in OWNERS:
            if re.fullmatch(pattern, name):
                return known
    return ""


@dataclass(frozen=True, slots=True)
class Base:
    """A base chain of nft."""

    family: str
    table: str
    name: str
    kind: str
    hook: str
    priority: int

    @property
    def is_ours(self) -> bool:
        return self.table == TABLE["table"]

    @property
    def is_of_iptables(self) -> bool:
        """Whether iptables-nft has made it, by its name."""
        return self.family in ("ip", "ip6") and self.name in restore.BUILT_IN


def parse_bases(text: str) -> tuple[Base, ...]:
    """The base chains at our hooks in `nft -j list chains`."""
    items = json.loads(text or "{}").get("nftables", [])
    chains = (item["chain"] for item in items if "chain" in item)
    return tuple(
        Base(each["family"], each["table"], each["name"], each["type"], each["hook"], each["prio"])
        for each in chains
        if each.get("hook") in HOOKS
    )


def decide_tables(bases: Iterable[Base]) -> tuple[Neighbour, ...]:
    """The base chains of others. Those of iptables-nft are left to `parse_save`, which sees what
    stands in them."""
    every = tuple(bases)
    found = []
    for base in every:
        if base.is_ours or base.is_of_iptables:
            continue
        ours = [each.priority for each in every if each.is_ours and each.hook == base.hook]
        found.append(
            Neighbour(
                hook=f"{base.hook}, type {base.kind}, priority {base.priority}",
                what=f"nft table {base.family} {base.table}, chain {base.name}",
                owner=owner(base.table, base.name),
                place=_place(base.priority, ours),
            )
        )
    return tuple(found)


def _place(priority: int, ours: list[int]) -> str:
    if not ours:
        return ""
    if priority < min(ours):
        return "before"
    return "after" if priority > max(ours) else "among"


def parse_save(text: str, program: str) -> tuple[Neighbour, ...]:
    """Of iptables-save: where others' rules in the built-in chains that we use lead to."""
    saved = restore.parse(text)
    found: dict[tuple[str, str], Neighbour] = {}
    for table in TABLES:
        for hook in ("PREROUTING", "OUTPUT"):
            rules = saved.tables.get(table, {}).get(hook, ())
            jumps = {rule for where, rule in saved.jumps(table) if where == hook}
            first = min((at for at, rule in enumerate(rules) if rule in jumps), default=None)
            for at, rule in enumerate(rules):
                if rule in jumps:
                    continue
                target = _target(rule)
                place = "" if first is None else "before" if at < first else "after"
                what = f"{program} {target}"
                one = Neighbour(f"{table} {hook}", what, owner(target), place)
                # A firewall has half a dozen of them in a row: the first tells enough.
                found.setdefault((one.hook, one.owner or target), one)
    return tuple(found.values())


def _target(rule: str) -> str:
    """What a rule leads to: a chain, or a target such as DNAT; where to none, the rule."""
    match = re.search(r"(?:^| )(?:-j|-g) (\S+)", rule)
    return match[1] if match else rule


def parse_filters(
    filters: Iterable[Filter],
    devices: Mapping[int, str],
    ahead: Collection[tuple[int, Hook]] = (),
) -> tuple[Neighbour, ...]:
    """Filters of others on devices; where ours is among them, what it stands to them.
    ``devices``: index to name; ``ahead``: where ours is in tcx, which comes before all filters."""
    every = list(filters)
    ours = dict.fromkeys(ahead, 0)
    ours |= {(each.index, each.hook): each.priority for each in every if each.ours}
    found = []
    for each in every:
        if each.ours:
            continue
        where = f"{devices.get(each.index, each.index)} {each.hook.name.lower()}"
        priority = ours.get((each.index, each.hook))
        found.append(
            Neighbour(
                hook=f"tc {where}, priority {each.priority}",
                what=f"{each.kind} filter {each.name}".rstrip(),
                owner=owner(each.name),
                place="" if priority is None else "before" if each.priority < priority else "after",
            )
        )
    return tuple(found)


def observe(names: Iterable[str], capture: Path) -> tuple[Neighbour, ...]:
    """Everybody at the hooks of these back ends; ``capture`` is the folder of the cgroup that is
    captured. What cannot be read is left out."""
    chosen = frozenset(names)
    found: list[Neighbour] = []
    looks: list[Callable[[], Iterable[Neighbour]]] = []
    if chosen - {"routes", "ebpf"}:
        looks.append(_observe_netfilter)
    if "ebpf" in chosen:
        looks += [_observe_filters, _observe_tcx, partial(_observe_cgroup, capture)]
    for look in looks:
        with suppress(OSError, ValueError):
            found += look()
    return tuple(dict.fromkeys(found))


def _observe_filters() -> tuple[Neighbour, ...]:
    places = [(index, hook) for index in sorted(tc.clsacts()) for hook in tc.Hook]
    found = [each for place in places for each in tc.filters(*place)]
    ahead = [place for place in places if any(map(_is_ours, _tcx(*place)))]
    return parse_filters(found, dict(socket.if_nameindex()), ahead)


def _observe_tcx() -> Iterator[Neighbour]:
    """Programs without a qdisc, which run before every filter (since Linux 6.6)."""
    for index, device in socket.if_nameindex():
        for hook in tc.Hook:
            place = "before"  # also where ours is a filter
            for name in _tcx(index, hook):
                if _is_ours(name):
                    place = "after"
                else:
                    where = f"tcx {device} {hook.name.lower()}"
                    yield Neighbour(where, f"program {name}", owner(name), place)


def _tcx(index: int, hook: Hook) -> list[str]:
    """The names of the programs at one place of tcx, in their order; none without tcx."""
    try:
        return [_name(number) for number in bpflink.programs(index, tcx.ATTACH[hook])]
    except OSError:
        return []


def _is_ours(name: str) -> bool:
    return is_mark(name, "dns_")


def _observe_cgroup(capture: Path) -> Iterator[Neighbour]:
    """Programs that see a connect() of the captured cgroup besides ours."""
    folder = os.open(capture, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for attach, ours in CONNECT.items():
            names = [_name(number) for number in bpflink.programs(folder, attach)]
            for name in (each for each in names if not each.startswith(f"{ours}_")):
                yield Neighbour(f"cgroup {ours}", f"program {name}", owner(name))
    finally:
        os.close(folder)


def _name(number: int) -> str:
    """What a program is called in the kernel; its number, where that is nothing."""
    descriptor = bpf.program_by_id(number)
    try:
        return bpf.program_info(descriptor).name or str(number)
    finally:
        os.close(descriptor)


def _observe_netfilter() -> Iterator[Neighbour]:
    listed = command.run(["nft", "-j", "list", "chains"], check=False)
    bases = parse_bases(listed.stdout) if listed else ()
    yield from decide_tables(bases)
    families = {base.family for base in bases if base.is_of_iptables}
    for version, program in ((4, "iptables"), (6, "ip6tables")):
        if ("ip" if version == 4 else "ip6") in families:
            saved = command.run([f"{program}-nft-save"], check=False).stdout
            yield from parse_save(saved, program)
        if _has_legacy(version):
            saved = command.run([f"{program}-legacy-save"], check=False).stdout
            yield from parse_save(saved, f"{program}-legacy")


def _has_legacy(version: int) -> bool:
    try:
        return bool(LEGACY_TABLES[version == 6].read_text().strip())
    except OSError:
        return False
