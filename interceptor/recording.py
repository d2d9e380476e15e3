"""A capture from begin to end: links, decisions, file. Reads packets; changes nothing here."""

from __future__ import annotations

import functools
import selectors
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from interceptor import tap as taps
from interceptor.config import Config
from interceptor.debug import datagram, selection
from interceptor.debug.dnsview import DnsView, Found, is_dns
from interceptor.debug.event import Event, Kind
from interceptor.debug.judgement import Judgement, Told
from interceptor.debug.pcapfile import PcapFile, Ring
from interceptor.debug.pcaprecord import Direction
from interceptor.debug.selection import Selection
from interceptor.debug.sighting import Hold, Sighting
from interceptor.debug.tcpview import DNS, TcpView
from interceptor.debug.viewpoint import Role, parse
from interceptor.errors import InterceptorError
from interceptor.hearing import Listener
from interceptor.host.packetsocket import Packet, Way
from interceptor.tap import Tap, Wish

TICK_S = 0.05
LOOK_S = 2.0  # between looks for links that have come
BATCH = 256  # packets of one link before the next has its turn
LINKS = (Role.UPLINK, Role.BRIDGE, Role.LOCAL)
_DIRECTIONS = {Way.IN: Direction.IN, Way.OUT: Direction.OUT}


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a capture ends by itself; 0: not by this."""

    duration_s: float = 0.0
    packets: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class Recording:
    """``wanted`` chooses by decision: only its names and services count. ``everything`` keeps
    what is none of ours, too. ``find`` opens links that have come since those it is told."""

    taps: list[Tap]
    judgement: Judgement
    tcp: TcpView
    file: PcapFile
    listener: Listener
    wanted: Selection = field(default_factory=Selection)
    everything: bool = False
    hold: Hold = field(default_factory=Hold)
    seen: int = 0
    ended_by: str = ""
    notes: tuple[str, ...] = ()
    find: Callable[[list[Tap]], list[Tap]] | None = None
    _dns: DnsView | None = None
    _bounds: Bounds = Bounds()

    def run(self, bounds: Bounds, is_over: Callable[[], bool], tick: Callable[[], None]) -> None:
        """Until a bound is reached or ``is_over`` says so; ``tick`` is called some 20 times a
        second. Raises OSError where the file cannot be written."""
        began_s, self._bounds = monotonic(), bounds
        looked_s = began_s
        with selectors.DefaultSelector() as ready:
            for tap in self.taps:
                ready.register(tap.socket, selectors.EVENT_READ, tap)
            while not is_over() and not self._reached(bounds, monotonic() - began_s):
                for key, _ in ready.select(TICK_S):
                    self._take(key.data)
                if monotonic() - looked_s > LOOK_S:
                    looked_s = monotonic()
                    for tap in self._look():
                        ready.register(tap.socket, selectors.EVENT_READ, tap)
                for told in self.listener.read():
                    self.judgement.hear(told)
                for sighting in self.hold.pop(monotonic()):
                    self._tell(sighting)
                self.file.flush()
                tick()
        for told in self.listener.read():
            self.judgement.hear(told)
        for sighting in self.hold.drain():  # with what is known of it by now
            self._tell(sighting)

    def _reached(self, bounds: Bounds, passed_s: float) -> bool:
        if bounds.duration_s and passed_s >= bounds.duration_s:
            self.ended_by = "duration"
        return self._is_full() or bool(self.ended_by)

    def _is_full(self) -> bool:
        bounds = self._bounds
        if bounds.packets and self.file.packets.total() >= bounds.packets:
            self.ended_by = "count"
        elif bounds.size_bytes and self.file.written >= bounds.size_bytes:
            self.ended_by = "size"
        return self.ended_by in ("count", "size")

    def _look(self) -> list[Tap]:
        """Links that have come."""
        new: list[Tap] = []
        if self.find is not None:
            with suppress(InterceptorError, OSError):  # some other time
                new = self.find(self.taps)
        self.taps += new
        return new

    def _take(self, tap: Tap) -> None:
        """Some packets of one link."""
        for _ in range(BATCH):
            try:
                packet = tap.socket.recv()
            except OSError:  # told once where a link goes down; it may come up again
                return
            if packet is None:
                return
            self._sight(tap, packet)

    def _sight(self, tap: Tap, packet: Packet) -> None:
        self.seen += 1
        found = datagram.parse(tap.link, packet.data)
        if isinstance(found, datagram.Skip):
            return
        way = Direction.UNKNOWN if tap.role is Role.LOCAL else _DIRECTIONS[packet.way]
        sighting = Sighting(
            packet.time_ns, tap.name, tap.role, tap.link, packet.data, packet.length, way, found
        )
        if found.protocol == datagram.TCP:
            self.tcp.learn(sighting)
        self.hold.push(sighting, monotonic())

    def _tell(self, sighting: Sighting) -> None:
        if sighting.packet.protocol == datagram.TCP:
            found = self.tcp.tell(sighting)
        else:
            if self._dns is None:
                self._dns = DnsView(self.judgement)
            if not is_dns(sighting):
                if self.everything:
                    self.file.write(sighting.record(sighting.role, ""))
                return
            found = self._dns.tell(sighting)
        for each in found:
            self._keep(each, sighting)

    def _keep(self, found: Found, sighting: Sighting) -> None:
        told, records = found
        if not self.everything and not self._is_ours(found, sighting):
            return
        if (self.wanted.names or self.wanted.services) and not self._is_wanted(told):
            return
        for record in records:
            if not self._is_full():
                self.file.write(record)

    def _is_ours(self, found: Found, sighting: Sighting) -> bool:
        told, records = found
        packet = sighting.packet
        if packet.protocol == datagram.UDP or DNS in (packet.port, packet.source_port):
            return True
        if told.verdict in ("outbound", "inbound", "sidecar"):
            return True
        views = (parse(record.interface) for record in records)
        return any(view and view.role not in LINKS for view in views)

    def _is_wanted(self, told: Told) -> bool:
        words = (0.0, Kind.DNS, "", "")
        return selection.decide(self.wanted, Event(*words, name=told.name, host=told.host))

    def close(self) -> None:
        """The file is whole behind this. Twice is no harm."""
        self.listener.close()
        self.file.close()

    def line(self) -> str:
        """How it stands, for a terminal."""
        figures = taps.counts(self.taps).values()
        lost = sum(dropped for _, dropped in figures)
        size = self.file.written / 1e6
        return f"{self.file.packets.total()} packets, {size:.1f} MB, {lost} dropped"

    def report(self) -> dict[str, object]:
        """What came of it, as --json prints it."""
        links = {
            tap.name: {"received": tap.socket.received, "dropped": tap.socket.dropped}
            for tap in self.taps
        }
        return {
            "files": [str(path) for path in self.file.files],
            "packets": self.file.packets.total(),
            "dropped": sum(tap.socket.dropped for tap in self.taps),
            "bytes": self.file.written,
            "interfaces": dict(sorted(self.file.packets.items())),
            "links": links,
            "decisions": {"heard": self.listener.heard, "left_out": self.listener.left_out},
            "ended_by": self.ended_by or "you",
            "notes": list(self._noted()),
        }

    def _noted(self) -> tuple[str, ...]:
        if self.listener.heard or not self.listener.trouble:
            return self.notes
        return (*self.notes, f"decisions are the plan's: {self.listener.trouble}")


def open_recording(
    config: Config, wish: Wish, wanted: Selection, target: tuple[Path, Ring], undo: ExitStack
) -> Recording:
    """Everything opened, the file begun; ``undo`` closes links. ``target``: where to write.

    Raises as `tap.open_taps`, and InterceptorError for a file that cannot be written.
    """
    known = taps.know(config)
    find = functools.partial(taps.open_taps, config, known.plan, wish, undo)
    opened = find()
    view = TcpView(
        known.judgement,
        taps.ports_of(known.plan),
        config.sidecar.uid,
        known.plan.steering.mark,
        taps.open_aliases(config, undo),
        taps.owner,
        frozenset(address.packed for address in known.plan.own_addresses),
    )
    file = _file(opened, *target)
    file.open()
    notes = [f"no mesh table: {known.trouble}"] if known.trouble else []
    if not all(tap.filter for tap in opened) and not wish.everything:
        notes.append("no tcpdump here: links are read whole, which costs more")
    listener = Listener(config.agent.run_dir)
    listener.open()
    return Recording(
        opened,
        known.judgement,
        view,
        file,
        listener,
        wanted,
        wish.everything,
        notes=tuple(notes),
        find=None if wish.interfaces else find,
    )


def _file(opened: list[Tap], path: Path, ring: Ring) -> PcapFile:
    return PcapFile(
        path,
        tuple(tap.interface for tap in opened),
        functools.partial(taps.describe, opened),
        functools.partial(taps.counts, opened),
        ring,
    )


def render(report: Mapping[str, object]) -> str:
    """The report for people."""
    lines = [f"{report['packets']} packets, {report['bytes']} bytes, {report['dropped']} dropped"]
    for key, unit in (("interfaces", "packets"), ("files", "")):
        rows = report[key]
        if isinstance(rows, dict):
            lines += [f"  {name}: {count} {unit}" for name, count in rows.items()]
        elif isinstance(rows, list):
            lines += [f"  {name}" for name in rows]
    notes = report["notes"]
    assert isinstance(notes, list)
    lines += [f"note: {note}" for note in notes]
    return "".join(f"{line}\n" for line in lines)
