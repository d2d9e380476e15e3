"""Links and filters of the ebpf back end on the host: seen, attached, updated, removed."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Mapping, Set

from interceptor.capture import attachment
from interceptor.capture.attachment import LINKS, Place, Point
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.program import Loaded, Programs
from interceptor.host import bpflink, pin, tc, tcx
from interceptor.host.tc import Filter, Hook

GONE = (errno.ENXIO, errno.ENODEV, errno.ENOLINK)  # the device, since it was seen
ELSEWHERE = ", another program"
OTHER_KIND = {True: ", by clsact", False: ", by tcx"}
"""What a filter is that is attached in the other way, by whether tcx is wanted."""


def link_line(name: str, where: str) -> str:
    """One link, as it is looked at."""
    return f"ebpf link {name} on {where}"


def filter_line(device: str, hook: Hook, program: str) -> str:
    """One filter, as it is looked at."""
    return f"ebpf filter {device} {hook.name.lower()} {program}"


class Links:
    """Pinned links, one a program."""

    def __init__(self, sites: Sites, programs: Programs) -> None:
        self._sites = sites
        self._programs = programs

    def observe(self) -> list[str]:
        """Each link of ours, a line."""
        return [link_line(name, self._where(name)) for name in self._pinned()]

    def _pinned(self) -> list[str]:
        return [name for name in pin.links(self._sites.bpf_dir) if tcx.parse(name) is None]

    def _where(self, name: str) -> str:
        """What a pinned link hangs on and runs, in `Point`'s words where it is right."""
        link = pin.adopt_link(self._sites.bpf_dir, name)
        if link is None:
            return "nothing"
        try:
            info = bpflink.info(link)
        finally:
            os.close(link)
        point = LINKS.get(name)
        if point is None:
            return f"{info.target}{ELSEWHERE}"
        where = point.value if info.target == self._target(point) else f"{info.target or 'nothing'}"
        return where if self._programs.is_current(name, info.program_id) else where + ELSEWHERE

    def is_right(self, name: str) -> bool:
        """Whether one of our programs runs where it should."""
        return self._where(name) == LINKS[name].value

    def _target(self, point: Point) -> int:
        """The inode of the cgroup or network namespace; -1 without one."""
        try:
            return self._sites.folder(point).stat().st_ino
        except OSError:
            return -1

    def attach(self, name: str, loaded: Loaded, *, anew: bool = False) -> None:
        """Have one program run where it should: swapped in its link, or by a link made anew.

        ``anew``: even if it runs there, for it may do so over other maps.
        """
        point = LINKS[name]
        where = self._where(name)
        if where == point.value and not anew:
            return
        if where in (point.value, point.value + ELSEWHERE):
            self._swap(name, loaded(name))
        else:
            self._create(name, loaded(name))

    def _swap(self, name: str, program: int) -> None:
        link = pin.adopt_link(self._sites.bpf_dir, name)
        assert link is not None
        try:
            bpflink.update(link, program)
        finally:
            os.close(link)

    def _create(self, name: str, program: int) -> None:
        target = os.open(self._sites.folder(LINKS[name]), os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.detach(name)
            link = bpflink.create(program, target, self._programs.attach_type(name))
        finally:
            os.close(target)
        try:
            pin.pin_link(self._sites.bpf_dir, name, link)
        finally:
            os.close(link)

    def detach(self, name: str) -> None:
        """At once, even if somebody holds the link open. It is no harm where there is none."""
        pin.detach_link(self._sites.bpf_dir, name)

    def keep(self, wanted: tuple[str, ...]) -> None:
        """Detach every other one, what captures first."""
        for name in (*reversed(tuple(LINKS)), *self._pinned()):
            if name not in wanted:
                self.detach(name)


class Filters:
    """Programs on every device of this network namespace: by tcx where the kernel has it, else as
    filters of tc."""

    def __init__(self, sites: Sites, programs: Programs) -> None:
        self._sites = sites
        self._programs = programs
        self._marked = frozenset[int]()

    def observe(self) -> list[str]:
        """Each of ours, a line."""
        names = dict(socket.if_nameindex())
        is_tcx = tcx.is_supported()
        folder = self._sites.bpf_dir
        here = [each for each in tcx.ours(folder) if tcx.has_device(folder, each)]
        links = [self._link_line(each, names) for each in here]
        filters = [self._line(each, names) for each in tc.ours()]
        other = OTHER_KIND[is_tcx]
        if is_tcx:
            return [*links, *(f"{line}{other}" for line in filters)]
        return [*(f"{line}{other}" for line in links), *filters]

    def _line(self, found: Filter, names: Mapping[int, str]) -> str:
        device = names.get(found.index, f"#{found.index}")
        line = filter_line(device, found.hook, found.program)
        return line if self._is_current(found) else line + ELSEWHERE

    def _link_line(self, place: tcx.Place, names: Mapping[int, str]) -> str:
        device = names.get(place.index, f"#{place.index}")
        number = tcx.program_at(self._sites.bpf_dir, place)
        known = (each for each in attachment.FILTERS if self._programs.is_current(each, number))
        what = next(known, "another program" if number else "nothing")
        return filter_line(device, place.hook, what)

    def _is_current(self, found: Filter) -> bool:
        known = found.program in attachment.FILTERS
        return known and self._programs.is_current(found.program, found.program_id)

    def are_right(self, wanted: Iterable[Place]) -> bool:
        """Whether those run that the kernel does not tell of: by tcx, on devices that are there."""
        if not tcx.is_supported():
            return True
        here = {index for index, _ in socket.if_nameindex()}
        return all(self._is_right(each) for each in wanted if each.device.index in here)

    def _is_right(self, place: Place) -> bool:
        at = tcx.place(place.device.index, place.hook)
        number = tcx.program_at(self._sites.bpf_dir, at)
        return self._programs.is_current(place.program, number)

    def attach(self, place: Place, loaded: Loaded, *, anew: bool = False) -> None:
        """Have a device run a program; one that is gone since it was seen is left out.

        ``anew`` as with links.
        """
        run = self._attach_tcx if tcx.is_supported() else self._attach_tc
        try:
            run(place, loaded, anew=anew)
        except OSError as error:
            if error.errno not in GONE:
                raise

    def _attach_tcx(self, place: Place, loaded: Loaded, *, anew: bool) -> None:
        if anew or not self._is_right(place):
            at = tcx.place(place.device.index, place.hook)
            tcx.attach(self._sites.bpf_dir, at, loaded(place.program))

    def _attach_tc(self, place: Place, loaded: Loaded, *, anew: bool) -> None:
        index, hook, program = place.device.index, place.hook, place.program
        there = [each for each in tc.filters(index, hook) if each.ours]
        is_there = [each.program for each in there] == [program]
        if anew or not is_there or not self._is_current(there[0]):
            tc.attach(self._sites.bpf_dir, index, hook, program, loaded(program))

    def keep(self, wanted: tuple[Place, ...]) -> None:
        """Remove every other one, and all of the other kind; then the qdiscs of ours that nobody
        needs any more."""
        self._mark()
        places = {(place.device.index, place.hook) for place in wanted}
        is_tcx = bool(places) and tcx.is_supported()
        self._keep_links(places if is_tcx else set())
        kept = set() if is_tcx else places
        for found in tc.ours():
            if (found.index, found.hook) not in kept:
                tc.detach(found)
        for index in tc.clsacts() - {index for index, _ in kept}:
            tc.release(self._sites.bpf_dir, index)

    def _keep_links(self, kept: Set[tuple[int, Hook]]) -> None:
        """Those of other network namespaces stay."""
        folder = self._sites.bpf_dir
        here = tcx.ours(folder)
        for each in tcx.places(folder):
            is_wanted = (each.index, each.hook) in kept if each in here else True
            if not is_wanted:
                pin.detach_link(folder, each.name)
        self.forget()

    def forget(self) -> None:
        """Unpin links whose device is gone; they do nothing any more."""
        folder = self._sites.bpf_dir
        for each in tcx.places(folder):
            if not tcx.has_device(folder, each):
                pin.detach_link(folder, each.name)

    def _mark(self) -> None:
        """Markers that somebody has removed with the pins are made again: without them a qdisc
        of ours would stay when we go."""
        here = frozenset(tc.marked(self._sites.bpf_dir))
        for index in (self._marked - here) & tc.clsacts():
            tc.marker(self._sites.bpf_dir, index).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._marked |= here
