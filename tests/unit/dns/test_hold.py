"""A hold without a queue: what is lent arrives, and nothing stays open."""

import os
import socket

from interceptor.dns import hold
from interceptor.dns.hold import Hold


def test_what_a_worker_lends_is_had_and_closed() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        held = Hold(65000)
        hold.lend(theirs.fileno(), os.dup(held.theirs.fileno()))
        held.recv()
        duplicate = held._descriptor
        assert os.path.samestat(os.fstat(duplicate), os.fstat(theirs.fileno()))
        assert not os.get_inheritable(duplicate)
        assert held.release() == 0, "a queue that is not there has nothing waiting"
        assert held._descriptor == -1


def test_a_worker_that_died_before_it_lent_anything_costs_nothing() -> None:
    held = Hold(65000)
    held.theirs.close()
    held.recv()
    assert held.release() == 0
