"""The back end of BPF programs: DNS answered on the devices, connections steered at connect().

What is in force lives in the kernel and is pinned, so that it goes on without
us: a new daemon adopts maps and links, and swaps programs while they run.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from interceptor.capture import attachment, ebpfstep, ground, placement, policy
from interceptor.capture.anchor import Filters, Links, filter_line, link_line
from interceptor.capture.attachment import LINKS
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.generation import Generations, digest_in_force
from interceptor.capture.journal import Journal
from interceptor.capture.plan import Place, Plan, Plane
from interceptor.capture.program import Programs
from interceptor.capture.step import Step
from interceptor.errors import InterceptorError, Unsupported
from interceptor.host import bpf, listener, netlink, pin, tc, tcx
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import LAYOUT, SPECS, Map, Network, Way

log = logging.getLogger(__name__)


class Ebpf:
    """``sites``: where pins and cgroups are; the captured one must exist when a plan is applied."""

    name = "ebpf"

    def __init__(self, journal: Journal, sites: Sites, programs: Programs | None = None) -> None:
        self._journal = journal
        self._sites = sites
        self._programs = programs or Programs()
        self._links = Links(sites, self._programs)
        self._filters = Filters(sites, self._programs)
        self._plan: Plan | None = None
        self._maps: dict[Map, BpfMap] = {}
        self._generations: Generations | None = None
        self._digest: tuple[Plan, int] | None = None
        self._home = 0  # the sidecar's cgroup, of which the digest in `_digest` is

    def render(self, plan: Plan) -> tuple[Step, ...]:
        """The steps for a host that has nothing of ours. Pure."""
        with ground.named():
            return ebpfstep.render(plan, self._sites, tcx=tcx.is_supported())

    def expected(self, plan: Plan) -> str:
        """What `observe` gives once the plan is installed, on the devices that are still there."""
        if not plan.planes:
            return ""
        here = {index for index, _ in socket.if_nameindex()}
        lines = [f"ebpf policy {self._digest_of(plan):016x}"]
        lines += [link_line(name, LINKS[name].value) for name in attachment.links(plan)]
        places = (each for each in attachment.filters(plan) if each.device.index in here)
        lines += [filter_line(each.device.name, each.hook, each.program) for each in places]
        return "".join(f"{line}\n" for line in sorted(lines))

    def _digest_of(self, plan: Plan) -> int:
        # It takes 50 ms for 10,000 networks, and is asked for at each look at the host.
        home = self._sites.home()
        if self._digest is None or self._digest[0] != plan or self._home != home:
            self._digest = (plan, policy.digest(self._policy_of(plan)))
            self._home = home
        return self._digest[1]

    def _policy_of(self, plan: Plan) -> policy.Policy:
        return replace(placement.build(plan), sidecar_cgroup=self._sites.home())

    def observe(self) -> str:
        """Policy, links, filters, and pins of other layouts, one a line; empty without any."""
        with ground.named():
            layouts = [n for n in pin.versions(self._sites.bpf_dir) if n != LAYOUT]
            lines = [*self._links.observe(), *self._filters.observe()]
            lines += [f"ebpf pins of layout {layout}" for layout in layouts]
            if lines:
                lines.append(f"ebpf policy {self._observe_digest():016x}")
                lines += [f"ebpf map {SPECS[each].name} is not pinned" for each in self._unpinned()]
        return "".join(f"{line}\n" for line in sorted(lines))

    def _unpinned(self) -> list[Map]:
        """Programs go on over such a map; whoever comes after us would start with an empty one."""
        folder = self._sites.bpf_dir
        return [number for number in SPECS if not pin.map_path(folder, number).exists()]

    def _observe_digest(self) -> int:
        folder = self._sites.bpf_dir
        found = [pin.adopt_map(folder, number) for number in (Map.STATE, Map.POLICY)]
        try:
            state, policies = found
            return digest_in_force(state, policies) if state and policies else 0
        finally:
            for each in found:
                if each is not None:
                    each.close()

    def apply(self, plan: Plan) -> None:
        """Make the host follow the plan. Raises Unsupported where a gap is in it."""
        for gap in placement.gaps(plan):
            if gap.is_whole and not gap.is_apart and gap.plane in plan.planes:
                raise Unsupported("back end ebpf", gap.what)
        if self.observe() != self.expected(plan):
            with self._written():
                self._install(plan)
        with ground.named():
            self._filters.forget()
        self._plan = plan

    def _install(self, plan: Plan) -> None:
        """The policy first: what is attached follows it at once, and what comes needs it."""
        if plan.planes:
            self._journal.record(ebpfstep.lasting(plan, self._sites, tcx=tcx.is_supported()))
            ground.make_cgroup(self._sites, self._journal)
            pin.prepare(self._sites.bpf_dir)
        generations = self._open()
        # Maps without a policy are new: programs that run already do so over others.
        anew = generations.digest == 0
        generations.install(self._policy_of(plan), self._digest_of(plan))
        if anew:
            self._register(plan)
        wanted, filters = attachment.links(plan), attachment.filters(plan)
        self._links.keep(wanted)
        with self._programs.over(self._maps) as loaded:
            for place in filters:
                self._filters.attach(place, loaded, anew=anew)
            for name in wanted:
                self._links.attach(name, loaded, anew=anew)
        self._filters.keep(filters)
        for layout in pin.versions(self._sites.bpf_dir):
            if layout != LAYOUT:
                pin.remove_version(self._sites.bpf_dir, layout)

    def _register(self, plan: Plan) -> None:
        """Whoever listens already, before the first connection is sent there."""
        steering = plan.steering
        ways = {
            steering.outbound_port: Way.OUTBOUND,
            steering.inbound_port: Way.INBOUND,
            steering.dns_port: Way.DNS,
        }
        try:
            listener.register(self._maps[Map.LISTENERS], ways)
        except OSError as error:
            log.warning("listeners could not be registered, until they start anew: %s", error)

    def _open(self) -> Generations:
        """Maps of ours, opened once; those that somebody has unpinned meanwhile are pinned again,
        for programs, worker and lease go on in them."""
        if self._generations is None:
            self._maps = pin.open_maps(self._sites.bpf_dir)
            self._generations = Generations(self._maps)
        for number, each in self._maps.items():
            path = pin.map_path(self._sites.bpf_dir, number)
            if not path.exists():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                bpf.pin(each.fd, str(path))
        return self._generations

    def update(self, places: Iterable[Place]) -> None:
        """Exchange mesh addresses in the policy that is in force, one by one."""
        if self._plan is None:
            raise RuntimeError("update before apply")
        if Plane.TCP not in self._plan.planes:
            return
        plan = self._plan.exchange(places)
        old, new = set(self._plan.places), set(plan.places)
        if old != new:
            gone = [(Network.OUTBOUND, network) for network in old - new]
            fresh = [(Network.OUTBOUND, network) for network in new - old]
            with self._written():
                self._digest = (plan, self._open().exchange(gone, fresh))
        self._plan = plan

    @contextmanager
    def _written(self) -> Iterator[None]:
        """After a failure nobody knows what is in the maps: they are read anew."""
        try:
            with ground.named():
                yield
        except InterceptorError:
            self.close()
            raise

    def revert(self) -> None:
        """Remove everything of ours, whatever version put it there: what captures goes first."""
        with ground.named():
            self._links.keep(())
            self._filters.keep(())
            self.close()
            pin.remove_all(self._sites.bpf_dir)
        self._plan = None

    def close(self) -> None:
        """Give the maps back; they stay where they are pinned."""
        for each in self._maps.values():
            each.close()
        self._maps, self._generations, self._digest = {}, None, None

    def events(self) -> int | None:
        """Changes of filters and qdiscs; of tcx none are told. The caller closes it."""
        return netlink.tc_events()

    def is_amiss(self) -> bool:
        """Of links and pins nobody tells."""
        plan = self._plan
        wanted = attachment.links(plan) if plan is not None else ()
        if plan is None or not wanted:
            return False
        try:
            if self._unpinned() or not all(map(self._links.is_right, wanted)):
                return True
            return not self._filters.are_right(attachment.filters(plan))
        except OSError:
            return True


def has_pins(bpf_dir: Path) -> bool:
    """Whether anything is pinned. While the pins are there the rest is looked at; asking for
    filters costs a daemon that needs none 14 MB."""
    with ground.named():
        return bool(pin.links(bpf_dir) or pin.versions(bpf_dir))


def remains(bpf_dir: Path) -> str:
    """What of ours is on the host, whatever should be: links, filters, pins; one a line."""
    with ground.named():
        lines = [f"ebpf link {name}" for name in pin.links(bpf_dir)]
        lines += [f"ebpf filter #{each.index} {each.hook.name.lower()}" for each in tc.ours()]
        lines += [f"ebpf pins of layout {layout}" for layout in pin.versions(bpf_dir)]
    return "".join(f"{line}\n" for line in lines)
