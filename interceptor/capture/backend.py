"""The seam between a plan and the kernel's mechanisms, and the choice among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from interceptor.capture.placement import Gap
from interceptor.capture.plan import Place, Plan, Plane
from interceptor.config import Backend as Requested
from interceptor.errors import Unsupported


class Backend(Protocol):
    """One mechanism. Planning is not its business; every method may block briefly."""

    name: str

    def observe(self) -> str:
        """What of ours is on the host now, in the mechanism's own words, counters left out."""

    def apply(self, plan: Plan) -> None:
        """Make the host follow ``plan``. Atomic a family; twice changes nothing."""

    def revert(self) -> None:
        """Remove everything of ours, whatever version or plan installed it."""

    def update(self, places: Iterable[Place]) -> None:
        """Capture exactly these mesh addresses (and CIDRs) besides the plan's own, in place."""

    def events(self) -> int | None:
        """A file descriptor that becomes readable when our rules were touched, or None.

        It belongs to the caller, and is read with ``netlink.drain``.
        """

    def is_amiss(self) -> bool:
        """Whether something is wrong of what nobody tells of, at a glance: without starting a
        program, in less than a millisecond. Only a hint to `observe`."""


@dataclass(frozen=True, slots=True)
class Support:
    """What this host can do, probed by trying. A version is empty where a program is missing.

    ``*_works``: rules of the kinds that we install were taken by the kernel.
    ``rules_*``: how many rules others have in that variant; ``default``: the
    variant that plain ``iptables`` is. ``ebpf_*``: what the ebpf back end lacks
    for a plane, empty where it has everything; ``bytecode`` the programs' layout.
    """

    kernel: str = ""
    nft: str = ""
    nft_works: bool = False
    nft_queue: bool = False
    iptables_nft: str = ""
    iptables_nft_works: bool = False
    iptables_legacy: str = ""
    iptables_legacy_works: bool = False
    default: str = ""
    rules_nft: int = 0
    rules_legacy: int = 0
    ipset: str = ""
    ipset_works: bool = False
    cgroup2: bool = False
    bytecode: str = ""
    ebpf_dns: str = "not probed"
    ebpf_tcp: str = "not probed"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which back end does which plane, and the lines that say why.

    ``queue_by_iptables``: nftables does DNS, but for the queue rule, which the
    kernel takes from iptables only.
    """

    tcp: str
    dns: str
    variant: str = ""
    ipset: bool = False
    queue_by_iptables: bool = False
    why: tuple[str, ...] = ()


def choose(tcp: Requested, dns: Requested, support: Support, gaps: Sequence[Gap] = ()) -> Choice:
    """The back ends for ``capture.backend`` and ``dns.backend``. Pure.

    ``gaps`` are what of the plan ebpf cannot do. Raises Unsupported where one
    was asked for that this host cannot do, or where no back end is possible at all.
    """
    variant, variant_why = choose_variant(support)
    first, second = _choose_both(tcp, dns, support, gaps)
    if second == "nftables" and not support.nft_queue and not variant:
        if dns == "nftables":
            raise Unsupported("back end nftables for DNS", "nft_queue in the kernel, or iptables")
        raise Unsupported("a DNS plane", "nft_queue in the kernel, or iptables")
    by_iptables = second == "nftables" and not support.nft_queue
    if by_iptables and first == "iptables":
        # Two owners of the same chains; and nothing is won by it.
        raise Unsupported("back end nftables for DNS beside iptables", "nft_queue in the kernel")
    lacks = _lacks(Plane.TCP, support, gaps)
    why = [f"backend: {first} [{_asked(tcp, lacks)} {_facts(first, support, variant_why)}]"]
    lacks = _lacks(Plane.DNS, support, gaps)
    if by_iptables:
        why.append(f"dns plane: NFQUEUE by iptables-{variant} [nft_queue=no]")
    elif second != first:
        words = f"{_asked(dns, lacks)} {_facts(second, support, variant_why)}"
        why.append(f"dns plane: {second} [{words}]")
    if second == "ebpf" and lacks:
        why.append(f"not captured by ebpf: {lacks}")
    if "iptables" in (first, second) and not support.ipset_works:
        why.append(f"sets: one rule an element [ipset={support.ipset or 'none'} works=no]")
    return Choice(first, second, variant, support.ipset_works, by_iptables, tuple(why))


def _choose_both(
    tcp: Requested, dns: Requested, support: Support, gaps: Sequence[Gap]
) -> tuple[str, str]:
    """The back ends of TCP and DNS. Apart only where one was asked for, or ebpf does but one."""
    dns_lacks = _lacks(Plane.DNS, support, gaps)
    # Apart, ebpf may lack for TCP what it has together.
    is_apart = dns in ("nftables", "iptables") or (dns == tcp == "auto" and bool(dns_lacks))
    first = _choose_one(tcp, support, _lacks(Plane.TCP, support, gaps, is_apart=is_apart))
    if dns == "auto" and tcp != "auto" and tcp != "ebpf":
        return first, first
    if "ebpf" in (dns, tcp) and dns in ("auto", "ebpf"):
        # What is merely less than was asked for is told, and no obstacle to who names it.
        whole = [gap for gap in gaps if gap.is_whole]
        return first, _choose_one("ebpf", support, _lacks(Plane.DNS, support, whole))
    if dns == "auto" and first != "ebpf" and dns_lacks:
        return first, first
    return first, _choose_one(dns, support, dns_lacks)


def _lacks(plane: Plane, support: Support, gaps: Sequence[Gap], *, is_apart: bool = False) -> str:
    """What stands between ebpf and a plane; empty where nothing does."""
    probed = support.ebpf_dns if plane is Plane.DNS else support.ebpf_tcp
    here = [gap for gap in gaps if gap.plane is plane and (is_apart or not gap.is_apart)]
    return ", ".join([*([probed] if probed else []), *(gap.what for gap in here)])


def _choose_one(requested: Requested, support: Support, ebpf_lacks: str) -> str:
    variant, _ = choose_variant(support)
    if requested == "ebpf" and ebpf_lacks:
        raise Unsupported("back end ebpf", ebpf_lacks)
    if requested == "nftables" and not support.nft_works:
        raise Unsupported("back end nftables", "nft 1.0 or later, and nf_tables in the kernel")
    if requested == "iptables" and not variant:
        raise Unsupported("back end iptables", "iptables-nft or iptables-legacy that works here")
    if requested != "auto":
        return requested
    if not ebpf_lacks:
        return "ebpf"
    if support.nft_works and (support.nft_queue or variant):
        return "nftables"
    if variant:
        return "iptables"
    needs = f"nft 1.0 or later, or iptables (and to be root); for ebpf: {ebpf_lacks}"
    raise Unsupported("any back end", needs)


def choose_variant(support: Support) -> tuple[str, str]:
    """Which iptables, and why; empty where none works. Two rule sets beside each other
    confuse everybody, so we go where the others' rules are."""
    nft, legacy = support.iptables_nft_works, support.iptables_legacy_works
    if not (nft or legacy):
        return "", "none works"
    if nft != legacy:
        return ("nft", "only one works") if nft else ("legacy", "only one works")
    if bool(support.rules_nft) != bool(support.rules_legacy):
        return ("nft" if support.rules_nft else "legacy"), "others' rules are there"
    if support.default in ("nft", "legacy"):
        return support.default, "what iptables is here"
    return "nft", "both work"


def _asked(requested: Requested, ebpf_lacks: str) -> str:
    if requested != "auto":
        return "asked-for"
    return f"auto ebpf=no ({ebpf_lacks})" if ebpf_lacks else "auto"


def _facts(name: str, support: Support, variant_why: str) -> str:
    """What decided, as words for the log."""
    variant, _ = choose_variant(support)
    words = [f"kernel={support.kernel or 'unknown'}"]
    if name == "ebpf":
        words += [f"cgroup2={'yes' if support.cgroup2 else 'no'}", f"bytecode={support.bytecode}"]
        words.append(f"tc={'no' if support.ebpf_dns else 'yes'}")
    elif name == "nftables":
        words += [f"nft={support.nft}", f"nft_queue={'yes' if support.nft_queue else 'no'}"]
    else:
        nft = f"{support.nft or 'none'}{'' if support.nft_works else ' (does not work)'}"
        version = support.iptables_nft if variant == "nft" else support.iptables_legacy
        words += [f"nft={nft}", f"iptables={version}", f"variant={variant} ({variant_why})"]
        words.append(f"ipset={support.ipset if support.ipset_works else 'no'}")
    return " ".join(words)
