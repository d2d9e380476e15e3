"""Kernel, back ends, and this process's rights."""

from __future__ import annotations

from collections.abc import Iterator

from interceptor.config import Config
from interceptor.debug.doctor.check import Check, Group, State
from interceptor.debug.doctor.fact import Facts, Host
from interceptor.host.feature import Feature

FILES, LOCKED_BYTES, MEMORY_BYTES = 4096, 64 << 20, 256 << 20
"""Below these something gives: sockets of the relay, maps on kernels before 5.11, the loading of
a large mesh."""

NEEDED: dict[str, tuple[str, ...]] = {
    "ebpf": (),
    "nftables": ("redirect (nft)",),
    "iptables": ("redirect (iptables)", "NFQUEUE (iptables)"),
}
USES = {
    "NFQUEUE (nft)": "nftables takes its DNS rule through iptables-nft instead",
    "TPROXY (nft)": "capture.inbound.mode tproxy is not possible with nftables",
    "TPROXY (iptables)": "capture.inbound.mode tproxy is not possible with iptables",
    "NFLOG (nft)": "`trace` does not see connections with nftables",
    "cgroup match (nft)": "capture.owners by cgroup are not possible with nftables",
    "conntrack zones (iptables)": "only others use them",
    "MPTCP": "no program of this host can speak MPTCP",
    "TCP Fast Open": "no program of this host can use TCP Fast Open",
}
MODULES = {
    "NFQUEUE (nft)": "modprobe nft_queue",
    "NFQUEUE (iptables)": "modprobe xt_NFQUEUE",
    "redirect (nft)": "modprobe nft_redir",
    "redirect (iptables)": "modprobe xt_REDIRECT",
    "TPROXY (nft)": "modprobe nft_tproxy",
    "TPROXY (iptables)": "modprobe xt_TPROXY",
    "NFLOG (nft)": "modprobe nfnetlink_log",
    "conntrack zones (iptables)": "modprobe xt_CT",
    "cgroup match (nft)": "modprobe nft_socket",
    "MPTCP": "sysctl -w net.mptcp.enabled=1",
    "TCP Fast Open": "sysctl -w net.ipv4.tcp_fastopen=1",
}


def decide(facts: Facts, config: Config) -> Iterator[Check]:
    """All of it."""
    host = facts.host
    yield Check(Group.KERNEL, "kernel", State.OK, f"Linux {host.kernel} on {host.machine}")
    yield _choice(host, config)
    yield from _mechanisms(host, config)
    yield from _features(host)
    yield from _ground(host, config)
    yield from _rights(host)


def _choice(host: Host, config: Config) -> Check:
    name = "back end"
    if host.refusal:
        wanted = config.capture.backend
        cure = "capture.backend: auto" if wanted != "auto" else "apt install nftables, or a kernel"
        why = "nothing can be captured on this host"
        return Check(Group.KERNEL, name, State.FAULT, host.refusal, why, cure)
    return Check(Group.KERNEL, name, State.OK, "; ".join(host.chosen))


def _mechanisms(host: Host, config: Config) -> Iterator[Check]:
    for each in host.mechanisms:
        seen = " ".join(filter(None, (each.version, each.lacks and f"lacks {each.lacks}")))
        if not each.lacks:
            yield Check(Group.KERNEL, each.name, State.OK, seen or "works")
            continue
        asked = each.name in (config.capture.backend, config.dns.backend)
        state = State.FAULT if asked else State.NOTE
        why = "it was asked for" if asked else "another back end is used"
        yield Check(Group.KERNEL, each.name, state, seen, why, _cure(each.name))


def _cure(name: str) -> str:
    return {
        "nftables": "apt install nftables; modprobe nf_tables",
        "iptables": "apt install iptables",
        "ebpf": "a kernel of 5.15 or later with cgroup2, and root",
    }.get(name, "")


def _features(host: Host) -> Iterator[Check]:
    if host.features_error:
        why = "features are tried in a network namespace of their own"
        yield Check(Group.KERNEL, "features", State.NOTE, host.features_error, why, "be root")
        return
    working = [each.name for each in host.features if each.works]
    if working:
        yield Check(Group.KERNEL, "features", State.OK, ", ".join(working))
    yield from (_missing(each, host) for each in host.features if not each.works)


def _missing(feature: Feature, host: Host) -> Check:
    used = {name for backend in host.backends for name in NEEDED.get(backend, ())}
    state = State.FAULT if feature.name in used else State.NOTE
    why = "the chosen back end needs it" if feature.name in used else USES.get(feature.name, "")
    cure = MODULES.get(feature.name, "")
    return Check(Group.KERNEL, feature.name, state, f"does not work: {feature.said}", why, cure)


def _ground(host: Host, config: Config) -> Iterator[Check]:
    """What ebpf stands on, and what its builders need."""
    if host.cgroup_mount and not host.has_cgroup:
        why = "the ebpf back end captures that subtree"
        cure = "capture.cgroup: /, or make the cgroup first"
        seen = f"{config.capture.cgroup} is not below {host.cgroup_mount}"
        yield Check(Group.KERNEL, "cgroup2", State.FAULT, seen, why, cure)
    elif host.cgroup_mount:
        yield Check(Group.KERNEL, "cgroup2", State.OK, host.cgroup_mount)
    else:
        why = "the ebpf back end hangs on it"
        cure = "mount -t cgroup2 none /sys/fs/cgroup/unified"
        yield Check(Group.KERNEL, "cgroup2", State.NOTE, "not mounted", why, cure)
    if not host.has_bpffs:
        cure = "mount -t bpf bpf /sys/fs/bpf"
        seen = f"no bpffs at {config.capture.bpf_dir.parent}"
        yield Check(Group.KERNEL, "bpffs", State.NOTE, seen, "ebpf keeps its maps there", cure)
    if host.tcx is False:
        why = "programs get on devices by tc; what passes while the qdisc comes or goes is lost"
        yield Check(Group.KERNEL, "tcx", State.NOTE, "not here", why, "Linux 6.6 or later")
    elif host.tcx:
        yield Check(Group.KERNEL, "tcx", State.OK, "programs come and go without a lost packet")
    told = f"headers {host.headers or 'none'}, bcc {host.bcc or 'none'}"
    why = "the programs come compiled: only who builds them needs these"
    yield Check(Group.KERNEL, "compiler", State.OK, told, why)


def _rights(host: Host) -> Iterator[Check]:
    one = host.credential
    if one.uid:
        why = "rules and programs are root's; some facts could not be read, and no self-test ran"
        seen = f"uid {one.uid}"
        yield Check(Group.PROCESS, "user", State.NOTE, seen, why, "sudo interceptor doctor")
    elif one.missing:
        why = "the daemon needs them all"
        cure = "in a container: --cap-add for each; under systemd: CapabilityBoundingSet"
        seen = f"root without {', '.join(one.missing)}"
        yield Check(Group.PROCESS, "capabilities", State.FAULT, seen, why, cure)
    else:
        yield Check(Group.PROCESS, "user", State.OK, "root, with every capability that is needed")
    if 0 <= one.files < FILES:
        why = "the TCP/53 relay and Envoy need a descriptor for each connection"
        cure = "ulimit -n 65536, or LimitNOFILE= of the unit"
        yield Check(Group.PROCESS, "open files", State.WARNING, f"{one.files}", why, cure)
    else:
        yield Check(Group.PROCESS, "open files", State.OK, f"{one.files}")
    if 0 <= one.locked_bytes < LOCKED_BYTES and one.missing:
        why = "kernels before 5.11 count BPF maps here"
        seen, cure = f"{one.locked_bytes >> 10} KiB", "ulimit -l unlimited"
        yield Check(Group.PROCESS, "locked memory", State.NOTE, seen, why, cure)
    if 0 <= one.available_bytes < MEMORY_BYTES:
        why = "agent and Envoy take 100 to 250 MB; the kernel ends who is largest"
        seen = f"{one.available_bytes >> 20} MiB available"
        yield Check(Group.PROCESS, "memory", State.WARNING, seen, why, "a larger machine")
    elif one.available_bytes > 0:
        seen = f"{one.available_bytes >> 20} MiB available"
        yield Check(Group.PROCESS, "memory", State.OK, seen)
