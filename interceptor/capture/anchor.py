"""Links and filters of the ebpf back end on the host: seen, attached, updated, removed."""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from interceptor.capture import attachment
from interceptor.capture.attachment import LINKS, Place, Point
from interceptor.capture.ebpfstep import Sites
from interceptor.capture.program import Loaded, Programs
from interceptor.host import bpflink, pin, tc
from interceptor.host.tc import Filter, Hook

GONE = (6, 19)  # ENXIO, ENODEV: the device, since it was seen
ELSEWHERE = ", another program"


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
        return [link_line(name, self._where(name)) for name in pin.links(self._sites.bpf_dir)]

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
        link = pin.adopt_link(self._sites.bpf_dir, name)
        if link is None:
            return
        try:
            with suppress(OSError):  # ENOLINK: what it hung on is gone
                bpflink.detach(link)
        finally:
            os.close(link)
        pin.remove_link(self._sites.bpf_dir, name)

    def keep(self, wanted: tuple[str, ...]) -> None:
        """Detach every other one, what captures first."""
        for name in (*reversed(tuple(LINKS)), *pin.links(self._sites.bpf_dir)):
            if name not in wanted:
                self.detach(name)


class Filters:
    """Filters of tc, on every device of this network namespace."""

    def __init__(self, sites: Sites, programs: Programs) -> None:
        self._sites = sites
        self._programs = programs
        self._marked = frozenset[int]()

    def observe(self) -> list[str]:
        """Each filter of ours, a line."""
        return [self._line(each) for each in tc.ours()]

    def _line(self, found: Filter) -> str:
        try:
            device = socket.if_indextoname(found.index)
        except OSError:
            device = f"#{found.index}"
        line = filter_line(device, found.hook, found.program)
        return line if self._is_current(found) else line + ELSEWHERE

    def _is_current(self, found: Filter) -> bool:
        known = found.program in attachment.FILTERS
        return known and self._programs.is_current(found.program, found.program_id)

    def attach(self, place: Place, loaded: Loaded, *, anew: bool = False) -> None:
        """Have a device run a program; one that is gone since it was seen is left out.

        ``anew`` as with links.
        """
        index, hook, program = place.device.index, place.hook, place.program
        there = [each for each in tc.filters(index, hook) if each.ours]
        is_there = [each.program for each in there] == [program]
        if is_there and self._is_current(there[0]) and not anew:
            return
        try:
            tc.attach(self._sites.bpf_dir, index, hook, program, loaded(program))
        except OSError as error:
            if error.errno not in GONE:
                raise

    def keep(self, wanted: tuple[Place, ...]) -> None:
        """Remove every other one, and the qdiscs of ours that nobody needs then."""
        self._mark()
        kept = {(place.device.index, place.hook) for place in wanted}
        for found in tc.ours():
            if (found.index, found.hook) not in kept:
                tc.detach(found)
        for index in tc.clsacts() - {index for index, _ in kept}:
            tc.release(self._sites.bpf_dir, index)

    def _mark(self) -> None:
        """Markers that somebody has removed with the pins are made again: without them a qdisc
        of ours would stay when we go."""
        here = frozenset(tc.marked(self._sites.bpf_dir))
        for index in (self._marked - here) & tc.clsacts():
            tc.marker(self._sites.bpf_dir, index).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._marked |= here
