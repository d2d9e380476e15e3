"""The seam between a plan and the kernel's mechanisms, and the choice among them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from interceptor.capture.plan import Place, Plan
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


@dataclass(frozen=True, slots=True)
class Support:
    """What this host can do, probed by trying. A version is empty where a program is missing.

    ``*_works``: rules of the kinds that we install were taken by the kernel.
    ``rules_*``: how many rules others have in that variant; ``default``: the
    variant that plain ``iptables`` is.
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


EBPF = Unsupported("back end ebpf", "a release with the ebpf back end; this one has none yet")


def choose(tcp: Requested, dns: Requested, support: Support) -> Choice:
    """The back ends for ``capture.backend`` and ``dns.backend``. Pure.

    Raises Unsupported where one was asked for that this host cannot do, or
    where no back end is possible at all.
    """
    variant, variant_why = choose_variant(support)
    first = _choose_one(tcp, support, variant)
    second = first if dns == "auto" else _choose_one(dns, support, variant)
    if second == "nftables" and not support.nft_queue and not variant:
        if dns == "nftables":
            raise Unsupported("back end nftables for DNS", "nft_queue in the kernel, or iptables")
        raise Unsupported("a DNS plane", "nft_queue in the kernel, or iptables")
    by_iptables = second == "nftables" and not support.nft_queue
    if by_iptables and first == "iptables":
        # Two owners of the same chains; and nothing is won by it.
        raise Unsupported("back end nftables for DNS beside iptables", "nft_queue in the kernel")
    why = [f"backend: {first} [{_facts(first, support, variant, variant_why, tcp)}]"]
    if by_iptables:
        why.append(f"dns plane: NFQUEUE by iptables-{variant} [nft_queue=no]")
    elif second != first:
        why.append(f"dns plane: {second} [{_facts(second, support, variant, variant_why, dns)}]")
    if "iptables" in (first, second) and not support.ipset_works:
        why.append(f"sets: one rule an element [ipset={support.ipset or 'none'} works=no]")
    return Choice(first, second, variant, support.ipset_works, by_iptables, tuple(why))


def _choose_one(requested: Requested, support: Support, variant: str) -> str:
    if requested == "ebpf":
        raise EBPF
    if requested == "nftables" and not support.nft_works:
        raise Unsupported("back end nftables", "nft 1.0 or later, and nf_tables in the kernel")
    if requested == "iptables" and not variant:
        raise Unsupported("back end iptables", "iptables-nft or iptables-legacy that works here")
    if requested != "auto":
        return requested
    if support.nft_works and (support.nft_queue or variant):
        return "nftables"
    if variant:
        return "iptables"
    raise Unsupported("any back end", "nft 1.0 or later, or iptables (and to be root)")


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


def _facts(
    name: str, support: Support, variant: str, variant_why: str, requested: Requested
) -> str:
    """What decided, as words for the log."""
    asked = "auto ebpf=not-yet" if requested == "auto" else "asked-for"
    words = [asked, f"kernel={support.kernel or 'unknown'}"]
    if name == "nftables":
        words += [f"nft={support.nft}", f"nft_queue={'yes' if support.nft_queue else 'no'}"]
    else:
        nft = f"{support.nft or 'none'}{'' if support.nft_works else ' (does not work)'}"
        version = support.iptables_nft if variant == "nft" else support.iptables_legacy
        words += [f"nft={nft}", f"iptables={version}", f"variant={variant} ({variant_why})"]
        words.append(f"ipset={support.ipset if support.ipset_works else 'no'}")
    return " ".join(words)
