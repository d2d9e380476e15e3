"""What `interceptor doctor` looks at: every fact of this host, the configuration and the daemon.

Each look is short, changes nothing, and what cannot be read is left empty.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import cast

from interceptor import visit
from interceptor.capture import backend, fact, neighbour, placement, plan
from interceptor.capture.backend import Choice, Support
from interceptor.config import Config
from interceptor.debug import control
from interceptor.debug.doctor import examination, network, ruleset
from interceptor.debug.doctor.check import Check, Group
from interceptor.debug.doctor.fact import Envoy, Facts, Host, Mechanism, Net, Room
from interceptor.debug.doctor.packet import Ruleset
from interceptor.errors import ConfigError, InterceptorError, Unsupported
from interceptor.host import (
    cgroup,
    command,
    credential,
    feature,
    nameservice,
    occupant,
    probe,
    routechoice,
    sysctl,
    tcx,
    timekeeping,
)
from interceptor.sidecar import binary

DNS_OVER_TLS = 853
BCC = Path("/usr/lib/python3/dist-packages/bcc/version.py")
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Seen:
    """The facts, and which back ends there are; None where this host can run none."""

    facts: Facts
    choice: Choice | None


def observe(config: Config, tell: Tell = lambda _: None) -> Seen:
    """Everything. ``tell`` is given what is looked at next. Takes a second."""
    tell("back ends")
    host, choice = _host(config)
    tell("addresses and routes")
    net = _net(config)
    tell("resolvers")
    names = nameservice.observe(config.dns.resolv_conf)
    servers = [(f"resolver {each}", routechoice.observe(each)) for each in names.servers[:3]]
    net = replace(net, ways=(*net.ways, *servers))
    tell("firewalls")
    facts = Facts(
        host=host,
        net=net,
        names=names,
        ruleset=observe_rules(),
        neighbours=neighbours(config),
        envoy=_envoy(config),
        rooms=tuple(_rooms(config)),
        year=time.localtime().tm_year,
        synchronised=timekeeping.is_synchronised(),
    )
    tell("the daemon and the mesh")
    return Seen(_mesh(config, _status(config, facts)), choice)


def judge(seen: Seen, config: Config, groups: Collection[Group]) -> tuple[Check, ...]:
    """What the rules say of what was seen. Pure."""
    return examination.decide(seen.facts, config, groups)


def _host(config: Config) -> tuple[Host, Choice | None]:
    support = fact.support(config)
    choice, refusal = None, ""
    try:
        gaps = placement.gaps(plan.build(config, plan.Facts()))
        choice = backend.choose(config.capture.backend, config.dns.backend, support, gaps)
    except InterceptorError as error:
        refusal = str(error)
    mount = probe.cgroup_mount()
    host = Host(
        kernel=os.uname().release,
        machine=os.uname().machine,
        mechanisms=mechanisms(support, asked=fact.may_be_ebpf(config)),
        backends=(choice.tcp, choice.dns) if choice else ("", ""),
        chosen=choice.why if choice else (),
        refusal=refusal,
        cgroup_mount=mount,
        has_cgroup=not mount or cgroup.folder(config.capture.cgroup, Path(mount)).is_dir(),
        has_bpffs=has_bpffs(_read("/proc/self/mountinfo"), config.capture.bpf_dir),
        headers=_headers(),
        bcc=parse_bcc(_read(str(BCC))),
        credential=credential.observe(),
    )
    return _tried(host, support), choice


def _tried(host: Host, support: Support) -> Host:
    if os.geteuid() != 0:
        return replace(host, features_error="not tried")
    program = "iptables-nft" if support.iptables_nft_works else ""
    try:
        return replace(host, features=feature.observe(program), tcx=tcx.is_supported())
    except OSError as error:
        return replace(host, features_error=str(error))


def mechanisms(support: Support, *, asked: bool) -> tuple[Mechanism, ...]:
    """The back ends as they were tried. Pure. ``asked``: whether ebpf was."""
    nft = "" if support.nft_works else "nft 1.0 or later and nf_tables in the kernel"
    works = support.iptables_nft_works or support.iptables_legacy_works
    iptables = "" if works else "iptables-nft or iptables-legacy that works here"
    found = [
        Mechanism("nftables", support.nft, nft),
        Mechanism("iptables", support.iptables_nft or support.iptables_legacy, iptables),
    ]
    if not asked:
        return tuple(found)
    lacks = "; ".join(dict.fromkeys(filter(None, (support.ebpf_dns, support.ebpf_tcp))))
    return (Mechanism("ebpf", support.bytecode, lacks), *found)


def has_bpffs(mounts: str, folder: Path) -> bool:
    """Whether a bpffs is mounted at ``folder`` or above it, by mountinfo (proc(5)). Pure."""
    places = []
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[:1] == ["bpf"]:
            places.append(Path(before.split()[4]))
    return any(place == folder or place in folder.parents for place in places)


def parse_bcc(text: str) -> str:
    """bcc's version, by its version.py; empty where there is none. Pure."""
    found = re.search(r"__version__\s*=\s*['\"]([^'\"]+)", text)
    return found[1] if found else ""


def _headers() -> str:
    build = Path("/lib/modules", os.uname().release, "build")
    if build.exists():
        return str(build)
    kheaders = Path("/sys/kernel/kheaders.tar.xz")
    return str(kheaders) if kheaders.exists() else ""


def _net(config: Config) -> Net:
    links = probe.addresses()
    usual = [probe.source(probe.routes(version), links, version) for version in (4, 6)]
    outbound = config.capture.outbound.cidrs
    networks: list[tuple[str, IPv4Network | IPv6Network]] = [
        ("VIPs (IPv4)", config.mesh.vip_ranges.ipv4),
        ("VIPs (IPv6)", config.mesh.vip_ranges.ipv6),
        *((str(each), each) for each in (outbound if isinstance(outbound, tuple) else ())),
    ]
    if not probe.has_ipv6():
        networks = [each for each in networks if each[1].version == 4]
    own = tuple(
        address
        for found in links.values()
        for address in found
        if not (address.is_loopback or address.is_link_local)
    )
    return Net(
        addresses=own,
        usual=tuple(address for address in usual if address is not None),
        sysctls=sysctl.observe(network.SYSCTLS),
        ways=tuple((name, routechoice.observe(each[1])) for name, each in networks[:8]),
        rules=routechoice.observe_rules(config.capture.route_table),
        occupants=occupant.observe(),
        encrypted=occupant.observe_connected(DNS_OVER_TLS),
    )


def observe_rules() -> Ruleset:
    """Rules of others. What cannot be read is left out: without root that is everything."""
    found: list[Ruleset] = []
    with suppress(ValueError, KeyError, TypeError):
        done = command.run(["nft", "-j", "list", "ruleset"], check=False)
        found.append(ruleset.parse_nft(done.stdout if done else ""))
    for program in save_programs():
        with suppress(ValueError, StopIteration):
            done = command.run([f"{program}-save"], check=False)
            found.append(ruleset.parse_save(done.stdout, program))
    return ruleset.merge(found)


def save_programs() -> Iterator[str]:
    """The variants of iptables that are in use: legacy's is asked only where it has tables, for
    asking makes them."""
    yield from ("iptables-nft", "ip6tables-nft")
    legacy = ("iptables-legacy", "ip6tables-legacy")
    for program, path in zip(legacy, neighbour.LEGACY_TABLES, strict=True):
        with suppress(OSError):
            if path.read_text().strip():
                yield program


def neighbours(config: Config) -> tuple[str, ...]:
    """Who else stands at the hooks that we may use, in words."""
    mount = probe.cgroup_mount()
    folder = cgroup.folder(config.capture.cgroup, Path(mount)) if mount else Path("/")
    names = ("nftables", "ebpf") if mount and os.geteuid() == 0 else ("nftables",)
    return tuple(each.text() for each in neighbour.observe(names, folder))


def _envoy(config: Config) -> Envoy:
    if config.sidecar.mode != "managed":
        return Envoy()
    try:
        path = binary.find(config.sidecar.binary)
    except Unsupported as error:
        return Envoy(error=f"none: needs {error.needs}")
    done = command.run([str(path), "--version"], check=False, timeout_s=10)
    return Envoy(str(path), parse_envoy(done.stdout) if done else "")


def parse_envoy(text: str) -> str:
    """The version in `envoy --version`. Pure."""
    found = re.search(r"version: \w+/([^/\s]+)", text)
    return found[1] if found else ""


def _rooms(config: Config) -> Iterator[Room]:
    for key, path in (
        ("mesh.state_dir", config.mesh.state_dir),
        ("agent.run_dir", config.agent.run_dir),
    ):
        yield Room(key, str(path), credential.free_bytes(path))


def _status(config: Config, facts: Facts) -> Facts:
    try:
        tree = control.request(config.agent.run_dir, "GET", "/status")
    except InterceptorError as error:
        return replace(facts, status_error=str(error))
    return replace(facts, status=cast("dict[str, object]", tree))


def _mesh(config: Config, facts: Facts) -> Facts:
    try:
        case, ailments = visit.examine(config)
    except ConfigError as error:
        return replace(facts, mesh_problems=tuple(map(str, error.problems)))
    except (InterceptorError, OSError) as error:
        return replace(facts, mesh_problems=(str(error),))
    return replace(
        facts,
        mesh_hosts=len(case.table),
        mesh_problems=tuple(map(str, case.problems)),
        mesh_warnings=tuple(map(str, case.table.warnings)),
        ailments=ailments,
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
