"""Packets of several links get the order of their times back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interceptor.debug import sighting
from interceptor.debug.pcaprecord import ETHERNET, RAW
from interceptor.debug.sighting import Hold, Sighting
from interceptor.debug.viewpoint import Role
from tests.unit.debug.sighted import OWN, VIP, sight, tcp


def at(time_ns: int) -> Sighting:
    return replace(sight(tcp((OWN, 1), (VIP, 2)), OWN, VIP), time_ns=time_ns)


def test_packets_wait_and_come_in_the_order_of_their_time() -> None:
    hold = Hold(span_s=1.0)
    hold.push(at(30), 10.0)
    hold.push(at(20), 10.5)
    assert [each.time_ns for each in hold.pop(11.0)] == []
    assert [each.time_ns for each in hold.pop(11.5)] == [20, 30]
    assert list(hold.drain()) == []


def test_what_is_left_is_drained_in_order() -> None:
    hold = Hold()
    for time_ns in (3, 1, 2):
        hold.push(at(time_ns), 0.0)
    assert [each.time_ns for each in hold.drain()] == [1, 2, 3]


def test_no_more_than_so_many_wait() -> None:
    hold = Hold(span_s=1e9)
    one = at(1)
    for _ in range(sighting.LARGEST + 5):
        hold.push(one, 0.0)
    assert len(list(hold.pop(0.0))) == 5


def test_no_more_bytes_than_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = Hold(span_s=1e9)
    monkeypatch.setattr(sighting, "HEAVIEST", 3 * len(at(1).data))
    for time_ns in range(5):
        hold.push(at(time_ns), 0.0)
    assert [each.time_ns for each in hold.pop(0.0)] == [0, 1]
    assert [each.time_ns for each in hold.drain()] == [2, 3, 4]


def test_a_record_is_the_whole_frame_or_its_packet() -> None:
    one = at(7)
    whole, inner = one.record(Role.UPLINK, "a"), one.inner(Role.APP, "b")
    assert (whole.interface, whole.link, whole.data) == ("uplink lo", ETHERNET, one.data)
    assert (inner.interface, inner.link, inner.data) == ("app", RAW, one.packet.packet)
    assert one.inner(Role.APP, "c", b"other").data == b"other"
