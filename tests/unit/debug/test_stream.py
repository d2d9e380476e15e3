"""DNS messages come out of a TCP stream whole, whatever became of its segments on the way."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from interceptor.debug.datagram import ACK, SYN, TCP, Datagram
from interceptor.debug.stream import MAXIMUM_STREAMS, MAXIMUM_WAITING, Streams

MESSAGES = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6)


def segment(sequence: int, data: bytes = b"", flags: int = ACK, port: int = 4000) -> Datagram:
    ends = bytes(4), bytes((1, 2, 3, 4))
    return Datagram(*ends, TCP, port, 53, b"", data, sequence & 0xFFFFFFFF, flags)


def joined(messages: list[bytes]) -> bytes:
    return b"".join(len(each).to_bytes(2, "big") + each for each in messages)


@given(
    MESSAGES,
    st.integers(0, 0xFFFFFFFF),
    st.lists(st.integers(0, 400), max_size=8),
    st.randoms(use_true_random=False),
)
def test_messages_survive_any_cut_order_and_repetition(
    messages: list[bytes], start: int, cuts: list[int], chance: object
) -> None:
    """With sequence numbers that wrap, segments that overlap, come twice and in any order."""
    data = joined(messages)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [(a, data[a : b + 2]) for a, b in pairwise(places)]
    pieces += pieces[:2]
    chance.shuffle(pieces)  # type: ignore[attr-defined]
    streams = Streams()
    assert streams.take(segment(start, b"", SYN)) == []
    found = [
        message for at, piece in pieces for message in streams.take(segment(start + 1 + at, piece))
    ]
    assert found == messages


def test_a_capture_that_begins_in_the_middle_is_read_from_there() -> None:
    assert Streams().take(segment(77, joined([b"one", b"two"]))) == [b"one", b"two"]


def test_data_in_the_first_packet_counts() -> None:
    assert Streams().take(segment(9, joined([b"fast"]), SYN)) == [b"fast"]


def test_a_port_used_again_begins_anew() -> None:
    streams = Streams()
    streams.take(segment(9, b"", SYN))
    streams.take(segment(10, b"\0\7cut"))
    streams.take(segment(900, b"", SYN))
    assert streams.take(segment(901, joined([b"new"]))) == [b"new"]


def test_a_stream_with_a_hole_is_given_up_in_the_end() -> None:
    streams = Streams()
    streams.take(segment(0, b"", SYN))
    for number in range(MAXIMUM_WAITING + 2):
        assert streams.take(segment(100 + 10 * number, joined([b"late"]))) == []
    assert streams.take(segment(1, joined([b"too late"]))) == []


def test_no_more_than_so_many_streams_are_kept() -> None:
    streams = Streams()
    for number in range(MAXIMUM_STREAMS + 9):
        streams.take(segment(0, b"", SYN, number))
    assert len(streams._streams) == MAXIMUM_STREAMS
