"""The DNS worker: a lean process of two threads that answers mesh names.

Run as ``python -P -m interceptor.dns.worker FD CHANNEL`` by ``plane``; FD is its end of a
socket pair, through CHANNEL it lends its queue (see ``hold``). The main thread is the
netfilter queue's and does nothing else.
The other one has an event loop for the daemon's messages, TCP/53, and the
kernel plane (see ``kernel``), which needs no queue. They share the
interpreter's lock, which the main thread gets back within SWITCH_S whatever the
other is doing: a table of 100,000 hosts is loaded between the packets.

It ends when the daemon's end closes, after answering what is queued; the end of a daemon wakes
a worker that is stopped, so that it sees that. One that is alone and hangs is ended by its own
alarm. The rule's bypass then gives all DNS back to the host.
"""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import socket
import sys
import threading
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic

from interceptor.dns import frame, hold
from interceptor.dns.entry import Touched
from interceptor.dns.forward import Forwarder
from interceptor.dns.frame import Beat, Change, Kind, Lease, Settings
from interceptor.dns.kernel import Kernel
from interceptor.dns.nfqueue import Queue, observe_drops
from interceptor.dns.note import Watchable
from interceptor.dns.raw import RawSender
from interceptor.dns.relay import Relay
from interceptor.dns.responder import TCP_LIMIT, Responder
from interceptor.dns.sighting import describe
from interceptor.dns.tcp import Server
from interceptor.dns.watcher import Watcher
from interceptor.dns.wire import OWN_UDP_SIZE
from interceptor.host import parent
from interceptor.mesh.answer import Answers
from interceptor.mesh.model import Locale

BEAT_S = 0.5
SWITCH_S = 1e-4
ALARM_S = 30  # without a turn of the loop; a daemon that lives notices sooner
STUCK_S = 2.0  # a queue thread without progress for so long is no life worth a sign
LAST_WORDS_S = 1.0  # how long TCP/53 may take to close behind an ended queue
ANSWER_S = 0.7  # of it, for those who have asked already
LARGEST_UDP = 65535 - 48  # both headers of the larger family


class Worker:
    """What the two threads share. Made by the loop's thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.answers = Answers(Locale())
        self.building: Answers | None = None
        self.local = Responder(self.answers, random.random, LARGEST_UDP)
        # Beyond the bridge a fragment may be lost; ours are small enough for any link.
        self.bridged = Responder(self.answers, random.random, OWN_UDP_SIZE)
        self.stream = Responder(self.answers, random.random, TCP_LIMIT, is_udp=False)
        self.raw = RawSender(settings.mark) if settings.queue >= 0 or settings.maps else None
        self.kernel: Kernel | None = None
        if self.raw is not None and settings.maps:
            self.kernel = Kernel(Path(settings.maps), self.local, self.bridged, self.raw)
        meant = self.kernel.aliases.find if self.kernel else lambda _: None
        self.tcp = Server(self.stream, settings.mark, meant)
        self.queue = Queue(
            self.local,
            self.bridged,
            lambda: self.tcp.has_room,
            settings.mark + 1,
            self.raw.send if self.raw else _send_nowhere,
        )
        self.forwarder = Forwarder(settings.mark, lambda: self.answers)
        self.tcp.ask = partial(self.forwarder.ask, is_stream=True)
        self.relay = Relay(self.forwarder.ask, self.raw.send) if self.raw else None
        self.queue.forward = self.relay.give if self.relay else None
        ways: list[Watchable] = [self.queue, self.tcp]
        if self.kernel is not None:
            self.kernel.handover.forward = self.relay.take if self.relay else None
            ways.append(self.kernel.handover)
        self.watcher = Watcher(ways, self.local)

    async def follow(self, kind: Kind, value: frame.Message) -> None:
        """`take`, and the kernel's maps after it."""
        if self.kernel is None:
            return self.take(kind, value)
        publisher = self.kernel.publisher
        if isinstance(value, Change):
            touched = Touched()
            for host in (*value.removed, *(host for host, _ in value.upserted)):
                there = self.answers.directory.at(host)
                touched.add(host, there[0] if there else None)
            for host, data in value.upserted:
                touched.add(host, data)
            self.take(kind, value)
            await publisher.apply(self.answers.directory, touched)
            return
        self.take(kind, value)
        if kind is Kind.COMMIT:
            known = publisher.problems
            await publisher.load(self.answers.directory)
            for problem in publisher.problems if publisher.problems != known else ():
                print(f"dns worker: {problem}", file=sys.stderr)

    def take(self, kind: Kind, value: frame.Message) -> None:
        """Follow one message of the daemon's."""
        if isinstance(value, Locale):
            self.building = Answers(value, describe)
        elif isinstance(value, Change):
            for host in value.removed:
                self.answers.directory.drop(host)
            for host, data in value.upserted:
                self.answers.directory.put(host, data)
            self._adopt(self.answers)
        elif kind is Kind.LOAD and isinstance(value, tuple) and self.building is not None:
            for host, data in value:
                self.building.directory.put(host, data)
        elif kind is Kind.COMMIT and (building := self.building) is not None:
            former, self.building = self.answers, None
            self._adopt(building)
            former.directory.release()
            # The table lives long: no collection needs to walk it again.
            gc.freeze()

    def _adopt(self, answers: Answers) -> None:
        self.answers = answers
        for responder in (self.local, self.bridged, self.stream):
            responder.adopt(answers)

    def beat(self) -> Beat:
        """Everything counted so far."""
        queries: dict[tuple[str, str, str], int] = {}
        for plane, responder in (
            ("handover" if self.kernel else "nfqueue", self.local),
            ("bridge", self.bridged),
            ("tcp", self.stream),
        ):
            queries |= frame.counted(plane, responder.counts)
        counts = [self.queue.counts, self.tcp.counts, self.forwarder.counts]
        counts += [self.relay.counts] if self.relay else []
        events = sum((Counter(dict(each)) for each in counts), Counter[str]())
        emptied = self.local.emptied + self.bridged.emptied + self.stream.emptied
        events["cache-emptied"] = emptied
        events |= observe_drops(self.settings.queue)
        standing: dict[tuple[str, str, str], int] = {}
        if self.kernel is not None:
            events |= self.kernel.events()
            standing = self.kernel.queries()
        queue = self.queue
        timed = tuple(queue.samples), queue.sampled_s
        return Beat(len(self.answers), queries, dict(events), *timed, standing)

    def close(self) -> None:
        """Give back what is open besides the queue."""
        if self.kernel is not None:
            self.kernel.close()
        if self.raw is not None:
            self.raw.close()


def _send_nowhere(_packet: bytes, _interface: int) -> None:
    raise OSError("no raw socket without a queue")


class Control:
    """The loop's thread: the daemon's messages, TCP/53, life signs."""

    def __init__(self, descriptor: int) -> None:
        self._bound = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.ready = threading.Event()
        self.worker: Worker | None = None
        self.failure: str = ""
        self._socket = socket.socket(fileno=descriptor)

    def run(self) -> None:
        """Until the daemon's end closes."""
        try:
            asyncio.run(self._serve())
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the daemon is gone, which is how we are ended
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
        finally:
            self.ready.set()
            if self.worker is not None:
                self.worker.queue.stop()

    def opened(self) -> None:
        """Say, from the main thread, that the queue is bound."""
        if self._loop is not None:
            with suppress(RuntimeError):  # closed: the daemon is gone already
                self._loop.call_soon_threadsafe(self._bound.set)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection(sock=self._socket)
        _, settings = await frame.receive(reader)
        if not isinstance(settings, Settings):
            raise ValueError("the first frame has to be SETTINGS")
        self.worker = worker = Worker(settings)
        tasks = [asyncio.create_task(self._beat(worker, writer))]
        try:
            while True:
                kind, value = await frame.receive(reader)
                if isinstance(value, Lease):
                    worker.watcher.lease(value.until_s, writer)
                    continue
                await worker.follow(kind, value)
                if kind is Kind.COMMIT and not self.ready.is_set():
                    # Not before: without a table every name would be somebody else's.
                    tasks.append(asyncio.create_task(_listen(worker.tcp, settings.tcp_port)))
                    await asyncio.wait(tasks[-1:], timeout=BEAT_S)
                    if worker.kernel is not None:
                        tasks.append(asyncio.create_task(worker.kernel.attend()))
                    self.ready.set()
                    await self._bound.wait()
                    writer.write(frame.encode(Kind.READY))
                await asyncio.sleep(0)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            worker.watcher.close()
            if worker.relay is not None:
                worker.relay.close()
            await worker.tcp.close(ANSWER_S)

    async def _beat(self, worker: Worker, writer: asyncio.StreamWriter) -> None:
        progress, since = -1, monotonic()
        while True:
            if worker.queue.progress != progress or not self._bound.is_set():
                progress, since = worker.queue.progress, monotonic()
            if worker.settings.queue < 0 or monotonic() - since < STUCK_S:
                writer.write(frame.encode_beat(worker.beat()))
                await writer.drain()
            signal.alarm(ALARM_S)  # nobody handles it: the kernel ends us
            await asyncio.sleep(BEAT_S)


async def _listen(server: Server, port: int) -> None:
    """Listen as soon as nobody else holds the port. Till then nothing is steered here, and
    TCP/53 goes to its servers directly."""
    while True:
        try:
            return await server.listen(port)
        except OSError:
            server.counts["tcp-port-taken"] += 1
            await server.close()
            await asyncio.sleep(BEAT_S)


def run(descriptor: int, channel: int) -> int:
    """The whole life of a worker. Returns its exit code."""
    parent.wake_with()
    sys.setswitchinterval(SWITCH_S)
    control = Control(descriptor)
    thread = threading.Thread(target=control.run, name="control", daemon=True)
    # Ctrl-C goes to the whole terminal's group: when to end is the daemon's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    thread.start()
    control.ready.wait()
    worker = control.worker
    if worker is None or control.failure or worker.settings.queue < 0:
        control.opened()
        thread.join()
    else:
        signal.signal(signal.SIGTERM, lambda *_: worker.queue.stop())
        worker.queue.open_soon(worker.settings.queue, worker.settings.queue_length)
        hold.lend(worker.queue.descriptor, channel)
        control.opened()
        worker.queue.serve()
        thread.join(LAST_WORDS_S)
    if worker is not None and not thread.is_alive():
        worker.close()
    if control.failure:
        print(f"dns worker: {control.failure}", file=sys.stderr)
    return 1 if control.failure else 0


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), int(sys.argv[2])))
