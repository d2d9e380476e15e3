"""What the ebpf back end does to a host, as steps that can be printed and undone. Pure.

The kernel is asked by bpf(2) and netlink, not by programs: what is to do stands
behind `:`, which a shell passes over. What undoes it is real.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from interceptor.capture import attachment, placement
from interceptor.capture.attachment import LINKS, Place, Point
from interceptor.capture.plan import Plan
from interceptor.capture.policy import Element, Policy
from interceptor.capture.step import Command, Step
from interceptor.host.layout import LAYOUT, SPECS, UNVERSIONED
from interceptor.host.tc import HANDLE


@dataclass(frozen=True, slots=True)
class Sites:
    """Where the back end lives: the folder of its pins, and the folders of two cgroups.

    Sockets below ``capture`` are captured; sidecar and DNS worker are in ``agent``.
    ``confines``: who bears the sidecar's user or group elsewhere is not exempt.
    """

    bpf_dir: Path = Path("/sys/fs/bpf/interceptor")
    capture: Path = Path("/sys/fs/cgroup")
    agent: Path = Path("/sys/fs/cgroup/interceptor")
    confines: bool = False

    def home(self) -> int:
        """The cgroup in which alone the sidecar's user and group are exempt: the inode of its
        folder, which is made before a policy is. 0: there is none, or it does not matter."""
        try:
            return self.agent.stat().st_ino if self.confines else 0
        except FileNotFoundError:
            return 0

    def folder(self, point: Point) -> Path:
        """What a link of that point is attached to."""
        places = {Point.CAPTURE: self.capture, Point.AGENT: self.agent}
        return places.get(point, Path("/proc/thread-self/ns/net"))


def render(plan: Plan, sites: Sites, *, tcx: bool = False) -> tuple[Step, ...]:
    """The steps for a host that has nothing of ours. ``tcx``: whether its kernel has that."""
    if not plan.planes:
        return ()
    maps, *others = lasting(plan, sites, tcx=tcx)
    return (maps, _policy(placement.build(plan)), *others)


def lasting(plan: Plan, sites: Sites, *, tcx: bool = False) -> tuple[Step, ...]:
    """Those of the steps that stay one by one in the kernel: of the sets there may be many."""
    links = (_link(sites, name) for name in attachment.links(plan))
    filters = (_filter(place, tcx=tcx) for place in attachment.filters(plan))
    return (_maps(sites), *filters, *links)


def _maps(sites: Sites) -> Step:
    home = sites.bpf_dir / f"v{LAYOUT}"
    gone = (home, sites.bpf_dir / "links", *(sites.bpf_dir / SPECS[n].name for n in UNVERSIONED))
    undo = Command(("rm", "-rf", *map(str, gone)), tolerant=True)
    why = "maps that outlive the daemon: rules, names, and where captured connections really go"
    return Step(why, Command((":", "pin", "maps", "in", str(home))), (undo,))


def _policy(policy: Policy) -> Step:
    flags = [flag.name or "" for flag in policy.flags]
    do = Command((":", "policy", *flags), "".join(f"{line}\n" for line in _sets(policy)))
    return Step("the rules, in one write, and the sets that they ask", do)


def _sets(policy: Policy) -> Iterator[str]:
    """The sets of a policy, one element a line."""
    for number, value in sorted(policy.numbers):
        yield f"{_words(number.name)} {value}"
    for name, references in (("exclude", policy.excluded), ("include", policy.included)):
        for each in references:
            yield f"{name} cgroup {each.id} level {each.level}"
    for kind, network in sorted(policy.networks, key=_rank):
        yield f"{_words(kind.name)} {network}"


def _rank(element: Element) -> tuple[int, int, int, int]:
    # Networks compare themselves in three steps of Python: 10,000 of them for half a second.
    kind, network = element
    return kind, network.version, int(network.network_address), network.prefixlen


def _words(name: str) -> str:
    return name.lower().replace("_", " ")


WHY = {
    "original": "tells the sidecar the destination that was called",
    "listen": "registers the sidecar's listeners as they begin to listen",
    "lookup": "brings captured connections to the sidecar's listeners",
    "peername4": "shows applications the destination that they called, not its alias",
    "peername6": "shows applications the destination that they called, not its alias",
    "owner": "remembers the group of a socket's maker, for DNS",
    "connect4": "captures connections where they begin",
    "connect6": "captures connections where they begin",
    "dns_egress": "answers mesh names instead of sending the query",
    "dns_egress_l3": "answers mesh names instead of sending the query",
    "dns_lo": "answers mesh names asked of a resolver on this host",
    "dns_bridge": "answers mesh names asked by containers",
}


def _link(sites: Sites, name: str) -> Step:
    pin = str(sites.bpf_dir / "links" / name)
    where = str(sites.folder(LINKS[name])) if LINKS[name] is not Point.NAMESPACE else "netns"
    do = Command((":", "attach", name, "to", where, "pinned", pin))
    return Step(WHY[name], do, (Command(("rm", "-f", pin), tolerant=True),))


def _filter(place: Place, *, tcx: bool) -> Step:
    where = ("dev", place.device.name, place.hook.name.lower())
    if tcx:  # it goes with the folder of the links
        return Step(
            WHY[place.program], Command((":", "attach", place.program, "to", *where, "by", "tcx"))
        )
    undo = ("tc", "filter", "del", *where, "protocol", "all", "pref", "1", "handle", f"{HANDLE:#x}")
    do = Command((":", "attach", place.program, "to", *where))
    return Step(WHY[place.program], do, (Command((*undo, "bpf"), tolerant=True),))
