"""The daemon's own hold on its worker's netfilter queue.

When a socket that is bound to a queue goes, the kernel drops what waits there: every query of
the seconds in which a worker hung, and a few when it was killed. So the worker lends the daemon
a duplicate of its socket. Once the worker is gone, everything that waits is accepted through
it, and each query goes on to the resolver that it was meant for.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from interceptor.host import waitqueue


def lend(descriptor: int, channel: int) -> None:
    """The worker's side: give the daemon its socket. Closes ``channel``."""
    with socket.socket(fileno=channel) as end, suppress(BrokenPipeError):  # it is gone already
        socket.send_fds(end, [b"q"], [descriptor])


class Hold:
    """On the queue of one worker. `theirs` is the end to start it with."""

    def __init__(self, number: int) -> None:
        """``number`` is the queue's."""
        self._number = number
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._descriptor = -1

    def recv(self) -> None:
        """Take what the worker has lent, if it has."""
        with suppress(BlockingIOError):
            for descriptor in socket.recv_fds(self._ours, 1, 1)[1]:
                os.set_inheritable(descriptor, False)
                self._descriptor = descriptor

    @property
    def held(self) -> tuple[int, int]:
        """The descriptor, -1 for none, and the queue's number."""
        return self._descriptor, self._number

    def release(self) -> int:
        """When the worker is gone: let what waits go on, and give the queue back. Returns how
        many packets waited."""
        if self._descriptor < 0:
            self.recv()
        waited = 0
        if self._descriptor >= 0:
            with suppress(OSError):  # it was unbound in order: nothing is left to accept
                waited = waitqueue.accept_all(self._descriptor, self._number)
            os.close(self._descriptor)
        self._descriptor = -1
        self._ours.close()
        self.theirs.close()
        return waited
