"""The facts of this host that a plan needs, and what its kernel can do: both probed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from interceptor.capture import nfttext, restore, route, ruleset, trial, xtables
from interceptor.capture.backend import Support
from interceptor.capture.plan import Facts, build
from interceptor.config import Config
from interceptor.config.tree import Capture, Inbound
from interceptor.host import command, probe, resolver


def facts(config: Config) -> Facts:
    """What a plan has to know of this host now."""
    links = probe.addresses()
    ranges, owners = config.mesh.vip_ranges, config.capture.owners
    routes4, routes6 = probe.routes(4), probe.routes(6)
    mount = probe.cgroup_mount()
    named = config.node.addresses
    return Facts(
        own_addresses=tuple(
            address for found in links.values() for address in found if not address.is_loopback
        ),
        servers=resolver.observe_servers(config.dns.resolv_conf),
        has_ipv6=probe.has_ipv6(),
        route_source4=next(
            (address for address in named if address.version == 4), probe.source(routes4, links, 4)
        ),
        route_source6=next(
            (address for address in named if address.version == 6), probe.source(routes6, links, 6)
        ),
        routed4=probe.covers(routes4, ranges.ipv4, route.PROTOCOL),
        routed6=probe.covers(routes6, ranges.ipv6, route.PROTOCOL),
        cgroups=probe.cgroups(mount, (*owners.exclude_cgroups, *owners.include_cgroups)),
        cgroup_mount=mount,
        devices=probe.devices() if may_be_ebpf(config) else (),
        netns_cookie=probe.netns_cookie(),
    )


def may_be_ebpf(config: Config) -> bool:
    """Whether the ebpf back end may be chosen. Where it may not, nothing of it is tried: that
    takes a second, and 14 MB for good."""
    return config.capture.backend in ("auto", "ebpf") or config.dns.backend == "ebpf"


def support(config: Config) -> Support:
    """What the kernel takes, tried in a network namespace that is thrown away at once."""
    sample = build(Config(capture=Capture(inbound=Inbound(ports="*"))), Facts())
    table = nfttext.text(ruleset.render(sample, queue=False))
    queue = "add table inet x\nadd chain inet x y\nadd rule inet x y queue num 1 bypass\n"
    rules = restore.install(xtables.render(sample, 4, ipset=False), restore.Saved())
    restored = ("--noflush",)
    found = trial.observe() if may_be_ebpf(config) else trial.NOT_ASKED
    return Support(
        kernel=os.uname().release,
        nft=_version("nft"),
        nft_works=_takes(("nft", "-f", "-"), table),
        nft_queue=_takes(("nft", "-f", "-"), queue),
        iptables_nft=_version("iptables-nft"),
        iptables_nft_works=_takes(("iptables-nft-restore", *restored), rules),
        iptables_legacy=_version("iptables-legacy"),
        iptables_legacy_works=_takes(("iptables-legacy-restore", *restored), rules),
        default=_default(),
        rules_nft=_foreign("iptables-nft-save"),
        rules_legacy=_foreign("iptables-legacy-save"),
        ipset=_version("ipset"),
        ipset_works=_takes(("sh", "-c", IPSET), ""),
        cgroup2=found.cgroup2,
        bytecode=found.bytecode,
        ebpf_dns=found.dns,
        ebpf_tcp=found.tcp,
    )


IPSET = "ipset create x hash:net && { iptables -A OUTPUT -m set --match-set x dst; }"


def _takes(argv: Sequence[str], stdin: str) -> bool:
    """Whether a command succeeds in a scratch namespace; where we may not make one, we hope."""
    done = command.run(["unshare", "--net", *argv], stdin, check=False)
    if done.stderr.startswith("unshare:") and "failed to execute" not in done.stderr:
        return bool(command.run([argv[0], "--version"], check=False))
    return bool(done)


def _version(program: str) -> str:
    done = command.run([program, "--version"], check=False)
    found = re.search(r"\bv?(\d+(?:\.\d+)+)", done.stdout)
    return found[1] if done and found else ""


def _default() -> str:
    """The variant that plain ``iptables`` is. Builds before 1.8 do not say, and are legacy."""
    done = command.run(["iptables", "--version"], check=False)
    if not done:
        return ""
    return "nft" if "nf_tables" in done.stdout else "legacy"


def _foreign(save: str) -> int:
    """How many rules of others iptables-save shows."""
    lines = command.run([save], check=False).stdout.splitlines()
    return sum(line.startswith("-A ") and xtables.PREFIX not in line for line in lines)
