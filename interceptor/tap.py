"""What a capture needs of this host: its links, opened; table and plan; what aliases mean."""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address

from interceptor import assembly
from interceptor.capture import fact, plan
from interceptor.capture.plan import Plan
from interceptor.config import Config
from interceptor.debug import tapfilter, tcpview
from interceptor.debug.judgement import Judgement
from interceptor.debug.pcaprecord import ETHERNET, RAW
from interceptor.debug.pcapwrite import Interface
from interceptor.debug.rebuild import End
from interceptor.debug.tcpview import Holder, Ports, Unalias
from interceptor.debug.viewpoint import DESCRIPTIONS, Role, Viewpoint, parse
from interceptor.errors import ConfigError, InterceptorError, Problem
from interceptor.host import packetfilter, pin, probe, socketdiag
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import ALIAS4_SLOTS, Map
from interceptor.host.layout import Way as AliasWay
from interceptor.host.packetfilter import Program
from interceptor.host.packetsocket import PacketSocket
from interceptor.host.probe import Device, LinkLayer
from interceptor.mesh.table import EMPTY, MeshTable

LARGEST = 262_144  # bytes of a packet; what tcpdump takes by default

_NAMES = 4096  # whose answers are kept at hand


@dataclass(frozen=True, slots=True)
class Wish:
    """What to take. ``interfaces`` empty: every link of this network namespace."""

    interfaces: tuple[str, ...] = ()
    filter: str = ""
    snaplen: int = LARGEST
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Tap:
    """One link that is listened to. ``filter`` is what its socket takes; "" takes all."""

    name: str
    role: Role
    link: int
    filter: str
    socket: PacketSocket

    @property
    def interface(self) -> Interface:
        view = Viewpoint(self.role, self.name)
        return Interface(view.name, self.link, DESCRIPTIONS[self.role], 0, self.filter)


def choose(found: Sequence[Device], names: Sequence[str]) -> tuple[Device, ...]:
    """The links to listen to. Raises ConfigError where one is none of those there are."""
    there = {device.name: device for device in found}
    problems = [
        Problem("-i", "interface", name, f"one of {', '.join(there)}")
        for name in names
        if name not in there
    ]
    if problems:
        raise ConfigError(problems)
    return tuple(there[name] for name in dict.fromkeys(names or there))


def role_of(device: Device, bridges: Sequence[str]) -> Role:
    if device.layer is LinkLayer.LOOPBACK:
        return Role.LOCAL
    return Role.BRIDGE if device.name in bridges else Role.UPLINK


def ports_of(built: Plan) -> Ports:
    steering = built.steering
    return Ports(
        {
            steering.outbound_port: AliasWay.OUTBOUND,
            steering.inbound_port: AliasWay.INBOUND,
            steering.dns_port: AliasWay.DNS,
        }
    )


def open_taps(
    config: Config, built: Plan, wish: Wish, undo: ExitStack, known: Sequence[Tap] = ()
) -> list[Tap]:
    """Sockets on the links that are wished for, but those that have one already; ``undo``
    closes them.

    Raises ConfigError for a wrong filter or link, Unsupported for a filter without tcpdump,
    InterceptorError without the right to listen.
    """
    there = {tap.socket.device.index for tap in known}
    wanted = choose(probe.devices(), wish.interfaces)
    new = [device for device in wanted if device.index not in there]
    has_tool = bool(new) and (bool(wish.filter) or packetfilter.has_tool())
    ports = ports_of(built).ways
    taps = []
    for device in new:
        role = role_of(device, config.capture.interfaces.bridges)
        text = ""
        if has_tool:
            text = tapfilter.render(
                role, ports, built.own_addresses, wish.filter, everything=wish.everything
            )
        raw = device.layer is LinkLayer.NONE
        layer = packetfilter.RAW if raw else packetfilter.ETHERNET
        program = packetfilter.build(text, layer, wish.snaplen) if has_tool else None
        opened = _open(device, program)
        undo.callback(opened.close)
        taps.append(Tap(device.name, role, RAW if raw else ETHERNET, text, opened))
    return taps


def _open(device: Device, program: Program | None) -> PacketSocket:
    try:
        return PacketSocket(device, program)
    except PermissionError as error:
        raise InterceptorError(
            "no right to see packets here: run as root, or with CAP_NET_RAW and CAP_NET_ADMIN"
        ) from error
    except OSError as error:
        raise InterceptorError(f"{device.name}: {error.strerror}; name links with -i") from error


def describe(taps: Sequence[Tap], name: str, link: int) -> Interface:
    """The interface of a vantage point that is no link by itself."""
    view = parse(name)
    text = DESCRIPTIONS[view.role] if view else ""
    filters = {tap.name: tap.filter for tap in taps}
    return Interface(name, link, text, 0, filters.get(view.device, "") if view else "")


def counts(taps: Sequence[Tap]) -> Mapping[str, tuple[int, int]]:
    """Packets that came and packets that were lost, by the links' names in the file."""
    for tap in taps:
        tap.socket.count()
    return {tap.interface.name: (tap.socket.received, tap.socket.dropped) for tap in taps}


@dataclass(frozen=True, slots=True)
class Known:
    """What decisions are told from where no daemon tells them. ``trouble``: why there is no
    table."""

    plan: Plan
    judgement: Judgement
    trouble: str = ""


def know(config: Config) -> Known:
    """Table and plan as the daemon would have them now."""
    facts = fact.facts(config)
    try:
        table = assembly.load_table(config)
    except InterceptorError as error:
        built = plan.build(config, facts, ())
        return Known(built, Judgement(None, (), None), str(error))
    built = plan.build(config, facts, assembly.places(table))
    return Known(built, _judgement(config, built, table))


def _judgement(config: Config, built: Plan, table: MeshTable = EMPTY) -> Judgement:
    answers = assembly.answers(config, table)
    resolve = functools.lru_cache(_NAMES)(answers.resolve)
    return Judgement(built, tuple(table.hosts.values()), resolve)


def open_aliases(config: Config, undo: ExitStack) -> Unalias:
    """What aliases of the ebpf back end stand for; nothing where it is not installed."""
    maps: dict[int, BpfMap] = {}
    for size, number in ((4, Map.ALIAS4), (16, Map.ALIAS6)):
        try:
            found = pin.adopt_map(config.capture.bpf_dir, number)
        except InterceptorError:
            found = None
        if found is not None:
            undo.callback(found.close)
            maps[size] = found

    def unalias(alias: bytes) -> bytes | None:
        if (aliases := maps.get(len(alias))) is None or tcpview.way_of(alias) is None:
            return None
        key = struct.pack("=Q", int.from_bytes(alias[8:], "big"))
        if len(alias) == 4:
            key = struct.pack("=I", int.from_bytes(alias, "big") & ALIAS4_SLOTS)
        return aliases.lookup(key)

    return unalias


def owner(local: End, remote: End) -> Holder | None:
    """Whose connection it is, of this network namespace; None where nobody holds it (any more)."""
    ends = [(str(ip_address(address)), port) for address, port in (local, remote)]
    try:
        found = socketdiag.find("tcp", *ends)
    except OSError:
        return None
    if found is None or not found.inode or found.state == socketdiag.LISTEN:
        return None
    return Holder(found.uid, found.mark)
