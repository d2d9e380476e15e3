"""The netfilter queue: queries come out of the kernel here, and go back as their answers.

A query of this host's own (hook OUTPUT) is rewritten in place and accepted; the
kernel sees that its addresses were swapped and routes it to the asking socket.
A query of a container (hook PREROUTING) cannot go back that way, since it would
claim to come from a foreign address on the bridge: it is dropped, and the
answer leaves by a raw socket. Everything else is accepted as it is.

The loop blocks in the library's own receive, without the interpreter's lock:
two system calls a packet. Entering an event loop by file descriptor would make
them four. The receive times out now and then, so that a life sign is due.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import threading
import warnings
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from functools import partial
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from interceptor.dns import packet as packets
from interceptor.dns.note import Note
from interceptor.dns.responder import Responder
from interceptor.host import waitqueue

if TYPE_CHECKING:
    from netfilterqueue import NetfilterQueue, Packet

OPEN_PATIENCE_S = 5.0  # an older worker may still hold the queue
IDLE_S = 0.25  # longest receive without a packet
SOCKET_BYTES = 8 << 20  # a queued packet of 80 bytes takes about 1 KiB of the buffer
BOUNDS_S = (5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3)
SAMPLE = 16  # every how many packets the time is taken; a power of two

_PRE_ROUTING = 0  # linux/netfilter.h, enum nf_inet_hooks
_TCP = b"\6"
_SOL_NETLINK, _NO_ENOBUFS = 270, 5  # linux/netlink.h
_FAIL_OPEN = 1  # linux/netfilter/nfnetlink_queue.h, NFQA_CFG_F_FAIL_OPEN


class Queue:
    """One bound queue. `serve` holds its thread until `stop`, which any thread may call.

    ``local`` answers this host's queries, ``bridged`` those of containers. ``steers`` says
    whether a TCP/53 connection may be taken over now; its SYN then gets ``steer_mark``.
    """

    def __init__(
        self,
        local: Responder,
        bridged: Responder,
        steers: Callable[[], bool],
        steer_mark: int,
        send: Callable[[bytes, int], None],
    ) -> None:
        self.forward: Callable[[bytes, int], None] | None = None
        """Takes the queries of forward zones, each with the index of its client's link."""
        self.counts: Counter[str] = Counter()
        self.samples = [0] * (len(BOUNDS_S) + 1)
        self.sampled_s = 0.0
        self.progress = 0  # grows with every packet and every idle turn
        self._local = local
        self._bridged = bridged
        self._steers = steers
        self._steer_mark = steer_mark
        self._send = send
        self._judge: Callable[[Packet], object] = self._decide
        self._queue: NetfilterQueue | None = None
        self._number = 0
        self._thread = 0
        self._stopping = False

    def open(self, number: int, length: int) -> None:
        """Bind to queue ``number``. OSError while another program holds it."""
        from netfilterqueue import COPY_PACKET, NetfilterQueue

        queue = NetfilterQueue()
        with warnings.catch_warnings():
            # A smaller buffer than asked for only means that less of a burst is kept.
            warnings.simplefilter("ignore", RuntimeWarning)
            queue.bind(number, self._on_packet, length, COPY_PACKET, 0xFFFF, SOCKET_BYTES)
        with socket.socket(fileno=os.dup(queue.get_fd())) as bound:
            seconds, rest = divmod(IDLE_S, 1)
            idle = struct.pack("@ll", int(seconds), int(rest * 1e6))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, idle)
            bound.setsockopt(_SOL_NETLINK, _NO_ENOBUFS, 1)
            # A full queue is to let further packets pass instead of dropping them.
            flags = {waitqueue.MASK: _FAIL_OPEN, waitqueue.FLAGS: _FAIL_OPEN}
            bound.send(waitqueue.encode_settings(number, flags))
        self._queue, self._number = queue, number

    def open_soon(self, number: int, length: int) -> None:
        """`open`, once an older worker has let go of the queue. OSError if it does not."""
        deadline = monotonic() + OPEN_PATIENCE_S
        pause = threading.Event()
        while True:
            try:
                return self.open(number, length)
            except OSError:
                if monotonic() > deadline:
                    raise
                pause.wait(0.01)

    @property
    def descriptor(self) -> int:
        """The socket that is bound; it stays the queue's."""
        if self._queue is None:
            raise RuntimeError("open the queue first")
        return int(self._queue.get_fd())

    def serve(self) -> None:
        """Answer until `stop`; then what is queued already, and give the queue back."""
        queue = self._queue
        if queue is None:
            raise RuntimeError("open the queue before serving it")
        self._thread = threading.get_ident()
        while not self._stopping:
            queue.run()
            self.progress += 1
        # Unbinding drops what waits. With no room at all everything new passes (the queue
        # fails open), so that after one more look nothing can be waiting.
        with socket.socket(fileno=os.dup(queue.get_fd())) as bound:
            bound.send(waitqueue.encode_settings(self._number, {waitqueue.LENGTH: 0}))
        queue.run(block=False)
        queue.unbind()

    def stop(self) -> None:
        """End `serve`. Safe in a signal handler, from other threads, and twice."""
        self._stopping = True
        if self._queue is None:
            return
        descriptor = self._queue.get_fd()
        fcntl.fcntl(
            descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_NONBLOCK
        )
        if self._thread and self._thread != threading.get_ident():
            # Wakes a receive that began before the descriptor stopped blocking.
            signal.pthread_kill(self._thread, signal.SIGUSR1)

    def _on_packet(self, packet: Packet) -> None:
        # Whatever goes wrong with one packet must not end the loop for all of them.
        try:
            self.progress += 1
            if self.progress & SAMPLE - 1:
                self._judge(packet)
            else:
                began = perf_counter()
                self._judge(packet)
                self._sample(perf_counter() - began)
        except Exception as error:
            self.counts["error-" + type(error).__name__] += 1
            try:
                packet.accept()
            except Exception:
                self.counts["no-verdict"] += 1  # it had one already

    def watch(self, note: Note | None) -> None:
        """Tell each query to ``note`` from now on; None: to nobody."""
        self._judge = self._decide if note is None else partial(self._tell, note)

    def _tell(self, note: Note, packet: Packet) -> None:
        query = packet.get_payload()
        if _is_tcp(query):
            self._decide(packet)
            return
        is_ours = packet.hook != _PRE_ROUTING
        noted = note.begin("nfqueue" if is_ours else "bridge", query, is_ours=is_ours)
        note.end(noted, self._decide(packet))

    def _decide(self, packet: Packet) -> bytes | None:
        """Answer the query or let it go on. Returns the answer."""
        query = packet.get_payload()
        if packet.hook != _PRE_ROUTING:
            answer = packets.answer(query, self._local)
            if answer is not None:
                packet.set_payload(answer)
            elif _is_tcp(query) and self._steers():
                packet.set_mark(self._steer_mark)
                self.counts["tcp-steered"] += 1
            elif self._forwards(query, self._local):
                self._send_off(packet, query, 0)
                return None
            packet.accept()
            return answer
        answer = packets.answer(query, self._bridged)
        if answer is None:
            if self._forwards(query, self._bridged):
                self._send_off(packet, query, packet.indev)
            else:
                packet.accept()
            return None
        packet.drop()
        self._send(answer, packet.indev)
        return answer

    def _forwards(self, query: bytes, responder: Responder) -> bool:
        if self.forward is None or not responder.has_forward_zones:
            return False
        message = packets.message(query)
        return message is not None and responder.forwards(message)

    def _send_off(self, packet: Packet, query: bytes, interface: int) -> None:
        packet.drop()
        assert self.forward is not None
        self.forward(query, interface)

    def _sample(self, took_s: float) -> None:
        self.samples[bisect_left(BOUNDS_S, took_s)] += 1
        self.sampled_s += took_s


def _is_tcp(packet: bytes) -> bool:
    at = 6 if packet[0] >> 4 == 6 else 9
    return packet[at : at + 1] == _TCP  # of a packet that is cut short, too


def observe_drops(number: int) -> Counter[str]:
    """Packets that the kernel dropped because queue or socket buffer was full."""
    row = waitqueue.observe(number)
    if row is None:
        return Counter()
    return Counter({"queue-full": row.queue_full, "socket-full": row.socket_full})
