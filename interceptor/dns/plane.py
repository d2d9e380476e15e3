"""The daemon's side of the DNS worker: its table, its life signs, its successor.

A worker that ends, or gives no life sign for HUNG_S, is killed and replaced by
one with the present table. What waited in its queue goes on to its resolver (see
`hold`), and until the new one listens the rule's bypass gives every query to the
host's own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import interceptor
from interceptor.dns import frame
from interceptor.dns.frame import Beat, Change, Kind, Lease, Row, Seen, Settings
from interceptor.dns.hold import Hold
from interceptor.dns.nfqueue import BOUNDS_S, SAMPLE
from interceptor.host import command, endure, share
from interceptor.host.command import Process
from interceptor.mesh import record
from interceptor.mesh.model import Host, Locale
from interceptor.mesh.table import Difference

HUNG_S = 3.0
WATCH_S = 0.25
FIRST_SIGN_S = 30.0  # a start under load, with a large table
RETRY_S = (0.0, 0.1, 0.5, 1.0, 2.0)  # before each further restart; the last one stays
CALM_S = 30.0  # a worker that lived so long starts the list again
CHUNK = 500  # hosts a frame: about 3 ms of either side's time

View = Callable[[], tuple[Locale, Iterable[Host]]]


@dataclass(frozen=True, slots=True)
class Counters:
    """What all workers together have counted.

    ``buckets`` are (upper bound in seconds, cumulative count) of the time from packet to
    answer; one packet in ``nfqueue.SAMPLE`` is timed and stands for that many.
    """

    queries: dict[tuple[str, str, str], int]
    events: dict[str, int]
    buckets: tuple[tuple[float, int], ...]
    sum_s: float


class Plane:
    """One worker at a time. Open it, then call `load` or `send` on every change.

    ``view`` gives the present locale and hosts; it is asked by `open`, by `load`, and
    whenever a worker is replaced. ``log`` gets one line a decision. ``wrap`` makes of a
    worker's command the one to run: it may put it into a cgroup (`cgroup.join_argv`).
    """

    def __init__(
        self,
        settings: Settings,
        view: View,
        log: Callable[[str], None],
        wrap: Callable[[Sequence[str]], Sequence[str]] = list,
    ) -> None:
        self._settings = settings
        self._wrap = wrap
        self._view = view
        self._log = log
        self._process: Process | None = None
        self._hold: Hold | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._lock = asyncio.Lock()  # frames of a load and of a change must not mix
        self._open = asyncio.Event()  # from then on the view is worth telling
        self._ready = asyncio.Event()
        self._beat = Beat()
        self._past = Beat(samples=(0,) * (len(BOUNDS_S) + 1))
        self._signed = 0.0
        self._born = 0.0
        self.restarts = 0
        self.on_seen: Callable[[Seen], None] | None = None
        self.on_hold: Callable[[int, int], None] = lambda _descriptor, _number: None
        """Told what is held of the worker's queue: a descriptor (-1: nothing), and its number."""

    @property
    def is_alive(self) -> bool:
        """Whether a worker listens and gave a sign of life lately."""
        return self._ready.is_set() and self.beat_age_s < HUNG_S

    @property
    def beat_age_s(self) -> float:
        """Time since the last life sign."""
        return monotonic() - self._signed if self._signed else float("inf")

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def counters(self) -> Counters:
        now = _sum(self._past, self._beat)
        bounds, seen, buckets = (*BOUNDS_S, float("inf")), 0, []
        for bound, count in zip(bounds, now.samples, strict=True):
            seen += count * SAMPLE
            buckets.append((bound, seen))
        return Counters(
            now.queries | now.standing, now.events, tuple(buckets), now.sampled_s * SAMPLE
        )

    def start(self) -> None:
        """Start a worker ahead of `open`: it comes up while the table is still being read."""
        self._tasks.append(asyncio.create_task(self._keep()))

    async def open(self, timeout_s: float = FIRST_SIGN_S) -> None:
        """Give the worker its table and wait until it answers. TimeoutError when it does not."""
        if not self._tasks:
            self.start()
        self._open.set()
        async with asyncio.timeout(timeout_s):
            await self._ready.wait()

    async def close(self) -> None:
        """End the worker, after what it has queued."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._end(graceful=True)

    async def load(self) -> None:
        """Give the worker the whole present table; it answers from the old one meanwhile.
        Nothing to do before `open`, which does it."""
        if not self._open.is_set():
            return
        async with self._lock:
            await self._load()

    async def send(self, difference: Difference) -> None:
        """Give the worker what changed. Nothing to do while none lives, or before `open`: the
        next one gets all."""
        if not self._open.is_set():
            return
        rows = [(host.name, record.encode(host)) for host in difference.upserted]
        async with self._lock:
            await self._write(frame.encode_change(Change(rows, difference.removed)))

    async def trace(self, until_s: float) -> None:
        """Have the worker tell ``on_seen`` what it decides until then (CLOCK_MONOTONIC): first
        nothing, at once, then what there is. Nothing to do while none lives."""
        if self._ready.is_set():
            await self._write(frame.encode_lease(Lease(until_s)))

    async def _load_first(self) -> None:
        await self._open.wait()
        await self._load()

    async def _load(self) -> None:
        locale, hosts = self._view()
        await self._write(frame.encode_locale(locale))
        rows: list[Row] = []
        for host in hosts:
            rows.append((host.name, record.encode(host)))
            if len(rows) == CHUNK:
                await self._write(frame.encode_load(rows))
                rows = []
        await self._write(frame.encode_load(rows))
        await self._write(frame.encode(Kind.COMMIT))

    async def _write(self, data: bytes) -> None:
        writer = self._writer  # another one's, or none, by the time that this one has drained
        if writer is None or writer.is_closing():
            return
        try:
            writer.write(data)
            await writer.drain()
        except ConnectionError:
            writer.close()  # `_keep` sees the end of the stream, and starts another
        await asyncio.sleep(0)

    async def _keep(self) -> None:
        """One worker after another."""
        failures = 0
        while True:
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            try:
                why = await self._live()
            except endure.PASSING as error:
                why = f"could not be started: {error}"
                self._born = monotonic()
            failures = 0 if monotonic() - self._born > CALM_S else failures + 1
            self._log(f"dns: worker {why}; starting another")
            await self._end(graceful=False)
            self._past, self._beat = _sum(self._past, self._beat), Beat()
            self.restarts += 1

    async def _live(self) -> str:
        """One worker's life. Returns why it is over."""
        reader = await self._start()
        self._born = monotonic()
        watch = asyncio.create_task(self._watch())
        listen = asyncio.create_task(self._listen(reader))
        try:
            async with self._lock:
                await self._write(frame.encode_settings(self._settings))
                loading = asyncio.create_task(self._load_first())
                await asyncio.wait({loading, watch, listen}, return_when=asyncio.FIRST_COMPLETED)
                if not loading.done():
                    loading.cancel()
                await asyncio.gather(loading, return_exceptions=True)
            done, _ = await asyncio.wait({watch, listen}, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in (watch, listen):
                task.cancel()
            await asyncio.gather(watch, listen, return_exceptions=True)

    async def _start(self) -> asyncio.StreamReader:
        ours, theirs = socket.socketpair()
        hold = self._hold = Hold(self._settings.queue)
        with theirs, hold.theirs:
            ends = theirs.fileno(), hold.theirs.fileno()
            # -P: nothing is imported from the folder that somebody happened to start us in.
            argv = (sys.executable, "-P", "-m", "interceptor.dns.worker", *map(str, ends))
            self._process = command.start(self._wrap(argv), pass_fds=ends, env=_environment())
        share.rank(share.WORKER, self._process.pid)
        reader, self._writer = await asyncio.open_connection(sock=ours)
        return reader

    async def _listen(self, reader: asyncio.StreamReader) -> str:
        try:
            while True:
                kind, value = await frame.receive(reader)
                if isinstance(value, Beat):
                    self._beat, self._signed = value, monotonic()
                elif isinstance(value, Seen) and self.on_seen is not None:
                    self.on_seen(value)
                elif kind is Kind.READY:
                    if self._hold is not None:
                        self._hold.recv()
                        self.on_hold(*self._hold.held)
                    self._signed = monotonic()
                    self._ready.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            return f"ended (code {self._process.poll() if self._process else None})"

    async def _watch(self) -> str:
        """Until the life signs stop."""
        while True:
            await asyncio.sleep(WATCH_S)
            limit_s = HUNG_S if self._ready.is_set() else FIRST_SIGN_S
            silent_s = monotonic() - max(self._signed, self._born)
            if silent_s > limit_s:
                return f"gave no life sign for {silent_s:.1f} s"

    async def _end(self, graceful: bool) -> None:
        """A graceful end is the end of its stream; any other is SIGKILL: it may be stopped."""
        self._ready.clear()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        process, self._process = self._process, None
        if process is not None:
            if not graceful or await asyncio.to_thread(process.wait, HUNG_S) is None:
                process.signal(signal.SIGKILL)
            await asyncio.to_thread(process.stop)
        hold, self._hold = self._hold, None
        self.on_hold(-1, 0)
        if hold is not None and (waited := hold.release()):
            self._log(f"dns: {waited} queries that waited for the worker go on to their resolvers")


def _environment() -> dict[str, str]:
    """Ours, with the package findable from wherever the daemon was started."""
    root = str(Path(interceptor.__file__).parent.parent)
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    # One arena: two threads with an own heap each keep twice the slack.
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths), "MALLOC_ARENA_MAX": "1"}


def _sum(one: Beat, other: Beat) -> Beat:
    samples: Sequence[int] = other.samples or (0,) * len(one.samples)
    return Beat(
        other.hosts,
        dict(Counter(one.queries) + Counter(other.queries)),
        dict(Counter(one.events) + Counter(other.events)),
        tuple(a + b for a, b in zip(one.samples, samples, strict=True)),
        one.sampled_s + other.sampled_s,
        other.standing or one.standing,
    )
