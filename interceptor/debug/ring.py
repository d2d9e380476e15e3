"""Decisions of the BPF programs, as a source of events.

The programs write records while a lease in the state map lasts, which is renewed only while
somebody listens. What they tell is what they did; the plan and the answer table of now say why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from interceptor.debug.allowance import Allowance
from interceptor.debug.event import Event, Sink
from interceptor.debug.flows import Flows
from interceptor.debug.judging import View
from interceptor.debug.telling import Teller
from interceptor.errors import InterceptorError
from interceptor.host import bpfevent, bpfmap, clock, pin
from interceptor.host.bpfmap import BpfMap
from interceptor.host.endure import endure
from interceptor.host.layout import DNS_TYPES, EVENT, RESULTS_SIZE, Map, State
from interceptor.host.process import Finder
from interceptor.host.ringbuf import HEADER_BYTES, RingBuffer

LEASE_NS = 3_000_000_000
RENEW_S = 1.0
TURN_S = 0.02  # records are read so often: the ring has room for a thousand
AT_ONCE = 1000  # records that are read in a turn
NEEDED = (Map.STATE, Map.EVENTS, Map.DNS_COUNTS)
RECORD_BYTES = HEADER_BYTES + EVENT.size
EACH_S = 2000  # events told in a second: each takes about 0.1 ms


class Ring:
    """A `Source`. ``folder`` is ``capture.bpf_dir``; ``finder`` and ``flows`` are shared with
    others of the same loop."""

    def __init__(self, folder: Path, view: View, finder: Finder, flows: Flows) -> None:
        self._folder = folder
        self._teller = Teller(view, finder, flows)
        self._finder = finder
        self._allowance = Allowance(EACH_S)
        self._queries = 0
        self._maps: Mapping[Map, BpfMap] = {}
        self._ring: RingBuffer | None = None
        self._opened = ExitStack()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._sink: Sink | None = None
        self._odd = self._untold = self._now = self._known = 0

    @property
    def left_out(self) -> int:
        """Also what found no room in the ring."""
        if self._ring is not None:
            self._now = max(self._now, self._lost(self._ring) - self._known)
        return self._allowance.refused + self._odd + self._untold + self._now

    def _lost(self, ring: RingBuffer) -> int:
        """Since the maps were made: connections as the programs have counted them, and queries
        that were decided and neither read nor wait. Counts but for those before we listened."""
        decided = self._maps[Map.DNS_COUNTS]
        places = range(RESULTS_SIZE * len(DNS_TYPES))
        queries = sum(decided.sum(bpfmap.index(place)) for place in places)
        lost = bpfmap.read_state(self._maps[Map.STATE], State.UNTOLD)
        return lost + queries - self._queries - ring.waiting_bytes // RECORD_BYTES

    async def open(self, sink: Sink) -> None:
        self._sink = sink
        if self._ring is not None:
            return
        with ExitStack() as stack:
            maps = {number: self._adopt(number, stack) for number in NEEDED}
            self._ring = RingBuffer(maps[Map.EVENTS])
            stack.callback(self._ring.close)
            self._opened = stack.pop_all()
        self._maps = maps
        for _ in self._ring.read():  # what another daemon did not read is no news
            pass
        self._queries = self._now = 0
        self._known = self._lost(self._ring)
        self._sign(clock.kernel_ns() + LEASE_NS)
        asyncio.get_running_loop().add_reader(self._ring.fd, self._wake)
        self._task = asyncio.create_task(endure("the trace's lease", self._renew))

    def _adopt(self, number: Map, stack: ExitStack) -> BpfMap:
        found = pin.adopt_map(self._folder, number)
        if found is None:
            path = pin.map_path(self._folder, number)
            raise InterceptorError(f"the programs cannot tell: {path} is not there")
        stack.callback(found.close)
        return found

    async def close(self) -> None:
        _ = self.left_out  # the last word of maps that are given back
        task, self._task = self._task, None
        ring, self._ring = self._ring, None
        self._sink = None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if ring is None:
            return
        asyncio.get_running_loop().remove_reader(ring.fd)
        if self._timer is not None:
            self._timer.cancel()
        self._sign(0)
        self._untold, self._now = self._untold + self._now, 0
        self._maps = {}
        self._opened.close()
        self._finder.close()
        self._teller.forget()

    def _sign(self, until_ns: int) -> None:
        bpfmap.write_state(self._maps[Map.STATE], State.TRACE_NS, until_ns)

    async def _renew(self) -> None:
        while True:
            self._sign(clock.kernel_ns() + LEASE_NS)
            await asyncio.sleep(RENEW_S)

    def _wake(self) -> None:
        """Records wait. They are read together, a little later: a wake-up for each would cost
        whoever writes them."""
        if self._ring is not None:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._ring.fd)
            self._timer = loop.call_later(TURN_S, self._turn)

    def _turn(self) -> None:
        ring, loop = self._ring, asyncio.get_running_loop()
        if ring is None:
            return
        found: list[Event] = []
        count = 0
        for raw in islice(ring.read(), AT_ONCE):
            count += 1
            self._queries += bpfevent.is_query(raw)
            try:
                if bpfevent.is_socket(raw) or self._allowance.take():
                    found += self._teller.take(bpfevent.decode(raw))
            except ValueError:
                self._odd += 1
        found += self._teller.rest()
        if self._teller.is_waiting or count == AT_ONCE:
            self._timer = loop.call_later(TURN_S, self._turn)
        else:
            loop.add_reader(ring.fd, self._wake)
        if self._sink is not None:
            for event in found:
                self._sink(event)
