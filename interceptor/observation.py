"""A VM watched for a while: packets by a filter, sockets by looking at them again and again.

Nothing is captured and nothing changed: what is open closes with the process.
"""

from __future__ import annotations

import os
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from time import monotonic

from interceptor.config import Config
from interceptor.debug import datagram
from interceptor.debug.datagram import Datagram
from interceptor.debug.ledger import Flow, Ledger, Way
from interceptor.debug.observed import Listening, Observation, join
from interceptor.host import lock, probe, process, resolver, sieve, sniffer, socketdiag, socketdump
from interceptor.host.process import Finder, Process
from interceptor.host.sniffer import Sniffer
from interceptor.host.socketdump import CLOSE, ESTABLISHED, LISTEN, Entry

LOOK_S = 1.0
"""Between two looks at the sockets that listen, and two words about the progress."""
LOOK_WIDE_S = 5.0  # at the connections as well
OWNERS_FIRST, OWNERS_LATER = 32, 16
"""Of connections to one place the first so many are looked at for whose they are, and then one in
so many: a lookup costs ten times what the rest of a connection does."""
AT_ONCE = 2000  # packets, before the clock is looked at
_IP = 101  # LINKTYPE_RAW: what a cooked socket gives
_HOSTS = Path("/etc/hosts")
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DNS = 53


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a watch has come."""

    seconds: float
    names: int = 0
    connections: int = 0
    listeners: int = 0
    lost: int = 0


Links = Mapping[str, tuple[probe.Address, ...]]
Tell = Callable[[Progress], None]


def watch(config: Config, duration_s: float, tell: Tell) -> Observation:
    """Watch this network namespace. Ctrl-C (KeyboardInterrupt) ends it early, and well.

    Raises Unsupported without the right to see packets.
    """
    links = probe.addresses()
    facts = observe_facts(config, links)
    ledger = Ledger(texts(links), facts.static)
    program = sieve.encode(sieve.build())
    with closing(Sniffer(program)) as packets, closing(Finder()) as finder:
        looker = _Looker(ledger, finder)
        began_s = monotonic()
        with suppress(KeyboardInterrupt):
            looker.look(wide=True, first=True)
            for lost, seconds in _turns(packets, looker, began_s, duration_s):
                names, count = len(ledger.asking), ledger.connections
                tell(Progress(seconds, names, count, len(looker.listening), lost))
        looker.take(packets)
        looker.look(wide=True)
        like = tuple(_sidecar_like(config, finder))
        listening, lost = looker.rows(), packets.lost()
        looker.close()
    return replace(
        ledger.observation(),
        host=facts.host,
        addresses=facts.addresses,
        resolvers=facts.resolvers,
        search=facts.search,
        static=facts.static,
        ephemeral=facts.ephemeral,
        seconds=round(monotonic() - began_s, 1),
        listening=listening,
        sidecar_like=like,
        agent=lock.holder(config.agent.run_dir / lock.NAME) or 0,
        lost=lost,
    )


def _turns(
    packets: Sniffer, looker: _Looker, began_s: float, duration_s: float
) -> Iterator[tuple[int, float]]:
    """Until the time is up; an item (packets lost, seconds) for each look at the sockets."""
    next_s, wide_s, quiet = began_s, began_s, 0
    while (now_s := monotonic()) < began_s + duration_s:
        if now_s >= next_s:
            looker.look(wide=now_s >= wide_s)
            wide_s = now_s + LOOK_WIDE_S if now_s >= wide_s else wide_s
            next_s = now_s + LOOK_S
            if len(looker.ledger.quiet) > quiet:
                quiet = len(looker.ledger.quiet)
                packets.filter(sieve.encode(sieve.build(looker.ledger.quiet)))
            yield packets.lost(), now_s - began_s
        until_s = min(next_s, began_s + duration_s) - monotonic()
        if select.select([packets], [], [], max(0.0, until_s))[0]:
            looker.take(packets)


class _Looker:
    """What is seen goes to the ledger, with whose it is."""

    def __init__(self, ledger: Ledger, finder: Finder) -> None:
        self.ledger = ledger
        self.listening: dict[tuple[str, int], Listening] = {}
        self._finder = finder
        self._channel = socketdiag.open_channel()
        self._devices = dict(socket.if_nameindex())
        self._owned: Counter[tuple[str, int]] = Counter()

    def close(self) -> None:
        self._channel.close()

    def take(self, packets: Sniffer) -> None:
        """The packets that wait."""
        for _ in range(AT_ONCE):
            packet = packets.recv()
            if packet is None:
                return
            found = datagram.parse(_IP, packet.data)
            if not isinstance(found, Datagram):
                continue
            leaves = packet.way is sniffer.Way.OUT
            flow = self.ledger.add(found, packet.device, leaves)
            if flow is not None:
                self._own(flow)

    def look(self, *, wide: bool, first: bool = False) -> None:
        """At what listens; ``wide``: at connections, too, all of which were there before where
        it is the first look."""
        with suppress(OSError):
            for entry in socketdump.observe(LISTEN, CLOSE):
                self._listens(entry)
        if wide:
            self._devices = dict(socket.if_nameindex())
            self.ledger.learn(texts(probe.addresses()))
            with suppress(OSError):
                for entry in socketdump.observe(ESTABLISHED):
                    self._is_open(entry, first=first)

    def rows(self) -> tuple[Listening, ...]:
        """Everything that listened, by port."""
        return tuple(self.listening[key] for key in sorted(self.listening, key=lambda k: k[::-1]))

    def _own(self, flow: Flow) -> None:
        """Whose a new connection is; what has ended already is nobody's."""
        client, cport, server, port = flow.key
        self._owned[server, port] += 1
        count = self._owned[server, port]
        if count > OWNERS_FIRST and count % OWNERS_LATER:
            return
        with suppress(OSError, ValueError):
            ends = (client, cport), (server, port)
            entry = socketdump.find(self._channel, flow.transport, *ends)
            if entry is not None:
                flow.owner = owner_name(self._finder.of(entry.socket))
                flow.device = self._device(entry)

    def _listens(self, entry: Entry) -> None:
        key = entry.protocol, entry.local[1]
        known = self.listening.get(key)
        if known is None:
            owner = owner_name(self._finder.of(entry.socket))
            known = Listening(entry.local[1], entry.protocol, owner=owner)
        devices = (self._device(entry),) if entry.device else ()
        if entry.local[0] not in known.addresses or set(devices) - set(known.devices):
            known = replace(
                known,
                addresses=join(known.addresses, (entry.local[0],)),
                devices=join(known.devices, filter(None, devices)),
            )
        self.listening[key] = known

    def _is_open(self, entry: Entry, *, first: bool) -> None:
        """A TCP connection that was there at the first look, a connected UDP socket at any; of
        others what their beginning was too short to tell."""
        if ip_address(entry.remote[0]).is_loopback or entry.remote[1] == _DNS:
            return
        comes = ("tcp", entry.local[1]) in self.listening and entry.protocol == "tcp"
        ends = (*entry.remote, *entry.local) if comes else (*entry.local, *entry.remote)
        flow = self.ledger.find(ends)
        if flow is None:
            if not entry.socket.inode or (entry.protocol == "tcp" and not first):
                return
            flow = Flow(ends, Way.IN if comes else Way.OUT, entry.protocol, before=first)
            self.ledger.open(flow)
        flow.device = flow.device or self._device(entry)
        flow.owner = flow.owner or owner_name(self._finder.of(entry.socket))

    def _device(self, entry: Entry) -> str:
        """The device that the user bound it to; of a link-local address it is its scope."""
        if not entry.device or ip_address(entry.local[0]).is_link_local:
            return ""
        return self._devices.get(entry.device, f"device {entry.device}")


def owner_name(found: Process) -> str:
    """A process as people call it: its unit and its name, as far as they are known."""
    if found.unit and found.comm:
        return f"{found.unit} ({found.comm})"
    if found.unit or found.comm:
        return found.unit or found.comm
    return f"uid {found.uid}" if found.uid is not None else ""


def texts(links: Links) -> set[str]:
    """The addresses of all links."""
    return {str(address) for found in links.values() for address in found}


def observe_facts(config: Config, links: Links) -> Observation:
    """What a VM is, before anything was seen of it."""
    addresses = [str(address) for address in config.node.addresses] or [
        str(address)
        for version in (4, 6)
        if (address := probe.source(probe.routes(version), links, version)) is not None
    ]
    return Observation(
        host=config.node.name or socket.gethostname(),
        addresses=tuple(addresses),
        resolvers=tuple(map(str, resolver.observe_servers(config.dns.resolv_conf))),
        search=resolver.observe_search(config.dns.resolv_conf),
        static=tuple(parse_hosts(_read(_HOSTS), texts(links))),
        ephemeral=parse_range(_read(_PORT_RANGE)),
    )


def parse_hosts(text: str, own: set[str]) -> Iterator[tuple[str, str]]:
    """(name, address) of hosts(5) for other machines."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        try:
            address = ip_address(words[0]) if words else None
        except ValueError:
            continue
        if address is None or address.is_loopback or address.is_multicast or str(address) in own:
            continue
        yield from ((name.lower().rstrip("."), str(address)) for name in words[1:])


def parse_range(text: str) -> tuple[int, int]:
    """ip_local_port_range (ip-sysctl); the kernel's default where it is none."""
    words = text.split()
    if len(words) == 2 and all(word.isdigit() for word in words):
        return int(words[0]), int(words[1])
    return Observation().ephemeral


def _sidecar_like(config: Config, finder: Finder) -> Iterator[str]:
    """Processes of this network namespace with the sidecar's uid or gid."""
    ours = os.stat("/proc/self/ns/net").st_ino
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        with suppress(OSError):
            ids = process.parse_ids(Path(f"/proc/{pid}/status").read_text(errors="replace"))
            if config.sidecar.uid not in ids[:1] and config.sidecar.gid not in ids[1:]:
                continue
            if os.stat(f"/proc/{pid}/ns/net").st_ino == ours:
                yield f"{owner_name(finder.process(pid))} (pid {pid})"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
