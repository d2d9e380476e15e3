"""The worker's side of the kernel plane: pinned maps, the table in them, what is handed over.

The daemon has made and pinned the maps before it starts a worker. A worker
publishes its table, then takes handed-over queries and says so every SIGN_S; a
program that has not heard of it for WORKER_PATIENCE_NS lets those queries pass.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from interceptor.dns.alias import Aliases
from interceptor.dns.handover import Handover
from interceptor.dns.publisher import Publisher
from interceptor.dns.raw import RawSender
from interceptor.dns.responder import Responder
from interceptor.errors import InterceptorError
from interceptor.host import bpfmap, clock, pin
from interceptor.host.bpfmap import BpfMap
from interceptor.host.layout import DNS_RESULTS, DNS_TYPES, Map, State
from interceptor.host.ringbuf import RingBuffer

SIGN_S = 0.25
PLANE = "ebpf"
HANDED_OVER = "handover"  # counted by the responder that answers it, under that plane
NEEDED = (
    *(Map.STATE, Map.LOCALE, Map.NAMES, Map.WILD, Map.POINTERS),
    *(Map.ALIAS4, Map.ALIAS6, Map.DNS_COUNTS, Map.HANDOVER),
)


class Kernel:
    """``folder`` is ``capture.bpf_dir``. InterceptorError where a map is not pinned there."""

    def __init__(
        self, folder: Path, local: Responder, bridged: Responder, sender: RawSender
    ) -> None:
        with ExitStack() as stack:
            self.maps = _open(folder, stack)
            self._ring = RingBuffer(self.maps[Map.HANDOVER])
            stack.callback(self._ring.close)
            self.publisher = Publisher(self.maps)
            stack.callback(self.publisher.close)
            self._opened = stack.pop_all()
        self.handover = Handover(self._ring, local, bridged, sender)
        self.aliases = Aliases(self.maps)

    async def attend(self) -> None:
        """Take what is handed over, and say that we do, until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.handover.fd, self.handover.take)
        states, signed_ns = self.maps[Map.STATE], 0
        try:
            while True:
                signed_ns = clock.kernel_ns()
                bpfmap.write_state(states, State.WORKER_NS, signed_ns)
                await asyncio.sleep(SIGN_S)
        finally:
            # A successor may have signed since.
            if bpfmap.read_state(states, State.WORKER_NS) == signed_ns:
                bpfmap.write_state(states, State.WORKER_NS, 0)
                self.handover.take()
            loop.remove_reader(self.handover.fd)

    def close(self) -> None:
        """Give back what was opened. The kernel answers on."""
        self._opened.close()

    def queries(self) -> dict[tuple[str, str, str], int]:
        """What the programs have counted since the maps were made, by (plane, result, type)."""
        counts = self.maps[Map.DNS_COUNTS]
        size = len(DNS_TYPES)
        places = {
            (PLANE, result, kind): row * size + column
            for row, result in enumerate(DNS_RESULTS)
            for column, kind in enumerate(DNS_TYPES)
            if result != HANDED_OVER
        }
        found = {label: counts.sum(bpfmap.index(place)) for label, place in places.items()}
        return {label: count for label, count in found.items() if count}

    def events(self) -> Counter[str]:
        """What else happened in this worker."""
        events = Counter(self.handover.counts)
        events["published-tables"] = self.publisher.loads
        events["published-changes"] = self.publisher.writes
        events["kept-from-kernel"] = len(self.publisher.problems)
        return events


def _open(folder: Path, stack: ExitStack) -> Mapping[Map, BpfMap]:
    opened: dict[Map, BpfMap] = {}
    for number in NEEDED:
        found = pin.adopt_map(folder, number)
        if found is None:
            path = pin.map_path(folder, number)
            raise InterceptorError(f"{path}: no such map; the daemon pins it before it starts us")
        opened[number] = found
        stack.callback(found.close)
    return opened
